"""A large world lived in shards: its people divided among processes or machines, its model in one.

Between two trainings people of different shards do not touch, except through what processes of the
world say (divided.py). So a step needs little traffic: each shard sends the sums behind the
measures, how often each item was shown, what was consumed (the training data), and what its people
are like to others; its driver (driver.py) sends the trained model, the items that entered, and what
happened on the shard's border. The numbers are those of the undivided world, because people are
served, counted and added up in the same blocks whoever holds them (see measures.blocks_of).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import State
from ...recommenders.datasets.dataset import UserTable
from ...recommenders.datasets.synthetic import Market
from ...recommenders.errors import UserError
from ...recommenders.randomness import child_seed
from ..arms import arms_of
from ..experiment import Served
from ..record.checkpoint_arrays import under
from ..record.store import Arrays, Store
from ..run import shard_name
from ..society.staying import beginning
from ..study import Study
from ..supply.catalog_news import follow
from ..variants import variants
from ..world import World
from .divided import InShard, processes_of_shard
from .live import ArmRun

T = TypeVar("T", bound=np.generic)


def shard_rows(n_users: int, *, shards: int, block: int) -> list[tuple[int, int]]:
    """(first, last) of the people of each shard: whole blocks, as even as blocks allow.

    Raises:
        UserError: there are fewer blocks than shards.
    """
    blocks = -(-n_users // block)
    if shards > blocks:
        raise UserError(
            f"{n_users} people are {blocks} blocks of {block}, too few for {shards} shards; set "
            f"[study] shards to at most {blocks}, or block to {max(n_users // shards, 16)} or less"
        )
    edges = [round(i * blocks / shards) * block for i in range(shards)] + [n_users]
    return list(pairwise(edges))


def refuse_undividable(study: Study) -> None:
    """Refuse what happens between the parts of a step that shards live in one go.

    Raises:
        UserError: an adversary looks how its target ranks before another one, named later, puts in
            an item in the same step; shards look after all items have entered.
    """
    looking: dict[int, str] = {}  # step: who looks in it
    for one in study.adversaries:
        if not one.new_item:
            looking.setdefault(one.step, one.name)
        elif one.step in looking:
            raise UserError(
                f"[study] shards = {study.study.shards}: the adversary {looking[one.step]!r} looks "
                f"at its target before {one.name!r} puts in a new item in the same step; name "
                f"{one.name!r} first, or set shards to 1"
            )


def part_of(start: Market, first: int, last: int) -> Market:
    """A market in which only people ``first .. last - 1`` are known; indices stay what they are.

    The rows of the others are zeros that were never written, which cost no memory; their ids "".
    """

    def own(column: NDArray[T]) -> NDArray[T]:
        kept = np.zeros(column.shape, column.dtype)  # zeros_like would write them
        kept[first:last] = column[first:last]
        return kept

    log, ids = start.log, start.users.ids
    mine = (log.user >= first) & (log.user < last)
    known = UserTable(
        ids=("",) * first + ids[first:last] + ("",) * (len(ids) - last),
        attributes={name: own(column) for name, column in start.users.attributes.items()},
    )
    taste, activity = own(start.taste), own(start.activity)
    return replace(start, users=known, taste=taste, activity=activity, log=log.take(mine))


class Spec(NamedTuple):
    """Everything a shard is made from, in words that any machine understands.

    Attributes:
        study: as JSON; prefix: "" or that of another user model.
        world: index; arm: name; number: of the shard; rows: (first, last) of its people.
        out: run directory, "" for one in memory.
    """

    study: str
    prefix: str
    world: int
    arm: str
    number: int
    rows: tuple[int, int]
    out: str


class Team(Protocol):
    """Shards that are all told the same thing and all answer; see teams.py."""

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """What each shard's method returned, in the order of the shards."""
        ...

    def each(self, method: str, arguments: list[Any]) -> list[Any]:
        """The same with one argument of its own for each shard."""
        ...

    def close(self) -> None:
        """Let everybody go."""
        ...


TeamFactory = Callable[[Sequence[Spec], Store], Team]


class Shard(ArmRun):
    """Some people of one world under one arm; steps when it is told to.

    Args:
        spec: which; store: where it writes what its people did.
    """

    def __init__(self, spec: Spec, store: Store) -> None:
        whole = Study.model_validate_json(spec.study)
        study = dict(variants(whole, spec.world))[spec.prefix]
        arm = next(arm for arm in arms_of(study) if arm.name == spec.arm)
        super().__init__(study, spec.world, arm, store, spec.prefix, {}, {}, _silent)
        self.spec = spec
        self.settle_in(f"{arm.name}/{shard_name(spec.world, spec.number)}")
        self.world = self.world_with(self.fresh_guard())

    def world_with(self, guard: Served | None) -> World:
        """The world in which only this shard's people live."""
        first, last = self.spec.rows
        seed = child_seed(self.study.study.seed, "world", self.index)
        start = beginning(self.origin(), self.study.staying, seed=seed)
        world = World(
            self.study,
            index=self.index,
            arm=self.arm,
            recommender=guard,
            start=part_of(start, first, last),
            people=self.spec.rows,
            popularity=start.log.popularity(),
            made_of=partial(processes_of_shard, everybody=start),
        )
        world.platform.led = True
        return world

    def begin(self, model: State, known: NDArray[np.int64], t: int) -> None:
        """Start from the fitted model, or from the checkpoint of step ``t`` above 0."""
        if t:
            self.restore(self.world, self.store.arrays(self.checkpoint_at(t)))
        else:
            self.remove_parts(0)
            self.load(model, known)
        self.name_series(self.world)

    def load(self, model: State, known: NDArray[np.int64]) -> None:
        """Take over a model that was trained elsewhere, on so many items."""
        guard = self.world.platform.recommender
        if guard is not None:
            guard.regrow(self.world.columns.catalog.public(), known)
            guard.load_state({name: value.copy() for name, value in model.items()})
            self.world.platform.learnt_elsewhere()

    def step(self, news: Arrays) -> Arrays:
        """One step; returns what the driver needs.

        Args:
            news: see :meth:`hear`.

        Returns:
            "sums" (blocks, means, 2), "exposure" (items,) so far; of what was consumed what
            Clicks.since tells, "turn" being the how-manieth thing of its person in this step;
            "rejected", where somebody can reject, (n, 2) users and items; "asked", where there are
            persons, see Persons.asked; and what each process tells, under its key.
        """
        self.hear(news)
        world, platform = self.world, self.world.platform
        before = platform.clicks.calls
        self.advance(world)
        if self.part_ends(world):
            self.write_part(world)
        halves = [process for process in world.processes if isinstance(process, InShard)]
        told = {f"{half.key}/{name}": v for half in halves for name, v in half.told().items()}
        if world.persons is not None:
            told["asked"] = np.array(world.persons.asked)
        if any("rejected" in segment.reports for segment in world.segments):
            told["rejected"] = platform.rejections.since(world.columns.t - 1).astype(np.int32)
        return {
            **told,
            "sums": world.measures.sums.copy(),
            "exposure": world.measures.exposure.copy(),
            **platform.clicks.since(before),
        }

    def hear(self, news: Arrays) -> None:
        """What happened elsewhere since the last step: to the catalog, and between shards.

        Args:
            news: see catalog_news.follow, and what each process hears, under its key.
        """
        follow(self.world, under(news, "catalog/"))
        for process in self.world.processes:
            if isinstance(process, InShard) and (own := under(news, f"{process.key}/")):
                process.hear(own)

    def save_at(self, t: int) -> None:
        """Write a checkpoint; the one before stays until the driver has written its own."""
        self.checkpoint = self.checkpoint_at(t)
        self.save(self.world)

    def arrays_to_save(self, world: World) -> Arrays | None:
        """Of people, only this shard's."""
        held = super().arrays_to_save(world)
        if held is None:
            return None
        rows = world.measures.rows
        return {name: v[rows] if of_people(name) else v for name, v in held.items()}

    def restore(self, world: World, held: Arrays) -> None:
        """The same of a whole world: rows of other people are zeros that nobody reads."""
        rows, n = world.measures.rows, len(world.columns.users)

        def whole(value: NDArray[Any]) -> NDArray[Any]:
            column = np.zeros((n, *value.shape[1:]), value.dtype)
            column[rows] = value
            return column

        super().restore(world, {k: whole(v) if of_people(k) else v for k, v in held.items()})

    def drop(self, t: int) -> None:
        """Remove the checkpoint of a step."""
        self.store.remove(self.checkpoint_at(t))

    def checkpoint_at(self, t: int) -> str:
        """The name of the checkpoint after ``t`` steps."""
        return f"{self.prefix}state/{self.place}/checkpoint-{t:06d}.npz"

    def finish(self) -> dict[str, Any]:
        """Write what became of people; returns what the recommender did wrong here ("faults"), and
        the tally of those who chat ("people"), if there are some."""
        world = self.world
        self.write_people(world)
        done: dict[str, Any] = {"faults": self.faults(world).to_dict()}
        if world.persons is not None:
            world.persons.close()
            done["people"] = world.persons.tally()
        return done


_PEOPLE = ("taste", "satiation", "present")
_NOT_PEOPLE = ("measure/exposure",)


def of_people(name: str) -> bool:
    """Whether an array of a checkpoint has a row a person."""
    inside = name.startswith(("trait/", "measure/")) and name not in _NOT_PEOPLE
    return name in _PEOPLE or inside


def _silent(steps: int, what: str) -> None:
    """A shard tells nobody; its driver does."""

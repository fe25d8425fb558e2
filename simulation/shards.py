"""A large world lived in shards: its people divided among processes or machines, its model in one.

Between two trainings people of different shards do not touch, except through what a process of the
world says they share (opinions of friends). So a step needs little traffic: each shard sends the
sums behind the measures, how often each item was shown, what was consumed (the training data), and
what people on its border are like; the driver sends the trained model and the borders' news. The
numbers are those of the undivided world, because people are served, counted and added up in the
same blocks whoever holds them (see measures.blocks_of).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..recommenders.border import State
from ..recommenders.datasets.synthetic import Market
from ..recommenders.errors import UserError
from ..recommenders.faults import Faults
from .arms import arms_of
from .experiment import Served
from .live import PART_STEPS, ArmRun, variants
from .measures import inequality, means
from .run import shard_name
from .store import Arrays, Store
from .study import Study
from .world import World


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


_SHARED = ("staying", "society", "supply", "generators", "adversaries")
"""Tables of a study whose processes look at all people, or change the catalog for all."""


def refuse_what_people_share(study: Study) -> None:
    """What happens between people, or to the catalog, cannot be lived in shards.

    Raises:
        UserError: the first thing in the study that would need everybody in one place.
    """
    kinds = study.users or (study.people,)
    tables = [name for name in _SHARED if getattr(study, name, None)]
    shared = {
        **{f"[{name}]": True for name in tables},
        "persons": any(kind.persons for kind in study.users),
        "not-interested": any(f.law == "not-interested" for kind in kinds for f in kind.feedback),
    }
    for what, asked in shared.items():
        if asked:
            raise UserError(
                f"[study] shards = {study.study.shards}: {what} needs all people of a world in one "
                "place; set shards to 1"
            )


def part_of(start: Market, first: int, last: int) -> Market:
    """A market in which only people ``first .. last - 1`` are known; indices stay what they are.

    The rows of the others are zeros that were never written, which cost no memory.
    """

    def own(column: NDArray[np.float32]) -> NDArray[np.float32]:
        kept = np.zeros_like(column)
        kept[first:last] = column[first:last]
        return kept

    log = start.log
    mine = (log.user >= first) & (log.user < last)
    return replace(start, taste=own(start.taste), activity=own(start.activity), log=log.take(mine))


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
        start = self.origin()
        world = World(
            self.study,
            index=self.index,
            arm=self.arm,
            recommender=guard,
            start=part_of(start, first, last),
            people=self.spec.rows,
            popularity=start.log.popularity(),
        )
        world.platform.led = True
        return world

    def begin(self, model: State, t: int) -> None:
        """Start from the fitted model, or from the checkpoint of step ``t`` above 0."""
        if t:
            self.restore(self.world, self.store.arrays(self.checkpoint_at(t)))
        else:
            self.remove_parts(0)
            self.load(model)
        self.name_series(self.world)

    def load(self, model: State) -> None:
        """Take over a model that was trained elsewhere."""
        guard = self.world.platform.recommender
        if guard is not None:
            guard.load_state({name: value.copy() for name, value in model.items()})
            self.world.platform.learnt_elsewhere()

    def step(self) -> Arrays:
        """One step; returns what the driver needs.

        Returns:
            "sums" (blocks, means, 2), "exposure" (items,) so far, and "user", "item", "turn" of
            what was consumed: the how-manieth thing of its person in this step.
        """
        world, platform = self.world, self.world.platform
        before = len(platform.clicks_user)
        self.advance(world)
        t = world.columns.t
        if t % PART_STEPS == 0 or t == self.study.study.steps:
            self.write_part(world)
        users, items = platform.clicks_user[before:], platform.clicks_item[before:]
        nobody = np.empty(0, np.int32)
        return {
            "sums": world.measures.sums.copy(),
            "exposure": world.measures.exposure.copy(),
            "user": np.concatenate([nobody, *users]),
            "item": np.concatenate([nobody, *items]),
            "turn": np.repeat(np.arange(len(users), dtype=np.int8), [len(u) for u in users]),
        }

    def save_at(self, t: int) -> None:
        """Write a checkpoint; the one before stays until the driver has written its own."""
        self.checkpoint = self.checkpoint_at(t)
        self.save(self.world)

    def drop(self, t: int) -> None:
        """Remove the checkpoint of a step."""
        self.store.remove(self.checkpoint_at(t))

    def checkpoint_at(self, t: int) -> str:
        """The name of the checkpoint after ``t`` steps."""
        return f"{self.prefix}state/{self.place}/checkpoint-{t:06d}.npz"

    def finish(self) -> dict[str, Any]:
        """Write what became of people; returns what the recommender did wrong here."""
        self.write_end(self.world)
        return self.faults(self.world).to_dict()


def _silent(steps: int, what: str) -> None:
    """A shard tells nobody; its driver does."""


class ShardedArm(ArmRun):
    """One arm of one world whose people live in shards: trains the model, adds up, writes series.

    Args:
        parts: arguments of ArmRun.
        whole: the study before it was turned into the variant that is lived here.
        team: puts shards to work.

    Attributes:
        sent, received: bytes of arrays sent to all shards together and received from them.
    """

    def __init__(self, *parts: Any, whole: Study, team: TeamFactory) -> None:
        super().__init__(*parts)
        self._whole, self._factory = whole, team
        self._team: Team | None = None
        self._kept = 0
        self.sent = self.received = 0

    def run(self) -> None:
        """Live the arm; see ArmRun.run."""
        refuse_what_people_share(self.study)
        try:
            super().run()
            for number in range(self.study.study.shards if self._kept else 0):
                place = f"{self.arm.name}/{shard_name(self.index, number)}"
                self.store.remove(f"{self.prefix}state/{place}/checkpoint-{self._kept:06d}.npz")
        finally:
            if self._team is not None:
                self._team.close()

    def world_with(self, guard: Served | None) -> World:
        """A world in which nobody lives: the platform's memory, and the catalog."""
        start = self.origin()
        nobody = replace(part_of(start, 0, 0), log=start.log)
        return World(
            self.study,
            index=self.index,
            arm=self.arm,
            recommender=guard,
            start=nobody,
            people=(0, 0),
        )

    def start(self) -> World:
        """The driver at its first step or last checkpoint, with its team at the same step."""
        world = super().start()
        people = len(world.columns.users)
        rows = shard_rows(people, shards=self.study.study.shards, block=self.study.study.block)
        out = getattr(self.store, "root", "")
        text = self._whole.model_dump_json()
        specs = [
            Spec(text, self.prefix, self.index, self.arm.name, number, part, str(out))
            for number, part in enumerate(rows)
        ]
        self._team = self._factory(specs, self.store)
        self._kept = world.columns.t
        self._ask("begin", self._model(world), world.columns.t)
        return world

    def advance(self, world: World) -> None:
        """One step of every shard; then the driver learns, if it is due."""
        reports = self._ask("step")
        platform, now = world.platform, world.columns
        turn = np.concatenate([report["turn"] for report in reports])
        user = np.concatenate([report["user"] for report in reports])
        item = np.concatenate([report["item"] for report in reports])
        for nth in range(int(turn.max(initial=-1)) + 1):  # in the order of the undivided world
            here = turn == nth
            platform.take_note(user[here], item[here])
        platform.learn()
        if platform.retrained:
            self._ask("load", self._model(world))
        current = world.measures.current
        exposure: NDArray[np.int64] = sum(report["exposure"] for report in reports)
        current.update(means(np.concatenate([report["sums"] for report in reports])))
        current.update(inequality(exposure), retrained=float(platform.retrained))
        now.t += 1
        self.record_series(world)

    def write_part(self, world: World) -> None:
        """Nothing: the shards write what their people did."""

    def save(self, world: World) -> None:
        """Checkpoints of all shards, then the driver's, which makes them count."""
        t = world.columns.t
        self._ask("save_at", t)
        super().save(world)
        if self._kept:
            self._ask("drop", self._kept)
        self._kept = t

    def write_end(self, world: World) -> None:
        """Nothing: the shards write what became of their people."""

    def faults(self, world: World) -> Faults:
        """Of the training here and of the serving in all shards."""
        whole = super().faults(world)
        for told in self._ask("finish"):
            whole.merge(Faults.from_dict(told))
        return whole

    def _model(self, world: World) -> State:
        guard = world.platform.recommender
        if guard is None:
            return {}
        state = guard.state()
        if state is None:
            raise UserError(
                f"{self.arm.name} has no state() that could be sent to shards; set [study] shards "
                "to 1, or let the recommender save itself"
            )
        return state

    def _ask(self, method: str, *arguments: Any) -> list[Any]:
        assert self._team is not None
        answers = self._team.all(method, *arguments)
        self.sent += len(answers) * n_bytes(arguments)
        self.received += n_bytes(answers)
        return answers


def n_bytes(value: object) -> int:
    """Bytes of the arrays in a message."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, dict):
        return sum(map(n_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(n_bytes, value))
    return 0

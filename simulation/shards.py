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
from ..recommenders.randomness import child_seed
from .arms import arms_of
from .experiment import Served
from .live import ArmRun, under
from .measures import inequality, means
from .process import series_of
from .run import shard_name
from .social import Society
from .staying import Staying, beginning
from .store import Arrays, Store
from .study import Study
from .variants import variants
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


_SHARED = ("supply", "generators", "adversaries")
"""Tables of a study whose processes look at all people, or change the catalog for all."""


def refuse_what_people_share(study: Study) -> None:
    """What happens between people, or to the catalog, cannot be lived in shards.

    Raises:
        UserError: the first thing in the study that would need everybody in one place.
    """
    kinds = study.users or (study.people,)
    society = study.society
    shared = {f"[{name}]": getattr(study, name, None) for name in _SHARED}
    shared["persons"] = any(kind.persons for kind in study.users)
    shared["not-interested"] = any(f.law == "not-interested" for k in kinds for f in k.feedback)
    if society is not None:
        shared["[staying] with [society]"] = study.staying
        shared["[society] friend_slots above 0"] = society.friend_slots
        shared["[society] rewiring above 0"] = society.rewiring
        shared["[society] opinions = 'past'"] = society.opinions == "past"
        shared["[society] graph = 'alike'"] = society.graph.form == "alike"
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
        self._border = self.border()

    def load(self, model: State) -> None:
        """Take over a model that was trained elsewhere."""
        guard = self.world.platform.recommender
        if guard is not None:
            guard.load_state({name: value.copy() for name, value in model.items()})
            self.world.platform.learnt_elsewhere()

    def border(self) -> NDArray[np.int64]:
        """The people of other shards whose opinions are needed here."""
        society = society_of(self.world)
        return np.empty(0, np.int64) if society is None else society.border()

    def step(self, opinion: NDArray[np.float64]) -> Arrays:
        """One step; returns what the driver needs.

        Args:
            opinion: of the people of :meth:`border`, after the step before.

        Returns:
            "sums" (blocks, means, 2), "exposure" (items,) so far; of what was consumed what
            Clicks.since tells, "turn" being the how-manieth thing of its person in this step; and
            what each process tells, under its key.
        """
        world, platform = self.world, self.world.platform
        society = society_of(world)
        if society is not None:
            society.hear(self._border, opinion)
        before = platform.clicks.calls
        self.advance(world)
        if self.part_ends(world):
            self.write_part(world)
        told = {f"{p.key}/{n}": v for p in telling(world) for n, v in p.told().items()}
        return {
            **told,
            "sums": world.measures.sums.copy(),
            "exposure": world.measures.exposure.copy(),
            **platform.clicks.since(before),
        }

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
        """Write what became of people; returns what the recommender did wrong here."""
        self.write_end(self.world)
        return self.faults(self.world).to_dict()


_PEOPLE = ("taste", "satiation", "present")
_NOT_PEOPLE = ("measure/exposure",)


def of_people(name: str) -> bool:
    """Whether an array of a checkpoint has a row a person."""
    inside = name.startswith(("trait/", "measure/")) and name not in _NOT_PEOPLE
    return name in _PEOPLE or inside


def telling(world: World) -> list[Society | Staying]:
    """The processes of a world that can be lived in shards."""
    return [p for p in world.processes if isinstance(p, Society | Staying)]


def society_of(world: World) -> Society | None:
    """The society of a world, if it has one."""
    return next((p for p in world.processes if isinstance(p, Society)), None)


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
        self._rows = rows
        self._ask("begin", self._model(world), world.columns.t)
        self._borders: list[NDArray[np.int64]] = self._ask("border")
        return world

    def advance(self, world: World) -> None:
        """One step of every shard; then the driver learns, if it is due."""
        reports = self._ask_each("step", [self._news(world, border) for border in self._borders])
        platform, now = world.platform, world.columns
        kept = ("user", "item", "turn", *(("stars",) if platform.rated is not None else ()))
        took = {name: np.concatenate([report[name] for report in reports]) for name in kept}
        for nth in range(int(took["turn"].max(initial=-1)) + 1):  # as in the undivided world
            here = took["turn"] == nth
            stars = took["stars"][here] if "stars" in took else None
            platform.take_note(took["user"][here], took["item"][here], stars)
        platform.learn()
        if platform.retrained:
            self._ask("load", self._model(world))
        current = world.measures.current
        exposure: NDArray[np.int64] = sum(report["exposure"] for report in reports)
        current.update(means(np.concatenate([report["sums"] for report in reports])))
        current.update(inequality(exposure), retrained=float(platform.retrained))
        for process in telling(world):
            told = [under(report, f"{process.key}/") for report in reports]
            for (first, _), one in zip(self._rows, told, strict=True):
                process.gather(first, one)
            process.total(told)
        current.update(series_of(world.processes))
        now.t += 1
        self.record_series(world)

    @staticmethod
    def _news(world: World, border: NDArray[np.int64]) -> NDArray[np.float64]:
        opinion = world.columns.traits.get("opinion")
        return np.empty(0) if opinion is None else opinion[border]

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

    def _ask_each(self, method: str, arguments: list[Any]) -> list[Any]:
        assert self._team is not None
        answers = self._team.each(method, arguments)
        self.sent += n_bytes(arguments)
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

"""The driver of a world whose people live in shards: trains the model, adds up, writes series."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import State
from ...recommenders.errors import UserError
from ...recommenders.faults import Faults
from ..experiment import Served
from ..measures import inequality, means
from ..process import Happened, Supplies, series_of
from ..record.checkpoint_arrays import under
from ..record.store import Arrays
from ..run import shard_name
from ..study import Study
from ..supply.catalog_news import Ledger
from ..world import World
from .divided import NOBODY, AdversaryAtDriver, AtDriver, processes_of_driver
from .live import ArmRun
from .shards import Spec, Team, TeamFactory, part_of, refuse_undividable, shard_rows


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
        refuse_undividable(self.study)
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
        return Ledger(
            self.study,
            index=self.index,
            arm=self.arm,
            recommender=guard,
            start=replace(part_of(start, 0, 0), users=start.users, log=start.log),
            people=(0, 0),
            made_of=processes_of_driver,
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
        for half in self._halves(world):
            half.divide([slice(*part) for part in rows])
        self._ask("begin", *self._model(world), world.columns.t)
        return world

    def advance(self, world: World) -> None:
        """One step of every shard; then the driver learns, if it is due."""
        for process in world.processes:
            if isinstance(process, Supplies | AdversaryAtDriver):
                process.before(world)
        reports = self._ask_each("step", self._news(world))
        self._answer(world, reports)
        self._take_notes(world, reports)
        platform, current = world.platform, world.measures.current
        platform.learn()
        if platform.retrained:
            self._ask("load", *self._model(world))
        current.update(means(np.concatenate([report["sums"] for report in reports])))
        current.update(inequality(world.measures.exposure), retrained=float(platform.retrained))
        current.update(series_of(world.processes))
        world.columns.t += 1
        self.record_series(world)

    def _answer(self, world: World, reports: list[Arrays]) -> None:
        """What processes make of a step: those here of what happened to items, others of people."""
        measures = world.measures
        exposure = np.sum([report["exposure"] for report in reports], axis=0)
        item, user, turn = (
            np.concatenate([report[name] for report in reports])
            for name in ("item", "user", "turn")
        )
        happened = Happened(item[np.lexsort((turn, user))], exposure - measures.exposure)
        measures.exposure[:] = exposure
        for process in world.processes:
            if isinstance(process, Supplies):
                process.answer(world, happened)
        for half in self._halves(world):
            half.gather([under(report, f"{half.key}/") for report in reports])
        if world.persons is not None:
            world.persons.asked = tuple(np.sum([report["asked"] for report in reports], axis=0))

    @staticmethod
    def _take_notes(world: World, reports: list[Arrays]) -> None:
        """What was consumed and rejected, in the order of the undivided world, to learn from."""
        platform = world.platform
        kept = ("user", "item", "turn", *(("stars",) if platform.rated is not None else ()))
        took = {name: np.concatenate([report[name] for report in reports]) for name in kept}
        for nth in range(int(took["turn"].max(initial=-1)) + 1):
            here = took["turn"] == nth
            stars = took["stars"][here] if "stars" in took else None
            platform.take_note(took["user"][here], took["item"][here], stars)
        for report in reports:
            if len(rejected := report.get("rejected", NOBODY)):
                platform.rejections.note(rejected[:, 0], rejected[:, 1], world.columns.t)

    @staticmethod
    def _halves(world: World) -> list[AtDriver]:
        return [process for process in world.processes if isinstance(process, AtDriver)]

    def _news(self, world: World) -> list[Arrays]:
        """What each shard must hear of what happened since it last heard."""
        assert isinstance(world, Ledger)
        catalog = {f"catalog/{name}": rows for name, rows in world.news().items()}
        found = [dict(catalog) for _ in range(self.study.study.shards)]
        for half in self._halves(world):
            for one, news in zip(found, half.news(), strict=True):
                one |= {f"{half.key}/{name}": rows for name, rows in news.items()}
        return found

    def write_part(self, world: World) -> None:
        """Nothing: the shards write what their people did."""

    def save(self, world: World) -> None:
        """Checkpoints of all shards, then the driver's, which makes them count."""
        t = world.columns.t
        self._ask_each("hear", self._news(world))  # nothing may be under way
        self._ask("save_at", t)
        super().save(world)
        if self._kept:
            self._ask("drop", self._kept)
        self._kept = t

    def write_end(self, world: World) -> None:
        """The catalog; the shards write what became of their people, once all is said."""
        self._ask_each("hear", self._news(world))
        self.write_catalog(world)

    def faults(self, world: World) -> Faults:
        """Of the training here and of the serving in all shards."""
        whole = super().faults(world)
        for told in self._ask("finish"):
            whole.merge(Faults.from_dict(told["faults"]))
            if world.persons is not None and told["people"]:
                world.persons.add(told["people"])
        return whole

    def _model(self, world: World) -> tuple[State, NDArray[np.int64]]:
        """The model, and how many items it knows."""
        guard = world.platform.recommender
        if guard is None:
            return {}, np.empty(0, np.int64)
        state = guard.state()
        if state is None:
            raise UserError(
                f"{self.arm.name} has no state() that could be sent to shards; set [study] shards "
                "to 1, or let the recommender save itself"
            )
        return state, guard.grown()

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

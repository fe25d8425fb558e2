"""One world lived through all its arms: recorded in parts, checkpointed, resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from ...recommenders.border import State
from ...recommenders.datasets.synthetic import Market
from ...recommenders.guard import Faults, Guard
from ...recommenders.randomness import child_seed
from ...recommenders.training import n_parameters_of
from ...recommenders.unfinished import kept_under_way
from ..arms import Arm, arms_of
from ..experiment import Served, Split, treated
from ..platform.training import BEFORE
from ..process import series_of
from ..record.checkpoint_arrays import arrays_of, restore
from ..record.checkpoints import CheckpointClock, unfinished_in
from ..record.events import first_step, part_name, part_steps
from ..record.log import PartLog
from ..record.said import SaidLog
from ..record.store import Arrays, MemoryStore, Store
from ..record.world_files import end_state, write_world
from ..run import Factories, fit_seed, guarded, world_name
from ..society.staying import only_lived
from ..study import RecommenderSection, Study, label_of
from ..variants import variants
from ..world import Shown, World, origin

Tick = Callable[[int, str], None]
"""Called as ``tick(steps_done, what)`` while a world is lived."""


def group_of(arm: Arm) -> str:
    """Arms that share a first fit, and so are lived together: a recommender's, or one alone."""
    if arm.kind in ("frozen", "shuffled"):
        return arm.name.removesuffix(f"-{arm.kind}")
    return arm.name


def live_world(
    study: Study,
    index: int,
    store: Store,
    factories: Factories,
    tick: Tick,
    *,
    group: str | None = None,
    lived_by: Callable[..., ArmRun] | None = None,
) -> None:
    """Live every arm of world ``index``, then the same under the other user models.

    What is already finished in the store is kept; an arm that stopped half-way goes on from its
    last checkpoint, or from its start when its recommender cannot be saved.

    Args:
        group: only the arms of one :func:`group_of`; all when None.
        lived_by: makes what lives an arm, from the arguments of ArmRun; ArmRun when None.
    """
    write_world(study, index, store)
    fits: dict[tuple[str, str], State | None] = {}
    for prefix, part in variants(study, index):
        for arm in arms_of(part):
            if group not in (None, group_of(arm)):
                continue
            states = f"{prefix}state/{arm.name}/"
            if store.exists(f"{states}{world_name(index)}/done.json"):
                tick(part.study.steps, arm.name)
            else:
                live = lived_by or ArmRun
                live(part, index, arm, store, prefix, factories, fits, tick).run()
            _forget_checkpoints(store, states, index)  # a kill may have come before


def _forget_checkpoints(store: Store, states: str, index: int) -> None:
    """Remove what is left of the checkpoints of a complete arm, its shards' included."""
    for name in store.listing(states):
        *_, place, file = name.split("/")
        if file.startswith("checkpoint") and place.partition("-")[0] == world_name(index):
            store.remove(name)


def begin(study: Study, index: int, arm: Arm, *, factories: Factories | None = None) -> World:
    """A world under an arm, its recommender fitted on the past, before the first step.

    Args:
        study: what it is part of; index: which of its worlds; arm: the policy.
        factories: recommenders that only this process knows.
    """
    return ArmRun(
        study, index, arm, MemoryStore(), "", factories or {}, {}, lambda steps, what: None
    ).start()


class ArmRun:
    """One arm of one world, from the first step (or the last checkpoint) to the end."""

    def __init__(
        self,
        study: Study,
        index: int,
        arm: Arm,
        store: Store,
        prefix: str,
        factories: Factories,
        fits: dict[tuple[str, str], State | None],
        tick: Tick,
    ) -> None:
        self.study, self.index, self.arm, self.store = study, index, arm, store
        self.prefix, self.factories, self.fits, self.tick = prefix, factories, fits, tick
        self.settle_in(f"{arm.name}/{world_name(index)}")
        self.log = PartLog(study.study.log, scores=study.study.log_scores)
        self.said = SaidLog(study.study.said_to)
        self.clock = CheckpointClock(study.study.checkpoint_every)
        self.series: dict[str, list[float]] = {}
        self.saveable = True

    def settle_in(self, place: str) -> None:
        """Where this arm's files go: "multvae/w003" below events/, series/, state/, ..."""
        self.place = place
        self.checkpoint = f"{self.prefix}state/{place}/checkpoint.npz"

    def run(self) -> None:
        """Live the arm and write what it left; the last file written says that it is complete."""
        self.tick(0, f"{self.arm.name}: learning")
        world = self.start()
        self.name_series(world)
        steps = self.study.study.steps
        self.tick(world.columns.t, self.arm.name)
        while world.columns.t < steps:
            self.advance(world)
            self.tick(1, self.arm.name)
            if self.part_ends(world):
                self.write_part(world)
                if world.columns.t < steps and self.clock.due(world.columns.t):
                    with self.clock.saving(world.columns.t):
                        self.save(world)
        series = pl.DataFrame(self.series).with_columns(pl.col("step").cast(pl.Int32))
        self.store.put_frame(f"{self.prefix}series/{self.place}.parquet", series)
        self.write_end(world)
        done: dict[str, object] = {"faults": self.faults(world).to_dict()}
        done["engine"] = world.engine.name  # what [study] engine = "auto" came to
        if world.platform.training.rows:
            name = f"{self.prefix}training/{self.place}.parquet"
            self.store.put_frame(name, world.platform.training.frame())
            done["parameters"] = n_parameters_of(world.platform.recommender)
        if world.persons is not None:
            world.persons.close()
            if tally := world.persons.tally():
                done["people"] = tally
        self.store.put_json(f"{self.prefix}state/{self.place}/done.json", done)
        self.store.remove(self.checkpoint)

    def name_series(self, world: World) -> None:
        """The columns of the series, unless a checkpoint had them."""
        if not self.series:
            names = ("step", *world.measures.current, *series_of(world.processes))
            self.series = {name: [] for name in names}

    def advance(self, world: World) -> None:
        """One step, recorded."""
        world.step()
        self._record(world)

    def write_end(self, world: World) -> None:
        """What became of people, and of the catalog."""
        self.write_people(world)
        self.write_catalog(world)

    def write_people(self, world: World) -> None:
        """What became of people."""
        rows = world.measures.rows  # of a shard: its own people
        tables = {
            "outcomes": only_lived(world.measures.outcomes(), world.columns),
            "end": end_state(world.columns),
        }
        for what, frame in tables.items():
            own = frame.slice(rows.start, rows.stop - rows.start)
            self.store.put_frame(f"{self.prefix}truth/{what}/{self.place}.parquet", own)

    def write_catalog(self, world: World) -> None:
        """What became of the catalog, if it changed."""
        if world.changes_catalog:
            name = f"{self.prefix}truth/catalogs/{self.place}.parquet"
            now = world.columns
            times = {"born": now.born, "available": now.available}
            self.store.put_frame(name, now.catalog.to_frame().with_columns(**times))

    def faults(self, world: World) -> Faults:
        """What the recommender did wrong."""
        guard = world.platform.recommender
        return guard.faults if guard is not None else Faults()

    # -- where it starts ---------------------------------------------------------------------

    def start(self) -> World:
        """The world at its first step, or at its last checkpoint."""
        held = self.store.arrays(self.checkpoint) if self.store.exists(self.checkpoint) else None
        guard = self.fresh_guard()
        world = self.world_with(guard)
        if held is None:
            self.remove_parts(0)
            if guard is not None:
                self._fit(world, guard)
                world.platform.training.heard(BEFORE, world.platform.recommender)
            return world
        self.restore(world, held)
        self.clock.last = world.columns.t
        return world

    def world_with(self, guard: Served | None) -> World:
        """The world before its first step, served by a recommender."""
        return World(self.study, index=self.index, arm=self.arm, recommender=guard)

    def origin(self) -> Market:
        """The people and items that the world starts from."""
        return origin(self.study.world, self.study.study.seed, self.index)

    def fresh_guard(self) -> Served | None:
        """A fresh, unfitted recommender for the arm; the two of an experiment."""
        arm = self.arm
        if arm.recommender is None:
            return None
        catalog = self.origin().catalog
        repeat = self.study.people.repeat
        guard = guarded(arm.recommender, catalog, factories=self.factories, repeat=repeat)
        if arm.experiment is None or arm.control is None:
            return guard
        control = guarded(arm.control, catalog, factories=self.factories, repeat=repeat)
        seed = child_seed(self.study.study.seed, "world", self.index)
        who = treated(arm.experiment, len(self.origin().users), seed=seed)
        return Split(guard, control, who, pooled=arm.experiment.pooled)

    def _fit(self, world: World, guard: Served) -> None:
        """Fit on the past, or take over the fit another arm of this world already made.

        Even the arm that made the fit goes on from the saved state, so that a resumed run and an
        uninterrupted one walk the same path.
        """
        section = self.arm.recommender
        assert section is not None
        key = group_of(self.arm), section.model_dump_json(include={"name", "args"})
        place = f"state/{label_of(section)}/{world_name(self.index)}"
        name, unfinished = f"{place}/initial.npz", f"{self.prefix}{place}/unfinished.npz"
        studied = self.arm.kind in ("target", "frozen", "shuffled")
        if studied and self.prefix == "":
            self._write_ratings(world, section)
        if studied and key not in self.fits and self.store.exists(name):
            self.fits[key] = self.store.arrays(name)
        if key not in self.fits:
            own = guard.recommender if studied and isinstance(guard, Guard) else None
            with kept_under_way(own, unfinished_in(self.store, unfinished)):
                self._first_fit(world, guard)
            self.fits[key] = guard.state()
            if self.fits[key] is None:
                self.saveable = False
                self.store.remove(unfinished)
                return
        state = self.fits[key]
        if state is None:  # cannot be saved: every arm fits for itself
            self.saveable = False
            self._first_fit(world, guard)
            return
        if studied and self.prefix == "" and not self.store.exists(name):
            self.store.put_arrays(name, state)
        self.store.remove(unfinished)
        faults = guard.faults
        fresh = self.fresh_guard()
        assert fresh is not None
        fresh.load_state({part: value.copy() for part, value in state.items()})
        fresh.faults = faults
        world.platform.recommender = fresh

    def _write_ratings(self, world: World, section: RecommenderSection) -> None:
        """What people say of the past, for probes that teach the recommender again."""
        name = f"state/{label_of(section)}/{world_name(self.index)}/ratings.parquet"
        if world.platform.rated is not None and not self.store.exists(name):
            stars = pl.DataFrame({"rating": world.platform.rated.past})
            self.store.put_frame(name, stars)

    @staticmethod
    def _first_fit(world: World, guard: Served) -> None:
        start = world.columns
        rated = world.platform.rated
        past = start.past if rated is None else replace(start.past, value=rated.past)
        guard.fit(past, start.catalog.public(), seed=fit_seed(start.seed))

    # -- what is recorded --------------------------------------------------------------------

    def _record(self, world: World) -> None:
        shown: Shown | None = world.shown
        assert shown is not None
        self.log.add(world.columns.t - 1, shown, world.platform)
        self.said.add(world.columns.t - 1, world.platform)
        self.record_series(world)

    def record_series(self, world: World) -> None:
        """The measures of the step just lived."""
        now = world.measures.current
        self.series["step"].append(world.columns.t - 1)
        for name in now:
            self.series[name].append(now[name])

    def part_ends(self, world: World) -> bool:
        """Whether the step just lived is the last one of a part of the log."""
        t = world.columns.t
        return t % self._part_steps(world) == 0 or t == self.study.study.steps

    def _part_steps(self, world: World) -> int:
        return part_steps(len(world.columns.users), self.study.study.checkpoint_every)

    def write_part(self, world: World) -> None:
        """The steps lived since the last part, as files."""
        last, length = world.columns.t - 1, self._part_steps(world)
        begun = last - last % length
        file = f"{self.place}/{part_name(begun)}"
        for what, frame in self.log.frames().items():
            self.store.put_frame(f"{self.prefix}{what}/{file}", frame)
        for what, frame in self.said.frames().items():
            name = f"{self.prefix}said/{self.place}/{part_name(begun, what)}"
            self.store.put_frame(name, frame)
        if world.persons is not None and world.persons.client is not None:
            self.store.put_frame(f"{self.prefix}talk/{file}", world.persons.said())

    def remove_parts(self, first: int) -> None:
        """What was written of a step and of those after it."""
        for what in ("lists", "events", "said", "talk"):
            for name in self.store.listing(f"{self.prefix}{what}/{self.place}/"):
                if first_step(name) >= first:
                    self.store.remove(name)

    # -- checkpoints -------------------------------------------------------------------------

    def save(self, world: World) -> None:
        """Write a checkpoint, unless the recommender cannot be saved."""
        held = self.arrays_to_save(world)
        if held is not None:
            self.store.put_arrays(self.checkpoint, held)

    def arrays_to_save(self, world: World) -> Arrays | None:
        """Everything a checkpoint holds; None where the recommender cannot be saved."""
        return arrays_of(world, self.series) if self.saveable else None

    def restore(self, world: World, held: Arrays) -> None:
        """Go on from a checkpoint; what was written after it is removed."""
        self.series = restore(world, held)
        self.remove_parts(world.columns.t)

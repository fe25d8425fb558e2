"""One world lived through all its arms: recorded in parts, checkpointed, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..recommenders.border import State
from ..recommenders.datasets.synthetic import Market
from ..recommenders.guard import Faults
from ..recommenders.randomness import child_seed
from .arms import Arm, arms_of
from .experiment import Served, Split, treated
from .newcomers import to_arrays
from .process import series_of
from .run import Factories, fit_seed, guarded, sensitivity_models, variant, world_name
from .staying import beginning, only_lived
from .store import Arrays, MemoryStore, Store
from .study import Study, label_of
from .world import Shown, World, origin

PART_STEPS = 10
"""Steps in one part of the event log; a crash loses at most one part."""

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
            state = f"{prefix}state/{arm.name}/{world_name(index)}"
            if store.exists(f"{state}/done.json"):
                store.remove(f"{state}/checkpoint.npz")  # a kill may have come before
                tick(part.study.steps, arm.name)
                continue
            live = lived_by or ArmRun
            live(part, index, arm, store, prefix, factories, fits, tick).run()


def begin(study: Study, index: int, arm: Arm, *, factories: Factories | None = None) -> World:
    """A world under an arm, its recommender fitted on the past, before the first step.

    Args:
        study: what it is part of; index: which of its worlds; arm: the policy.
        factories: recommenders that only this process knows.
    """
    return ArmRun(
        study, index, arm, MemoryStore(), "", factories or {}, {}, lambda steps, what: None
    ).start()


def variants(study: Study, index: int) -> list[tuple[str, Study]]:
    """(directory prefix, study) of every user model that world ``index`` is lived under."""
    found = [("", study)]
    for model in sensitivity_models(study):
        other = variant(study, model)
        if index < other.study.worlds:
            found.append((f"sensitivity/{model}/", other))
    return found


def write_world(study: Study, index: int, store: Store) -> None:
    """The world's people, items and past, once."""
    folder = f"worlds/{world_name(index)}"
    if store.exists(f"{folder}/topics.json"):
        return
    start = beginning(
        origin(study.world, study.study.seed, index),
        study.staying,
        seed=child_seed(study.study.seed, "world", index),
    )
    store.put_frame(f"{folder}/catalog.parquet", start.catalog.to_frame())
    people: dict[str, object] = {
        "user": np.arange(len(start.taste), dtype=np.int32),
        "id": list(start.users.ids),
    }
    for name, column in start.users.attributes.items():
        people[name] = column.tolist()
    people["activity"] = start.activity
    people["taste"] = pl.Series(
        "taste", start.taste, dtype=pl.Array(pl.Float32, start.taste.shape[1])
    )
    store.put_frame(f"{folder}/users.parquet", pl.DataFrame(people))
    log = start.log
    history = pl.DataFrame({"user": log.user, "item": log.item, "step": log.step})
    store.put_frame(f"{folder}/history.parquet", history)
    if start.features is not None:
        vectors = pl.Series(
            "vector", start.features, dtype=pl.Array(pl.Float32, start.features.shape[1])
        )
        store.put_frame(f"{folder}/features.parquet", pl.DataFrame({"vector": vectors}))
    store.put_json(f"{folder}/topics.json", list(start.catalog.topic_names))  # last: means done


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
        self.shown: list[Shown] = []
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
            if world.columns.t % PART_STEPS == 0 or world.columns.t == steps:
                self.write_part(world)
                if world.columns.t < steps:
                    self.save(world)
        series = pl.DataFrame(self.series).with_columns(pl.col("step").cast(pl.Int32))
        self.store.put_frame(f"{self.prefix}series/{self.place}.parquet", series)
        self.write_end(world)
        done: dict[str, object] = {"faults": self.faults(world).to_dict()}
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
        outcomes = only_lived(world.measures.outcomes(), world.columns)
        rows = world.measures.rows  # of a shard: its own people
        outcomes = outcomes.slice(rows.start, rows.stop - rows.start)
        self.store.put_frame(f"{self.prefix}outcomes/{self.place}.parquet", outcomes)
        if world.changes_catalog:
            name = f"{self.prefix}catalogs/{self.place}.parquet"
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
            return world
        self.restore(world, held)
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
        guard = guarded(arm.recommender, catalog, factories=self.factories)
        if arm.experiment is None or arm.control is None:
            return guard
        control = guarded(arm.control, catalog, factories=self.factories)
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
        name = f"state/{label_of(section)}/{world_name(self.index)}/initial.npz"
        studied = self.arm.kind in ("target", "frozen", "shuffled")
        if studied and key not in self.fits and self.store.exists(name):
            self.fits[key] = self.store.arrays(name)
        if key not in self.fits:
            self._first_fit(world, guard)
            self.fits[key] = guard.state()
            if self.fits[key] is None:
                self.saveable = False
                return
        state = self.fits[key]
        if state is None:  # cannot be saved: every arm fits for itself
            self.saveable = False
            self._first_fit(world, guard)
            return
        if studied and self.prefix == "" and not self.store.exists(name):
            self.store.put_arrays(name, state)
        faults = guard.faults
        fresh = self.fresh_guard()
        assert fresh is not None
        fresh.load_state({part: value.copy() for part, value in state.items()})
        fresh.faults = faults
        world.platform.recommender = fresh

    @staticmethod
    def _first_fit(world: World, guard: Served) -> None:
        start = world.columns
        guard.fit(start.past, start.catalog.public(), seed=fit_seed(start.seed))

    # -- what is recorded --------------------------------------------------------------------

    def _record(self, world: World) -> None:
        shown: Shown | None = world.shown
        assert shown is not None
        self.shown.append(shown)
        self.record_series(world)

    def record_series(self, world: World) -> None:
        """The measures of the step just lived."""
        now = world.measures.current
        self.series["step"].append(world.columns.t - 1)
        for name in now:
            self.series[name].append(now[name])

    def _frame(self, first_step: int) -> pl.DataFrame:
        """The event log of the steps shown since ``first_step``, one row a shown slot."""
        users = np.concatenate([s.users for s in self.shown])
        items = np.concatenate([s.items for s in self.shown])  # (rows, k)
        real = items >= 0
        step = first_step + np.arange(len(self.shown), dtype=np.int32)
        step = np.repeat(step, [len(s.users) for s in self.shown])
        slot = np.broadcast_to(np.arange(items.shape[1], dtype=np.int16), real.shape)
        clicked = np.concatenate([s.feedback.taken for s in self.shown])
        width = real.sum(axis=1)

        def column(name: str) -> pl.Series:
            nothing = np.full(items.shape[1], np.nan, np.float32)
            values = [
                np.broadcast_to(nothing, s.items.shape) if (v := getattr(s, name)) is None else v
                for s in self.shown
            ]
            return pl.Series(np.concatenate(values)[real].astype(np.float32)).fill_nan(None)

        alone = "oracle" if self.arm.kind == "oracle" else "organic"
        by = self.arm.recommender.name if self.arm.recommender is not None else alone
        shown_by = pl.repeat(by, int(width.sum()), dtype=pl.String, eager=True)
        if self.shown[0].from_friends is not None:
            friends = np.concatenate([s.from_friends for s in self.shown])[real]
            shown_by = pl.select(
                pl.when(pl.Series(friends)).then(pl.lit("friends")).otherwise(pl.lit(by))
            ).to_series()
        told = self.shown[0].feedback
        more: dict[str, pl.Series] = {}
        if told.rejected is not None:
            more["rejected"] = pl.Series(self._told("rejected")[real])
        if told.dwell_seconds is not None:
            more["dwell_seconds"] = pl.Series(self._told("dwell_seconds")[real]).fill_nan(None)
        return pl.DataFrame(
            {
                "step": np.repeat(step, width),
                "user": np.repeat(users, width),
                "position": slot[real],
                "item": items[real],
                "score": column("scores"),
                "propensity": column("propensities"),
                "shown_by": shown_by,
                "clicked": clicked[real],
                "value": pl.Series(self._value()[real]).fill_nan(None),
                **more,
            }
        )

    def _told(self, name: str) -> NDArray[Any]:
        return np.concatenate([getattr(s.feedback, name) for s in self.shown])

    def _value(self) -> NDArray[np.float32]:
        """(rows, k) the rating of what was taken, 1 where nobody rates, NaN elsewhere."""
        parts = []
        for one in self.shown:
            rating, taken = one.feedback.rating, one.feedback.taken
            value = np.where(taken, np.float32(1), np.float32(np.nan))
            rated = taken if rating is None else taken & np.isfinite(rating)
            parts.append(value if rating is None else np.where(rated, rating, value))
        return np.concatenate(parts)

    def _part(self, number: int, what: str = "events") -> str:
        return f"{self.prefix}{what}/{self.place}/part-{number:05d}.parquet"

    def write_part(self, world: World) -> None:
        number = (world.columns.t - 1) // PART_STEPS
        self.store.put_frame(self._part(number), self._frame(number * PART_STEPS))
        self.shown = []
        if world.persons is not None and world.persons.client is not None:
            self.store.put_frame(self._part(number, "talk"), world.persons.said())

    def remove_parts(self, first: int) -> None:
        for what in ("events", "talk"):
            for name in self.store.listing(f"{self.prefix}{what}/{self.place}/"):
                if int(name[-13:-8]) >= first:
                    self.store.remove(name)

    # -- checkpoints -------------------------------------------------------------------------

    def save(self, world: World) -> None:
        """Write a checkpoint, unless the recommender cannot be saved."""
        held = self.arrays_to_save(world)
        if held is not None:
            self.store.put_arrays(self.checkpoint, held)

    def arrays_to_save(self, world: World) -> Arrays | None:
        """Everything a checkpoint holds; None where the recommender cannot be saved."""
        guard = world.platform.recommender
        model: State | None = {}
        if guard is not None:
            model = guard.state() if self.saveable else None
        if model is None:
            return None
        platform, measures = world.platform, world.measures
        empty = np.empty(0, np.int64)
        held: Arrays = {
            "t": np.array(world.columns.t),
            "taste": world.columns.taste,
            "satiation": world.columns.satiation,
            "present": world.columns.present,
            "clicks_user": np.concatenate([empty, *platform.clicks_user]),
            "clicks_item": np.concatenate([empty, *platform.clicks_item]),
            "clicks_step": np.concatenate([empty, *platform.clicks_step]),
            "learnt_rows": np.array(platform.learnt_rows),
            "updates": np.array(platform.schedule.updates),
            **{f"rejections/{name}": rows for name, rows in platform.rejections.state().items()},
            **{
                f"items/{name}": rows
                for name, rows in to_arrays(world.columns, world.platform.n_first).items()
            },
            **{f"trait/{name}": column for name, column in world.columns.traits.items()},
            **{
                f"process/{process.key}/{name}": value
                for process in world.processes
                for name, value in process.state().items()
            },
            **{f"measure/{name}": value for name, value in measures.state().items()},
            **{f"series/{name}": np.array(values) for name, values in self.series.items()},
            **{f"model/{name}": np.asarray(value) for name, value in model.items()},
        }
        if guard is not None:
            held["known"] = guard.grown()
            tally = json.dumps(guard.faults.to_dict()).encode()
            held["faults"] = np.frombuffer(tally, dtype=np.uint8)
        return held

    def restore(self, world: World, held: Arrays) -> None:
        platform, measures = world.platform, world.measures
        world.columns.t = int(held["t"])
        world.restore_items(under(held, "items/"))
        world.columns.taste[:] = held["taste"]
        world.columns.satiation[:] = held["satiation"]
        world.columns.present[:] = held["present"]
        for name in list(world.columns.traits):
            world.columns.traits[name][...] = held[f"trait/{name}"]
        for process in world.processes:
            process.load_state(under(held, f"process/{process.key}/"))
        platform.restore(held["clicks_user"], held["clicks_item"], held["clicks_step"])
        platform.learnt_rows = int(held["learnt_rows"])
        platform.schedule.updates = int(held["updates"])
        platform.rejections.load_state(under(held, "rejections/"))
        measures.load_state(under(held, "measure/"))
        self.series = {name: value.tolist() for name, value in under(held, "series/").items()}
        guard = platform.recommender
        if guard is not None:
            platform.regrow(held["known"])
            guard.load_state(under(held, "model/"))
            guard.faults = Faults.from_dict(json.loads(held["faults"].tobytes()))
        self.remove_parts(world.columns.t // PART_STEPS)


def under(held: Arrays, prefix: str) -> Arrays:
    """The arrays whose name begins so, without the prefix."""
    return {name[len(prefix) :]: v for name, v in held.items() if name.startswith(prefix)}

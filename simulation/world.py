"""A world: people and a catalog with known truth, one seed, living one arm step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mesa
import numpy as np
from mesa.datacollection import DataCollector
from numpy.typing import NDArray

from ..recommenders.datasets.synthetic import Market, market
from ..recommenders.randomness import child_seed
from .arms import Arm
from .measures import SERIES, Measures, blocks_of
from .people.cohort import Cohort, prepare
from .people.columns import Columns
from .people.dialogue import dialogue_of
from .people.engine import engine_of
from .people.equations import recent_of, segment_of, segments
from .people.person import persons_of
from .platform.platform import Platform
from .platform.ratings import Rated, highest_rating, past_ratings
from .platform.showcase import Showcase
from .platform.shown import Shown as Shown
from .process import Process, as_seen, processes, series_of
from .society.staying import beginning
from .study import Study, WorldSection
from .study_file import study_from
from .supply.newcomers import NewItems, from_arrays

if TYPE_CHECKING:
    from .experiment import Served

COHORT_SIZE = 4096

_ORGANIC = Arm("none", "none", None)


class World(mesa.Model):
    """People and a catalog with known truth, under one arm.

    Without a recommender people browse by themselves (the organic arm). ``step()`` moves the world
    on by one step; ``datacollector`` holds the per-step measures of :data:`measures.SERIES`.

    Args:
        study: who lives where and how; the default synthetic one when None. Its seed is that of
            everything random; world ``index`` derives its own from it.
        index: which of the independent worlds this is.
        arm: the policy it lives under.
        recommender: serves the arm; already fitted on the world's past.
        cohorts: number of blocks people are handled in; changes nothing but memory.
        start: the people and items to start from, instead of those the study describes.
        people: (first, last) of those who are lived here, a shard; everybody when None. ``first``
            begins a block of [study] block people.
        popularity: (items,) consumptions of everybody before the loop, where ``start`` holds only
            those of a shard.
        made_of: makes the processes of the world.
    """

    def __init__(
        self,
        study: Study | None = None,
        *,
        index: int = 0,
        arm: Arm = _ORGANIC,
        recommender: Served | None = None,
        cohorts: int = 0,
        start: Market | None = None,
        people: tuple[int, int] | None = None,
        popularity: NDArray[np.int64] | None = None,
        made_of: Callable[[Study, World], tuple[Process, ...]] = processes,
    ) -> None:
        self.study = study or Study()
        self.index = index
        seed = self.study.study.seed
        world_seed = child_seed(seed, "world", index)
        super().__init__(rng=np.random.default_rng(world_seed))
        start = start or origin(self.study.world, seed, index)
        start = beginning(start, self.study.staying, seed=world_seed)
        n = len(start.users)
        self.segments = segments(self.study.people, self.study.users, start.learnt)
        self.columns = Columns.of(
            start,
            seed=world_seed,
            slate=self.study.people.slate,
            rows=self.study.people.rows,
            segment=segment_of(self.study.users, n, seed=world_seed),
            people=slice(*(people or (0, n))),
        )
        if any(segment.constants.persistence for segment in self.segments):
            self.columns.traits["recent"] = recent_of(
                self.segments, self.columns.segment, start.log, start.catalog.topics
            )
        prepare(self.columns, self.segments)
        self.people = people
        first, last = people or (0, n)
        self.columns.present[:first] = self.columns.present[last:] = False
        blocks = blocks_of(first, last, self.study.study.block)
        self.measures = Measures(self.columns, blocks, popularity=popularity)
        count = cohorts or max(1, -(-(last - first) // COHORT_SIZE))
        edges = np.linspace(first, last, count + 1).astype(int)
        self.cohorts = [
            Cohort(self, self.columns, self.segments, int(a), int(b))
            for a, b in pairwise(edges)
            if b > a
        ]
        repeat = self.study.people.repeat
        rated = self._rated(recommender, start)
        self.platform = Platform(
            self, self.columns, arm, recommender, blocks, repeat=repeat, rated=rated
        )
        supply = self.study.supply
        if supply is not None and supply.fresh_slots:
            self.platform.showcase = Showcase(supply.fresh_slots, supply.fresh_steps)
        self.persons = persons_of(self, self.study.chat)
        alive = () if self.persons is None else (self.persons,)
        self.platform.dialogue = dialogue_of(self)
        talk = () if self.platform.dialogue is None else (self.platform.dialogue,)
        self.processes: tuple[Process, ...] = (*alive, *talk, *made_of(self.study, self))
        self.engine = engine_of(self)
        self.shown: Shown | None = None
        names = (*SERIES, *series_of(self.processes))
        self.datacollector = DataCollector(
            model_reporters={name: [_reported, [self, name]] for name in names}
        )

    def _rated(self, recommender: Served | None, start: Market) -> Rated | None:
        """What people rate, where it is learnt from."""
        highest = highest_rating(self.segments)
        if recommender is None or not recommender.capabilities.ratings or highest == 0:
            return None

        def of_past() -> NDArray[np.float32]:
            whole = start  # of a shard and of its driver only some people's tastes
            if self.people is not None:
                whole = origin(self.study.world, self.study.study.seed, self.index)
            now = self.columns
            return past_ratings(whole, now.past, self.segments, now.segment, seed=now.seed)

        return Rated(highest, of_past)

    @classmethod
    def synthetic(
        cls, *, users: int = 300, items: int = 400, topics: int = 12, seed: int = 7, **more: object
    ) -> World:
        """A world from the synthetic market.

        Args:
            users, items, topics: sizes.
            seed: everything random derives from it.
            more: other keys of study.toml's [world], e.g. ``unequal_base_rates=True``.

        >>> World.synthetic(users=50, items=40, topics=4, seed=1)
        World(synthetic, 50 users, 40 items, 4 topics, seed 1)
        """
        raw = {"kind": "synthetic", "users": users, "items": items, "topics": topics, **more}
        return cls(study_from({"world": raw, "study": {"seed": seed}}, source="World.synthetic"))

    @classmethod
    def fit(
        cls,
        dataset: str,
        *,
        folder: str = "",
        columns: Mapping[str, str] | None = None,
        users: int | None = None,
        seed: int = 7,
        **more: object,
    ) -> World:
        """A world whose people, tastes, activity and popularity come from data.

        Args:
            dataset: a named data set (``loopaudit list datasets``), or a CSV or Parquet file.
            folder: where the files are, if not in the cache.
            columns: column map of a CSV or Parquet file.
            users: people drawn from the data for each world; 300 when None.
            seed: everything random derives from it.
            more: other keys of study.toml's [world]: ``dim=16`` for tastes along latent factors
                instead of topics, ``learn=["persistence", "drift"]`` for what the data tell of how
                people change.
        """
        raw = {
            "kind": "dataset",
            "dataset": dataset,
            "folder": folder,
            "columns": dict(columns or {}),
            **({} if users is None else {"users": users}),
            **more,
        }
        return cls(study_from({"world": raw, "study": {"seed": seed}}, source="World.fit"))

    def __repr__(self) -> str:
        kind = self.study.world.dataset or "synthetic"
        items, topics = self.columns.topics.shape
        return (
            f"World({kind}, {len(self.columns.users)} users, {items} items, {topics} topics, "
            f"seed {self.study.study.seed})"
        )

    @property
    def changes_catalog(self) -> bool:
        """Whether items entered or left."""
        now = self.columns
        return len(now.catalog) > self.platform.n_first or not bool(now.available.all())

    def add_items(self, new: NewItems) -> None:
        """Items enter the catalog, for everybody: people, measures, platform.

        Args:
            new: see newcomers.like, which makes them.

        Raises:
            UserError: an id that the catalog holds already.
        """
        self.columns.add_items(new)
        self.measures.add_items(len(new.catalog))
        self.platform.add_items()

    def withdraw(self, items: NDArray[np.integer]) -> None:
        """These items are not shown or found any more; histories keep them."""
        self.columns.available[items] = False
        self.platform.withdraw()

    def restore_items(self, held: Mapping[str, NDArray[Any]]) -> None:
        """The catalog as it was at a checkpoint; the recommender's part comes with its state."""
        new = from_arrays(self.columns, dict(held))
        if new is not None:
            self.columns.add_items(new)
            self.measures.add_items(len(new.catalog))
        self.columns.available[:] = held["available"]

    def step(self) -> None:
        """Serve, choose, change, log, learn; then collect the measures of the step."""
        now = self.columns
        for process in self.processes:
            process.before(self)
        users = self.engine.active()
        slates, friends = as_seen(self.processes, self, users, self.platform.serve(users))
        shown = self.engine.live(users, slates, ordered=not self.platform.organic)
        self.shown = shown = shown if friends is None else replace(shown, from_friends=friends)
        for process in self.processes:
            process.after(self, shown)
        self.platform.record(shown)
        self.platform.learn()
        self.engine.settle()
        self.measures.after_change(retrained=self.platform.retrained)
        self.measures.current.update(series_of(self.processes))
        now.t += 1
        self.datacollector.collect(self)


def _reported(world: World, name: str) -> float:
    """A model reporter. It reads what the engine summed while it passed over everybody's columns:
    a reporter that computed a measure of the population anew would cost a pass each."""
    return world.measures.current[name]


@lru_cache(maxsize=4)
def _origin_cached(section_json: str, seed: int, index: int, _: tuple[object, ...]) -> Market:
    section = WorldSection.model_validate_json(section_json)
    if section.kind == "dataset":
        from .fitting.fit import fitted_market

        return fitted_market(section, seed, index)
    return market(
        users=section.users,
        items=section.items,
        topics=section.topics,
        dim=section.dim,
        history=section.history,
        unequal_base_rates=section.unequal_base_rates,
        seed=child_seed(seed, "market", index),
    )


def forget_origins() -> None:
    """Let go of the markets that were drawn; who asks for one again draws it again."""
    _origin_cached.cache_clear()


def origin(section: WorldSection, seed: int, index: int) -> Market:
    """The population and catalog world ``index`` starts from; the same for all its arms."""
    stamp: tuple[object, ...] = ()
    if section.kind == "dataset":
        from .fitting.fit import data_stamp

        stamp = data_stamp(section)
    return _origin_cached(section.model_dump_json(), seed, index, stamp)

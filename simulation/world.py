"""A world: people and a catalog with known truth, one seed, living one arm step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import mesa
import numpy as np
from mesa.datacollection import DataCollector
from numpy.typing import NDArray

from ..recommenders.border import NOTHING
from ..recommenders.datasets.synthetic import Market, market
from ..recommenders.randomness import child_seed
from .arms import Arm
from .cohort import Cohort
from .columns import Columns
from .measures import SERIES, Measures
from .people import affinity, user_model
from .platform import Platform
from .study import PeopleSection, WorldSection
from .study_file import study_from

if TYPE_CHECKING:
    from ..recommenders.guard import Guard

COHORT_SIZE = 4096

_ORGANIC = Arm("none", "none", None)


class World(mesa.Model):
    """People and a catalog with known truth, under one arm.

    Without a recommender people browse by themselves (the organic arm). ``step()`` moves the world
    on by one step; ``datacollector`` holds the per-step measures of :data:`measures.SERIES`.

    Args:
        section: the kind and size of the world.
        people: how people choose and change.
        seed: study seed; world ``index`` derives its own from it.
        index: which of the independent worlds this is.
        arm: the policy it lives under.
        recommender: serves the arm; already fitted on ``past``.
        cohorts: number of blocks people are handled in; changes nothing but memory.
        start: the people and items to start from, instead of those the section describes.
    """

    def __init__(
        self,
        section: WorldSection | None = None,
        people: PeopleSection | None = None,
        *,
        seed: int = 7,
        index: int = 0,
        arm: Arm = _ORGANIC,
        recommender: Guard | None = None,
        cohorts: int = 0,
        start: Market | None = None,
    ) -> None:
        self.study_seed = seed
        self.index = index
        self.section = section or WorldSection()
        self.people_section = people or PeopleSection()
        world_seed = child_seed(seed, "world", index)
        super().__init__(rng=np.random.default_rng(world_seed))
        start = start or origin(self.section, seed, index)
        self.columns = Columns.of(start, seed=world_seed, slate=self.people_section.slate)
        self.user_model = user_model(self.people_section)
        self.measures = Measures(self.columns)
        n = len(start.users)
        blocks = cohorts or max(1, -(-n // COHORT_SIZE))
        edges = np.linspace(0, n, blocks + 1).astype(int)
        self.cohorts = [
            Cohort(self, self.columns, int(a), int(b)) for a, b in pairwise(edges) if b > a
        ]
        self.platform = Platform(self, self.columns, arm, recommender)
        self.shown: Shown | None = None
        self.datacollector = DataCollector(
            model_reporters={name: [_reported, [self, name]] for name in SERIES}
        )

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
        return cls(study_from({"world": raw}, source="World.synthetic").world, seed=seed)

    @classmethod
    def fit(
        cls,
        dataset: str,
        *,
        folder: str = "",
        columns: Mapping[str, str] | None = None,
        users: int | None = None,
        seed: int = 7,
    ) -> World:
        """A world whose people, tastes, activity and popularity come from data.

        Args:
            dataset: "ml-100k", "ml-1m", or a CSV or Parquet file.
            folder: where the files are, if not in the cache.
            columns: column map of a CSV or Parquet file.
            users: people drawn from the data for each world; 300 when None.
            seed: everything random derives from it.
        """
        raw = {
            "kind": "dataset",
            "dataset": dataset,
            "folder": folder,
            "columns": dict(columns or {}),
            **({} if users is None else {"users": users}),
        }
        return cls(study_from({"world": raw}, source="World.fit").world, seed=seed)

    def __repr__(self) -> str:
        kind = self.section.dataset or "synthetic"
        items, topics = self.columns.topics.shape
        return (
            f"World({kind}, {len(self.columns.users)} users, {items} items, {topics} topics, "
            f"seed {self.study_seed})"
        )

    def step(self) -> None:
        """Serve, choose, change, log, learn; then collect the measures of the step."""
        now = self.columns
        users = now.active()
        slates = self.platform.serve(users)
        items = slates.items
        ordered = not self.platform.organic
        position = np.full(len(users), NOTHING, dtype=np.int64)
        for cohort in self.cohorts:
            mine = cohort.mine(users)
            position[mine] = cohort.choose(
                self.user_model, users[mine], items[mine], ordered=ordered
            )
        chosen = items[np.arange(len(users)), np.maximum(position, 0)]
        clicked = np.where(position >= 0, chosen, np.int32(NOTHING)).astype(np.int32)
        match = affinity(now.taste[users], now.topics, items)
        self.shown = Shown(users, items, slates.scores, slates.propensities, position)
        self.measures.before_change(users, items, position, clicked, match)
        for cohort in self.cohorts:
            mine = cohort.mine(users)
            cohort.change(self.user_model, users[mine], items[mine], clicked[mine])
        took = clicked >= 0
        self.platform.record(users[took], clicked[took])
        self.platform.learn()
        self.measures.after_change(retrained=self.platform.retrained)
        now.t += 1
        self.datacollector.collect(self)


@dataclass(frozen=True)
class Shown:
    """What one step showed and what was taken of it: the raw material of the event log."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    scores: NDArray[np.float32] | None
    propensities: NDArray[np.float32] | None
    position: NDArray[np.int64]


def _reported(world: World, name: str) -> float:
    return world.measures.current[name]


@lru_cache(maxsize=4)
def _origin_cached(section_json: str, seed: int, index: int) -> Market:
    section = WorldSection.model_validate_json(section_json)
    if section.kind == "dataset":
        from .fit import fitted_market

        return fitted_market(section, seed, index)
    return market(
        users=section.users,
        items=section.items,
        topics=section.topics,
        history=section.history,
        unequal_base_rates=section.unequal_base_rates,
        seed=child_seed(seed, "market", index),
    )


def origin(section: WorldSection, seed: int, index: int) -> Market:
    """The population and catalog world ``index`` starts from; the same for all its arms."""
    return _origin_cached(section.model_dump_json(), seed, index)

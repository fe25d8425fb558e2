"""The state of a simulated population: columns that cohorts, platform and measures share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.catalog import Catalog
from ...recommenders.datasets.dataset import UserTable
from ...recommenders.datasets.synthetic import Market
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import stream, uniform
from ..supply.newcomers import NewItems
from .drift import Space


@dataclass
class Columns:
    """People and items as arrays.

    ``taste``, ``satiation``, ``present``, ``traits`` and ``t`` change from step to step; the
    columns of items are replaced by longer ones when items enter the catalog.

    Attributes:
        seed: of this world; luck: key of its choice noise.
        catalog, users, past: items, labels, and what was consumed before the loop.
        topics: (items, topics); quality, awareness: (items,); see datasets.synthetic.Market.
        features: (items, d) what tastes are matched with: the topics, or unit vectors.
        space: where tastes live, see drift.Space.
        segment: (users,) which kind of people each belongs to.
        present: (users,) whether a person is in the world: arrived, and has not left. In a shard
            nobody else is. there: (users,) the same of everybody of whom it is known here.
        traits: further columns of people by name (opinion, satisfaction, ...), owned by processes
            and laws; in every checkpoint.
        born: (items,) the step at which each entered, 0 for those that were there.
        available: (items,) which may be shown and found.
        activity: (users,) chance of being there in a step.
        taste_scale: utility of a perfect match, in logits.
        initial_taste, taste: (users, d), rows sum to 1 or have length 1.
        satiation: (users, topics).
        slate: slots in a slate; rows: how many rows they are arranged in.
        t: steps lived.
    """

    seed: int
    luck: np.uint64
    catalog: Catalog
    users: UserTable
    past: Interactions
    topics: NDArray[np.float32]
    features: NDArray[np.float32]
    space: Space
    segment: NDArray[np.int8]
    present: NDArray[np.bool_]
    there: NDArray[np.bool_]
    quality: NDArray[np.float32]
    awareness: NDArray[np.float32]
    born: NDArray[np.int32]
    available: NDArray[np.bool_]
    activity: NDArray[np.float32]
    taste_scale: float
    initial_taste: NDArray[np.float32]
    taste: NDArray[np.float32]
    satiation: NDArray[np.float32]
    slate: int
    rows: int = 1
    t: int = 0
    traits: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        start: Market,
        *,
        seed: int,
        slate: int,
        rows: int = 1,
        segment: NDArray[np.int8] | None = None,
        people: slice = slice(None),
    ) -> Columns:
        """The state a world starts from; columns of all but ``people`` are not written."""
        n = len(start.users)
        quality = start.catalog.quality
        taste, topics = _plain(start.taste), _plain(start.catalog.topics)
        moving = np.zeros(taste.shape, taste.dtype)
        moving[people] = taste[people]
        return cls(
            seed=seed,
            luck=stream(seed, "choice"),
            catalog=start.catalog,
            users=start.users,
            past=start.log,
            topics=topics,
            features=topics if start.features is None else _plain(start.features),
            space="topics" if start.features is None else "vectors",
            segment=np.zeros(n, np.int8) if segment is None else segment,
            present=np.ones(n, np.bool_),
            there=np.ones(n, np.bool_),
            quality=np.zeros(len(topics), np.float32) if quality is None else _plain(quality),
            awareness=start.awareness,
            born=np.zeros(len(start.catalog), np.int32),
            available=np.ones(len(start.catalog), np.bool_),
            activity=_plain(start.activity),
            taste_scale=start.taste_scale,
            initial_taste=taste,
            taste=moving,
            satiation=np.zeros((n, topics.shape[1]), np.float32),
            slate=slate,
            rows=rows,
        )

    def add_items(self, new: NewItems) -> None:
        """Items enter at the end; what was there keeps its index. Replaces the items' columns."""

        def longer(name: str, rows: NDArray[Any]) -> None:
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, rows.astype(old.dtype)]))

        n = len(new.catalog)
        self.catalog = self.catalog.then(new.catalog)
        one_array = self.features is self.topics
        longer("topics", new.catalog.topics)
        if one_array:
            self.features = self.topics
        else:
            longer("features", new.features)
        longer("quality", new.quality)
        longer("awareness", new.awareness)
        longer("born", np.full(n, self.t) if new.born is None else new.born)
        longer("available", np.ones(n))

    def active(self) -> NDArray[np.int32]:
        """Who is there in this step: the same people in every arm."""
        everyone = np.arange(len(self.activity), dtype=np.int32)
        draw = uniform(stream(self.seed, "activity"), self.t, everyone)
        return everyone[self.present & (draw < self.activity)]


def _plain(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows one after the other and free to be written: the one layout compiled code is made for."""
    return np.require(array, np.float32, ["C", "W"])

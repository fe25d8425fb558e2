"""The state of a simulated population: columns that cohorts, platform and measures share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..recommenders.catalog import Catalog
from ..recommenders.datasets.dataset import UserTable
from ..recommenders.datasets.synthetic import Market
from ..recommenders.interactions import Interactions
from ..recommenders.randomness import stream, uniform


@dataclass
class Columns:
    """People and items as arrays; only ``taste``, ``satiation`` and ``t`` change.

    Attributes:
        seed: of this world; luck: key of its choice noise.
        catalog, users, past: items, labels, and what was consumed before the loop.
        topics: (items, topics); quality, awareness: (items,); see datasets.synthetic.Market.
        activity: (users,) chance of being there in a step.
        taste_scale: utility of a perfect match, in logits.
        initial_taste, taste: (users, topics), rows sum to 1.
        satiation: (users, topics).
        slate: slots in a slate.
        t: steps lived.
    """

    seed: int
    luck: np.uint64
    catalog: Catalog
    users: UserTable
    past: Interactions
    topics: NDArray[np.float32]
    quality: NDArray[np.float32]
    awareness: NDArray[np.float32]
    activity: NDArray[np.float32]
    taste_scale: float
    initial_taste: NDArray[np.float32]
    taste: NDArray[np.float32]
    satiation: NDArray[np.float32]
    slate: int
    t: int = 0

    @classmethod
    def of(cls, start: Market, *, seed: int, slate: int) -> Columns:
        """The state a world starts from."""
        quality = start.catalog.quality
        return cls(
            seed=seed,
            luck=stream(seed, "choice"),
            catalog=start.catalog,
            users=start.users,
            past=start.log,
            topics=start.catalog.topics,
            quality=np.zeros(len(start.catalog), np.float32) if quality is None else quality,
            awareness=start.awareness,
            activity=start.activity,
            taste_scale=start.taste_scale,
            initial_taste=start.taste,
            taste=start.taste.copy(),
            satiation=np.zeros_like(start.taste),
            slate=slate,
        )

    def active(self) -> NDArray[np.int32]:
        """Who is there in this step: the same people in every arm."""
        everyone = np.arange(len(self.activity), dtype=np.int32)
        draw = uniform(stream(self.seed, "activity"), self.t, everyone)
        return everyone[draw < self.activity]

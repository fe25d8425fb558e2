"""Slots that a platform keeps for what is new, so that items nobody consumed can be consumed.

A recommender that learns from clicks alone has nothing to say of an item without any. Platforms
therefore interleave some new items by chance, whoever ranks the rest (T-RECS does so in its loop).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..recommenders.border import NOTHING, Slates
from ..recommenders.interactions import Ragged
from ..recommenders.randomness import stream, uniform
from .columns import Columns


@dataclass(frozen=True)
class Showcase:
    """The last ``slots`` of a slate, filled by items that entered less than ``steps`` steps ago.

    They are drawn uniformly, without replacement, from those that the person has not met and the
    other slots do not hold; where there are fewer, the recommender's own stay.
    """

    slots: int
    steps: int

    def placed(self, now: Columns, users: np.ndarray, hidden: Ragged, slates: Slates) -> Slates:
        """Slates with the new items in them.

        Args:
            now: the world; users: (n,) who is served; hidden: n rows of what must not be shown.
            slates: of the recommender; a new item has no score and the propensity 1 / (number of
                items it was drawn from), as every slot of a uniform draw.
        """
        young = (now.born > 0) & (now.t - now.born < self.steps) & now.available
        fresh = np.flatnonzero(young).astype(np.int32)
        n, k = slates.items.shape
        n_slots = min(self.slots, k, len(fresh))
        if n == 0 or n_slots == 0:
            return slates
        luck = uniform(stream(now.seed, "new items"), now.t, users[:, None], fresh[None, :])
        luck[hidden.contains(np.tile(fresh, (n, 1)), len(now.catalog))] = np.inf
        for slot in range(k - n_slots):
            luck[slates.items[:, slot, None] == fresh] = np.inf
        left = np.isfinite(luck).sum(axis=1)
        best = np.argsort(luck, axis=1, kind="stable")[:, :n_slots]
        found = np.isfinite(np.take_along_axis(luck, best, axis=1))  # (n, slots), True first
        picked = np.where(found, fresh[best], np.int32(NOTHING))
        items = slates.items.copy()
        own = items[:, k - n_slots :]  # stays where too few are new, unless it was picked itself
        again = (own[:, :, None] == picked[:, None, :]).any(axis=2)
        items[:, k - n_slots :] = np.where(found, picked, np.where(again, NOTHING, own))
        scores, chances = slates.scores, slates.propensities
        if scores is not None:
            scores = scores.copy()
            scores[:, k - n_slots :][found] = np.nan
        if chances is not None:
            chances = chances.copy()
            each = np.broadcast_to((1.0 / np.maximum(left, 1))[:, None], found.shape)
            chances[:, k - n_slots :][found] = each[found]
        return replace(slates, items=items, scores=scores, propensities=chances)

"""Slots that a platform keeps for what is new, so that items nobody consumed can be consumed.

A recommender that learns from clicks alone has nothing to say of an item without any. Platforms
therefore interleave some new items by chance, whoever ranks the rest (T-RECS does so in its loop).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...recommenders.border import NOTHING, Slates
from ...recommenders.interactions import Ragged
from ...recommenders.randomness import stream, uniform
from ..people.columns import Columns
from .slates import as_table, as_words, rearranged


@dataclass(frozen=True)
class Showcase:
    """The last ``slots`` of a slate, filled by items that entered less than ``steps`` steps ago.

    They are drawn uniformly, without replacement, from those that the person has not met and the
    other slots do not hold; where there are fewer, the recommender's own stay.
    """

    slots: int
    steps: int

    def in_pages(self, now: Columns, users: np.ndarray, hidden: Ragged, made: Slates) -> Slates:
        """Lists with new items in the last slots of each whole page, the first pages first.

        Args:
            now, users, hidden: as for :meth:`placed`; made: lists that slates are pages of.
        """
        column = np.arange(made.items.shape[1])
        page = column // now.slate
        last = (column % now.slate >= now.slate - self.slots) & (page < len(column) // now.slate)
        last |= len(column) <= now.slate  # a catalog smaller than a slate
        order = np.argsort(np.where(last, 1 + page.max(initial=0) - page, 0), kind="stable")
        whole = replace(self, slots=min(int(last.sum()), self.slots * (1 + int(page.max()))))
        slates = whole.placed(now, users, hidden, rearranged(made, order))
        slates = rearranged(slates, np.argsort(order))
        gaps = np.argsort(slates.items == NOTHING, axis=1, kind="stable")
        return rearranged(slates, gaps)

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
        text = slates.text
        if text is not None and slates.structure != "page":  # nobody explained what is new
            table = as_table(text, items.shape)
            table[:, k - n_slots :][found] = None
            text = as_words(table)
        return replace(slates, items=items, scores=scores, propensities=chances, text=text)

"""The most interacted-with items for everybody: the baseline that is hard to beat by accident."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..interactions import Interactions
from ..ranking import recommend_best


class Popularity:
    """Ranks items by their number of interactions so far.

    Of two items with the same count the one that entered the catalog later (higher index) ranks
    first: it came as far in less time. Scores are ranks, so that ties cannot be broken otherwise
    further on.
    """

    name = "popularity"
    capabilities = Capabilities(
        history="none", scores="ordinal", inputs=frozenset(), update="incremental"
    )

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # (items,)

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Counts the log."""
        self.counts = np.bincount(log.item, minlength=len(catalog)).astype(np.int64)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Adds the rows from ``since``; equal to counting the whole log again."""
        self.counts = self.counts + np.bincount(log.item[since:], minlength=len(self.counts))

    def add_items(self, catalog: Catalog) -> None:
        """New items start at zero."""
        self.counts = np.pad(self.counts, (0, len(catalog) - len(self.counts)))

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) rank from the least popular, 0, upwards; the same row for everybody."""
        row = np.empty(len(self.counts), np.float32)
        row[np.argsort(self.counts, kind="stable")] = np.arange(len(row))
        return np.broadcast_to(row, (len(requests), len(row))).copy()

    def recommend(self, requests: Requests) -> Slates:
        """The k most popular items."""
        return recommend_best(self.score, requests, len(self.counts))

    def state(self) -> State:
        """The counts."""
        return {"counts": self.counts}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.counts = np.array(state["counts"], dtype=np.int64)

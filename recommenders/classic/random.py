"""Uniformly random items: the exposure every other recommender is compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..border import NOTHING, Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..interactions import Interactions
from ..ranking import blocks


class Random:
    """Shows each person a uniform draw, without replacement, from what they have not met.

    Luck comes only from the requests and is keyed by (seed, step, user, item), so the same person
    gets the same slate in whatever batch the request travels.

    Args:
        seed: mixed into the requests' own seed, for A/A tests of two equal recommenders.
        repeat: may also show what stands in the history already.
    """

    name = "random"
    capabilities = Capabilities(
        history="none", stochastic=True, inputs=frozenset({"user_id"}), update="none"
    )

    def __init__(self, *, seed: int = 0, repeat: bool = False) -> None:
        self.seed = seed
        self.repeat = repeat
        self.n_items = 0
        self._gone = np.zeros(0, np.int64)  # items that may not be shown

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Remembers how many items there are; nothing is learned."""
        self.n_items = len(catalog)

    def add_items(self, catalog: Catalog) -> None:
        """From now on draws from the larger catalog."""
        self.n_items = len(catalog)

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """From now on draws from these items only, so that its propensities stay exact."""
        self._gone = np.flatnonzero(~available)

    def recommend(self, requests: Requests) -> Slates:
        """Slates with exact propensities: each of the m items left has chance 1/m in every slot."""
        shape = (len(requests), requests.k)
        items = np.full(shape, NOTHING, dtype=np.int32)
        propensities = np.zeros(shape, dtype=np.float32)
        for rows in blocks(len(requests), self.n_items):
            items[rows], propensities[rows] = self._draw(requests.take(rows))
        return Slates(items, propensities=propensities)

    def _draw(self, requests: Requests) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        purpose = f"random/{self.seed}" if self.seed else "random"
        draws = requests.uniform(purpose, np.arange(self.n_items))  # (n, items)
        if not self.repeat:
            draws[requests.history.row_index, requests.history.values] = np.inf
        draws[:, self._gone[self._gone < self.n_items]] = np.inf
        kept = min(requests.k, self.n_items)
        best = np.arange(self.n_items)[None, :].repeat(len(requests), axis=0)
        if 0 < kept < self.n_items:
            best = np.argpartition(draws, kept - 1, axis=1)[:, :kept]
        drawn = np.take_along_axis(draws, best, axis=1)
        order = np.argsort(drawn, axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        drawn = np.take_along_axis(drawn, order, axis=1)

        items = np.full((len(requests), requests.k), NOTHING, dtype=np.int32)
        items[:, :kept] = np.where(np.isfinite(drawn), best, NOTHING)
        left = np.isfinite(draws).sum(axis=1, keepdims=True)  # (n, 1)
        return items, np.where(items >= 0, 1.0 / np.maximum(left, 1), 0.0).astype(np.float32)

    def state(self) -> State:
        """The number of items."""
        return {"n_items": np.array(self.n_items)}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.n_items = int(state["n_items"])

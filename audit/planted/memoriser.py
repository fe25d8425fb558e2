"""Remembers training rows: a privacy leak of known size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import Capabilities, Progress, Requests, Slates, State
from ...recommenders.catalog import Catalog
from ...recommenders.interactions import Interactions
from ...recommenders.ranking import recommend_best

BOOST = 10.0
"""How far above everything else a remembered item scores."""


class Memoriser:
    """Random scores, but an interaction it was trained on is pushed up with probability ``q``.

    Without the boost it knows nothing, so an attack's true-positive rate is about ``q`` at any
    small false-positive rate, and its ROC-AUC about ``(1 + q) / 2``.

    Args:
        q: the dose.
    """

    name = "memoriser"
    capabilities = Capabilities(
        history="trained_users_only",
        scores="ordinal",
        stochastic=True,
        inputs=frozenset({"user_id"}),
    )

    def __init__(self, *, q: float = 0.3) -> None:
        self.q = q
        self.n_items = 0
        self.user = np.empty(0, np.int32)
        self.item = np.empty(0, np.int32)

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Remembers every row."""
        self.n_items = len(catalog)
        self.user, self.item = log.user.copy(), log.item.copy()

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) random scores, remembered items of the person pushed up."""
        scores = requests.uniform("guess", self.n_items)
        recalled = requests.uniform("recall", self.n_items) < self.q
        known = np.sort(self.user.astype(np.int64) * self.n_items + self.item)
        asked = requests.users.astype(np.int64)[:, None] * self.n_items + np.arange(self.n_items)
        spot = np.minimum(np.searchsorted(known, asked), max(len(known) - 1, 0))
        trained = known[spot] == asked if len(known) else np.zeros(asked.shape, dtype=bool)
        scores = scores + BOOST * (trained & recalled)
        return scores.astype(np.float32)

    def recommend(self, requests: Requests) -> Slates:
        """The k best by score."""
        return recommend_best(self.score, requests, self.n_items)

    def state(self) -> State:
        """Every row it remembers."""
        return {"n_items": np.array(self.n_items), "user": self.user, "item": self.item}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.n_items = int(state["n_items"])
        self.user = np.array(state["user"], dtype=np.int32)
        self.item = np.array(state["item"], dtype=np.int32)

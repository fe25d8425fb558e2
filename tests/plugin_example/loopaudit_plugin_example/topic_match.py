"""Recommends items whose topics are those of the history, well-known ones first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopaudit.recommenders.border import Capabilities, Progress, Requests, Slates, State
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.interactions import Interactions
from loopaudit.recommenders.ranking import recommend_best


class TopicMatch:
    """Scores an item by the share of its topics in the history, and a little by its popularity.

    Args:
        popularity: weight of the logarithm of the number of interactions.
    """

    name = "topic-match"
    capabilities = Capabilities(history="any", scores="ordinal", update="refit")

    def __init__(self, *, popularity: float = 0.1) -> None:
        self.popularity = popularity
        self._topics = np.empty((0, 0), np.float32)
        self._known = np.empty(0, np.float32)

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self._topics = catalog.topics.copy()
        self._known = self.popularity * np.log1p(log.popularity()).astype(np.float32)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        taken = requests.history.to_csr(len(self._topics)).astype(np.float32)
        profile = np.asarray(taken @ self._topics)  # (n, topics)
        profile /= np.maximum(profile.sum(axis=1, keepdims=True), 1.0)
        return profile @ self._topics.T + self._known  # (n, items)

    def recommend(self, requests: Requests) -> Slates:
        return recommend_best(self.score, requests, len(self._topics))

    def state(self) -> State:
        return {"topics": self._topics, "known": self._known}

    def load_state(self, state: State) -> None:
        self._topics = state["topics"].astype(np.float32)
        self._known = state["known"].astype(np.float32)

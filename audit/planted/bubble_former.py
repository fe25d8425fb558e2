"""Shows people ever more of what they clicked: a filter bubble of known strength."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...recommenders.border import Capabilities, Progress, Requests, Slates, State
from ...recommenders.catalog import Catalog
from ...recommenders.interactions import Interactions
from ...recommenders.ranking import recommend_best


class BubbleFormer:
    """Each slot's topic is drawn in proportion to ``clicks ** beta``, the item uniformly within it.

    Only clicks since the recommender was fitted count, so it starts without an opinion and all of
    its narrowing is made by the loop. Drawn without replacement as a Gumbel top-k of
    ``beta log(clicks + smoothing) - log(items of the topic)`` (Kool et al. 2019). ``beta = 0``
    ignores people, 1 mirrors them (an urn), more than 1 locks in what came first.

    Args:
        beta: the dose.
        smoothing: added to the clicks of every topic: the larger, the later the bubble closes.
    """

    name = "bubble-former"
    capabilities = Capabilities(
        history="trained_users_only",  # it has to know where their past ended
        stochastic=True,
        inputs=frozenset({"history", "user_id"}),
    )

    def __init__(self, *, beta: float = 2.5, smoothing: float = 2.0) -> None:
        self.beta = beta
        self.smoothing = smoothing
        self.topics: NDArray[np.float32] = np.zeros((0, 0), np.float32)  # (items, topics)
        self.past = np.zeros(0, np.int64)  # (users,) length of each history when fitted

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Notes where histories end today; what is clicked later arrives with each request."""
        self.past = np.bincount(log.user, minlength=log.n_users)
        self.topics = np.ascontiguousarray(catalog.topics, dtype=np.float32)

    def recommend(self, requests: Requests) -> Slates:
        """Slates drawn anew in every step."""
        return recommend_best(self._keys, requests, len(self.topics))

    def _keys(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) Gumbel keys; items of the history never come back."""
        history = requests.history
        known = (requests.users >= 0) & (requests.users < len(self.past))
        past = np.where(known, self.past[np.where(known, requests.users, 0)], 0)
        place = np.arange(len(history.values)) - np.repeat(history.offsets[:-1], history.lengths)
        new = place >= past[history.row_index]
        pairs = (history.row_index[new], history.values[new])
        shape = (len(requests), len(self.topics))
        taken = sp.csr_matrix((np.ones(int(new.sum())), pairs), shape=shape)
        clicks = taken @ self.topics + self.smoothing  # (n, topics)
        main = self.topics.argmax(axis=1)
        within = np.bincount(main, minlength=self.topics.shape[1])
        log_weight = self.beta * np.log(clicks)[:, main] - np.log(within[main])
        draw = requests.uniform("bubble", len(self.topics))
        keys: NDArray[np.float32] = (log_weight - np.log(-np.log(draw))).astype(np.float32)
        keys[requests.history.row_index, requests.history.values] = -np.inf
        return keys

    def state(self) -> State:
        """The topics of the items and where histories ended."""
        return {"topics": self.topics, "past": self.past}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.topics = np.array(state["topics"], dtype=np.float32)
        self.past = np.array(state["past"], dtype=np.int64)

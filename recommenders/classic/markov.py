"""What comes after what: weighted transition counts, the baseline for sequence models.

Higher-order Markov counting in the sense of C. He & J. McAuley, "Fusing Similarity Models with
Markov Chains", ICDM 2016, without the factorisation: 20 lines that match much of the published
generative work on the usual data.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..interactions import Interactions, Ragged
from ..ranking import recommend_best

_BACK_OFF = 1e-3
"""Weight of the popularity share: breaks ties and answers empty histories, never outvotes a count
(the smallest is decay^(back - 1) / lags, .08 at the defaults)."""


class Markov:
    """Scores an item by how often it followed the person's latest items.

    Transitions i -> j at lag l count 1 / l for l = 1..lags; the last ``back`` items of a history
    vote with weights 1, decay, decay^2, ... from newest to oldest. Repeats vote each time.

    Args:
        lags: how far apart two items of one person may stand to count as a transition.
        back: how many of the latest items vote.
        decay: weight of each item relative to the next newer one, in (0, 1].
    """

    name = "markov"
    capabilities = Capabilities(history="any", scores="ordinal", update="refit")

    def __init__(self, *, lags: int = 3, back: int = 5, decay: float = 0.7) -> None:
        self.lags = lags
        self.back = back
        self.decay = decay
        self.transitions = sp.csr_matrix((0, 0), dtype=np.float32)  # (items, items)
        self.share: NDArray[np.float32] = np.zeros(0, dtype=np.float32)  # (items,)

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Counts transitions; exact, so the seed changes nothing."""
        self._count(log, len(catalog))

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Counts the whole log again."""
        self._count(log, len(self.share))

    def _count(self, log: Interactions, n_items: int) -> None:
        histories = log.histories()
        item, owner = histories.values, histories.row_index
        total = sp.csr_matrix((n_items, n_items), dtype=np.float64)
        for lag in range(1, self.lags + 1):
            same = owner[lag:] == owner[:-lag]
            before, after = item[:-lag][same], item[lag:][same]
            weight = np.full(len(before), 1.0 / lag)
            total = total + sp.csr_matrix((weight, (before, after)), shape=(n_items, n_items))
        total.sort_indices()
        self.transitions = total.astype(np.float32)
        counts = np.bincount(log.item, minlength=n_items)
        self.share = (counts / max(1, len(log))).astype(np.float32)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) votes of the latest items."""
        votes = self._votes(requests.history) @ self.transitions
        return np.asarray(votes.toarray() + np.float32(_BACK_OFF) * self.share, dtype=np.float32)

    def _votes(self, history: Ragged) -> sp.csr_matrix:
        latest = history.last(self.back)  # (n, back), newest at the right
        weight = np.float32(self.decay) ** np.arange(self.back - 1, -1, -1, dtype=np.float32)
        row, slot = np.nonzero(latest >= 0)
        shape = (len(history), len(self.share))
        return sp.csr_matrix((weight[slot], (row, latest[row, slot])), shape=shape)

    def recommend(self, requests: Requests) -> Slates:
        """The k best items by votes."""
        return recommend_best(self.score, requests, len(self.share))

    def state(self) -> State:
        """The transition counts as a sparse matrix in three arrays, and the popularity shares."""
        return {
            "data": self.transitions.data,
            "indices": self.transitions.indices,
            "indptr": self.transitions.indptr,
            "share": self.share,
        }

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.share = np.array(state["share"], dtype=np.float32)
        parts = (state["data"].copy(), state["indices"].copy(), state["indptr"].copy())
        self.transitions = sp.csr_matrix(parts, shape=(len(self.share), len(self.share)))

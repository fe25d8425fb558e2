"""Item-kNN: "people who took this also took that", by cosine or BM25 similarity of items.

B. Sarwar et al., "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001; BM25
with items as documents and users as terms, S. Robertson & H. Zaragoza, 2009.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..errors import unknown_name
from ..interactions import Interactions
from ..ranking import blocks, recommend_best, top_k

_SIMILARITIES = ("bm25", "cosine")
_K1, _B = 1.2, 0.75  # the usual BM25 saturation and length normalisation


class ItemKNN:
    """Scores an item by the summed similarity of its own nearest neighbours in the history.

    Args:
        neighbours: how many most similar items each item keeps (K).
        similarity: "bm25" (active users and popular items count less) or "cosine".
    """

    name = "itemknn"
    capabilities = Capabilities(history="any", scores="ordinal", update="refit")

    def __init__(self, *, neighbours: int = 200, similarity: str = "bm25") -> None:
        if similarity not in _SIMILARITIES:
            raise unknown_name("similarity", similarity, _SIMILARITIES)
        self.neighbours = neighbours
        self.similarity = similarity
        self.similar = sp.csr_matrix((0, 0), dtype=np.float32)  # (items met, items scored)

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Finds the neighbours; exact, so the seed changes nothing."""
        self._compare(log, len(catalog))

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Compares all items again on the whole log."""
        self._compare(log, self.similar.shape[0])

    def _compare(self, log: Interactions, n_items: int) -> None:
        x = log.histories().to_csr(n_items).T.tocsr().astype(np.float64)  # (items, users)
        y = _bm25(x) if self.similarity == "bm25" else _unit_rows(x)
        y_t = y.T.tocsr()
        kept: list[sp.csr_matrix] = []
        for rows in blocks(n_items, n_items):
            block = (y[rows] @ y_t).toarray().astype(np.float32)  # (block, items)
            block[np.arange(len(rows)), rows] = 0.0  # an item is not its own neighbour
            block = np.where(block > 0, block, -np.inf)
            near = top_k(block, min(self.neighbours, n_items))  # (block, K)
            row, slot = np.nonzero(near >= 0)
            column = near[row, slot]
            shape = (len(rows), n_items)
            kept.append(sp.csr_matrix((block[row, column], (row, column)), shape=shape))
        # Row i of the stack holds the neighbours *of* i; transposed, a history sums columns.
        self.similar = sp.vstack(kept).T.tocsr().astype(np.float32)
        self.similar.sort_indices()

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) summed similarities; 0 where no neighbour stands in the history."""
        x = requests.history.to_csr(self.similar.shape[0])  # (n, items)
        return np.asarray((x @ self.similar).toarray(), dtype=np.float32)

    def recommend(self, requests: Requests) -> Slates:
        """The k best items by score."""
        return recommend_best(self.score, requests, self.similar.shape[0])

    def state(self) -> State:
        """The sparse similarity matrix in three arrays."""
        return {
            "data": self.similar.data,
            "indices": self.similar.indices,
            "indptr": self.similar.indptr,
        }

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        parts = (state["data"].copy(), state["indices"].copy(), state["indptr"].copy())
        n_items = len(state["indptr"]) - 1
        self.similar = sp.csr_matrix(parts, shape=(n_items, n_items))


def _unit_rows(x: sp.csr_matrix) -> sp.csr_matrix:
    """Rows of length 1, so that a product of rows is their cosine; empty rows stay empty."""
    norm = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1.0 / np.maximum(norm, 1e-12)) @ x)


def _bm25(x: sp.csr_matrix) -> sp.csr_matrix:
    """BM25 weights of a binary (items, users) matrix: items are documents, users are terms."""
    n_items, n_users = x.shape
    rarity = np.log1p(n_items) - np.log1p(np.bincount(x.indices, minlength=n_users))  # (users,)
    length = np.asarray(x.sum(axis=1)).ravel()  # (items,)
    relative = (1.0 - _B) + _B * length / max(1e-12, float(length.mean()))
    item = np.repeat(np.arange(n_items), np.diff(x.indptr))
    weighted = x.copy()
    weighted.data = (_K1 + 1.0) / (_K1 * relative[item] + 1.0) * rarity[x.indices]
    return weighted

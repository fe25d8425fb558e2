"""EASE: a linear autoencoder in closed form, the strongest model that takes a second to fit.

H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019 (arXiv 1905.03375).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..interactions import Interactions
from ..ranking import recommend_best


class EASE:
    """Scores items by X B, where B = I - P diag(1 / diag P) and P = (X'X + reg I)^-1.

    Any history folds in: its row of X is multiplied with the same B.

    Args:
        reg: L2 weight lambda of the ridge regression; 300 suits MovieLens 100K.
    """

    name = "ease"
    capabilities = Capabilities(history="any", scores="ordinal", update="refit")

    def __init__(self, *, reg: float = 300.0) -> None:
        self.reg = reg
        self.weights: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)  # (items, items)

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Solves for B; exact, so the seed changes nothing."""
        self._solve(log, len(catalog))

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Solves again on the whole log."""
        self._solve(log, len(self.weights))

    def _solve(self, log: Interactions, n_items: int) -> None:
        x = log.histories().to_csr(n_items).astype(np.float64)  # (users, items)
        gram = (x.T @ x).toarray()  # (items, items)
        gram[np.diag_indices_from(gram)] += self.reg
        # X'X + reg I is symmetric positive definite: Cholesky costs half of a general inverse.
        factor, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError(f"X'X + {self.reg} I is not positive definite")
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse / -np.diag(inverse)[None, :]
        np.fill_diagonal(weights, 0.0)
        self.weights = np.ascontiguousarray(weights, dtype=np.float32)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) X B for the histories in the requests."""
        x = requests.history.to_csr(len(self.weights))  # (n, items)
        return np.asarray(x @ self.weights, dtype=np.float32)

    def recommend(self, requests: Requests) -> Slates:
        """The k best items by score."""
        return recommend_best(self.score, requests, len(self.weights))

    def state(self) -> State:
        """The item-item weights."""
        return {"weights": self.weights}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.weights = np.array(state["weights"], dtype=np.float32)

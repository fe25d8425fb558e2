"""ALS: matrix factorisation of implicit feedback by alternating least squares.

Y. Hu, Y. Koren & C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008:
everything a person did not take counts as a weak no, everything taken as a yes of weight
1 + alpha, and with one side fixed the other has a closed form:

    minimise sum_ui c_ui (p_ui - x_u · y_i)^2 + reg (sum_u |x_u|^2 + sum_i |y_i|^2)
    x_u = (Y'Y + alpha Y_u'Y_u + reg I)^-1 (1 + alpha) Y_u' 1,   Y_u the items that u took,

and the same for items. All people (or items) are solved at once, in blocks.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..errors import UserError
from ..interactions import Interactions
from ..randomness import generator
from ..ranking import recommend_best

_CELLS = 8_000_000
"""Cells of normal equations held at once: 64 MB."""


class ALS:
    """Scores an item by person · item.

    A person's vector is solved from the history of the request, so any history folds in exactly as
    it would have been trained on.

    Args:
        embedding_size: length of the vectors.
        reg: L2 weight on the vectors.
        alpha: how much more what was taken weighs than what was not; 0 weighs both the same.
        iterations: sweeps over both sides when fitting.
        update_iterations: sweeps when updating, from the vectors so far.
        seed: mixed into the seed of ``fit``, for A/A tests.

    Attributes:
        losses: the objective, a person, after each sweep since the last fit.
        n_parameters: numbers in the item vectors.
    """

    name = "als"
    capabilities = Capabilities(history="any", scores="ordinal", update="incremental")

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        reg: float = 20.0,
        alpha: float = 1.0,
        iterations: int = 15,
        update_iterations: int = 3,
        seed: int = 0,
    ) -> None:
        if embedding_size < 1 or reg <= 0.0 or alpha < 0.0:
            raise UserError(
                "embedding_size must be at least 1, reg above 0 and alpha at least 0, got "
                f"{embedding_size}, {reg} and {alpha}"
            )
        self.embedding_size = embedding_size
        self.reg = reg
        self.alpha = alpha
        self.iterations = iterations
        self.update_iterations = update_iterations
        self.seed = seed
        self.items = np.zeros((0, embedding_size))  # (items, dim)
        self.losses: list[float] = []

    @property
    def n_parameters(self) -> int:
        return self.items.size

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Sweeps from small random vectors; ``progress`` hears the objective after each."""
        luck = generator(seed, "als", self.seed)
        self.items = luck.normal(0.0, 0.1, (len(catalog), self.embedding_size))
        self.losses = []
        self._sweep(log, self.iterations, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Sweeps on over the whole log, from where it stood."""
        self._sweep(log, self.update_iterations, None)

    def _sweep(self, log: Interactions, iterations: int, progress: Progress | None) -> None:
        taken = log.histories().to_csr(len(self.items)).astype(np.float64)  # (users, items)
        turned = taken.T.tocsr()
        for sweep in range(iterations):
            people = self.solved(taken, self.items)  # (users, dim)
            self.items = self.solved(turned, people)
            self.losses.append(self._loss(taken, people) / max(1, log.n_users))
            if progress is not None:
                progress(sweep + 1, iterations, self.losses[-1])

    def solved(self, rows: sp.csr_matrix, other: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, dim) the vectors that are best while the other side is fixed.

        Args:
            rows: (n, others) which of the other side each took; other: (others, dim).
        """
        size = other.shape[1]
        low, high = np.tril_indices(size)  # both factors of each entry of a symmetric matrix
        pairs = other[:, low] * other[:, high]  # (others, entries)
        shared = other.T @ other + self.reg * np.eye(size)  # (dim, dim)
        out = np.empty((rows.shape[0], size))
        step = max(1, _CELLS // size**2)
        for at in range(0, len(out), step):
            part = rows[at : at + step]
            normal = np.empty((part.shape[0], size, size))
            if self.alpha > 0.0:
                own = self.alpha * (part @ pairs)  # (block, entries)
                normal[:, low, high] = own
                normal[:, high, low] = own
            else:
                normal[:] = 0.0
            wanted = (1.0 + self.alpha) * (part @ other)  # (block, dim)
            out[at : at + step] = np.linalg.solve(normal + shared, wanted[:, :, None])[:, :, 0]
        return out

    def _loss(self, taken: sp.csr_matrix, people: NDArray[np.float64]) -> float:
        """The objective: all squares as if nothing were taken, and the difference where it was."""
        user, item = taken.nonzero()
        s = np.einsum("nd,nd->n", people[user], self.items[item])  # of what was taken
        nothing = float(((people.T @ people) * (self.items.T @ self.items)).sum())
        difference = float(((1.0 + self.alpha) * (1.0 - s) ** 2 - s**2).sum())
        sizes = float((people**2).sum() + (self.items**2).sum())
        return nothing + difference + self.reg * sizes

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) person · item, the person solved from the history given."""
        history = requests.history.to_csr(len(self.items)).astype(np.float64)
        people = self.solved(history, self.items)  # (n, dim)
        scores = np.einsum("nd,id->ni", people, self.items)
        return np.asarray(scores, dtype=np.float32)

    def recommend(self, requests: Requests) -> Slates:
        """The k best items by score."""
        return recommend_best(self.score, requests, len(self.items))

    def state(self) -> State:
        """Item vectors and losses; people are solved anew from what they did."""
        return {"items": self.items, "losses": np.array(self.losses, dtype=np.float64)}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.items = np.array(state["items"], dtype=np.float64)
        self.losses = state["losses"].tolist()

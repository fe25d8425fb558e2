"""BPR-MF: matrix factorisation that learns to rank what a person took above what they did not.

S. Rendle, C. Freudenthaler, Z. Gantner & L. Schmidt-Thieme, "BPR: Bayesian Personalized Ranking
from Implicit Feedback", UAI 2009 (arXiv 1205.2618).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import solve
from torch import Tensor

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..generative.networks import by_rows, seeded
from ..generative.training_loop import passes, random_batches
from ..interactions import Interactions
from ..ranking import recommend_best


class BPRMF:
    """Scores an item by person · item + bias, trained on (person, taken, not taken) triples.

    BPR has no fold-in of its own. Here a ridge regression learns to predict the trained person
    vectors from the histories, and every request, known person or new, is answered by what it
    predicts for the history given: a changed history changes the answer. On MovieLens 100K this
    ranks a little better than the trained vectors themselves (validation NDCG@10 .250, .240).

    Args:
        embedding_size: length of the vectors.
        reg: L2 weight on the vectors that a batch touches.
        learning_rate: of Adam.
        epochs: passes over the log.
        batch_size: triples per step.
        fold_in_reg: L2 weight of that ridge regression.
        seed: mixed into the seed of ``fit``, for A/A tests.

    Attributes:
        losses: mean loss of each epoch of the last fit.
        n_parameters: item vectors, biases and fold-in weights.
    """

    name = "bprmf"
    capabilities = Capabilities(history="any", scores="ordinal", update="refit")

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        reg: float = 0.015,
        learning_rate: float = 0.002,
        epochs: int = 60,
        batch_size: int = 1024,
        fold_in_reg: float = 100.0,
        seed: int = 0,
    ) -> None:
        self.embedding_size = embedding_size
        self.reg = reg
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.fold_in_reg = fold_in_reg
        self.seed = seed
        self.encoder = np.zeros((0, embedding_size), dtype=np.float32)  # (items, dim)
        self.items = np.zeros((0, embedding_size), dtype=np.float32)  # (items, dim)
        self.bias = np.zeros(0, dtype=np.float32)  # (items,)
        self.losses: list[float] = []

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch; ``progress`` hears the mean loss of each epoch."""
        self._train(log, len(catalog), seed, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains again from scratch on the whole log."""
        self._train(log, len(self.bias), seed, None)

    def _train(self, log: Interactions, n_items: int, seed: int, progress: Progress | None) -> None:
        luck = seeded(seed, "bprmf", self.seed)
        size = (log.n_users, self.embedding_size)
        persons = (torch.randn(size, generator=luck) * 0.1).requires_grad_()  # (users, dim)
        items = torch.randn(n_items, self.embedding_size, generator=luck) * 0.1  # (items, dim)
        bias = torch.zeros(n_items, requires_grad=True)  # (items,)
        items.requires_grad_()
        adam = torch.optim.Adam([persons, items, bias], lr=self.learning_rate, fused=True)
        self.losses = []
        user, taken = torch.from_numpy(log.user.copy()), torch.from_numpy(log.item.copy())
        for epoch in passes(self.epochs, self.losses, progress):
            batches = random_batches(len(log), self.batch_size, luck)
            other = torch.randint(0, n_items, (len(log),), generator=luck)
            for rows in batches:
                p, i, j = persons[user[rows]], items[taken[rows]], items[other[rows]]
                ahead = (p * (i - j)).sum(1) + bias[taken[rows]] - bias[other[rows]]  # (batch,)
                size_of = (p**2).sum(1) + (i**2).sum(1) + (j**2).sum(1)  # (batch,)
                loss = F.softplus(-ahead).mean() + 0.5 * self.reg * size_of.mean()
                epoch.step(adam, loss, weight=len(rows))
        self.items = items.detach().numpy().copy()
        self.bias = bias.detach().numpy().copy()
        self.encoder = self._regress(log, persons.detach().numpy())

    def _regress(self, log: Interactions, persons: NDArray[np.float32]) -> NDArray[np.float32]:
        """(items, dim) weights W that make X W closest to the trained person vectors."""
        x = log.to_csr().astype(np.float64)  # (users, items)
        gram = (x.T @ x).toarray()  # (items, items)
        gram[np.diag_indices_from(gram)] += self.fold_in_reg
        wanted = x.T @ persons.astype(np.float64)  # (items, dim)
        return np.asarray(solve(gram, wanted, assume_a="pos"), dtype=np.float32)

    @property
    def n_parameters(self) -> int:
        return self.items.size + self.bias.size + self.encoder.size

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) predicted person vector times item vectors, plus bias."""
        person = requests.history.to_csr(len(self.bias)) @ self.encoder  # (n, dim)
        items, bias = torch.from_numpy(self.items), torch.from_numpy(self.bias)

        def compute(block: Tensor) -> Tensor:
            return block @ items.T + bias  # (rows, items)

        return by_rows(compute, person, len(self.bias))

    def recommend(self, requests: Requests) -> Slates:
        """The k best items by score."""
        return recommend_best(self.score, requests, len(self.bias))

    def state(self) -> State:
        """Item vectors, biases, the fold-in weights, and the losses; people are not stored."""
        return {
            "items": self.items,
            "bias": self.bias,
            "encoder": self.encoder,
            "losses": np.array(self.losses, dtype=np.float64),
        }

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.items = np.array(state["items"], dtype=np.float32)
        self.bias = np.array(state["bias"], dtype=np.float32)
        self.encoder = np.array(state["encoder"], dtype=np.float32)
        self.losses = state["losses"].tolist()

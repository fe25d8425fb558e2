"""What recommenders share that rebuild whole histories with a network: everything but the network.

A history is one row of the (people, items) matrix; what the network puts where the row has zeros
is the recommendation, so any history folds in. A model says how it is built, what its loss is and
what it makes of a row; training, updating, scoring and memory are here.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import Capabilities, Progress, Requests, Slates
from ...catalog import Catalog
from ...interactions import Interactions
from ...ranking import recommend_best
from ..networks import by_rows, seeded
from ..training_loop import OfItems, falling, random_batches


class Autoencoder(OfItems):
    """Base of models that map (batch, items) histories to (batch, items) scores.

    A subclass sets what is its own in its constructor, calls this one at the end, and defines
    ``_network``, ``_loss`` and ``_rebuild``.

    Args:
        learning_rate: of AdamW at the start; it falls linearly to 0 over the epochs.
        weight_decay: decoupled L2 decay (I. Loshchilov & F. Hutter, ICLR 2019), times the
            learning rate of the step.
        batch_size: people per step.
        epochs, update_epochs: passes over the people when fitting, and when updating.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.

    Attributes:
        losses: mean loss of each epoch since the last fit, updates included.
    """

    name: str
    capabilities: Capabilities

    def __init__(
        self,
        *,
        learning_rate: float,
        weight_decay: float,
        batch_size: int,
        epochs: int,
        update_epochs: int,
        seed: int,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.update_epochs = update_epochs
        self.seed = seed
        self._build(1, 0)

    @abstractmethod
    def _network(self, n_items: int, luck: torch.Generator) -> nn.Module:
        """A fresh network for so many items."""

    @abstractmethod
    def _loss(self, x: Tensor, done: float, luck: torch.Generator) -> Tensor:
        """Mean loss of a (batch, items) block when a share ``done`` of training is done."""

    @abstractmethod
    def _rebuild(self, x: Tensor) -> Tensor:
        """(batch, items) scores from a batch of what :meth:`_entered` gives."""

    def _entered(self, x: sp.csr_matrix) -> sp.csr_matrix | NDArray[np.float32]:
        """What :meth:`_rebuild` is given of (n, items) histories: they themselves, or what a first
        layer makes of them, which is cheaper while they are sparse."""
        return x

    def _epoch(self, epoch: int) -> None:
        """Called before each pass over the people, counted from 0 in each training."""

    def _build(self, n_items: int, seed: int) -> None:
        self.n_items = n_items
        self.network = self._network(n_items, seeded(seed, self.name, "weights", self.seed))
        self.adam = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.weight_decay, fused=True
        )
        self.losses = []

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch; ``progress`` hears the mean loss of each epoch."""
        self._build(len(catalog), seed)
        luck = seeded(seed, self.name, "fit", self.seed)
        self._train(log, self.epochs, self.learning_rate, 0.0, luck, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains on over the whole log, from half the learning rate, annealing nothing again."""
        luck = seeded(seed, self.name, "update", self.seed, len(log))
        self._train(log, self.update_epochs, self.learning_rate / 2, 1.0, luck, None)

    def _train(
        self,
        log: Interactions,
        epochs: int,
        learning_rate: float,
        done: float,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        x = log.histories().to_csr(self.n_items)
        x = x[np.flatnonzero(np.diff(x.indptr))]  # (people with a history, items)
        for epoch in self._epochs(epochs, luck, progress, rate=falling(learning_rate)):
            self._epoch(epoch.number)
            for rows in epoch.batches(random_batches(x.shape[0], self.batch_size, luck)):
                block = torch.from_numpy(x[rows].toarray())  # (batch, items)
                loss = self._loss(block, max(done, epoch.through), luck)
                epoch.step(self.adam, loss, weight=len(rows))

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) what the network makes of each history."""
        x = self._entered(requests.history.to_csr(self.n_items))
        return by_rows(self._rebuild, x, self.n_items)

    def recommend(self, requests: Requests) -> Slates:
        """The k items with the highest scores."""
        return recommend_best(self.score, requests, self.n_items)

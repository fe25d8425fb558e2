"""What models of the next item share: training on windows, losses, serving, updates and memory.

A model of the next item reads tokens and makes of each position a vector that points at what comes
next; the item table is used both ways, as input and as output. A subclass says how its network is
built; everything else is here, so that two networks differ in nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import Capabilities, Progress, Requests, Slates
from ...catalog import Catalog
from ...errors import UserError, unknown_name
from ...interactions import Interactions
from ...ranking import recommend_best
from ..networks import by_rows, embedding, seeded
from ..training_loop import OfItems, falling
from .losses import binary_cross_entropy, full_cross_entropy, sampled_softmax
from .windows import in_batches, latest, latest_moments, moments, windows

LOSSES = ("cross_entropy", "sampled", "sampled_uniform", "bce")


class NextItemNetwork(nn.Module, ABC):
    """Base of networks: the item table, and scores from positions.

    Args:
        n_items: of the catalog.
        n_tokens: rows of the table: the items, the start token, and what else a model reads.
        size: width of a vector.
        luck: draws the table.
    """

    def __init__(self, n_items: int, n_tokens: int, size: int, luck: torch.Generator) -> None:
        super().__init__()
        self.n_items = n_items
        self.items = embedding(n_tokens, size, luck)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def embedded(self, tokens: Tensor) -> Tensor:
        """(batch, length, size) of (batch, length) tokens, of about the scale of positions."""
        x: Tensor = F.embedding(tokens, self.items) * self.items.shape[1] ** 0.5
        return x

    @abstractmethod
    def forward(self, tokens: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        """(batch, length, size) from (batch, length) tokens, a share of entries dropped."""

    def log_probabilities(self, x: Tensor) -> Tensor:
        """(rows, items) of the next item, from (rows, size)."""
        z: Tensor = x @ self.items[: self.n_items].T + self.bias
        return F.log_softmax(z, dim=1)


class NextItem(OfItems):
    """Base of recommenders that score items by the probability that they come next.

    A subclass sets what is its own in its constructor, calls this one at the end, and defines
    ``_network``.

    Args:
        max_length: how many of the latest items (the start token included) the model looks at.
        dropout: share of entries dropped in training.
        learning_rate: of Adam at its highest; it rises linearly over the first ``warm_up`` share
            of the steps and falls linearly to 0 over the rest.
        batch_size: windows of ``max_length`` items a step.
        epochs: passes over the log when fitting.
        update_epochs: passes over the windows with new items when updating, warm-started, from
            a quarter of the learning rate and without warming up.
        loss: "cross_entropy" over the whole catalog; "sampled": over ``negatives`` items drawn
            by popularity for each step, log-Q corrected, "sampled_uniform": drawn uniformly;
            "bce": yes or no, against ``negatives`` items drawn uniformly for each position,
            calibrated by ``calibration``.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.

    Attributes:
        losses: mean loss of each epoch since the last fit, updates included.

    Raises:
        UserError: an argument outside what it may be.
    """

    name: str
    capabilities = Capabilities(history="any", scores="log_prob", update="incremental")
    network: NextItemNetwork

    def __init__(
        self,
        *,
        max_length: int,
        dropout: float,
        learning_rate: float,
        warm_up: float,
        batch_size: int,
        epochs: int,
        update_epochs: int,
        loss: str,
        negatives: int,
        calibration: float,
        seed: int,
    ) -> None:
        if loss not in LOSSES:
            raise unknown_name("loss", loss, LOSSES)
        if negatives < 1:
            raise UserError(f"negatives must be at least 1, got {negatives}")
        if not 0.0 <= warm_up < 1.0:
            raise UserError(f"warm_up must be a share below 1 of the steps, got {warm_up:g}")
        if not 0.0 <= calibration <= 1.0:
            raise UserError(f"calibration must be between 0 and 1, got {calibration:g}")
        self.max_length = max_length
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.warm_up = warm_up
        self.batch_size = batch_size
        self.epochs = epochs
        self.update_epochs = update_epochs
        self.loss = loss
        self.negatives = negatives
        self.calibration = calibration
        self.seed = seed
        if loss == "bce":  # its scores rank; they are no probabilities over the catalog
            self.capabilities = replace(self.capabilities, scores="ordinal")
        self._build(1, 0)

    @abstractmethod
    def _network(self, n_items: int, luck: torch.Generator) -> NextItemNetwork:
        """A fresh network for so many items."""

    def _build(self, n_items: int, seed: int) -> None:
        self.n_items = n_items
        self.network = self._network(n_items, seeded(seed, self.name, "weights", self.seed))
        self.adam = torch.optim.Adam(self.network.parameters(), fused=True)
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
        self._train(log, None, luck, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains on, over the windows that hold an interaction from ``since`` on."""
        luck = seeded(seed, self.name, "update", self.seed, len(log))
        new = np.bincount(log.user[since:], minlength=log.n_users).astype(np.int64)
        self._train(log, new, luck, None)

    def _train(
        self,
        log: Interactions,
        new: NDArray[np.int64] | None,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        histories = log.histories()
        fresh = histories.lengths if new is None else new
        epochs, rate = self.epochs, falling(self.learning_rate, self.warm_up)
        if new is not None:
            epochs, rate = self.update_epochs, falling(self.learning_rate / 4)
        self._sampler = _Sampler(log, self.n_items, uniform=self.loss == "sampled_uniform")
        times = log.history_times() if self._reads_times else None
        for epoch in self._epochs(epochs, luck, progress, rate=rate):
            shift = torch.randint(0, self._columns, (len(histories),), generator=luck).numpy()
            tokens, targets = windows(histories, fresh, shift, self._columns, start=self.n_items)
            met = None if times is None else moments(histories, times, fresh, shift, self._columns)
            lengths = (targets >= 0).sum(dim=1)  # (windows,)
            batches = in_batches(lengths.numpy(), self.batch_size, luck)
            usual = float(lengths.sum()) / max(1, len(batches))  # targets a batch
            for rows in epoch.batches(batches):
                read, wanted = self._examples(tokens[rows], targets[rows], luck)
                when = None if met is None else met[rows, : read.shape[1] + 1]
                real = wanted >= 0  # (batch, length)
                if not real.any():
                    continue
                x = self._seen(read, when, self.dropout, luck)[real]  # (real, size)
                loss = self._loss(x, wanted[real], luck)
                # each target weighs the same, in batches of short windows too
                epoch.step(self.adam, loss, weight=len(x), scale=len(x) / usual)

    @property
    def _reads_times(self) -> bool:
        """Whether the network looks at when tokens were met."""
        return "times" in self.capabilities.inputs

    @property
    def _columns(self) -> int:
        """Columns of a window."""
        return self.max_length

    def _examples(
        self, tokens: Tensor, targets: Tensor, luck: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """What goes in and what should come out, from (batch, columns) windows."""
        longest = int((targets >= 0).sum(dim=1).max())  # padding that nobody needs is cut off
        return tokens[:, :longest], targets[:, :longest]

    def _seen(
        self, tokens: Tensor, met: Tensor | None, share: float, luck: torch.Generator | None
    ) -> Tensor:
        """(batch, length, size) what the network makes of tokens; ``met`` (batch, length + 1) is
        when each was met and when what follows the last is, None where times are unknown."""
        x: Tensor = self.network(tokens, share, luck)
        return x

    def _loss(self, x: Tensor, targets: Tensor, luck: torch.Generator) -> Tensor:
        items, bias = self.network.items[: self.n_items], self.network.bias
        if self.loss in ("sampled", "sampled_uniform"):
            drawn, log_share = self._sampler.draw(self.negatives, luck)
            log_expected = log_share + float(np.log(self.negatives))
            return sampled_softmax(
                x, items, bias, targets, negatives=drawn, log_expected=log_expected
            )
        if self.loss == "bce":
            drawn = torch.randint(0, self.n_items, (len(targets), self.negatives), generator=luck)
            return binary_cross_entropy(
                x, items, bias, targets, negatives=drawn, calibration=self.calibration
            )
        return full_cross_entropy(x, items, bias, targets)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) log probabilities of the next item after the histories given."""
        columns = [*self._inputs(requests)]
        if self._reads_times and requests.ago is not None:
            columns.append(latest_moments(requests.ago, self.max_length))
        return by_rows(self._after, np.column_stack(columns), self.n_items)

    def _inputs(self, requests: Requests) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n, length) tokens, and the (n,) column whose vector points at the next item."""
        tokens, newest = latest(requests.history, self.max_length, start=self.n_items)
        return tokens.astype(np.int64), newest

    def _after(self, rows: Tensor) -> Tensor:
        """(rows, items) log probabilities, from tokens, where each sequence ends, and moments."""
        tokens, newest, met = rows.tensor_split((self.max_length, self.max_length + 1), dim=1)
        x = self._seen(tokens, met if met.shape[1] else None, 0.0, None)  # (rows, length, size)
        ends = x[torch.arange(len(rows)), newest[:, 0]]  # (rows, size)
        return self.network.log_probabilities(ends)

    def recommend(self, requests: Requests) -> Slates:
        """The k most probable next items."""
        return recommend_best(self.score, requests, self.n_items)


class _Sampler:
    """Draws items uniformly, or by how often a log holds them, each once more so that none is
    impossible."""

    def __init__(self, log: Interactions, n_items: int, *, uniform: bool) -> None:
        counts = np.zeros(n_items) if uniform else np.bincount(log.item, minlength=n_items)
        share = (counts + 1.0) / (counts + 1.0).sum()
        self.cumulative = torch.from_numpy(share.cumsum())  # (items,)
        self.log_share = torch.from_numpy(np.log(share).astype(np.float32))  # (items,)

    def draw(self, n: int, luck: torch.Generator) -> tuple[Tensor, Tensor]:
        """(n,) items drawn with replacement, and the (n,) log of the share of each."""
        draws = torch.rand(n, generator=luck, dtype=torch.float64)
        found = torch.searchsorted(self.cumulative, draws)
        drawn = found.clamp(max=len(self.cumulative) - 1)
        return drawn, self.log_share[drawn]

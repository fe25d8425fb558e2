"""SASRec: a small causal transformer that generates the next item from the items before it.

Architecture of W.-C. Kang & J. McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018
(arXiv 1808.09781), trained as language models are, with cross-entropy over the whole catalog
instead of one sampled negative: A. Klenitskiy & A. Vasilev, "Turning Dross Into Gold Loss",
RecSys 2023 (arXiv 2309.07602). A start token stands before each history, so an empty one has an
answer too.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..errors import UserError
from ..interactions import Interactions, Ragged
from ..ranking import recommend_best
from .attention import Block
from .networks import by_rows, dropout, dump, embedding, restore, seeded
from .windows import latest, windows


class _Network(nn.Module):
    """Item tokens in, for each position a vector that points at the next item."""

    def __init__(
        self, n_items: int, length: int, size: int, blocks: int, heads: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.items = embedding(n_items + 1, size, luck)  # the last row is the start token
        self.positions = embedding(length, size, luck)
        self.blocks = nn.ModuleList(Block(size, heads, luck) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def forward(self, tokens: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        x = F.embedding(tokens, self.items) * self.items.shape[1] ** 0.5  # (batch, length, size)
        x = dropout(x + self.positions, share, luck)
        for block in self.blocks:
            x = block(x, share, luck)
        return self.norm(x)  # type: ignore[no-any-return]

    def log_probabilities(self, x: Tensor) -> Tensor:
        """(rows, items) of the next item, from (rows, size); the item table is used both ways."""
        return F.log_softmax(x @ self.items[:-1].T + self.bias, dim=1)


class SASRec:
    """Scores items by the probability that they come next, given the latest ``max_length`` items.

    Any history folds in: it is the input. Scores are log probabilities.

    Args:
        embedding_size: width of the network.
        blocks, heads: depth, and attention heads a block.
        max_length: how many of the latest items (the start token included) it looks at.
        dropout: on embeddings, attention weights and both branches of a block.
        learning_rate: of Adam at the start; it falls linearly to 0 over the epochs.
        batch_size: windows of ``max_length`` items a step.
        epochs: passes over the log when fitting.
        update_epochs: passes over the windows with new items when updating, warm-started, from
            a quarter of the learning rate.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.

    Attributes:
        losses: mean cross-entropy (nats) of each epoch since the last fit, updates included.
    """

    name = "sasrec"
    capabilities = Capabilities(history="any", scores="log_prob", update="incremental")

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        blocks: int = 1,
        heads: int = 2,
        max_length: int = 50,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        batch_size: int = 64,
        epochs: int = 20,
        update_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        if embedding_size % heads:
            raise UserError(
                f"embedding_size must be a multiple of heads, got {embedding_size} and {heads}"
            )
        self.embedding_size = embedding_size
        self.blocks = blocks
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.update_epochs = update_epochs
        self.seed = seed
        self._build(1, 0)

    def _build(self, n_items: int, seed: int) -> None:
        self.n_items = n_items
        self.network = _Network(
            n_items,
            self.max_length,
            self.embedding_size,
            self.blocks,
            self.heads,
            seeded(seed, "sasrec", "weights", self.seed),
        )
        self.adam = torch.optim.Adam(self.network.parameters(), fused=True)
        self.losses: list[float] = []

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch; ``progress`` hears the mean cross-entropy (nats) of each epoch."""
        self._build(len(catalog), seed)
        luck = seeded(seed, "sasrec", "fit", self.seed)
        histories = log.histories()
        new = histories.lengths
        self._train(histories, new, self.epochs, self.learning_rate, luck, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains on, over the windows that hold an interaction from ``since`` on."""
        luck = seeded(seed, "sasrec", "update", self.seed, len(log))
        new = np.bincount(log.user[since:], minlength=log.n_users).astype(np.int64)
        rate = self.learning_rate / 4
        self._train(log.histories(), new, self.update_epochs, rate, luck, None)

    def _train(
        self,
        histories: Ragged,
        new: NDArray[np.int64],
        epochs: int,
        learning_rate: float,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        for epoch in range(epochs):
            shift = torch.randint(0, self.max_length, (len(histories),), generator=luck).numpy()
            tokens, targets = windows(histories, new, shift, self.max_length, start=self.n_items)
            order = torch.randperm(len(tokens), generator=luck)
            total, count = 0.0, 0
            for at in range(0, len(order), self.batch_size):
                rows = order[at : at + self.batch_size]
                done = (epoch + at / len(order)) / epochs
                self.adam.param_groups[0]["lr"] = learning_rate * (1.0 - done)
                loss, n = self._step(tokens[rows], targets[rows], luck)
                total, count = total + loss * n, count + n
            self.losses.append(total / max(1, count))
            if progress is not None:
                progress(epoch + 1, epochs, self.losses[-1])

    def _step(self, tokens: Tensor, targets: Tensor, luck: torch.Generator) -> tuple[float, int]:
        real = targets >= 0  # (batch, length)
        x = self.network(tokens, self.dropout, luck)[real]  # (real, size)
        loss = F.nll_loss(self.network.log_probabilities(x), targets[real])
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return float(loss.detach()), int(real.sum())

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) log probabilities of the next item after the histories given."""
        aligned, last = latest(requests.history, self.max_length, start=self.n_items)
        return by_rows(self._after, np.column_stack([aligned, last]).astype(np.int64), self.n_items)

    def _after(self, rows: Tensor) -> Tensor:
        """(rows, items) log probabilities; the last column says where each sequence ends."""
        x = self.network(rows[:, :-1], 0.0, None)  # (rows, length, size)
        ends = x[torch.arange(len(rows)), rows[:, -1]]  # (rows, size)
        return self.network.log_probabilities(ends)

    def recommend(self, requests: Requests) -> Slates:
        """The k most probable next items."""
        return recommend_best(self.score, requests, self.n_items)

    def state(self) -> State:
        """Weights, Adam's moments, so that updates continue exactly, and the losses so far."""
        return {
            "n_items": np.array(self.n_items),
            "losses": np.array(self.losses, dtype=np.float64),
            **dump(self.network, self.adam),
        }

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self._build(int(state["n_items"]), 0)
        self.losses = state["losses"].tolist()
        restore(self.network, self.adam, state)

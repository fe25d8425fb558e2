"""BERT4Rec: a transformer that fills gaps, looking both ways; the next item is a gap at the end.

F. Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations
from Transformer", CIKM 2019 (arXiv 1904.06690). In training a share of each window is masked and
guessed from the rest; in a tenth of the windows only the newest item is, the case that is served
(the paper adds such copies of the sequences). As in the paper the feed-forward layers are four
times as wide and GELU, and a GELU layer stands before the item table, which is used both ways; as
elsewhere here, each branch is normalised before and attention weights are not dropped out. Only
masked positions teach, so it needs more epochs than a causal model: A. Petrov & C. Macdonald,
RecSys 2022 (arXiv 2207.02483).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import Requests
from ...errors import UserError
from ..attention import Block, check_heads
from ..networks import dropout, embedding, linear
from .next_item import NextItem, NextItemNetwork
from .windows import latest

_ONLY_NEWEST = 0.1
"""Share of the windows in which only the newest item is masked."""


class _Network(NextItemNetwork):
    """Tokens with gaps in, for each position a vector that points at the item that stands there.

    After the items the table holds the start token, the mask and the padding.
    """

    def __init__(
        self, n_items: int, length: int, size: int, blocks: int, heads: int, luck: torch.Generator
    ) -> None:
        super().__init__(n_items, n_items + 3, size, luck)
        self.positions = embedding(length, size, luck)
        self.blocks = nn.ModuleList(
            Block(size, heads, luck, causal=False, feed=4, activation=F.gelu) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(size)
        self.guess = linear(size, size, luck)
        self.norm_guess = nn.LayerNorm(size)

    def forward(self, tokens: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        visible = (tokens != self.n_items + 2)[:, None, None, :]  # (batch, 1, 1, length)
        x = self.embedded(tokens) + self.positions[: tokens.shape[1]]  # (batch, length, size)
        x = dropout(x, share, luck)
        for block in self.blocks:
            x = block(x, share, luck, visible=visible)
        return self.norm_guess(F.gelu(self.guess(self.norm(x))))  # type: ignore[no-any-return]


class BERT4Rec(NextItem):
    """Scores items by the probability that they fill a gap after the latest items.

    Any history folds in: it is the input. Scores are log probabilities.

    Args:
        embedding_size: width of the network.
        blocks, heads: depth, and attention heads a block.
        max_length: how many tokens it looks at: the start or an older item, items, the gap.
        mask: share of a window's items that are guessed in training.
        dropout: on embeddings and both branches of a block.
        learning_rate: of Adam at its highest; it falls linearly to 0 over the epochs.
        warm_up: share of the steps over which it rises to that.
        batch_size: windows of ``max_length`` items a step.
        epochs: passes over the log when fitting.
        update_epochs: passes over the windows with new items when updating, warm-started, from
            a quarter of the learning rate.
        loss: "cross_entropy" over the whole catalog; "sampled" softmax over ``negatives`` items
            drawn by popularity for each step, or uniformly ("sampled_uniform"); "bce"
            against ``negatives`` items drawn uniformly for each position.
        negatives: items drawn; without meaning for "cross_entropy".
        calibration: of "bce", 0 to 1: t of gSASRec.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.
    """

    name = "bert4rec"

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        blocks: int = 2,
        heads: int = 2,
        max_length: int = 50,
        mask: float = 0.3,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        warm_up: float = 0.03,
        batch_size: int = 64,
        epochs: int = 60,
        update_epochs: int = 2,
        loss: str = "cross_entropy",
        negatives: int = 256,
        calibration: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_heads(embedding_size, heads)
        if max_length < 2:
            raise UserError(f"max_length must be at least 2, got {max_length}: an item and the gap")
        if not 0.0 < mask <= 1.0:
            raise UserError(f"mask must be a share above 0, at most 1, got {mask:g}")
        self.embedding_size = embedding_size
        self.blocks = blocks
        self.heads = heads
        self.mask = mask
        super().__init__(
            max_length=max_length,
            dropout=dropout,
            learning_rate=learning_rate,
            warm_up=warm_up,
            batch_size=batch_size,
            epochs=epochs,
            update_epochs=update_epochs,
            loss=loss,
            negatives=negatives,
            calibration=calibration,
            seed=seed,
        )

    def _network(self, n_items: int, luck: torch.Generator) -> NextItemNetwork:
        return _Network(
            n_items, self.max_length, self.embedding_size, self.blocks, self.heads, luck
        )

    @property
    def _columns(self) -> int:
        """Of a window's tokens; with the target of the last one they fill ``max_length``."""
        return self.max_length - 1

    def _examples(
        self, tokens: Tensor, targets: Tensor, luck: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Windows with gaps, and the items in the gaps; what stands before a window is context."""
        tokens, targets = super()._examples(tokens, targets, luck)
        real = targets >= 0  # (batch, columns)
        newest = real & (torch.arange(real.shape[1])[None, :] == real.sum(dim=1)[:, None] - 1)
        gap = real & (torch.rand(real.shape, generator=luck) < self.mask)
        only = torch.rand(len(real), 1, generator=luck) < _ONLY_NEWEST
        gap = torch.where(only | ~gap.any(dim=1, keepdim=True), newest, gap)
        filled = torch.where(real, targets, self.n_items + 2)
        seen = torch.where(gap, self.n_items + 1, filled)
        wanted = torch.where(gap, targets, -1)
        nothing = torch.full_like(tokens[:, :1], -1)
        return torch.cat([tokens[:, :1], seen], dim=1), torch.cat([nothing, wanted], dim=1)

    def _inputs(self, requests: Requests) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n, length) tokens that end in a gap, and the (n,) column of the gap."""
        known, newest = latest(requests.history, self._columns, start=self.n_items)
        gap = newest + 1
        tokens = np.column_stack([known, np.zeros_like(newest)])
        column = np.arange(self.max_length)[None, :]
        tokens[column == gap[:, None]] = self.n_items + 1
        tokens[column > gap[:, None]] = self.n_items + 2
        return tokens, gap

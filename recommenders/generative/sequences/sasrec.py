"""SASRec: a small causal transformer that generates the next item from the items before it.

Architecture of W.-C. Kang & J. McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018
(arXiv 1808.09781), trained as language models are, with cross-entropy over the whole catalog
instead of one sampled negative: A. Klenitskiy & A. Vasilev, "Turning Dross Into Gold Loss",
RecSys 2023 (arXiv 2309.07602). A start token stands before each history, so an empty one has an
answer too. Attention weights are not dropped out, so that the fused kernel can be used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..attention import Block, check_heads
from ..networks import dropout, embedding
from .next_item import NextItem, NextItemNetwork


class _Network(NextItemNetwork):
    """Item tokens in, for each position a vector that points at the next item."""

    def __init__(
        self, n_items: int, length: int, size: int, blocks: int, heads: int, luck: torch.Generator
    ) -> None:
        super().__init__(n_items, n_items + 1, size, luck)  # the last token is the start
        self.positions = embedding(length, size, luck)
        self.blocks = nn.ModuleList(Block(size, heads, luck, fused=True) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)

    def forward(self, tokens: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        x = self.embedded(tokens) + self.positions[: tokens.shape[1]]  # (batch, length, size)
        x = dropout(x, share, luck)
        for block in self.blocks:
            x = block(x, share, luck)
        return self.norm(x)  # type: ignore[no-any-return]


class SASRec(NextItem):
    """Scores items by the probability that they come next, given the latest ``max_length`` items.

    Any history folds in: it is the input. Scores are log probabilities.

    Args:
        embedding_size: width of the network.
        blocks, heads: depth, and attention heads a block.
        max_length: how many of the latest items (the start token included) it looks at.
        dropout: on embeddings and both branches of a block.
        learning_rate: of Adam at its highest; it falls linearly to 0 over the epochs.
        warm_up: share of the steps over which it rises to that.
        batch_size: windows of ``max_length`` items a step.
        epochs: passes over the log when fitting.
        update_epochs: passes over the windows with new items when updating, warm-started, from
            a quarter of the learning rate.
        loss: "cross_entropy" over the whole catalog; "sampled" softmax over ``negatives`` items
            drawn by popularity for each step, or uniformly ("sampled_uniform"); "bce",
            the paper's, against ``negatives`` items drawn uniformly for each position (1 in the
            paper).
        negatives: items drawn; without meaning for "cross_entropy".
        calibration: of "bce", 0 to 1: t of gSASRec, which undoes that few negatives make all
            scores too high.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.
    """

    name = "sasrec"

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        blocks: int = 1,
        heads: int = 2,
        max_length: int = 50,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        warm_up: float = 0.0,
        batch_size: int = 64,
        epochs: int = 20,
        update_epochs: int = 1,
        loss: str = "cross_entropy",
        negatives: int = 256,
        calibration: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_heads(embedding_size, heads)
        self.embedding_size = embedding_size
        self.blocks = blocks
        self.heads = heads
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

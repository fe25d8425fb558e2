"""HSTU: attention without softmax and gates in place of the feed-forward layer.

J. Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for
Generative Recommendations", ICML 2024 (arXiv 2402.17152), equations 1 to 3:

    U, V, Q, K = split(silu(W1 norm(X)));  A = silu(Q K' + r) / N;  Y = W2(norm(A V) * U);  X + Y

with N the length of a window and r_ij = p[i - j] + t[bucket(T_i+1 - T_j)] learned: a bias by
distance in positions, and one by the time that passed between item j and what comes after item i,
as the authors' code has it (the moment of the request, for the newest i). Where times are unknown
the second is left out. Buckets are logarithmic, the authors' floor(ln(span) / 0.301): 1, 2, 3, 4,
5, 7, 9 steps or seconds, and so on by the factor 1.35.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, exp

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import check_heads
from ..networks import dropout, embedding, linear
from .next_item import NextItem, NextItemNetwork

_BUCKETS = 72
"""Of spans below 2^31: 68 years of seconds."""
_BOUNDS = torch.tensor([ceil(exp(0.301 * bucket)) for bucket in range(1, _BUCKETS)])
"""Whole numbers at which buckets begin, so that no rounding decides where a span falls."""


def buckets(met: Tensor) -> Tensor:
    """(batch, length, length) bucket of the time from token j to what comes after token i.

    Args:
        met: (batch, length + 1) when each token was met, and when what follows the last is.
    """
    span = met[:, 1:, None] - met[:, None, :-1]  # (batch, length, length)
    return torch.bucketize(span, _BOUNDS, right=True)


class _Block(nn.Module):
    """Pointwise attention, aggregated, normalised, gated, and added to its input."""

    def __init__(self, size: int, heads: int, length: int, luck: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.length = length
        self.norm_in = nn.LayerNorm(size)
        self.gate_value_query_key = linear(size, 4 * size, luck)
        self.by_distance = nn.Parameter(torch.zeros(length))  # p, by how far back an item stands
        self.by_time = nn.Parameter(torch.zeros(_BUCKETS))  # t, by how long ago it was met
        self.norm_seen = nn.LayerNorm(size)
        self.mix = linear(size, size, luck)

    def forward(
        self, x: Tensor, span: Tensor | None, share: float, luck: torch.Generator | None
    ) -> Tensor:
        batch, length, size = x.shape
        parts = F.silu(self.gate_value_query_key(self.norm_in(x)))  # (batch, length, 4 size)
        u, vqk = parts[:, :, :size], parts[:, :, size:]
        vqk = vqk.reshape(batch, length, 3, self.heads, size // self.heads)
        v, q, k = vqk.permute(2, 0, 3, 1, 4)  # (batch, heads, length, size / heads) each
        back = torch.arange(length)[:, None] - torch.arange(length)[None, :]  # (length, length)
        bias = self.by_distance[back.clamp(min=0)]  # (length, length)
        if span is not None:
            bias = (bias + self.by_time[span])[:, None]  # (batch, 1, length, length)
        weight = F.silu(q @ k.transpose(2, 3) + bias)  # (batch, heads, length, length)
        weight = weight.masked_fill(back < 0, 0.0) / self.length
        seen = (weight @ v).transpose(1, 2).reshape(batch, length, size)
        return x + dropout(self.mix(self.norm_seen(seen) * u), share, luck)


class _Network(NextItemNetwork):
    """Item tokens in, for each position a vector that points at the next item."""

    def __init__(
        self, n_items: int, length: int, size: int, blocks: int, heads: int, luck: torch.Generator
    ) -> None:
        super().__init__(n_items, n_items + 1, size, luck)  # the last token is the start
        self.positions = embedding(length, size, luck)
        self.blocks = nn.ModuleList(_Block(size, heads, length, luck) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)

    def forward(
        self,
        tokens: Tensor,
        share: float,
        luck: torch.Generator | None,
        met: Tensor | None = None,
    ) -> Tensor:
        span = None if met is None else buckets(met)  # (batch, length, length)
        x = self.embedded(tokens) + self.positions[: tokens.shape[1]]  # (batch, length, size)
        x = dropout(x, share, luck)
        for block in self.blocks:
            x = block(x, span, share, luck)
        return self.norm(x)  # type: ignore[no-any-return]


class HSTU(NextItem):
    """Scores items by the probability that they come next, given the latest ``max_length`` items.

    Any history folds in: it is the input, with its times where they are known. Scores are log
    probabilities.

    Args:
        embedding_size: width of the network.
        blocks, heads: depth, and attention heads a block.
        max_length: how many of the latest items (the start token included) it looks at.
        dropout: on embeddings and what each block adds.
        learning_rate: of Adam at its highest; it falls linearly to 0 over the epochs.
        warm_up: share of the steps over which it rises to that.
        batch_size: windows of ``max_length`` items a step.
        epochs: passes over the log when fitting.
        update_epochs: passes over the windows with new items when updating, warm-started, from
            a quarter of the learning rate.
        loss: "cross_entropy" over the whole catalog; "sampled" softmax over ``negatives`` items
            drawn by popularity for each step; "sampled_uniform", the paper's, drawn uniformly;
            "bce" against ``negatives`` items drawn uniformly for each position.
        negatives: items drawn; without meaning for "cross_entropy".
        calibration: of "bce", 0 to 1: t of gSASRec.
        times: whether it looks at how long ago items were met; without, only at their order.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.
    """

    name = "hstu"
    capabilities = replace(NextItem.capabilities, inputs=frozenset({"history", "times"}))

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        blocks: int = 2,
        heads: int = 2,
        max_length: int = 50,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        warm_up: float = 0.03,
        batch_size: int = 64,
        epochs: int = 20,
        update_epochs: int = 1,
        loss: str = "cross_entropy",
        negatives: int = 256,
        calibration: float = 0.0,
        times: bool = True,
        seed: int = 0,
    ) -> None:
        if not times:
            self.capabilities = NextItem.capabilities
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

    def _seen(
        self, tokens: Tensor, met: Tensor | None, share: float, luck: torch.Generator | None
    ) -> Tensor:
        x: Tensor = self.network(tokens, share, luck, met)
        return x

"""Self-attention: the block that models of sequences are stacked from.

A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017; normalised before each branch
(R. Xiong et al., ICML 2020), with dropout whose luck is handed in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from .networks import dropout, linear


def check_heads(size: int, heads: int) -> None:
    """Refuses a width that cannot be divided among the heads."""
    if size % heads:
        raise UserError(f"embedding_size must be a multiple of heads, got {size} and {heads}")


class Block(nn.Module):
    """Self-attention, then a feed-forward layer, each normalised before and added after.

    Args:
        size: width; heads: of attention.
        luck: draws the weights.
        causal: whether a position sees only itself and what is before it.
        fused: attend by a kernel that never writes the (length, length) table: several times
            faster, without dropout on attention weights. What is not causal needs it.
        feed: how many times ``size`` the feed-forward layer is wide; activation: in it.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        luck: torch.Generator,
        *,
        causal: bool = True,
        fused: bool = False,
        feed: int = 2,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.fused = fused or not causal
        self.norm_attend = nn.LayerNorm(size)
        self.query_key_value = linear(size, 3 * size, luck)
        self.mix_heads = linear(size, size, luck)
        self.norm_feed = nn.LayerNorm(size)
        self.activation = activation
        self.widen = linear(size, feed * size, luck)
        self.narrow = linear(feed * size, size, luck)

    def forward(
        self,
        x: Tensor,
        share: float,
        luck: torch.Generator | None,
        *,
        visible: Tensor | None = None,
    ) -> Tensor:
        """(batch, length, size) from the same; ``visible`` (batch, 1, 1, length) hides padding
        where positions see both ways."""
        q, k, v = self.asked(x)
        if not self.fused:
            return self.answered(x, self.attend(q, k, v, share, luck), share, luck)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=self.causal)
        return self.answered(x, seen, share, luck)

    def asked(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values: (batch, heads, length, size / heads) each."""
        batch, length, size = x.shape
        parts = self.query_key_value(self.norm_attend(x))  # (batch, length, 3 size)
        parts = parts.view(batch, length, 3, self.heads, size // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        return q, k, v

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, share: float, luck: torch.Generator | None
    ) -> Tensor:
        """(batch, heads, length, size / heads) what each position sees of those up to it."""
        length, width = q.shape[2:]
        match = q @ k.transpose(2, 3) / width**0.5  # (batch, heads, length, length)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weight = match.masked_fill(future, float("-inf")).softmax(dim=3)
        return dropout(weight, share, luck) @ v

    def answered(
        self, x: Tensor, seen: Tensor, share: float, luck: torch.Generator | None
    ) -> Tensor:
        """(batch, length, size) after both branches, from what the heads saw."""
        seen = seen.transpose(1, 2).reshape(x.shape)  # (batch, length, size)
        x = x + dropout(self.mix_heads(seen), share, luck)
        fed = self.narrow(self.activation(self.widen(self.norm_feed(x))))  # (batch, length, size)
        return x + dropout(fed, share, luck)

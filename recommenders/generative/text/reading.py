"""A causal network over pieces of text, and what it has read, so that each more costs one step.

Keys and values of the context are computed once for each row; every row is then continued in many
ways at a time (beams, or all beginnings of titles), which share it and keep only their own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import Block
from ..networks import dropout, embedding


class Network(nn.Module):
    """Pieces in, for each position a vector that points at the next piece."""

    def __init__(
        self, n_pieces: int, length: int, size: int, blocks: int, heads: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.pieces = embedding(n_pieces + 1, size, luck)  # the last row is the start token
        self.positions = embedding(length, size, luck)
        self.blocks = nn.ModuleList(Block(size, heads, luck) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)
        self.bias = nn.Parameter(torch.zeros(n_pieces))

    def placed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(..., size) tokens at their positions."""
        spoken: Tensor = F.embedding(tokens, self.pieces) * self.pieces.shape[1] ** 0.5
        return spoken + F.embedding(position, self.positions)

    def forward(self, tokens: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        x = self.placed(tokens, torch.arange(tokens.shape[1]))  # (batch, length, size)
        x = dropout(x, share, luck)
        for block in self.blocks:
            x = block(x, share, luck)
        out: Tensor = self.norm(x)
        return out

    def logits(self, x: Tensor) -> Tensor:
        """(..., pieces) of the next piece, from (..., size); the table is used both ways."""
        out: Tensor = x @ self.pieces[:-1].T + self.bias
        return out


class Reading:
    """Contexts that were read; continued by :meth:`step`.

    Args:
        network: what reads.
        tokens: (rows, length) contexts, padded at the right; last: (rows,) where each ends.

    Attributes:
        x: (rows, ways, size) the vectors that point at the next token; one way at first.
    """

    def __init__(self, network: Network, tokens: Tensor, last: Tensor) -> None:
        self._network, self._next = network, last + 1
        rows, length = tokens.shape
        self._context: list[tuple[Tensor, Tensor]] = []
        x = network.placed(tokens, torch.arange(length))  # (rows, length, size)
        for block in self._blocks():
            q, k, v = block.asked(x)
            self._context.append((k, v))
            x = block.answered(x, block.attend(q, k, v, 0.0, None), 0.0, None)
        self._padded = torch.arange(length)[None, :] > last[:, None]  # (rows, length)
        self._own: list[tuple[Tensor, Tensor]] = []
        self.x: Tensor = network.norm(x[torch.arange(rows), last])[:, None]

    def _blocks(self) -> list[Block]:
        return list(self._network.blocks)  # type: ignore[arg-type]

    def step(self, tokens: Tensor, parent: Tensor) -> Tensor:
        """Say one token more in each way; the new :attr:`x`.

        Args:
            tokens: (rows, ways) what is said.
            parent: (rows, ways) which of the ways so far each goes on from.
        """
        at = self._next[:, None].expand(tokens.shape)
        x = self._network.placed(tokens, at)  # (rows, ways, size)
        own: list[tuple[Tensor, Tensor]] = []
        for index, block in enumerate(self._blocks()):
            q, k, v = block.asked(x)  # (rows, heads, ways, width) each
            keys, values = k[:, :, :, None], v[:, :, :, None]
            if self._own:
                before = (_of(parent, part) for part in self._own[index])
                keys, values = (
                    torch.cat([old, new], dim=3)
                    for old, new in zip(before, (keys, values), strict=True)
                )  # (rows, heads, ways, said, width)
            own.append((keys, values))
            x = block.answered(x, self._seen(q, index, keys, values), 0.0, None)
        self._own, self._next = own, self._next + 1
        self.x = self._network.norm(x)
        return self.x

    def _seen(self, q: Tensor, index: int, keys: Tensor, values: Tensor) -> Tensor:
        """(rows, heads, ways, width) of the context and of what each way has said."""
        k, v = self._context[index]  # (rows, heads, length, width) each
        length, width = k.shape[2:]
        far = q @ k.transpose(2, 3)  # (rows, heads, ways, length)
        far = far.masked_fill(self._padded[:, None, None, :], float("-inf"))
        near = (q[:, :, :, None] * keys).sum(4)  # (rows, heads, ways, said)
        weight: Tensor = (torch.cat([far, near], dim=3) / width**0.5).softmax(dim=3)
        own = (weight[..., length:, None] * values).sum(3)  # (rows, heads, ways, width)
        seen: Tensor = weight[..., :length] @ v + own
        return seen


def _of(parent: Tensor, part: Tensor) -> Tensor:
    """(rows, heads, ways, said, width) taken from the ways each goes on from."""
    shape = (-1, part.shape[1], -1, *part.shape[3:])
    return part.gather(2, parent[:, None, :, None, None].expand(shape))

"""The network of generative retrieval: a transformer over items that spells the next item's id.

An item's vector is the sum of vectors of its id's prefixes, so that a history takes one position an
item, not one a code. The vector of a prefix is that of its last code plus one of its own (prefix
n-grams: A. Singh et al., "Better Generalization with Semantic IDs", RecSys 2024): the first says
what alike items share, the second what sets this branch apart; a prefix never trained has only the
first. After the codes c_1 ... c_(l-1), said from the history's vector h, the next code has

    P(c_l = c | h, c_<l) = softmax over c of  (C_l h) . v(c_1 ... c_(l-1) c) + b(c_1 ... c)

the factorisation that TIGER decodes by (S. Rajput et al., NeurIPS 2023), with one product a code in
place of a second transformer. The softmax goes over the codes that some item's id continues with
(constrained), or over all codes (then prefixes that are no item's get a share too).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..attention import Block
from ..networks import dropout, embedding, linear
from .trie import NOWHERE, Trie


class _Products(torch.autograd.Function):
    """Row r's state times each of its own vectors; sparse products give the gradients."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, vectors: Tensor, chosen: Tensor, sizes: Tensor) -> Tensor:
        ctx.save_for_backward(state, vectors, chosen, sizes)
        spread = state.repeat_interleave(sizes, dim=0)  # (chosen, size)
        return (spread * F.embedding(chosen, vectors)).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        state, vectors, chosen, sizes = (t.numpy() for t in ctx.saved_tensors)
        starts = np.concatenate([[0], sizes.cumsum()])
        shape = (len(state), len(vectors))
        table = sp.csr_matrix((grads[0].numpy(), chosen, starts), shape=shape)
        return torch.from_numpy(table @ vectors), torch.from_numpy(table.T @ state), None, None


def products(state: Tensor, vectors: Tensor, chosen: Tensor, sizes: Tensor) -> Tensor:
    """(chosen,) products of (rows, size) states with the vectors chosen for each.

    Args:
        state: one a row.
        vectors: (nodes, size) table to choose from.
        chosen: (chosen,) which nodes, row after row; sizes: (rows,) how many each row has.
    """
    return _Products.apply(state, vectors, chosen, sizes)  # type: ignore[no-any-return,no-untyped-call]


class IdNetwork(nn.Module):
    """Item tokens in, at each position a vector from which the next item's id is spelled.

    Args:
        trie: of the ids.
        sizes: how many codes each depth has.
        length: positions.
        size, blocks, heads: of the transformer.
        constrained: whether only codes that continue an id can follow.
    """

    def __init__(
        self,
        trie: Trie,
        sizes: Sequence[int],
        *,
        length: int,
        size: int,
        blocks: int,
        heads: int,
        constrained: bool,
        luck: torch.Generator,
    ) -> None:
        super().__init__()
        self.constrained = constrained
        self.codes = nn.ParameterList(embedding(n, size, luck) for n in sizes)
        self.prefixes = nn.ParameterList(embedding(len(d), size, luck) for d in trie.depths)
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(len(d))) for d in trie.depths)
        self.states = nn.ModuleList(linear(size, size, luck) for _ in sizes)
        self.start = embedding(1, size, luck)
        self.positions = embedding(length, size, luck)
        self.blocks = nn.ModuleList(Block(size, heads, luck) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)
        self.use(trie)

    def use(self, trie: Trie) -> None:
        """Spell the ids of a tree whose nodes the tables have rows for."""
        self.trie = trie
        self.path = torch.from_numpy(trie.path)  # (items, depths)
        self.code_of = [torch.from_numpy(depth.code) for depth in trie.depths]
        self.parent_of = [torch.from_numpy(depth.parent) for depth in trie.depths]
        self.first_of = [torch.from_numpy(depth.first) for depth in trie.depths]

    def embedded(self, items: Tensor) -> Tensor:
        """(..., size) vectors of items, the sum of their prefixes'."""
        parts = []
        for node, codes, own, code in zip(
            self.path[items].unbind(-1), self.codes, self.prefixes, self.code_of, strict=True
        ):
            parts += [F.embedding(code[node], codes), F.embedding(node, own)]
        return torch.stack(parts).sum(dim=0)

    def forward(self, tokens: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        """(batch, length, size) from (batch, length) item indices, the start token one past them.

        Args:
            tokens: what people met.
            share: of entries dropped in training; luck: decides which.
        """
        begins = tokens == len(self.path)
        items = self.embedded(torch.where(begins, 0, tokens))  # (batch, length, size)
        x = torch.where(begins[..., None], self.start, items) * self.start.shape[1] ** 0.5
        x = dropout(x + self.positions[: tokens.shape[1]], share, luck)
        for block in self.blocks:
            x = block(x, share, luck)
        return self.norm(x)  # type: ignore[no-any-return]

    def loss(self, h: Tensor, items: Tensor) -> Tensor:
        """Mean of -log P(id) of the (rows,) items that came after (rows, size) vectors h."""
        total = h.new_zeros(())
        for depth, first in enumerate(self.first_of):
            node = self.path[items, depth]
            parent = self.path[items, depth - 1] if depth else torch.zeros_like(node)
            size = first[parent + 1] - first[parent]
            rows = torch.arange(len(h))
            if self.constrained:  # an only child follows by itself: nothing else can
                rows = rows[size > 1]
            if len(rows) == 0:
                continue
            node, begin, size = node[rows], first[parent[rows]], size[rows]
            column = torch.arange(int(size.max()))
            there = column < size[:, None]  # (rows, widest)
            child = (begin[:, None] + column)[there]  # (children of all rows,)
            code = self.code_of[depth][child]
            state = self.states[depth](h[rows])  # (rows, size)
            by_code = state @ self.codes[depth].T  # (rows, codes)
            if depth:
                own = products(state, self.prefixes[depth], child, size)
            else:  # all of them
                own = (state @ self.prefixes[depth].T).flatten()
            own = own + self.bias[depth][child]
            row = torch.arange(len(rows)).repeat_interleave(size)
            if self.constrained:
                z = h.new_full(there.shape, float("-inf"))
                z = z.masked_scatter(there, own + by_code[row, code])  # (rows, widest)
                said = node - begin
            else:
                z = by_code.index_put((row, code), own, accumulate=True)  # (rows, codes)
                said = self.code_of[depth][node]
            total = total + F.cross_entropy(z, said, reduction="sum") / len(h)
        return total

    def vectors(self) -> list[Tensor]:
        """(nodes, size) vector of each prefix, by depth."""
        pairs = zip(self.codes, self.prefixes, self.code_of, strict=True)
        return [F.embedding(code, codes) + own for codes, own, code in pairs]

    def logits(self, h: Tensor, depth: int, vectors: list[Tensor]) -> Tensor:
        """(rows, nodes of a depth) of (rows, size) vectors h."""
        return self.states[depth](h) @ vectors[depth].T + self.bias[depth]  # type: ignore[no-any-return]

    def log_probabilities(self, h: Tensor) -> Tensor:
        """(rows, items) log P of each item's whole id, from (rows, size); without gradients.

        Rows sum to 1 when constrained; else what is missing is the probability of ids that no
        item has.
        """
        vectors = self.vectors()
        so_far = h.new_zeros(len(h), 1)  # of the root
        for depth in range(len(vectors)):
            given = self._given_parent(h, depth, vectors)
            so_far = so_far[:, self.parent_of[depth]] + given  # (rows, nodes)
        return torch.empty_like(so_far).index_copy_(1, torch.from_numpy(self.trie.items), so_far)

    def _given_parent(self, h: Tensor, depth: int, vectors: list[Tensor]) -> Tensor:
        """(rows, nodes of a depth) log P of the last code of each prefix after the others."""
        parent, begins = self.parent_of[depth], self.trie.depths[depth].first[:-1]
        z = self.logits(h, depth, vectors)

        def family(how: np.ufunc, values: Tensor) -> Tensor:
            """(rows, parents) of (rows, nodes): siblings are neighbours, and nobody has none."""
            return torch.from_numpy(how.reduceat(values.numpy(), begins, axis=1))

        # Each family by its own greatest: beside another's, all of it could round to nothing.
        most = family(np.maximum, z)
        mass = family(np.add, (z - most[:, parent]).exp()).log()  # of those that continue an id
        if not self.constrained:  # the other codes count by their own vector alone
            bare = (self.states[depth](h) @ self.codes[depth].T).double()  # (rows, codes)
            greatest = bare.amax(dim=1, keepdim=True)
            bare = (bare - greatest).exp()
            taken = family(np.add, bare[:, self.code_of[depth]])
            others = (bare.sum(dim=1, keepdim=True) - taken).clamp(min=0.0).log() + greatest
            mass = torch.logaddexp(mass.double(), others - most).float()
        return z - most[:, parent] - mass[:, parent]

    def beams(self, h: Tensor, width: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The most probable ids that beam search finds, best first, equally probable ones by code.

        Args:
            h: (rows, size) vectors.
            width: prefixes kept at each depth; as many as there are items makes it exact.

        Returns:
            (rows, width, depths) ids and (rows, width) log probabilities, -inf where there are
            fewer ids.
        """
        vectors, rows = self.vectors(), len(h)
        ids = np.zeros((rows, 1, 0), np.int64)
        node = np.zeros((rows, 1), np.int64)  # the root
        log_p = h.new_zeros(rows, 1)
        for depth in range(len(vectors)):
            child = torch.from_numpy(self.trie.children(depth, node))  # (rows, beams, widest)
            there = child != NOWHERE
            spot = child.clamp(min=0).flatten(1)
            z = self.logits(h, depth, vectors).gather(1, spot).view(child.shape)
            if self.constrained:
                z = z.masked_fill(~there, float("-inf"))
                code = self.code_of[depth][child.clamp(min=0)]
            else:
                bare = self.states[depth](h) @ self.codes[depth].T  # (rows, codes)
                n_codes = bare.shape[1]
                wide = bare[:, None, :].expand(-1, child.shape[1], -1)  # (rows, beams, codes)
                at = torch.where(there, self.code_of[depth][child.clamp(min=0)], n_codes)
                wide = F.pad(wide, (0, 1)).scatter(2, at, z)[:, :, :n_codes]
                of = torch.full((*wide.shape[:2], n_codes + 1), NOWHERE)
                z, child = wide, of.scatter(2, at, child)[:, :, :n_codes]
                code = torch.arange(n_codes).expand(child.shape)
            # A beam that ran out of children has only -inf, whose softmax would be NaN.
            given = z - z.logsumexp(dim=2, keepdim=True)
            given = given.masked_fill(z == float("-inf"), float("-inf"))
            total = (log_p[:, :, None] + given).flatten(1)  # (rows, beams * codes)
            keep = total.sort(dim=1, descending=True, stable=True)
            kept = keep.indices[:, :width]
            log_p = keep.values[:, :width]
            beam, place = (kept // z.shape[2]).numpy(), kept.numpy()
            said = np.take_along_axis(code.flatten(1).numpy(), place, axis=1)
            node = np.take_along_axis(child.flatten(1).numpy(), place, axis=1)
            node = np.where(log_p.numpy() > -np.inf, node, NOWHERE)
            ids = np.take_along_axis(ids, beam[:, :, None], axis=1)
            ids = np.concatenate([ids, said[:, :, None]], axis=2)
        short = width - ids.shape[1]
        return (
            np.pad(ids, ((0, 0), (0, short), (0, 0))) if short > 0 else ids,
            np.pad(log_p.numpy(), ((0, 0), (0, max(0, short))), constant_values=-np.inf),
        )

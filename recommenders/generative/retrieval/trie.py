"""The prefix tree of all ids that exist, as arrays: what constrained generation may say next.

Ids are sorted; a node is a prefix that some id begins with, and the nodes of one depth stand in
the order of their prefixes, so the children of a node are neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOWHERE = -1
"""The node of a prefix that no id begins with."""


@dataclass(frozen=True)
class Depth:
    """The nodes of one depth; those of depth 0 are the first codes in use, children of the root.

    Attributes:
        code: (nodes,) the last code of each node's prefix.
        parent: (nodes,) its parent among the nodes of the depth above, ascending.
        first: (parents + 1,) the children of parent p are the nodes first[p] to first[p + 1].
    """

    code: NDArray[np.int64]
    parent: NDArray[np.int64]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.code)

    @property
    def n_children(self) -> NDArray[np.int64]:
        """(parents,) how many children each node of the depth above has."""
        return np.diff(self.first)


class Trie:
    """All ids of a catalog.

    Args:
        ids: (items, depths) distinct rows of codes from 0, at least one.

    Attributes:
        depths: the nodes, depth by depth; those of the last one are the items.
        items: (items,) the item of each node of the last depth.
        path: (items, depths) the node of each item at each depth.
    """

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self.items = np.lexsort(ids.T[::-1])
        self.depths: list[Depth] = []
        self.path = np.empty_like(ids)
        node = np.zeros(len(ids), np.int64)  # of each sorted id, at the depth above
        for column in range(ids.shape[1]):
            code = ids[self.items, column]
            new = np.ones(len(ids), np.bool_)
            new[1:] = (code[1:] != code[:-1]) | (node[1:] != node[:-1])
            at = np.flatnonzero(new)
            parent, n_parents = node[at], int(node[-1]) + 1
            first = np.searchsorted(parent, np.arange(n_parents + 1))
            self.depths.append(Depth(code[at], parent, first))
            node = new.cumsum() - 1
            self.path[self.items, column] = node
        if len(self.depths[-1]) != len(ids):
            raise ValueError("two items have the same id")

    def children(self, depth: int, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(..., widest) nodes of a depth below (...) nodes of the depth above, padded at the right
        with NOWHERE, which has no children; at depth 0 the parent is the root, node 0."""
        known = nodes != NOWHERE
        parent = np.where(known, nodes, 0)
        first = self.depths[depth].first
        size = np.where(known, first[parent + 1] - first[parent], 0)
        column = np.arange(max(1, int(size.max(initial=0))))
        return np.where(column < size[..., None], first[parent][..., None] + column, NOWHERE)

    def walk(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """(..., depths) the node of each prefix of ids (..., some depths), NOWHERE off the tree."""
        nodes = np.full(ids.shape, NOWHERE, np.int64)
        above, on = np.zeros(ids.shape[:-1], np.int64), np.ones(ids.shape[:-1], np.bool_)
        for column, depth in zip(range(ids.shape[-1]), self.depths, strict=False):
            # nodes ascend by (parent, code), so a search among those pairs finds a child
            code = ids[..., column]
            width = int(max(depth.code.max(), code.max(initial=0))) + 1
            have, asked = depth.parent * width + depth.code, above * width + code
            place = np.minimum(np.searchsorted(have, asked), len(have) - 1)
            on &= have[place] == asked
            above = np.where(on, place, 0)
            nodes[..., column] = np.where(on, place, NOWHERE)
        return nodes

    def find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """(...,) the item of each id (..., depths), NOWHERE where no item has it."""
        leaf = self.walk(ids)[..., -1]
        return np.where(leaf == NOWHERE, NOWHERE, self.items[leaf])

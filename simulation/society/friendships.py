"""Friendships that end and begin, and the part of a graph that a shard of people needs."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...recommenders.randomness import uniform
from ..people.drift import Floats
from .graphs import graph_of

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def moved_links(
    graph: sp.csr_matrix,
    opinion: Floats,
    present: Flags,
    *,
    tolerance: float,
    chance: float,
    key: np.uint64,
    step: int,
) -> tuple[Ints, Ints]:
    """(ended, begun): friends too far apart part, and one of them finds somebody else.

    Each link with ``|x_i - x_j| > tolerance`` is cut with a chance, and one end, by luck, links to
    a person drawn from all who are there; who is already a friend is no replacement. So the number
    of links stays. A link of persons a < b is named ``a n + b``.

    Source: coevolution of opinions and networks, Holme & Newman (2006).
    """
    n = len(opinion)
    upper = sp.triu(graph, 1).tocoo()
    a, b = upper.row.astype(np.int64), upper.col.astype(np.int64)
    far = np.abs(opinion[a] - opinion[b]) > tolerance
    cut = far & present[a] & present[b] & (uniform(key, step, a, b, 0) < chance)
    keeps = np.where(uniform(key, step, a, b, 1) < 0.5, a, b)
    to = (uniform(key, step, a, b, 2) * n).astype(np.int64)
    old = a * n + b
    new = np.minimum(keeps, to) * n + np.maximum(keeps, to)
    cut &= (to != keeps) & present[to] & ~np.isin(new, old)
    where = np.flatnonzero(cut)
    _, once = np.unique(new[where], return_index=True)
    where = where[np.sort(once)]
    return old[where], new[where]


def relinked(
    graph: sp.csr_matrix, ended: Ints, begun: Ints, *, rows: slice | None = None
) -> sp.csr_matrix:
    """The graph without some links and with others, named as by :func:`moved_links`.

    Args:
        rows: the people whose rows the graph holds; everybody when None.
    """
    n = graph.shape[0]

    def both_ways(links: Ints) -> Ints:
        a, b = links // n, links % n
        heard_by = np.concatenate([a, b])
        code = heard_by * n + np.concatenate([b, a])
        if rows is None:
            return np.asarray(code)
        return np.asarray(code[(heard_by >= rows.start) & (heard_by < rows.stop)])

    heard_by = np.repeat(np.arange(n, dtype=np.int64), np.diff(graph.indptr))
    code = heard_by * n + graph.indices
    code = np.concatenate([code[~np.isin(code, both_ways(ended))], both_ways(begun)])
    return graph_of(code // n, code % n, n)


def rewired(
    graph: sp.csr_matrix,
    opinion: Floats,
    present: Flags,
    *,
    tolerance: float,
    chance: float,
    key: np.uint64,
    step: int,
) -> sp.csr_matrix:
    """The graph after the friendships of a step ended and began; see :func:`moved_links`."""
    moved = moved_links(
        graph, opinion, present, tolerance=tolerance, chance=chance, key=key, step=step
    )
    return relinked(graph, *moved)


# A shard's part ----------------------------------------------------------------------------------


def only_rows(graph: sp.csr_matrix, rows: slice) -> sp.csr_matrix:
    """The graph in which only these people hear anybody; indices stay what they are."""
    begin, end = graph.indptr[rows.start], graph.indptr[rows.stop]
    offsets = np.clip(graph.indptr, begin, end) - begin
    return sp.csr_matrix(
        (graph.data[begin:end], graph.indices[begin:end], offsets), shape=graph.shape
    )


def border_of(graph: sp.csr_matrix, rows: slice) -> Ints:
    """Those whom people of these rows hear and who are not among them, ascending."""
    heard = np.unique(graph.indices[graph.indptr[rows.start] : graph.indptr[rows.stop]])
    return np.asarray(heard[(heard < rows.start) | (heard >= rows.stop)], np.int64)


def heard_outside(graph: sp.csr_matrix, rows: slice) -> Flags:
    """(rows,) which people of these rows are heard by somebody who is not among them."""
    begin, end = graph.indptr[rows.start], graph.indptr[rows.stop]
    outside = np.concatenate([graph.indices[:begin], graph.indices[end:]])
    inside = outside[(outside >= rows.start) & (outside < rows.stop)]
    found = np.zeros(rows.stop - rows.start, np.bool_)
    found[inside - rows.start] = True
    return found

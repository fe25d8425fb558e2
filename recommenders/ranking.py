"""From scores to slates: exact top-k with stable ties, the same whatever batch a row travels in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .border import NOTHING, Requests, Slates
from .interactions import Ragged

_CELLS_PER_BLOCK = 4_000_000
"""Score cells handled at most at once: 16 MB of float32, whatever the number of users."""
_CELLS_IN_CACHE = 1_000_000
_ROWS_AT_LEAST = 512


def blocks(n_rows: int, n_columns: int) -> list[NDArray[np.int64]]:
    """Row indices cut so that a block of ``n_columns`` wide rows stays small in memory.

    Scores are used while they are in the processor's cache, but a product of few rows is slow.
    """
    fits, cached = (cells // max(1, n_columns) for cells in (_CELLS_PER_BLOCK, _CELLS_IN_CACHE))
    size = max(1, min(fits, max(cached, _ROWS_AT_LEAST)))
    return [np.arange(at, min(at + size, n_rows)) for at in range(0, n_rows, size)]


_WORTH_COMPILING = 200_000
"""Score cells from which on the compiled top-k (topk.py), which gives the same lists, is loaded."""


@dataclass(frozen=True)
class Best:
    """The best of some rows of scores.

    Attributes:
        items: (n, k) int32, best first, -1 for nothing.
        scores: (n, k) float32, -inf for nothing.
        odd: (n,) whether the row holds NaN or +inf.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    odd: NDArray[np.bool_]


def best(
    scores: NDArray[np.float32], k: int, *, without: Ragged | None = None, finite: bool = True
) -> Best:
    """The best items of each row; equal scores go by item index. The scores stay as they are.

    Args:
        scores: (n, items) float32; -inf and NaN mean "never".
        k: list length.
        without: n rows of items to leave out; None for none.
        finite: whether +inf means "never" too.
    """
    n_items = scores.shape[1]
    if scores.size >= _WORTH_COMPILING and k > 0:
        return _compiled(np.ascontiguousarray(scores, np.float32), k, without, finite)
    values = np.array(scores, np.float32)  # a copy: it is masked
    odd = ~(values.max(axis=1, initial=-np.inf) < np.inf)  # NaN and +inf reach the maximum
    if odd.any() and finite:
        values[~(values < np.inf)] = -np.inf
    if without is not None:
        inside = (without.values >= 0) & (without.values < n_items)
        values[without.row_index[inside], without.values[inside]] = -np.inf
    items = _partitioned(values, k)
    held = np.take_along_axis(values, np.maximum(items, 0).astype(np.int64), axis=1)
    return Best(items, np.where(items >= 0, held, np.float32(-np.inf)), odd)


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """(n, k) the best items of each row, best first; equal scores go by item index.

    Args:
        scores: (n, items) float32; -inf and NaN mean "never".
        k: list length; slots beyond what can be recommended hold -1.
    """
    if scores.size >= _WORTH_COMPILING:
        return best(scores, k, finite=False).items
    return _partitioned(scores, k)


def top_k_exact(scores: NDArray[np.float64], k: int) -> NDArray[np.int32]:
    """(n, k) the same as :func:`top_k` without rounding to single precision; NaN is not allowed."""
    n, n_items = scores.shape
    if scores.size >= _WORTH_COMPILING and k > 0:
        return _compiled(np.ascontiguousarray(scores), k, None, False).items
    kept = min(k, n_items)
    out = np.full((n, k), NOTHING, np.int32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :kept]
    out[:, :kept] = np.where(np.take_along_axis(scores, order, axis=1) > -np.inf, order, NOTHING)
    return out


def _compiled(scores: NDArray[np.floating], k: int, without: Ragged | None, finite: bool) -> Best:
    """The best of contiguous rows by the compiled loop, in their own precision."""
    from .topk import best_of_rows

    n = len(scores)
    out = Ragged(np.empty(0, np.int32), np.empty(0, np.int64)) if without is None else without
    items, found = np.empty((n, k), np.int32), np.empty((n, k), scores.dtype)
    odd = np.empty(n, np.bool_)
    best_of_rows(scores, k, out.values, out.offsets, items, found, odd, finite)
    return Best(items, found, odd)


def _partitioned(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """:func:`top_k` in NumPy.

    A partition finds each row's k-th best score without sorting the row; only rows where more
    items share that score than there are places need a second look.
    """
    n, n_items = scores.shape
    values = np.asarray(scores, dtype=np.float32)
    if np.isnan(values.max(initial=-np.inf)):
        values = np.where(np.isnan(values), np.float32(-np.inf), values)
    kept = min(k, n_items)
    out = np.full((n, k), NOTHING, dtype=np.int32)
    if n == 0 or kept == 0:
        return out
    worst = np.partition(values, n_items - kept, axis=1)[:, n_items - kept, None]  # (n, 1)
    chosen = values >= worst  # (n, items), at least k in each row
    crowded = np.flatnonzero(np.count_nonzero(chosen, axis=1) > kept)
    if len(crowded):
        chosen[crowded] = False
        chosen[crowded[:, None], _first_k(values[crowded], kept)] = True
    items = (np.flatnonzero(chosen) % n_items).reshape(n, kept)  # ascending in each row
    found = np.take_along_axis(values, items, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    found = np.take_along_axis(found, order, axis=1)
    items = np.take_along_axis(items, order, axis=1)
    out[:, :kept] = np.where(found > -np.inf, items, NOTHING)
    return out


def _first_k(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(n, k) the k best items of each row in any order, ties at the border by item index.

    Score and index are packed into one 64-bit key, so that a partition decides the ties.
    """
    bits = (values + np.float32(0.0)).view(np.int32)  # adding 0.0 made -0.0 equal to 0.0
    ascending = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))  # ordered as the floats are
    n_items = values.shape[1]
    keys = ((~ascending).astype(np.int64) << 32) | np.arange(n_items, dtype=np.int64)
    if k < n_items:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    return keys & 0xFFFFFFFF


def recommend_best(
    score: Callable[[Requests], NDArray[np.float32]], requests: Requests, n_items: int
) -> Slates:
    """The Slates of a recommender that is defined by its scores: the k best of each row.

    Args:
        score: maps requests to (n, items) float32.
        requests: the batch; it is scored in blocks of rows.
        n_items: width of the scores, to choose the block.
    """
    items = np.full((len(requests), requests.k), NOTHING, dtype=np.int32)
    scores = np.full((len(requests), requests.k), -np.inf, dtype=np.float32)
    for rows in blocks(len(requests), n_items):
        found = best(score(requests.take(rows)), requests.k, finite=False)
        items[rows], scores[rows] = found.items, found.scores
    return Slates(items, scores)

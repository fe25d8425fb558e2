"""From scores to slates: exact top-k with stable ties, the same whatever batch a row travels in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .border import NOTHING, Requests, Slates

_CELLS_PER_BLOCK = 4_000_000
"""Score cells handled at once: 16 MB of float32, whatever the number of users."""


def blocks(n_rows: int, n_columns: int) -> list[NDArray[np.int64]]:
    """Row indices cut so that a block of ``n_columns`` wide rows stays small in memory."""
    size = max(1, _CELLS_PER_BLOCK // max(1, n_columns))
    return [np.arange(at, min(at + size, n_rows)) for at in range(0, n_rows, size)]


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """(n, k) the best items of each row, best first; equal scores go by item index.

    A partition finds each row's k-th best score without sorting the row; only rows where more
    items share that score than there are places need a second look.

    Args:
        scores: (n, items) float32; -inf and NaN mean "never".
        k: list length; slots beyond what can be recommended hold -1.
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
        block = score(requests.take(rows))
        items[rows] = top_k(block, requests.k)
        found = np.take_along_axis(block, np.maximum(items[rows], 0).astype(np.int64), axis=1)
        scores[rows] = np.where(items[rows] >= 0, found, -np.inf)
    return Slates(items, scores)

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

    Score and index are packed into one 64-bit key, so a partition finds the exact first k even
    where ties cross the border, without sorting the rest.

    Args:
        scores: (n, items) float32; -inf and NaN mean "never".
        k: list length; slots beyond what can be recommended hold -1.
    """
    n, n_items = scores.shape
    values = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32) + np.float32(0.0)
    bits = values.view(np.int32)  # adding 0.0 above made -0.0 equal to 0.0
    ascending = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))  # ordered as the floats are
    keys = ((~ascending).astype(np.int64) << 32) | np.arange(n_items, dtype=np.int64)
    kept = min(k, n_items)
    if 0 < kept < n_items:
        keys = np.partition(keys, kept - 1, axis=1)[:, :kept]
    keys = np.sort(keys[:, :kept], axis=1)
    best = (keys & 0xFFFFFFFF).astype(np.int32)
    possible = np.take_along_axis(values, best.astype(np.int64), axis=1) > -np.inf
    out = np.full((n, k), NOTHING, dtype=np.int32)
    out[:, :kept] = np.where(possible, best, np.int32(NOTHING))
    return out


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

"""The compiled top-k: one pass over each row of scores, exactly the order of ranking.top_k.

A row is read in short runs; only a run that holds something better than the k-th best so far is
looked at item by item, which after the first few hundred items hardly any does. Numba is imported
here and only here on this floor: ranking.py turns to it for large batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

_RUN = 8
_LANES = 64
_LONG = 12
"""Lists longer than this are begun with a bound: the k-th best of the greatest of each of 64 lanes
of a row is at most the k-th best of the row, and costs one pass without a branch."""
_NEVER = np.float32(-np.inf)  # of whatever precision


def _compiled(function: F) -> F:
    made: F = njit(function, cache=True, nogil=True, error_model="numpy")
    return made


def _inlined(function: F) -> F:
    made: F = njit(function, nogil=True, error_model="numpy", inline="always")
    return made


@_inlined
def _put(
    value: NDArray[np.floating], index: NDArray[np.int32], size: int, k: int, v: float, j: int
) -> int:
    """Put ``v`` at its place among the best so far, behind its equals; how many there are then."""
    place = min(size, k - 1)
    while place > 0 and value[place - 1] < v:
        value[place] = value[place - 1]
        index[place] = index[place - 1]
        place -= 1
    value[place] = v
    index[place] = j
    return min(size + 1, k)


@_compiled
def best_of_rows(
    scores: NDArray[np.floating],
    k: int,
    values: NDArray[np.int32],
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    found: NDArray[np.floating],
    odd: NDArray[np.bool_],
    finite: bool,
) -> None:
    """The k best of each row without some of its items, best first, equal ones by index.

    Args:
        scores: (n, m) float32 or float64; -inf and NaN mean "never".
        k: places.
        values, offsets: n rows of item indices to leave out (Ragged); offsets may be empty.
        items, found: (n, k), filled in: what is best, -1 for nothing, and its score, -inf for
            nothing.
        odd: (n,), filled in: whether a row holds +inf or NaN.
        finite: whether +inf means "never" too.
    """
    n, m = scores.shape
    row = np.empty((m + _LANES - 1) // _LANES * _LANES, scores.dtype)
    lanes = np.empty(_LANES, scores.dtype)
    row[m:] = _NEVER
    value = np.empty(k + 1, scores.dtype)
    index = np.empty(k + 1, np.int32)
    for r in range(n):
        strange = False
        for j in range(m):
            v = scores[r, j]
            normal = v < -_NEVER
            strange |= not normal
            row[j] = v if normal or (v > _NEVER and not finite) else _NEVER
        odd[r] = strange
        if len(offsets):
            for at in range(offsets[r], offsets[r + 1]):
                if values[at] >= 0 and values[at] < m:
                    row[values[at]] = _NEVER
        bound = _NEVER  # what is less is of no interest, nor what is never shown
        if _LONG < k < _LANES and m >= 4 * _LANES:
            for lane in range(_LANES):
                lanes[lane] = row[lane]
            for start in range(_LANES, len(row), _LANES):
                for lane in range(_LANES):
                    v = row[start + lane]
                    lanes[lane] = v if v > lanes[lane] else lanes[lane]
            size = 0
            for lane in range(_LANES):
                v = lanes[lane]
                if size < k or v > value[k - 1]:
                    size = _put(value, index, size, k, v, 0)
            bound = value[k - 1]
        size = 0
        worst = bound  # the k-th best so far, once there are k
        for start in range(0, len(row), _RUN):
            any_better = False
            for j in range(start, start + _RUN):
                any_better |= row[j] >= worst
            if not any_better:
                continue
            for j in range(start, start + _RUN):
                v = row[j]
                if v < worst or v == _NEVER or (size == k and v == worst):
                    continue
                size = _put(value, index, size, k, v, j)
                if size == k:
                    worst = value[k - 1]
        for place in range(k):
            items[r, place] = index[place] if place < size else -1
            found[r, place] = value[place] if place < size else _NEVER

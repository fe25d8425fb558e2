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

_RUN = 32
_NEVER = np.float32(-np.inf)  # of whatever precision


def _compiled(function: F) -> F:
    made: F = njit(function, cache=True, nogil=True, error_model="numpy")
    return made


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
    row = np.empty((m + _RUN - 1) // _RUN * _RUN, scores.dtype)
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
        size = 0
        worst = _NEVER  # the k-th best so far: only what is greater is of interest
        for start in range(0, len(row), _RUN):
            any_better = False
            for j in range(start, start + _RUN):
                any_better |= row[j] > worst
            if not any_better:
                continue
            for j in range(start, start + _RUN):
                v = row[j]
                if not v > worst:
                    continue
                place = min(size, k - 1)
                while place > 0 and value[place - 1] < v:
                    value[place] = value[place - 1]
                    index[place] = index[place - 1]
                    place -= 1
                value[place] = v
                index[place] = j
                size = min(size + 1, k)
                if size == k:
                    worst = value[k - 1]
        for place in range(k):
            items[r, place] = index[place] if place < size else -1
            found[r, place] = value[place] if place < size else _NEVER

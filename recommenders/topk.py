"""The compiled top-k: one pass over each row of scores, exactly the order of ranking.top_k.

A row is read in short runs; only a run that holds something better than the k-th best so far is
looked at item by item, which after the first few hundred items hardly any does. Lists of up to 48
are found without comparing items one by one (:func:`_by_lanes`). It loads numba, so ranking.py
turns to it for large batches only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiling import compiler

_RUN = 8
_LANES = 128
_LONGEST = 48
"""Lists of at most so many are found by lanes, see :func:`_by_lanes`, which has no branch that a
processor would have to guess."""
_CROWD = 256
"""Items that are ranked by counting at most."""
_NEVER = np.float32(-np.inf)  # of whatever precision


_compiled = compiler()
_inlined = compiler(inline=True)


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


@_inlined
def _by_lanes(
    row: NDArray[np.floating],
    k: int,
    lanes: NDArray[np.floating],
    some: NDArray[np.int64],
    value: NDArray[np.floating],
    index: NDArray[np.int32],
    best: NDArray[np.floating],
    where: NDArray[np.int32],
) -> int:
    """The k best of a row, filled into ``best`` and ``where``; 0, and nothing, where it cannot say.

    A row is cut into 128 lanes (item j is in lane j mod 128), whose greatest are folded into 32 or
    64. The k-th greatest of these is at most the k-th best of the row, and seldom much less: what
    is not below it are hardly more than k items, in lanes whose greatest is not below it. How many
    of these an item is not above is its rank, unless some are equal.

    Args:
        row: whole lanes; k: below 49.
        lanes, some, value, index: room for the lanes, and for items of the row.
    """
    n_folded = 32 if k <= 24 else 64
    for lane in range(_LANES):
        lanes[lane] = row[lane]
    for start in range(_LANES, len(row), _LANES):
        for lane in range(_LANES):
            v = row[start + lane]
            lanes[lane] = v if v > lanes[lane] else lanes[lane]
    for lane in range(n_folded):
        best[lane] = lanes[lane]
    for start in range(n_folded, _LANES, n_folded):
        for lane in range(n_folded):
            v = lanes[start + lane]
            best[lane] = v if v > best[lane] else best[lane]
    bound = -_NEVER
    for lane in range(n_folded):
        v = best[lane]
        greater = np.int32(0)
        for other in range(n_folded):
            greater += np.int32(best[other] > v)
        bound = v if greater < k and v < bound else bound
    if bound == _NEVER:
        return 0
    n_lanes = 0
    for lane in range(_LANES):
        some[n_lanes] = lane
        n_lanes += lanes[lane] >= bound
    n = 0
    for at in range(n_lanes):
        for j in range(some[at], len(row), _LANES):
            v = row[j]
            value[n] = v
            index[n] = j
            n += v >= bound
    if n > _CROWD:
        return 0
    whole = (n + _RUN - 1) // _RUN * _RUN
    for at in range(n, whole):
        value[at] = _NEVER
    total = np.int64(0)
    for at in range(n):
        v = value[at]
        rank = np.int32(0)
        for other in range(whole):
            rank += np.int32(value[other] >= v)
        total += rank
        best[rank - 1] = v
        where[rank - 1] = index[at]
    if total != n * (n + 1) // 2:  # some are equal: the smaller index comes first
        for at in range(n):
            rank = np.int32(0)
            for other in range(n):
                same = value[other] == value[at] and index[other] < index[at]
                rank += np.int32(value[other] > value[at] or same)
            best[rank] = value[at]
            where[rank] = index[at]
    return k


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
    row[m:] = _NEVER
    value = np.empty(max(k + 1, len(row) + _RUN), scores.dtype)
    index = np.empty(len(value), np.int32)
    lanes, some = np.empty(_LANES, scores.dtype), np.empty(_LANES + 1, np.int64)
    best, where = np.empty(len(value), scores.dtype), np.empty(len(value), np.int32)
    by_lanes = k <= _LONGEST and m >= 2 * _LANES
    for r in range(n):
        strange = False
        for j in range(m):
            v = scores[r, j]
            strange |= not v < -_NEVER
            row[j] = v
        odd[r] = strange
        if strange:
            for j in range(m):
                v = row[j]
                row[j] = v if v < -_NEVER or (v > _NEVER and not finite) else _NEVER
        if len(offsets):
            for at in range(offsets[r], offsets[r + 1]):
                if values[at] >= 0 and values[at] < m:
                    row[values[at]] = _NEVER
        if by_lanes and _by_lanes(row, k, lanes, some, value, index, best, where):
            for place in range(k):
                items[r, place] = where[place]
                found[r, place] = best[place]
            continue
        size = 0
        worst = _NEVER  # the k-th best so far, once there are k
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

"""Compiled loops over everybody's list and history: pages are turned, what was consumed is kept.

lists.py and history.py say the same in NumPy, which is used for few people; tests hold the two
equal. Numba is loaded with them, so only who serves many people pays for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.compiling import compiler

_compiled = compiler()


@_compiled
def append(
    more: NDArray[np.int32],
    filled: NDArray[np.int32],
    users: NDArray[np.int32],
    items: NDArray[np.int32],
) -> None:
    """One more item at the end of the rows of these people; see history.py."""
    for r in range(len(users)):
        u = users[r]
        more[u, filled[u]] = items[r]
        filled[u] += 1


@_compiled
def gather(
    values: NDArray[np.int32],
    offsets: NDArray[np.int64],
    more: NDArray[np.int32],
    who: NDArray[np.integer],
    lengths: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """The first ``lengths`` items of each history, one history after the other; see history.py."""
    at = 0
    for r in range(len(who)):
        u = who[r]
        begin = offsets[u]
        old = min(offsets[u + 1] - begin, lengths[r])
        for within in range(old):
            out[at + within] = values[begin + within]
        for within in range(old, lengths[r]):
            out[at + within] = more[u, within - old]
        at += lengths[r]


@_compiled
def next_pages(
    users: NDArray[np.int32],
    offset: NDArray[np.int32],
    length: NDArray[np.int32],
    items: NDArray[np.int32],
    used: NDArray[np.bool_],
    reach: int,
    shown: NDArray[np.int32],
    places: NDArray[np.uint64],
    slots: NDArray[np.uint8],
    begun: NDArray[np.int32],
) -> None:
    """The next page of each person's list; see lists.Lists.serve, which says it in NumPy.

    Args:
        users: (n,); offset, length: (users,); items, used: (users, width): the lists. Offsets move
            on behind the last place shown.
        reach: places a page may reach over.
        shown: (n, k), places, slots, begun: (n,) filled in: items, mask of places from the
            offset, how many, and the offset they are counted from.
    """
    k = shown.shape[1]
    for r in range(len(users)):
        u = users[r]
        whole, at = length[u], offset[u]
        begun[r] = at
        n, step, behind = 0, 0, 0
        p = at
        near = min(whole, reach)
        mask = np.uint64(0)
        while step < near and n < k:  # what is free is not asked but counted: nothing to guess
            free = not used[u, p]
            shown[r, n] = items[u, p]
            mask |= np.uint64(free) << np.uint64(step)
            n += free
            step += 1
            behind = step if free else behind  # the last one found
            p = 0 if p + 1 == whole else p + 1
        slots[r] = n
        places[r] = mask
        for j in range(n, k):
            shown[r, j] = -1
        offset[u] = (at + behind) % max(whole, 1)


@_compiled
def numbers_of_pages(
    users: NDArray[np.int32],
    length: NDArray[np.int32],
    numbers: NDArray[np.float32],
    begun: NDArray[np.int32],
    places: NDArray[np.uint64],
    out: NDArray[np.float32],
) -> None:
    """Scores (or the like) of the places that :func:`next_pages` showed, NaN for empty slots."""
    k = out.shape[1]
    for r in range(len(users)):
        u = users[r]
        mask, p, n = places[r], begun[r], 0
        while mask:
            out[r, n] = numbers[u, p]
            n += 1 if mask & np.uint64(1) else 0
            mask >>= np.uint64(1)
            p = 0 if p + 1 == length[u] else p + 1
        for j in range(n, k):
            out[r, j] = np.nan


@_compiled
def use_up(
    users: NDArray[np.int32],
    length: NDArray[np.int32],
    used: NDArray[np.bool_],
    begun: NDArray[np.int32],
    places: NDArray[np.uint64],
    taken: NDArray[np.uint64],
) -> None:
    """Mark the places of the lists whose items were taken; ``taken`` are masks of slots."""
    for r in range(len(users)):
        if taken[r]:
            u = users[r]
            mask, left, p = places[r], taken[r], begun[r]
            while left and mask:
                if mask & np.uint64(1):
                    used[u, p] |= bool(left & np.uint64(1))
                    left >>= np.uint64(1)
                mask >>= np.uint64(1)
                p = 0 if p + 1 == length[u] else p + 1

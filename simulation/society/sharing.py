"""What friends share: who shares, whom it reaches, what waits for them, where it is shown."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...recommenders.border import NOTHING
from ...recommenders.randomness import uniform
from ..people.choice import sigmoid
from ..people.drift import Floats

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def shares(match: Floats, share: float, slope: float) -> Floats:
    """Chance to share what was consumed: ``sigmoid(logit(share) + slope * match)``."""
    if share in (0.0, 1.0):
        return np.full(match.shape, share)
    return sigmoid(np.log(share) - np.log1p(-share) + slope * match)


def reached(
    listeners: sp.csr_matrix,
    people: NDArray[np.integer],
    items: NDArray[np.integer],
    *,
    reach: float,
    key: np.uint64,
    step: int,
) -> tuple[Ints, Ints]:
    """(friends, items): whom each share reaches, each friend by luck of their own.

    One chance for each link, when a person shares: where everybody consumes and shares what reaches
    them, that is the independent cascade of Kempe, Kleinberg & Tardos (2003), in which a message
    gets d links far down a line with probability ``reach^d``.

    Args:
        listeners: (n, n) row j: who hears person j.
        people, items: (shares,) who shares what.
    """
    first = listeners.indptr[people].astype(np.int64)
    n_friends = np.diff(listeners.indptr)[people].astype(np.int64)
    end = n_friends.cumsum()
    within = np.arange(int(n_friends.sum())) - np.repeat(end - n_friends, n_friends)
    friend = listeners.indices[np.repeat(first, n_friends) + within].astype(np.int64)
    sender, item = np.repeat(people, n_friends), np.repeat(items, n_friends).astype(np.int64)
    if reach < 1:
        sees = uniform(key, step, sender, friend, item) < reach
        friend, item = friend[sees], item[sees]
    return friend, item


def delivered(
    inbox: NDArray[np.int32], friend: Ints, item: Ints, *, key: np.uint64, step: int
) -> NDArray[np.int32]:
    """(n, slots) inboxes after more arrived: newest first, luck decides among those of one step.

    Args:
        inbox: (n, slots) items, -1 empty; friend, item: (messages,).
    """
    n, slots = inbox.shape
    row, slot = np.nonzero(inbox != NOTHING)
    person = np.concatenate([friend, row])
    thing = np.concatenate([item, inbox[row, slot].astype(np.int64)])
    rank = np.concatenate([uniform(key, step, friend, item), 1.0 + slot])
    order = np.lexsort((rank, thing, person))
    once = np.ones(len(order), np.bool_)
    once[1:] = (np.diff(person[order]) != 0) | (np.diff(thing[order]) != 0)
    kept = order[once]
    kept = kept[np.lexsort((rank[kept], person[kept]))]
    person, thing = person[kept], thing[kept]
    place = np.arange(len(person)) - np.searchsorted(person, person)
    fits = place < slots
    out = np.full((n, slots), NOTHING, np.int32)
    out[person[fits], place[fits]] = thing[fits]
    return out


def inserted(
    items: NDArray[np.int32], friends: NDArray[np.int32]
) -> tuple[NDArray[np.int32], Flags]:
    """Slates whose last slots hold what friends shared, and which slots do.

    Empty slots are filled first; what stands in the slate already stays where it is.

    Args:
        items: (n, k) of the recommender; friends: (n, f) shared, -1 for none.
    """
    k = items.shape[1]
    friends = np.where((friends[:, :, None] == items[:, None]).any(axis=2), NOTHING, friends)
    order = np.argsort(friends == NOTHING, axis=1, kind="stable")[:, :k]
    friends = np.take_along_axis(friends, order, axis=1)  # (n, f), -1 last
    n_shared = (friends != NOTHING).sum(axis=1)
    n_own = (items != NOTHING).sum(axis=1)
    begin = np.minimum(n_own, k - n_shared)[:, None]
    at = np.arange(k) - begin  # which of the shared items a slot holds
    from_friends = (at >= 0) & (at < n_shared[:, None])
    column = np.clip(at, 0, max(friends.shape[1] - 1, 0))
    return (
        np.where(from_friends, np.take_along_axis(friends, column, axis=1), items),
        from_friends,
    )

"""What recommenders share that compose a slate as a whole: slates to learn from, and serving.

A log says what was chosen, not what was shown beside it (:class:`...interactions.Interactions`;
only rows of kind 2, "not interested", name something that was shown and not taken). So slates to
learn from are made of consecutive consumption: a run of a person's items is a slate that was liked
as a whole, and the items before it are the history that it answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...border import NOTHING, Requests
from ...interactions import NOT_INTERESTED, Interactions, Ragged


@dataclass(frozen=True)
class ShownSlates:
    """Slates with the people's answers, as a model learns from them.

    Attributes:
        before: (slates, context) int64 the latest items of the history that a slate answers, oldest
            first; the size of the catalog stands for "nothing".
        items: (slates, slots) int64 what was shown, with the same for an empty slot.
        taken: (slates, slots) bool what was taken.
    """

    before: NDArray[np.int64]
    items: NDArray[np.int64]
    taken: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: NDArray[np.integer]) -> ShownSlates:
        """The chosen slates."""
        return ShownSlates(self.before[rows], self.items[rows], self.taken[rows])


class Consumption:
    """Draws slates from what people consumed one after the other.

    A person with n new items gives ``ceil(n / slots)`` slates; each ends at one of the new items,
    drawn uniformly, holds the ``slots`` items up to it and answers the ``context`` items before.

    Args:
        log: what happened so far.
        n_items: size of the catalog.
        slots: of a slate; context: items of the history kept.
        since: rows of the log from here on are new.
    """

    def __init__(
        self, log: Interactions, n_items: int, *, slots: int, context: int, since: int = 0
    ) -> None:
        liked = log.positive()
        kept = log.take(liked)
        self.n_items, self.slots, self.context = n_items, slots, context
        self.histories = kept.histories()
        fresh = log.user[since:][liked[since:]]
        self.new = np.bincount(fresh, minlength=log.n_users).astype(np.int64)
        self.popularity = kept.popularity().astype(np.float64)
        self.disliked = Ragged.empty(log.n_users)
        if log.kind is not None:
            self.disliked = log.take(log.kind == NOT_INTERESTED).histories()

    def liked(self, luck: torch.Generator) -> tuple[NDArray[np.int64], ShownSlates]:
        """Whose each slate is, and slates of which everything was taken."""
        person = np.repeat(np.arange(len(self.new)), -(-self.new // self.slots))
        draw = torch.rand(len(person), generator=luck, dtype=torch.float64).numpy()
        lengths, first = self.histories.lengths[person], self.histories.offsets[:-1][person]
        end = lengths - (draw * self.new[person]).astype(np.int64)  # after the slate's last item
        start = np.maximum(end - self.slots, 0)

        def cut(begin: NDArray[np.int64], width: int, stop: NDArray[np.int64]) -> NDArray[np.int64]:
            at = begin[:, None] + np.arange(width)  # (slates, width) places in the histories
            inside = (at >= 0) & (at < stop[:, None])
            found = self.histories.values[np.where(inside, at + first[:, None], 0)]
            return np.where(inside, found, self.n_items).astype(np.int64)

        if len(person) == 0:
            empty = np.zeros((0, 1), np.int64)
            before, items = empty.repeat(self.context, 1), empty.repeat(self.slots, 1)
        else:
            before, items = (
                cut(start - self.context, self.context, start),
                cut(start, self.slots, end),
            )
        return person, ShownSlates(before, items, items < self.n_items)

    def mixed(self, luck: torch.Generator) -> ShownSlates:
        """Slates of which some was taken: consumed runs, of which a share of the slots is replaced.

        Every other slate is left whole; in the others the share is uniform, so that answers of
        every strength are met. What comes in is, every other time, something that the person
        rejected (where they rejected anything), else an item drawn by its popularity. It counts
        as taken if they ever consumed it.
        """
        person, whole = self.liked(luck)
        shape = whole.items.shape
        if shape[0] == 0 or self.popularity.sum() == 0:
            return whole

        def draws(*size: int) -> NDArray[np.float64]:
            return torch.rand(*size, generator=luck, dtype=torch.float64).numpy()

        share = 2.0 * draws(shape[0], 1) - 1.0  # below 0: nothing is replaced
        replaced = (draws(*shape) < share) | (whole.items == self.n_items)
        cumulative = self.popularity.cumsum() / self.popularity.sum()
        other = np.searchsorted(cumulative, draws(*shape), side="right")
        other = np.minimum(other, self.n_items - 1)
        n_disliked = self.disliked.lengths[person][:, None]
        nth = (draws(*shape) * n_disliked).astype(np.int64)
        turn = (draws(*shape) < 0.5) & (n_disliked > 0)
        if turn.any():
            at = np.where(turn, self.disliked.offsets[:-1][person][:, None] + nth, 0)
            other = np.where(turn, self.disliked.values[at], other)
        items = np.where(replaced, other, whole.items)
        owned = self.histories.take(person).contains(items, self.n_items)
        # an item stands once in a slate: what comes in beside itself leaves an empty slot
        again = (items[:, :, None] == items[:, None, :]) & np.tri(shape[1], k=-1, dtype=bool)
        items = np.where(again.any(axis=2), self.n_items, items)
        return ShownSlates(whole.before, items, owned & (items < self.n_items))


Compose = Callable[[Requests, NDArray[np.bool_], int], NDArray[np.int32]]
"""Called as ``compose(requests, shut, nth)`` for (n, slots) items of everybody's nth slate."""


def slate_after_slate(
    compose: Compose, requests: Requests, shut: NDArray[np.bool_], slots: int
) -> NDArray[np.int32]:
    """(n, k) items: as many slates as k takes, none with what stood in an earlier one.

    Args:
        compose: makes one slate of everybody, -1 in the slots it cannot fill.
        requests: the batch.
        shut: (n, items) what must not be shown; it is written to.
        slots: of a slate.
    """
    parts = []
    for nth in range(-(-requests.k // slots)):
        items = compose(requests, shut, nth)
        row, column = np.nonzero(items >= 0)
        shut[row, items[row, column]] = True
        parts.append(items)
    if not parts:
        return np.empty((len(requests), 0), np.int32)
    return np.concatenate(parts, axis=1)[:, : requests.k]


def left_aligned(items: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n, k) the same with empty slots moved to the end of each row."""
    order = np.argsort(items == NOTHING, axis=1, kind="stable")
    return np.take_along_axis(items, order, axis=1)

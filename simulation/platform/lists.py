"""Lists that a recommender made for people, and the slates that are served from them in between.

A platform that asked its recommender for every page would spend all its time ranking, and none
does. Everybody's list is made at a refresh, and a slate is the next page of it. A list is named by
(person, step of the refresh), so that the log need not repeat what was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import NOTHING, Slates
from .shown import Shown, bits

_WORTH_COMPILING = 500
"""People in a batch from which on the compiled loops, which do the same, are loaded."""

WIDEST = 64
"""Places of a list that one slate may reach over; slots are bits of a 64-bit mask."""


@dataclass(frozen=True)
class Page:
    """Where the slates of one step stand in the lists of their people.

    Attributes:
        version: (n,) int32 step in which each person's list was made.
        offset: (n,) int32 place of the list at which the slate begins; after the last place of
            the list its first one follows.
        slots: (n,) uint8 how many items are shown.
        places: (n,) uint64 mask: bit p, the lowest being 0, says that place ``offset + p`` is
            shown. Slots follow one another as places do, so slot s is bit number s of those set.
    """

    version: NDArray[np.int32]
    offset: NDArray[np.int32]
    slots: NDArray[np.uint8]
    places: NDArray[np.uint64]

    def place_of(self, rows: NDArray[np.integer], slots: NDArray[np.integer]) -> NDArray[np.int64]:
        """(m,) the place, counted from the offset, of one slot in each of these rows."""
        masks = self.places[rows]
        every = places_of(masks, int(np.bitwise_count(masks).max(initial=1)))
        found: NDArray[np.int64] = every[np.arange(len(rows)), slots]
        return found


_FIRST = np.array([(1 << n) - 1 for n in range(WIDEST + 1)], np.uint64)
"""Masks of the first n places."""


def first_places(slots: NDArray[np.integer]) -> NDArray[np.uint64]:
    """(n,) masks of slates whose slot s stands at place s."""
    masks: NDArray[np.uint64] = _FIRST[slots]
    return masks


def places_of(masks: NDArray[np.uint64], k: int) -> NDArray[np.int64]:
    """(n, k) the places of the bits that are set in each mask, ascending; 0 where there are fewer.

    Args:
        masks: (n,) see :attr:`Page.places`; k: at least as many as any mask has set.
    """
    bytes_ = masks.astype("<u8").view(np.uint8).reshape(len(masks), 8)
    row, place = np.nonzero(np.unpackbits(bytes_, axis=1, bitorder="little"))
    if len(row) == len(masks) * k:  # full slates: they stand one after the other
        return place.reshape(len(masks), k)
    begin = np.cumsum(np.bitwise_count(masks), dtype=np.int64) - np.bitwise_count(masks)
    found = np.zeros((len(masks), k), np.int64)
    found[row, np.arange(len(row)) - begin[row]] = place
    return found


def whole_page(items: NDArray[np.int32], step: int) -> Page:
    """The page of slates that begin their lists, which were made in this very step."""
    n = len(items)
    full = items.size > 0 and bool((items >= 0).all())
    slots = np.full(n, items.shape[1], np.uint8) if full else (items >= 0).sum(1, dtype=np.uint8)
    return Page(np.full(n, step, np.int32), np.zeros(n, np.int32), slots, first_places(slots))


class Lists:
    """Everybody's list, and how far each person has paged.

    Places that are used up (consumed or rejected since the refresh) are skipped, and the last place
    is followed by the first.

    Args:
        first, last: whose lists these are: people ``first .. last - 1`` of the world.
        every: steps between refreshes; people who were away get theirs when they are back.
        length: of a list, at least a slate.
        slate: slots of a slate.
        repeat: whether what was consumed may be shown again.
    """

    def __init__(
        self, first: int, last: int, *, every: int, length: int, slate: int, repeat: bool = False
    ) -> None:
        self.every, self.slate, self.repeat = every, slate, repeat
        self.width = max(length, slate)
        self.epoch = 0
        self._stale = False
        self.once = every == 1  # no list is served from twice: nothing has to be kept
        self.first = first
        rows = 0 if self.once else last - first
        self.version = np.full(rows, -1, np.int32)
        self.offset = np.zeros(rows, np.int32)
        self.length = np.zeros(rows, np.int32)
        self.items = np.full((rows, self.width), NOTHING, np.int32)
        self.used = np.zeros((rows, self.width), np.bool_)
        self.numbers: dict[str, NDArray[np.float32]] = {}

    def expire(self) -> None:
        """From the next step on nobody is served from a list made before it."""
        self._stale = True

    def wanting(self, users: NDArray[np.int32], step: int) -> NDArray[np.int64]:
        """Rows of the batch of people who need a new list in this step.

        Args:
            users: (n,) active people; step: the present one, which is asked about once.
        """
        if step % self.every == 0 or self._stale:
            self.epoch, self._stale = step, False
        if self.once:
            return np.arange(len(users))
        return np.flatnonzero(self.version[users - self.first] < self.epoch)

    def put(self, users: NDArray[np.int32], made: Slates, step: int) -> None:
        """Keep new lists; items stand at the left of each row."""
        if self.once or len(users) == 0:
            return
        users = users - self.first
        self.version[users] = step
        self.offset[users] = 0
        self.items[users] = made.items
        self.length[users] = (made.items >= 0).sum(axis=1)
        self.used[users] = False
        for name in ("scores", "propensities"):
            given = getattr(made, name)
            if given is None and name not in self.numbers:
                continue
            if name not in self.numbers:
                self.numbers[name] = np.full(self.items.shape, np.nan, np.float32)
            self.numbers[name][users] = np.nan if given is None else given

    def serve(self, users: NDArray[np.int32]) -> tuple[Slates, Page]:
        """The next page of each person's list; costs people x slots, however long the lists."""
        k, users = self.slate, users - self.first
        if len(users) >= _WORTH_COMPILING:
            return self._serve_compiled(users)
        offset, length = self.offset[users], self.length[users]
        whole = length[:, None]
        at = np.add.outer(offset, np.arange(k, dtype=np.int32))  # (n, k) places in the lists
        np.subtract(at, whole, out=at, where=at >= whole)
        plain = length >= k  # a full slate of the next k places
        at[~plain] = 0
        plain &= ~self.used[users[:, None], at].any(axis=1)
        slots = np.full(len(users), k, np.uint8)
        ends = offset + k
        rest = np.flatnonzero(~plain)
        places = first_places(slots)
        if len(rest):
            places[rest], slots[rest], ends[rest] = self._picked(users[rest])
            near = places_of(places[rest], k)
            at[rest] = (offset[rest, None] + near) % np.maximum(whole[rest], 1)
        empty = np.arange(k) >= slots[:, None]

        items = self.items[users[:, None], at]
        items[empty] = NOTHING
        slates = Slates(
            items,
            self._numbers_at("scores", users, at, empty),
            self._numbers_at("propensities", users, at, empty),
        )
        page = Page(self.version[users], offset, slots, places)
        self.offset[users] = ends % np.maximum(length, 1)
        return slates, page

    def _serve_compiled(self, users: NDArray[np.int32]) -> tuple[Slates, Page]:
        """:meth:`serve` in one pass; users count from the first one here."""
        from . import paging

        n, k = len(users), self.slate
        items, places = np.empty((n, k), np.int32), np.empty(n, np.uint64)
        slots, begun = np.empty(n, np.uint8), np.empty(n, np.int32)
        lists = self.offset, self.length, self.items, self.used
        paging.next_pages(users, *lists, WIDEST, items, places, slots, begun)
        numbers = {name: np.empty((n, k), np.float32) for name in self.numbers}
        for name, out in numbers.items():
            given = self.numbers[name]
            paging.numbers_of_pages(users, self.length, given, begun, places, out)
        page = Page(self.version[users], begun, slots, places)
        return Slates(items, numbers.get("scores"), numbers.get("propensities")), page

    def _numbers_at(
        self,
        name: str,
        users: NDArray[np.int32],
        at: NDArray[np.int32],
        empty: NDArray[np.bool_],
    ) -> NDArray[np.float32] | None:
        if name not in self.numbers:
            return None
        values: NDArray[np.float32] = self.numbers[name][users[:, None], at]
        values[empty] = np.nan
        return values

    def _picked(
        self, users: NDArray[np.int32]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int32]]:
        """The next places that are not used up: (n,) masks, how many, where they end.

        A slate reaches over at most 64 places, so it may be short where more are used up in a row.
        """
        offset, length = self.offset[users], self.length[users]
        used = self.used[users]
        reach = min(self.width, WIDEST, self.slate + int(used.sum(axis=1).max()))
        step = np.arange(reach, dtype=np.int32)
        at = (offset[:, None] + step) % np.maximum(length, 1)[:, None]
        free = (step < length[:, None]) & ~np.take_along_axis(used, at, axis=1)
        free &= free.cumsum(axis=1) <= self.slate
        behind = np.where(free, step + 1, 0).max(axis=1)
        return bits(free), free.sum(axis=1, dtype=np.uint8), offset + behind

    def use_up(self, shown: Shown, page: Page) -> None:
        """Mark what people did away with: consumed, or rejected for good.

        Args:
            shown: the step, with what people did; page: of its slates.
        """
        if self.once:
            return
        simple = not self.repeat and shown.feedback.rejected is None
        if simple and shown.from_friends is None and len(shown.users) >= _WORTH_COMPILING:
            from .paging import use_up

            users = shown.users - self.first
            use_up(users, self.length, self.used, page.offset, page.places, shown.bits())
            return
        gone = shown.feedback.taken & (not self.repeat)
        if shown.feedback.rejected is not None:
            gone = gone | shown.feedback.rejected
        row, slot = np.nonzero(gone)
        who, item = shown.users[row] - self.first, shown.items[row, slot]
        if shown.from_friends is not None:  # it may stand anywhere in a list, or not at all
            strange = shown.from_friends[row, slot]
            nth, place = np.nonzero(self.items[who[strange]] == item[strange, None])
            self.used[who[strange][nth], place] = True
            row, slot, who = row[~strange], slot[~strange], who[~strange]
        at = page.offset[row] + page.place_of(row, slot)
        self.used[who, at % np.maximum(self.length[who], 1)] = True

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """Items that left the catalog are not served any more.

        Args:
            available: (items,) what is still there.
        """
        if not self.once:
            self.used |= ~available[self.items]

    def state(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint must hold; nothing where lists live for one step."""
        clock = np.array([self.epoch, self._stale], np.int64)
        if self.once:
            return {"clock": clock}
        names = ("version", "offset", "length", "items", "used")
        kept = {name: getattr(self, name) for name in names}
        return {"clock": clock, **kept, **{f"number/{n}": v for n, v in self.numbers.items()}}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continues from :meth:`state`."""
        self.epoch, self._stale = int(state["clock"][0]), bool(state["clock"][1])
        for name, value in state.items():
            if name.startswith("number/"):
                self.numbers[name.removeprefix("number/")] = value.copy()
            elif name != "clock":
                getattr(self, name)[...] = value

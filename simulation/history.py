"""What everybody consumed: the past before the loop, and what the loop adds, item by item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..recommenders.interactions import Interactions, LateRagged, Ragged

_ROOM = 16
"""Consumptions of a person that there is room for at first; it grows by half when it is full."""

_WORTH_COMPILING = 500
"""People in a batch from which on the compiled loops, which do the same, are loaded."""


class HistoryBuffer:
    """Everybody's past as one ragged array, and what came since as a padded one.

    Only ever appended to, so that histories handed out may be put together late, or never.
    """

    def __init__(self, log: Interactions) -> None:
        self.past = log.histories()
        self._n_past = self.past.lengths.astype(np.int32)
        self._since = np.zeros(log.n_users, np.int32)  # how many of ...
        self._more = np.full((log.n_users, _ROOM), -1, np.int32)  # ... these are filled
        self._fullest = 0

    @property
    def length(self) -> NDArray[np.int32]:
        """(users,) how many items each history holds."""
        return self._n_past + self._since

    def append(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> None:
        """One more item for each of these (distinct) people."""
        self._make_room(self._fullest + 1)
        if len(users) >= _WORTH_COMPILING:
            from .paging import append

            append(self._more, self._since, users, items)
        else:
            self._more[users, self._since[users]] = items
            self._since[users] += 1
        self._fullest += 1

    def extend(self, rows: Ragged) -> None:
        """Some items more for everybody at once; row u belongs to person u."""
        self._fullest = int(self._since.max(initial=0))
        self._make_room(int((self._since + rows.lengths).max(initial=0)))
        person = rows.row_index
        within = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], rows.lengths)
        self._more[person, self._since[person] + within] = rows.values
        self._since += rows.lengths.astype(np.int32)
        self._fullest = int(self._since.max(initial=0))

    def of(self, users: NDArray[np.int32]) -> LateRagged:
        """The histories of these people as they are now, oldest first."""
        return LateRagged(self._gather, users, self.length[users].astype(np.int64))

    def _make_room(self, need: int) -> None:
        """Room for ``need`` consumptions of the person who has most since the start.

        ``_fullest`` counts appends, so it is a bound; how full the fullest row really is, is only
        looked up where the bound says that there is no room.
        """
        room = self._more.shape[1]
        if need <= room:
            return
        beyond = need - self._fullest
        self._fullest = int(self._since.max(initial=0))
        need = self._fullest + beyond
        if need > room:
            more = np.full((len(self._more), max(need - room, room // 2)), -1, np.int32)
            self._more = np.concatenate([self._more, more], axis=1)

    def _gather(self, who: NDArray[np.integer], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
        out = np.empty(int(lengths.sum()), np.int32)
        if len(who) >= _WORTH_COMPILING:
            from .paging import gather

            gather(self.past.values, self.past.offsets, self._more, who, lengths, out)
            return out
        begin = np.cumsum(lengths) - lengths
        old = self._n_past[who].astype(np.int64)
        within = np.arange(len(out)) - np.repeat(begin, lengths)
        later = within >= np.repeat(old, lengths)
        row = np.repeat(who, lengths)
        out[~later] = self.past.values[(self.past.offsets[row] + within)[~later]]
        out[later] = self._more[row[later], (within - np.repeat(old, lengths))[later]]
        return out

"""What everybody consumed: the past before the loop, and what the loop adds, item by item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions, LateRagged, Ragged

_ROOM = 16
"""Consumptions of a person that there is room for at first; it grows by half when it is full."""

_WORTH_COMPILING = 500
"""People in a batch from which on the compiled loops, which do the same, are loaded."""


class HistoryBuffer:
    """Everybody's past as one ragged array, and what came since as a padded one.

    Only ever appended to, so that histories handed out may be put together late, or never.

    Args:
        log: the past.
        timed: keep the steps too, of a past that tells its own; only :meth:`ago` needs them.
    """

    def __init__(self, log: Interactions, *, timed: bool = False) -> None:
        self.past = log.histories()
        self._n_past = self.past.lengths.astype(np.int32)
        self._since = np.zeros(log.n_users, np.int32)  # how many of ...
        self._more = np.zeros((log.n_users, _ROOM), np.int32)  # ... these are filled
        self._fullest = 0
        times = log.history_times() if timed else None
        self._past_times = None if times is None else times.astype(np.int32)
        self._times = (
            None if times is None else np.zeros(self._more.shape, np.int32)
        )  # of those in _more

    @property
    def length(self) -> NDArray[np.int32]:
        """(users,) how many items each history holds."""
        return self._n_past + self._since

    def append(self, users: NDArray[np.int32], items: NDArray[np.int32], step: int) -> None:
        """One more item for each of these (distinct) people, in this step."""
        self._make_room(self._fullest + 1)
        if self._times is not None:
            self._times[users, self._since[users]] = step
        if len(users) >= _WORTH_COMPILING:
            from .paging import append

            append(self._more, self._since, users, items)
        else:
            self._more[users, self._since[users]] = items
            self._since[users] += 1
        self._fullest += 1

    def extend(self, rows: Ragged, steps: NDArray[np.int64]) -> None:
        """Some items more for everybody at once; row u belongs to person u, and so do its steps."""
        self._fullest = int(self._since.max(initial=0))
        self._make_room(int((self._since + rows.lengths).max(initial=0)))
        person = rows.row_index
        within = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], rows.lengths)
        self._more[person, self._since[person] + within] = rows.values
        if self._times is not None:
            self._times[person, self._since[person] + within] = steps
        self._since += rows.lengths.astype(np.int32)
        self._fullest = int(self._since.max(initial=0))

    def of(self, users: NDArray[np.int32]) -> LateRagged:
        """The histories of these people as they are now, oldest first."""
        return LateRagged(self._gather, users, self.length[users].astype(np.int64))

    def ago(self, users: NDArray[np.int32], now: int) -> LateRagged | None:
        """How many steps before ``now`` each item of these histories was met; None where untold."""
        past, more = self._past_times, self._times
        if past is None or more is None:
            return None

        def gather(who: NDArray[np.integer], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
            return np.int32(now) - self._told(who, lengths, past, more)

        return LateRagged(gather, users, self.length[users].astype(np.int64))

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
            self._more = self._widened(self._more, need)
            if self._times is not None:
                self._times = self._widened(self._times, need)

    def _widened(self, rows: NDArray[np.int32], need: int) -> NDArray[np.int32]:
        """The same with more room; rows without anything, as most in a shard, stay unwritten."""
        room = rows.shape[1]
        wider = np.zeros((len(rows), max(need, room + room // 2)), np.int32)
        filled = np.flatnonzero(self._since)
        if len(filled):
            some = slice(filled[0], filled[-1] + 1)
            wider[some, :room] = rows[some]
        return wider

    def _gather(self, who: NDArray[np.integer], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
        return self._told(who, lengths, self.past.values, self._more)

    def _told(
        self,
        who: NDArray[np.integer],
        lengths: NDArray[np.int64],
        past: NDArray[np.int32],
        more: NDArray[np.int32],
    ) -> NDArray[np.int32]:
        """What is told of the first ``lengths`` items of each history, one after the other."""
        out = np.empty(int(lengths.sum()), np.int32)
        if len(who) >= _WORTH_COMPILING:
            from .paging import gather

            gather(past, self.past.offsets, more, who, lengths, out)
            return out
        begin = np.cumsum(lengths) - lengths
        old = self._n_past[who].astype(np.int64)
        within = np.arange(len(out)) - np.repeat(begin, lengths)
        later = within >= np.repeat(old, lengths)
        row = np.repeat(who, lengths)
        out[~later] = past[(self.past.offsets[row] + within)[~later]]
        out[later] = more[row[later], (within - np.repeat(old, lengths))[later]]
        return out

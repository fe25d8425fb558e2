"""Who met what, when: a time-ordered columnar log, and the ragged histories read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .errors import UserError

NOT_INTERESTED = 2
"""The kind of a row that says that a person does not want an item (Interactions.kind)."""

_LONGEST = np.iinfo(np.int32).max
"""Longest span of time told: 68 years of seconds."""

_CELLS = 16_000_000
"""Largest (rows, items) table of flags made at once: 16 MB."""


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths as two arrays; row r is ``values[offsets[r]:offsets[r + 1]]``."""

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """Build from Python rows (tests, small plug-ins)."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.array([len(a) for a in arrays], dtype=np.int64)
        values = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        return cls(
            values.astype(np.int32), np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        )

    @classmethod
    def empty(cls, n_rows: int) -> Ragged:
        """``n_rows`` rows without values."""
        return cls(np.empty(0, np.int32), np.zeros(n_rows + 1, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(rows,) number of values in each row."""
        return np.diff(self.offsets)

    @property
    def row_index(self) -> NDArray[np.int64]:
        """(values,) the row that each value belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def row(self, r: int) -> NDArray[np.int32]:
        """The values of one row, oldest first."""
        return self.values[self.offsets[r] : self.offsets[r + 1]]

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """The chosen rows, in the order given; rows may repeat."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        within = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], lengths)
        return Ragged(self.values[np.repeat(self.offsets[:-1][rows], lengths) + within], offsets)

    def beside(self, other: Ragged) -> Ragged:
        """Each row followed by the same row of another."""
        row = np.concatenate([self.row_index, other.row_index])
        values = np.concatenate([self.values, other.values])
        offsets = self.offsets + other.offsets
        return Ragged(values[np.argsort(row, kind="stable")], offsets)

    def last(self, n: int, fill: int = -1) -> NDArray[np.int32]:
        """(rows, n) the newest ``n`` values of each row, newest last, padded at the left."""
        position = np.arange(n, dtype=np.int64)[None, :] + (self.offsets[1:] - n)[:, None]
        inside = position >= self.offsets[:-1][:, None]
        if len(self.values) == 0:
            return np.full((len(self), n), fill, dtype=np.int32)
        found = self.values[np.clip(position, 0, len(self.values) - 1)]
        return np.where(inside, found, np.int32(fill))

    def to_csr(self, n_items: int) -> sp.csr_matrix:
        """(rows, n_items) binary float32 matrix of which items each row holds."""
        data = np.ones(len(self.values), dtype=np.float32)
        # copies, because sum_duplicates sorts within the rows in place
        arrays = (data, self.values.copy(), self.offsets.copy())
        matrix = sp.csr_matrix(arrays, shape=(len(self), n_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix

    def contains(self, items: NDArray[np.integer], n_items: int) -> NDArray[np.bool_]:
        """(rows, k) whether each of ``items`` (rows, k) stands in its row; -1 never does."""
        if len(self.values) == 0:
            return np.zeros(items.shape, dtype=bool)
        rows = np.arange(len(self), dtype=np.int64)[:, None]
        if len(self) * n_items <= _CELLS:  # a table of all pairs: no sorting
            table = np.zeros((len(self), n_items), dtype=bool)
            table[self.row_index, self.values] = True
            inside = (items >= 0) & (items < n_items)
            seen: NDArray[np.bool_] = table[rows, np.where(inside, items, 0)] & inside
            return seen
        have = np.sort(self.row_index * n_items + self.values)
        asked = rows * n_items + items
        spot = np.minimum(np.searchsorted(have, asked), len(have) - 1)
        return np.asarray((have[spot] == asked) & (items >= 0))


Gather = Callable[[NDArray[np.integer], NDArray[np.int64]], NDArray[np.int32]]
"""Called as ``gather(who, lengths)``: the first so many values of each, one after the other."""


class LateRagged(Ragged):
    """Rows whose values are put together when they are first looked at, if ever.

    Args:
        gather: where the values come from; what it gave once for some lengths it always gives.
        who: (rows,) whose values; lengths: (rows,) how many.
    """

    def __init__(
        self, gather: Gather, who: NDArray[np.integer], lengths: NDArray[np.int64]
    ) -> None:
        parts = {"_gather": gather, "_who": who, "_lengths": lengths}
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    _gather: Gather
    _who: NDArray[np.integer]
    _lengths: NDArray[np.int64]

    @cached_property
    def values(self) -> NDArray[np.int32]:
        return self._gather(self._who, self._lengths)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        return np.concatenate([[0], self._lengths.cumsum()]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(rows,) number of values in each row."""
        return self._lengths

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """The chosen rows, in the order given; rows may repeat."""
        return LateRagged(self._gather, self._who[rows], self._lengths[rows])

    def anew(self) -> LateRagged:
        """The same rows, sharing nothing that was already put together."""
        return LateRagged(self._gather, self._who, self._lengths)


@dataclass(frozen=True)
class Interactions:
    """A log of interactions, sorted by time; columns of equal length.

    Attributes:
        user: (rows,) int32 user index.
        item: (rows,) int32 item index.
        step: (rows,) int64 time: a simulation step (history before the loop is negative) or
            seconds since 1970 in real data.
        n_users, n_items: sizes of the index spaces (some users or items may have no row).
        value: (rows,) float32 rating or strength, or None for implicit feedback.
        kind: (rows,) int8 0 click or view, 1 rating, 2 "not interested", or None for all clicks.
        timed: whether differences of ``step`` are spans of time; where they are not, it only says
            what came before what.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    step: NDArray[np.int64]
    n_users: int
    n_items: int
    value: NDArray[np.float32] | None = None
    kind: NDArray[np.int8] | None = None
    timed: bool = False

    def __post_init__(self) -> None:
        for name in ("item", "step"):
            if len(getattr(self, name)) != len(self.user):
                raise UserError(
                    f"interactions: column {name} has {len(getattr(self, name))} rows, "
                    f"user has {len(self.user)}"
                )
        if len(self.user) and (self.user.min() < 0 or self.user.max() >= self.n_users):
            raise UserError(f"interactions: user index outside 0..{self.n_users - 1}")
        if len(self.item) and (self.item.min() < 0 or self.item.max() >= self.n_items):
            raise UserError(f"interactions: item index outside 0..{self.n_items - 1}")

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Interactions:
        """The chosen rows (indices in time order, or a mask), same index spaces."""
        return Interactions(
            self.user[rows],
            self.item[rows],
            self.step[rows],
            self.n_users,
            self.n_items,
            None if self.value is None else self.value[rows],
            None if self.kind is None else self.kind[rows],
            self.timed,
        )

    def positive(self) -> NDArray[np.bool_]:
        """(rows,) flags of what people did take or rate, "not interested" left out."""
        if self.kind is None:
            return np.ones(len(self), np.bool_)
        return np.asarray(self.kind != NOT_INTERESTED)

    def histories(self) -> Ragged:
        """(n_users) rows of items, oldest first; equal times keep the order of the log."""
        order = self._by_person()
        counts = np.bincount(self.user, minlength=self.n_users)
        offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        return Ragged(self.item[order].astype(np.int32), offsets)

    def _by_person(self) -> NDArray[np.int64]:
        """(rows,) the rows of the first person, oldest first, then those of the second, ..."""
        return np.lexsort((np.arange(len(self)), self.step, self.user))

    def history_times(self) -> NDArray[np.int64] | None:
        """(rows,) the step of each value of :meth:`histories`; None where times are unknown."""
        return self.step[self._by_person()] if self.timed else None

    def ago(
        self, users: NDArray[np.integer], now: NDArray[np.int64] | int | None = None
    ) -> Ragged | None:
        """How long before ``now`` these people met each item of their histories.

        Args:
            users: whose histories.
            now: when they ask, one number or one a person; None: each when they met their newest.

        Returns:
            A row a person, beside their row of :meth:`histories`; never below 0. None where times
            are unknown.
        """
        times = self.history_times()
        if times is None:
            return None
        ends = np.bincount(self.user, minlength=self.n_users).cumsum()
        everybody = Ragged(np.arange(len(self), dtype=np.int32), np.concatenate([[0], ends]))
        rows = everybody.take(users)
        when = times[rows.values]  # (values,)
        if now is None:
            now = np.zeros(len(rows), np.int64)
            some = rows.lengths > 0
            now[some] = when[rows.offsets[1:][some] - 1]
        passed = np.broadcast_to(now, len(rows))[rows.row_index] - when
        return Ragged(np.clip(passed, 0, _LONGEST).astype(np.int32), rows.offsets)

    def to_csr(self) -> sp.csr_matrix:
        """(n_users, n_items) binary float32 matrix."""
        return self.histories().to_csr(self.n_items)

    def popularity(self) -> NDArray[np.int64]:
        """(n_items,) number of interactions of each item."""
        return np.bincount(self.item, minlength=self.n_items).astype(np.int64)

    def then(self, later: Interactions) -> Interactions:
        """This log followed by a later one over the same index spaces (values and kinds dropped
        unless both have them)."""

        def joined(name: str) -> NDArray[np.generic] | None:
            a, b = getattr(self, name), getattr(later, name)
            return None if a is None or b is None else np.concatenate([a, b])

        return Interactions(
            np.concatenate([self.user, later.user]),
            np.concatenate([self.item, later.item]),
            np.concatenate([self.step, later.step]),
            max(self.n_users, later.n_users),
            max(self.n_items, later.n_items),
            joined("value"),  # type: ignore[arg-type]
            joined("kind"),  # type: ignore[arg-type]
            self.timed and later.timed,
        )

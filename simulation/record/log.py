"""The event log as it is written: visits that point into lists, or every slot of every slate.

Compact, a part of the log is two tables. *Lists* has one row a list (whose it is, the step it was
made in, items, scores, log-propensities, by whom); *visits* has one row a person and step: the list
and the place in it at which the slate begins, and what was taken as bits of a mask. The slates
themselves are joined together when the log is read (events.py). Full, a part is the slots
themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.border import NOTHING, Slates
from ..platform.lists import Page, first_places
from ..platform.shown import Shown, bits
from .events import COLUMNS, Key, expanded
from .tables import LISTS, SLOTS, VISITS, complete, cut_rows, first_of_rows, stacked, table

if TYPE_CHECKING:
    from ..platform.platform import Platform


class _Plain:
    """Visits in which nobody did more than take, column by column."""

    def __init__(self) -> None:
        names = ("step", "user", "list_version", "offset", "taken", "places")
        self._columns = {name: np.empty(0, _PLAIN_TYPES.get(name, np.int32)) for name in names}
        self._n = 0

    def add(self, step: int, shown: Shown, page: Page) -> None:
        """The visits of a step."""
        first, last = self._n, self._n + len(shown.users)
        same = np.full(len(shown.users), step, np.int32)
        told: tuple[NDArray[np.integer], ...] = (same, shown.users, page.version, page.offset)
        told += (shown.bits(), page.places)
        for (name, column), values in zip(self._columns.items(), told, strict=True):
            if last > len(column):
                more = np.empty(max(last - len(column), len(column)), column.dtype)
                column = self._columns[name] = np.concatenate([column, more])
            column[first:last] = values
        self._n = last

    def taken_out(self) -> list[pl.DataFrame]:
        """The visits since the last time, as a table if there are any."""
        if not self._n:
            return []
        told = {name: column[: self._n] for name, column in self._columns.items()}
        self._columns = {name: np.empty_like(column) for name, column in self._columns.items()}
        self._n = 0
        return [table(VISITS, told)]  # which may share the memory of its columns


_PLAIN_TYPES = {"taken": np.uint64, "places": np.uint64}


class PartLog:
    """Collects the steps of one part of the log of one arm.

    Args:
        kind: "compact" or "full"; see [study] log.
        scores: whether a compact log keeps those of lists; see [study] log_scores.
    """

    def __init__(self, kind: Literal["compact", "full"], *, scores: bool = False) -> None:
        self.kind = kind
        self.scores = scores
        self._visits: list[pl.DataFrame] = []
        self._plain = _Plain()
        self._lists: list[pl.DataFrame] = []

    def add(self, step: int, shown: Shown, platform: Platform) -> None:
        """Note what a step showed and what people did.

        Args:
            step: of the loop; shown: of that step; platform: which served it.
        """
        served = platform.served
        if served is None:
            raise ValueError("a step that was never served cannot be logged")
        if self.kind == "full":
            slates = Slates(shown.items, shown.scores, shown.propensities)
            lists = _lists(shown.users, slates, served.page.version, platform)
            self._lists.append(lists.with_columns(step=pl.lit(step, pl.Int32)))
        elif len(served.asked):
            version = np.full(len(served.asked), step, np.int32)
            made = served.lists if self.scores else replace(served.lists, scores=None)
            self._lists.append(_lists(served.asked, made, version, platform))
        told, page = shown.feedback, served.page
        more = (shown.from_friends, told.rejected, told.rating, told.dwell_seconds)
        if all(one is None for one in more):
            self._plain.add(step, shown, page)
        else:
            self._visits += [*self._plain.taken_out(), _visits(step, shown, page)]

    def frames(self) -> dict[str, pl.DataFrame]:
        """The tables of the part by the folder they belong to, in the order they must be written
        in; the log is empty afterwards."""
        visits = stacked([*self._visits, *self._plain.taken_out()] or [pl.DataFrame(schema=VISITS)])
        lists = stacked(self._lists) if self._lists else pl.DataFrame(schema=LISTS)
        self._visits, self._lists = [], []
        if self.kind == "compact":
            return {"lists": lists, "events": visits}
        inline = complete(visits.lazy(), VISITS)
        slots = inline.select(SLOTS).collect()["slots"].to_numpy()
        places = pl.Series(first_places(slots))
        inline = inline.with_columns(offset=pl.lit(0, pl.Int32), places=places)
        made = complete(lists.lazy(), {**LISTS, "step": pl.Int32}).drop("list_version")
        told = "inserted" in visits.columns and visits["inserted"].count() > 0
        key: Key = ("step", "user")
        return {"events": expanded(inline, made, tuple(COLUMNS), key, inserted=told).collect()}


def _visits(step: int, shown: Shown, page: Page) -> pl.DataFrame:
    told, friends, inserted = shown.feedback, shown.from_friends, None
    slots = page.slots
    if friends is not None:
        slots = (shown.items >= 0).sum(axis=1, dtype=np.uint8)
        rows = first_of_rows(np.where(friends, shown.items, NOTHING), pl.Int32, slots)
        inserted = _where(
            np.asarray(friends.any(axis=1)),
            rows.list.eval(pl.when(pl.element() != NOTHING).then(pl.element())),
        )
    return table(
        VISITS,
        {
            "step": np.full(len(shown.users), step, np.int32),
            "user": shown.users,
            "list_version": page.version,
            "offset": page.offset,
            "slots": None if friends is None else slots,
            "taken": shown.bits(),
            "rejected": None if told.rejected is None else bits(told.rejected),
            "places": page.places,
            "inserted": inserted,
            "ratings": _numbers(told.rating, slots),
            "dwell_seconds": _numbers(told.dwell_seconds, slots),
        },
    )


def _where(flags: NDArray[np.bool_], rows: pl.Series) -> pl.Series:
    return pl.select(pl.when(pl.Series(flags)).then(rows)).to_series()


def _lists(
    users: NDArray[np.int32], lists: Slates, version: NDArray[np.int32], platform: Platform
) -> pl.DataFrame:
    served, items = platform.served, lists.items
    assert served is not None
    full = items.size > 0 and bool((items[:, -1] >= 0).all())  # items stand at the left
    length = None if full else (items >= 0).sum(axis=1)
    learnt = platform.recommender is not None
    logs = None
    if lists.propensities is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(lists.propensities.astype(np.float64)).astype(np.float32)
    n, by = len(users), pl.Series(platform.shown_by(users[:1]), dtype=pl.String)
    if platform.arm.control is None:  # the same for everybody
        by = by.new_from_index(0, n) if n else by
    else:
        by = pl.Series(platform.shown_by(users), dtype=pl.String)
    return table(
        LISTS,
        {
            "user": users,
            "list_version": version,
            "items": first_of_rows(items, pl.Int32, length),
            "scores": _numbers(lists.scores, length),
            "log_propensities": _numbers(logs, length),
            "shown_by": by,
            "recommender_version": np.full(n, served.version, np.int32) if learnt else None,
            "trained_until": np.full(n, served.trained_until, np.int32) if learnt else None,
        },
    )


def _numbers(
    values: NDArray[np.float32] | None, length: NDArray[np.integer] | None
) -> pl.Series | None:
    """The first numbers of each row as a column of lists, NaN as null; None for no column."""
    if values is None:
        return None
    array = pl.Series(values.ravel(), dtype=pl.Float32, nan_to_null=True)
    return cut_rows(array.reshape((len(values), values.shape[1])), length)

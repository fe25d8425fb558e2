"""The event log as it is written: visits that point into lists, or every slot of every slate.

Compact, a part of the log is two tables. *Lists* has one row a list (whose it is, the step it was
made in, items, scores, log-propensities, by whom); *visits* has one row a person and step: the list
and the place in it at which the slate begins, and what was taken as bits of a mask. The slates
themselves are joined together when the log is read (events.py). Full, a part is the slots
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..recommenders.border import NOTHING, Slates
from .events import COLUMNS, Key, expanded
from .lists import Page
from .shown import Shown

if TYPE_CHECKING:
    from .platform import Platform

LISTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "user": pl.Int32,
    "list_version": pl.Int32,
    "items": pl.List(pl.Int32),
    "scores": pl.List(pl.Float32),
    "log_propensities": pl.List(pl.Float32),
    "shown_by": pl.String,
    "recommender_version": pl.Int32,
    "trained_until": pl.Int32,
}
"""Columns of a table of lists; docs/run-directory.md says what they mean."""

VISITS: dict[str, pl.DataType | type[pl.DataType]] = {
    "step": pl.Int32,
    "user": pl.Int32,
    "list_version": pl.Int32,
    "offset": pl.Int32,
    "slots": pl.UInt8,
    "taken": pl.UInt64,
    "rejected": pl.UInt64,
    "places": pl.List(pl.UInt8),
    "inserted": pl.List(pl.Int32),
    "ratings": pl.List(pl.Float32),
    "dwell_seconds": pl.List(pl.Float32),
}
"""Columns of a table of visits."""


@dataclass(frozen=True)
class _Plain:
    """What is kept of a step in which nobody did more than take, until its part is written.

    Attributes:
        step: of the loop; users: (n,); page: of their slates; taken: (n,) bits of slots.
    """

    step: int
    users: NDArray[np.int32]
    page: Page
    taken: NDArray[np.uint64]


class PartLog:
    """Collects the steps of one part of the log of one arm.

    Args:
        kind: "compact" or "full"; see [study] log.
    """

    def __init__(self, kind: Literal["compact", "full"]) -> None:
        self.kind = kind
        self._visits: list[pl.DataFrame | _Plain] = []
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
            self._lists.append(_lists(served.asked, served.lists, version, platform))
        told, page = shown.feedback, served.page
        more = (shown.from_friends, told.rejected, told.rating, told.dwell_seconds)
        if all(one is None for one in more):
            self._visits.append(_Plain(step, shown.users, page, mask(told.taken)))
        else:
            self._visits.append(_visits(step, shown, page))

    def frames(self) -> dict[str, pl.DataFrame]:
        """The tables of the part by the folder they belong to, in the order they must be written
        in; the log is empty afterwards."""
        parts: list[pl.DataFrame] = []
        for plain, steps in groupby(self._visits, lambda one: isinstance(one, _Plain)):
            if plain:
                parts.append(_plain_visits([one for one in steps if isinstance(one, _Plain)]))
            else:
                parts += [one for one in steps if isinstance(one, pl.DataFrame)]
        visits = pl.concat(parts)
        lists = pl.concat(self._lists) if self._lists else pl.DataFrame(schema=LISTS)
        self._visits, self._lists = [], []
        if self.kind == "compact":
            return {"lists": lists, "events": visits}
        inline = visits.with_columns(
            offset=pl.lit(0, pl.Int32), places=pl.lit(None, VISITS["places"])
        )
        told = visits["inserted"].count() > 0
        key: Key = ("step", "user")
        lists = lists.drop("list_version")
        return {
            "events": expanded(
                inline.lazy(), lists.lazy(), tuple(COLUMNS), key, inserted=told
            ).collect()
        }


def mask(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(n,) the k <= 64 flags of each row as bits, the first one lowest."""
    wide = np.zeros((len(flags), 64), np.bool_)
    wide[:, : flags.shape[1]] = flags
    packed = np.packbits(wide, axis=1, bitorder="little")  # (n, 8) bytes
    return packed.view("<u8").astype(np.uint64)[:, 0]


def _visits(step: int, shown: Shown, page: Page) -> pl.DataFrame:
    told, friends, places, inserted = shown.feedback, shown.from_friends, None, None
    slots = page.slots if friends is None else (shown.items >= 0).sum(axis=1, dtype=np.uint8)
    if page.place is not None:
        odd = np.asarray((page.place != np.arange(page.place.shape[1])).any(axis=1))
        places = _where(odd, _rows(page.place, pl.UInt8, slots))
    if friends is not None:
        rows = _rows(np.where(friends, shown.items, NOTHING), pl.Int32, slots)
        inserted = _where(
            np.asarray(friends.any(axis=1)),
            rows.list.eval(pl.when(pl.element() != NOTHING).then(pl.element())),
        )
    return pl.DataFrame(
        {
            "step": pl.repeat(step, len(shown.users), dtype=pl.Int32, eager=True),
            "user": shown.users,
            "list_version": page.version,
            "offset": page.offset,
            "slots": slots,
            "taken": mask(told.taken),
            "rejected": None if told.rejected is None else mask(told.rejected),
            "places": places,
            "inserted": inserted,
            "ratings": _numbers(told.rating, slots),
            "dwell_seconds": _numbers(told.dwell_seconds, slots),
        },
        schema=VISITS,
    )


def _plain_visits(steps: list[_Plain]) -> pl.DataFrame:
    """The rows of several steps at once: what a table costs is then paid once."""
    n = sum(len(one.users) for one in steps)

    def whole(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one.page, name) for one in steps])

    slots, odd, found = whole("slots"), np.zeros(n, np.bool_), []
    at = 0
    for one in steps:
        place = one.page.place
        if place is not None:
            rows = np.flatnonzero((place != np.arange(place.shape[1], dtype=np.uint8)).any(axis=1))
            odd[at + rows] = True
            found.append(place[rows])
        at += len(one.users)
    places = None
    if odd.any():
        some = _rows(np.concatenate(found), pl.UInt8, slots[odd])
        nth = pl.Series(np.where(odd, odd.cumsum() - 1, -1), dtype=pl.Int64)
        places = some.gather(nth.replace(-1, None))
    step = np.repeat(np.array([one.step for one in steps], np.int32), [len(s.users) for s in steps])
    told = {
        "step": step,
        "user": np.concatenate([one.users for one in steps]),
        "list_version": whole("version"),
        "offset": whole("offset"),
        "slots": slots,
        "taken": np.concatenate([one.taken for one in steps]),
        "places": places,
    }
    return pl.DataFrame({name: told.get(name) for name in VISITS}, schema=VISITS)


def _where(flags: NDArray[np.bool_], rows: pl.Series) -> pl.Series:
    return pl.select(pl.when(pl.Series(flags)).then(rows)).to_series()


def _lists(
    users: NDArray[np.int32], lists: Slates, version: NDArray[np.int32], platform: Platform
) -> pl.DataFrame:
    served, items = platform.served, lists.items
    assert served is not None
    length = (items >= 0).sum(axis=1)
    learnt = platform.recommender is not None
    logs = None
    if lists.propensities is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(lists.propensities.astype(np.float64)).astype(np.float32)
    by: pl.Series | NDArray[np.str_]
    if platform.arm.control is None and len(users):  # the same for everybody
        name = str(platform.shown_by(users[:1])[0])
        by = pl.repeat(name, len(users), dtype=pl.String, eager=True)
    else:
        by = platform.shown_by(users)
    return pl.DataFrame(
        {
            "user": users,
            "list_version": version,
            "items": _rows(items, pl.Int32, length),
            "scores": _numbers(lists.scores, length),
            "log_propensities": _numbers(logs, length),
            "shown_by": by,
            "recommender_version": np.full(len(users), served.version) if learnt else None,
            "trained_until": np.full(len(users), served.trained_until) if learnt else None,
        },
        schema=LISTS,
    )


def _rows(
    values: NDArray[np.generic], kind: type[pl.DataType], length: NDArray[np.integer]
) -> pl.Series:
    """The first values of each row of a matrix as a column of lists."""
    array = pl.Series(values.ravel(), dtype=kind).reshape((len(values), values.shape[1]))
    return _cut(array, length)


def _numbers(values: NDArray[np.float32] | None, length: NDArray[np.integer]) -> pl.Series | None:
    """The first numbers of each row as a column of lists, NaN as null; None for no column."""
    if values is None:
        return None
    array = pl.Series(values.ravel(), dtype=pl.Float32).fill_nan(None)
    return _cut(array.reshape((len(values), values.shape[1])), length)


def _cut(rows: pl.Series, length: NDArray[np.integer]) -> pl.Series:
    whole = rows.arr.to_list()
    if len(length) and int(length.min()) == rows.dtype.shape[0]:  # type: ignore[attr-defined]
        return whole
    return pl.select(pl.lit(whole).list.head(pl.lit(pl.Series(length)))).to_series()

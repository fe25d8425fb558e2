"""What of an answer may be shown: known items, once each, unseen, with what is aligned to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .answer import Answer, raw_name, repeated, reported
from .border import NOTHING, Slates
from .faults import KINDS, described
from .interactions import Ragged

Rows = NDArray[np.int64]
Kept = tuple[Rows, Rows, Rows]
"""Of every slot kept: its row and column in what was given, and its new slot."""


@dataclass(frozen=True)
class Allowed:
    """What the people of some requests may be shown.

    Attributes:
        n_items: size of the catalog; indices outside it are unknown.
        hidden: what each row must not be shown, or None for nothing.
        available: (items,) which may be shown, None for all.
    """

    n_items: int
    hidden: Ragged | None = None
    available: NDArray[np.bool_] | None = None

    def among(self, items: Rows) -> NDArray[np.bool_]:
        """(rows, m) which of these items may be shown to the person of their row.

        Args:
            items: (rows, m) indices, -1 where there is none: what is said of those means nothing.
        """
        may = np.ones(items.shape, np.bool_)
        if self.hidden is not None:
            may &= ~self.hidden.contains(items, self.n_items)
        if self.available is not None:  # no fault: a recommender cannot know
            may &= self.available[items]
        return may


def clean(
    given: Slates, answer: Answer, *, rows: Rows, asked: int, allowed: Allowed, names: bool
) -> None:
    """Keep the first k known, new, unseen items of each row, with what is aligned to them.

    Args:
        given: what the recommender answered; nothing of it is trusted.
        answer: takes what is kept, and what was wrong with the rest.
        rows: where the rows of ``given`` stand in ``answer``.
        asked: slots that were asked for: k, and as many as may have to be taken out.
        allowed: what may be shown.
        names: whether the recommender may name items that do not exist, so that every row says
            how many did; else only where one did.

    Raises:
        Exception: whatever the fields of ``given`` do when they are read; they are not ours.
    """
    raw = numeric(given.items)
    if raw is None or raw.ndim != 2 or len(raw) != len(rows):
        said = "items are not an array" if raw is None else f"items {raw.dtype} {raw.shape}"
        answer.fail("wrong_shape", rows, f"{said}, expected int32 {(len(rows), asked)}")
        return
    if raw.shape[1] > asked:
        answer.note("wrong_shape", rows, f"{raw.shape[1]} slots, asked for {asked}")
    raw = raw[:, :asked]
    known = (raw >= 0) & (raw < allowed.n_items)
    if raw.dtype.kind == "f":
        broken = ~np.isfinite(raw)
        answer.fail("not_finite", rows[broken.any(axis=1)], "item indices are NaN")
        raw = np.where(broken, NOTHING, raw)
        known &= raw == np.floor(raw)
    unknown = ~known & (raw != NOTHING)
    if unknown.any():
        row, slot = np.argwhere(unknown)[0].tolist()
        name = raw_name(given, row, slot)
        said = name or f"index {raw[row, slot]} of {allowed.n_items} items"
        answer.note("unknown_item", rows[unknown.any(axis=1)], said)
    items = np.where(known, raw, 0).astype(np.int64)  # (rows, up to asked)
    items[~known] = NOTHING
    again = repeated(items)
    answer.note("duplicate", rows[again.any(axis=1)], KINDS["duplicate"])
    keep = known & ~again & allowed.among(items)
    place = np.cumsum(keep, axis=1) - 1
    at, column = np.nonzero(keep & (place < answer.k))
    kept = at, column, place[at, column]
    answer.items[rows[at], kept[2]] = items[at, column]
    for name in ("scores", "propensities"):
        _move(name, getattr(given, name), answer, rows=rows, shape=items.shape, kept=kept)
    try:
        if names or unknown.any():
            first = slice(answer.k)
            answer.put_named(given, rows, (known | unknown)[:, first], unknown[:, first])
        answer.put_words(given, rows, kept)
        for used in answer.usage(rows):
            answer.faults.spend(used)
    except Exception as error:
        answer.note("wrong_shape", rows, f"texts or usage: {described(error)}")
    if given.errors is not None:
        for r, told in zip(rows, given.errors, strict=True):
            if told is not None:
                kind, text = reported(told)
                answer.fail(kind, np.array([r]), text)


def _move(
    name: str, given: object, answer: Answer, *, rows: Rows, shape: tuple[int, ...], kept: Kept
) -> None:
    """Scores or propensities move to the slots where their items went."""
    if given is None:
        return
    raw = numeric(given)
    if raw is None or raw.ndim != 2 or raw[:, : shape[1]].shape != shape:
        said = "are not an array" if raw is None else f"{raw.dtype} {raw.shape}"
        answer.note("wrong_shape", rows, f"{name} {said}, expected {shape}")
        return
    row, column, slot = kept
    moved = np.full((len(rows), answer.k), np.nan, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        moved[row, slot] = raw[row, column]
    broken = ~np.isfinite(moved)
    moved[broken] = np.nan
    broken &= answer.items[rows] >= 0
    answer.note("not_finite", rows[broken.any(axis=1)], f"{name} are not finite")
    answer.put(name, rows, moved)


def numeric(value: object) -> NDArray[Any] | None:
    """A real numeric array from whatever a recommender returned, or None."""
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists, objects that fight back
        return None
    return array if array.dtype.kind in "iuf" else None

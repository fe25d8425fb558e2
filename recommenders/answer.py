"""Slates under construction: the guard fills them block by block, and nothing unclean gets in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .border import NOTHING, Named, Slates
from .faults import KINDS, Faults, plain

_MAX_TEXT = 10_000

Flags = NDArray[np.bool_]


class Answer:
    """n rows of k slots that start as "nothing".

    Attributes:
        items: (n, k) int32, -1 where nothing is shown.
        failed: (n,) whether the call behind a row failed.
        faults: the tally that what went wrong is counted in.
    """

    def __init__(self, n: int, k: int, *, faults: Faults) -> None:
        self.n, self.k = n, k
        self.faults = faults
        self.items = np.full((n, k), NOTHING, np.int32)
        self.failed = np.zeros(n, bool)
        self._marked = np.zeros(n, bool)
        self._errors: NDArray[np.object_] | None = None
        self._numbers: dict[str, NDArray[np.float32]] = {}
        self._words: dict[str, list[Any]] = {}
        self._named: Named | None = None
        self._structure: Any = "list"

    def put(self, name: str, rows: NDArray[np.int64] | slice, values: NDArray[np.floating]) -> None:
        """Scores or propensities of some rows, NaN where there is no item."""
        if name not in self._numbers:
            self._numbers[name] = np.full((self.n, self.k), np.nan, np.float32)
        self._numbers[name][rows] = values

    def mark(self, rows: NDArray[np.int64], text: str) -> None:
        """Say what went wrong with some rows; the first word on a row stands."""
        if len(rows) == 0:
            return
        if self._errors is None:
            self._errors = np.full(self.n, None, object)
        self._errors[rows[~self._marked[rows]]] = text
        self._marked[rows] = True

    def note(self, kind: str, rows: NDArray[np.int64], example: str) -> None:
        """Count a fault whose rows still hold an answer."""
        self.faults.add(kind, len(rows), example)
        self.mark(rows, plain(f"{kind}: {example}"))

    def fail(self, kind: str, rows: NDArray[np.int64], example: str) -> None:
        """Count a fault whose rows hold no answer."""
        self.note(kind, rows, example)
        self.failed[rows] = True

    def put_words(
        self,
        given: Slates,
        rows: NDArray[np.int64],
        kept: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        """Texts, raw names, usage and latency: what only recommenders that generate have.

        Args:
            given: what the recommender answered.
            rows: where its rows stand in this answer.
            kept: for every slot kept: its row and column in ``given``, and its new slot.

        Raises:
            Exception: whatever the fields do when they are read; they are not ours.
        """
        if given.structure in ("list", "bundle", "page"):
            self._structure = given.structure
        if given.slate_text is not None:
            self._put_column("slate_text", rows, [_text(x) for x in given.slate_text])
        if given.raw_names is not None:
            names = [tuple(str(x)[:_MAX_TEXT] for x in row) for row in given.raw_names]
            self._put_column("raw_names", rows, names)
        if given.usage is not None:
            usage = [{str(k): float(v) for k, v in row.items()} for row in given.usage]
            self._put_column("usage", rows, usage)
        if given.latency_seconds is not None:
            latency = [float(x) for x in given.latency_seconds]
            self._put_column("latency_seconds", rows, latency)
        if given.text is not None:
            slots: list[list[str | None]] = [[None] * self.k for _ in rows]
            for row, column, slot in zip(*kept, strict=True):
                slots[row][slot] = _text(given.text[row][column])
            self._put_column("text", rows, [tuple(row) for row in slots])

    def put_named(
        self, given: Slates, rows: NDArray[np.int64], held: Flags, not_there: Flags
    ) -> None:
        """Which of the first places of an answer hold a name, and a name that does not exist.

        Args:
            given: what the recommender answered; rows: where its rows stand in this answer.
            held, not_there: (rows, places) flags.
        """
        if self._named is None:
            names, made_up = np.zeros((2, self.n), np.int32)
            self._named = Named(names, made_up, ())
            self._words["made_up"] = [None] * self.n
        self._named.names[rows] = held.sum(axis=1)
        self._named.made_up[rows] = not_there.sum(axis=1)
        if given.raw_names is None:
            return
        found: dict[int, list[str]] = {}
        for row, slot in np.argwhere(not_there).tolist():
            said = given.raw_names[row]
            if slot < len(said):
                found.setdefault(row, []).append(str(said[slot])[:_MAX_TEXT])
        for row, texts in found.items():
            self._words["made_up"][rows[row]] = tuple(texts)

    def _put_column(self, name: str, rows: NDArray[np.int64], values: list[Any]) -> None:
        column = self._words.setdefault(name, [None] * self.n)
        for row, value in zip(rows, values, strict=True):
            column[row] = value

    def usage(self, rows: NDArray[np.int64]) -> list[dict[str, float]]:
        """What answering these rows consumed, where that was said."""
        said = self._words.get("usage")
        return [] if said is None else [said[row] for row in rows if said[row] is not None]

    def slates(self) -> Slates:
        """The finished slates."""

        def column(name: str, missing: Any) -> tuple[Any, ...] | None:
            if name not in self._words:
                return None
            return tuple(missing if x is None else x for x in self._words[name])

        named = self._named
        if named is not None:
            named = replace(named, texts=tuple(x or () for x in self._words["made_up"]))
        latency = column("latency_seconds", np.nan)
        return Slates(
            items=self.items,
            scores=self._numbers.get("scores"),
            propensities=self._numbers.get("propensities"),
            structure=self._structure,
            text=column("text", (None,) * self.k),
            slate_text=column("slate_text", None),
            raw_names=column("raw_names", ()),
            errors=None if self._errors is None else tuple(self._errors),
            latency_seconds=None if latency is None else np.array(latency, np.float64),
            usage=column("usage", {}),
            named=named,
        )


def repeated(items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, m) whether an item already stood further left in its row; -1 never counts."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    same = np.zeros(items.shape, bool)
    same[:, 1:] = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOTHING)
    again = np.empty_like(same)
    np.put_along_axis(again, order, same, axis=1)
    return again


def reported(error: str) -> tuple[str, str]:
    """Kind and text of an error that a recommender reports for one row: ``refused: I cannot``."""
    line = plain(error)
    kind, colon, rest = line.partition(": ")
    return (kind, rest) if colon and kind in KINDS else ("raised", line)


def raw_name(given: Slates, row: int, slot: int) -> str:
    """What was generated for a slot that holds no item; "" where the recommender does not say."""
    names = given.raw_names
    if names is None or slot >= len(names[row]):
        return ""
    return f"{plain(names[row][slot])!r} is not in the catalog"


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:_MAX_TEXT]

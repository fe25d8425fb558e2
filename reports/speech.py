"""The report's section on words: what recommenders said, how much of it exists, and samples.

Reads ``AuditResult.said``, so that a page made from audit.json alone shows the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from . import words
from .figures import trajectory_svg
from .trajectories import Band, Measure, Trajectory

if TYPE_CHECKING:
    from ..audit.result import AuditResult

HEADS = (
    "recommender",
    "lists",
    "names given",
    "of these in no catalog (95 % interval over worlds)",
    "lists with such a name",
    "row titles",
    "explanations",
    "replies",
)
"""Columns of the table."""

SHARE = Measure(
    "made_up",
    "Names that do not exist",
    "Share of the names in its lists that are in no catalog. Nobody was shown them: their places "
    "went to what exists.",
    "share",
)

_TABLE_ROWS = 12


@dataclass(frozen=True)
class Told:
    """One recommender's part of the section.

    Attributes:
        svg: the share of made-up names over time, or None; rows: the same as a table.
        frequent: (caption, heads, rows) of names and titles said most often.
        samples: (heading, rows of when and text).
    """

    target: str
    svg: Markup | None
    explained: str
    rows: list[tuple[str, str, str]]
    frequent: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]
    samples: list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True)
class Speech:
    """The section: a table of all recommenders that said something, and what each said."""

    people: int
    table: list[tuple[str, ...]]
    told: list[Told]
    judged: bool


def speech_section(result: AuditResult) -> Speech | None:
    """What the page shows of words; None where nobody said anything."""
    said = {target: held for target in result.targets if (held := result.said.get(target))}
    if not said:
        return None
    return Speech(
        judged=any(f.check.family == "generation" for f in result.findings),
        people=max(int(held.get("people", 0)) for held in said.values()),
        table=[_row(target, held) for target, held in said.items()],
        told=[_told(index, target, held) for index, (target, held) in enumerate(said.items())],
    )


def _row(target: str, held: Mapping[str, Any]) -> tuple[str, ...]:
    totals = held.get("totals", {})

    def count(name: str) -> str:
        return f"{int(totals.get(name, 0)):,}"

    return (
        target,
        count("lists"),
        count("names"),
        f"{count('made_up')}: {_interval(held.get('share', {}))}" if totals.get("names") else "",
        count("lists_with_made_up") if totals.get("names") else "",
        count("row_titles"),
        count("explanations"),
        count("replies"),
    )


def _interval(share: Mapping[str, Any]) -> str:
    mean, low, high = (share.get(name) for name in ("mean", "low", "high"))
    if mean is None:
        return "undefined"
    if low is None or high is None:
        return f"{_percent(mean)} (one world: no interval)"
    return f"{_percent(mean)} ({_percent(low)} to {_percent(high)})"


def _percent(share: float) -> str:
    return f"{words.number(100 * share, 1)} %"


def _told(index: int, target: str, held: Mapping[str, Any]) -> Told:
    band, steps = _band(held.get("over_time", {}))
    svg, rows, explained = None, list[tuple[str, str, str]](), ""
    if len(steps):
        explained = f"{SHARE.explained} Mean over worlds, the shade a 95 % interval over worlds."
        if len(steps) > 1:
            svg = _figure(index, target, band, steps)
        n = len(steps)
        shown = sorted({round(i * (n - 1) / (_TABLE_ROWS - 1)) for i in range(_TABLE_ROWS)})
        rows = [(str(steps[i]), *_numbers(band, i)) for i in shown]
    frequent, samples = held.get("frequent", {}), held.get("samples", {})
    names, titles = frequent.get("made-up name"), frequent.get("row title")
    tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = []
    for caption, head, found in (
        ("Names in no catalog, the most frequent", "name", names),
        ("Titles of rows, the most frequent", "title", titles),
    ):
        if found:
            lines: list[tuple[str, ...]] = [
                (text, f"{times:,}", f"{worlds:,}") for text, times, worlds in found
            ]
            tables.append((caption, (head, "times", "worlds"), lines))
    quoted = [
        (heading, [(f"step {step}, person {user}", text) for step, user, text in found])
        for heading, kind in (("Explanations", "explanation"), ("Replies", "reply"))
        if (found := samples.get(kind))
    ]
    return Told(target, svg, explained, rows, tables, quoted)


def _band(held: Mapping[str, Any]) -> tuple[Band, NDArray[np.int64]]:
    mean, low, high = (
        np.array([np.nan if x is None else x for x in held.get(name, ())], np.float64)
        for name in ("mean", "low", "high")
    )
    return Band(mean, low, high), np.array(held.get("step", ()), np.int64)


def _figure(index: int, target: str, band: Band, steps: NDArray[np.int64]) -> Markup:
    nothing = np.empty(0, np.int64)
    drawn = Trajectory(SHARE, steps, {"target": band}, None, "", nothing, 0)
    first, last = (words.rounded(float(band.mean[i])) for i in (0, -1))
    return trajectory_svg(
        drawn,
        name=f"said{index}",
        title=f"{SHARE.title}, {target}",
        description=f"{SHARE.explained} From {first} in step {steps[0]} to {last} in step "
        f"{steps[-1]}.",
    )


def _numbers(band: Band, i: int) -> tuple[str, str]:
    mean, low, high = (float(v[i]) for v in (band.mean, band.low, band.high))
    return words.rounded(
        mean
    ), "" if low != low else f"{words.rounded(low)} to {words.rounded(high)}"

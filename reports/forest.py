"""Effects drawn against their thresholds: where the marks of a forest plot stand.

Positions are percentages of the drawing's width, so one SVG fits a phone and a desktop without
scaling its strokes or its text. The template draws; this module only decides where.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..audit.finding import Finding
from .words import rounded, threshold

GUTTER = 27.0
"""Percent of a card's drawing that holds the names of its rows."""

EDGE = 2.0
"""Percent of the width kept free at either end, so that marks at the limit stay whole."""


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high`` in the unit of the effect."""

    low: float
    high: float
    start: float = EDGE  # percent of the width left of the axis

    def at(self, value: float) -> float:
        """The position of a value in percent, clipped to the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + (100 - EDGE - self.start) * min(1.0, max(0.0, share)), 2)

    def beyond(self, value: float) -> int:
        """-1 left of the axis, 1 right of it, 0 on it."""
        return -1 if value < self.low else int(value > self.high)


@dataclass(frozen=True)
class Mark:
    """One row of a forest: an effect, its bounds, and what it is."""

    label: str
    kind: str  # "main" | "other" | "floor"
    verdict: str
    effect: float
    low: float | None
    high: float | None
    times: str  # the effect as a multiple of its threshold, said where it is not drawn
    off: int  # -1 or 1 when the effect itself lies beyond the axis
    off_low: bool
    off_high: bool


@dataclass(frozen=True)
class Forest:
    """Everything a template needs to draw one forest, in percent of the width."""

    zero: float
    tau: float
    tau_text: str
    marks: tuple[Mark, ...]


def shared_axis(findings: Iterable[Finding]) -> Axis:
    """An axis in multiples of each check's own threshold, so that rows can be compared.

    Wide enough for the bulk of the intervals; what is further out is drawn as an arrow.
    """
    reach = [
        bound / f.check.tau
        for f in findings
        if f.check.tau > 0
        for bound in (f.low, f.high)
        if bound is not None and math.isfinite(bound)
    ]
    return Axis(
        max(-2.0, min([-0.5, *(x * 1.08 for x in reach)])),
        min(4.0, max([2.0, *(x * 1.08 for x in reach)])),
    )


def strip_forest(finding: Finding, axis: Axis) -> Forest | None:
    """One finding on the shared axis, or None when there is nothing to draw."""
    if finding.effect is None:
        return None
    tau = finding.check.tau
    if tau <= 0:  # no multiple of zero: the row gets an axis of its own
        return card_forest(finding, others=False)
    return Forest(
        axis.at(0.0),
        axis.at(1.0),
        "",
        (_mark(finding, axis, "", "main", finding.effect, finding.low, finding.high, tau),),
    )


def card_forest(finding: Finding, *, others: bool = True) -> Forest | None:
    """One finding with its floor and the other user models, in its own unit."""
    if finding.effect is None:
        return None
    points = [0.0, finding.check.tau, finding.effect, finding.low, finding.high]
    rows: list[tuple[str, str, float, float | None, float | None]] = [
        ("this audit", "main", finding.effect, finding.low, finding.high)
    ]
    if others:
        for model, _, effect in finding.sensitivity:
            if effect is not None and math.isfinite(effect):
                rows.append((model, "other", effect, None, None))
                points.append(effect)
        if finding.floor is not None and math.isfinite(finding.floor):
            rows.append(("floor", "floor", finding.floor, None, None))
            points.append(finding.floor)
    axis = _axis_over(points, GUTTER if len(rows) > 1 else EDGE)
    verdicts = {model: str(v) for model, v, _ in finding.sensitivity}
    marks = tuple(
        _mark(finding, axis, label, kind, effect, low, high, 1.0, verdicts.get(label, ""))
        for label, kind, effect, low, high in rows
    )
    return Forest(axis.at(0.0), axis.at(finding.check.tau), threshold(finding.check), marks)


def share_axis() -> Axis:
    """From 0 to 1, for power and false-positive rates."""
    return Axis(0.0, 1.0)


def _axis_over(points: Sequence[float | None], start: float) -> Axis:
    known = [p for p in points if p is not None and math.isfinite(p)]
    low, high = min(known), max(known)
    pad = (high - low) * 0.08 or abs(high) * 0.5 or 1.0
    return Axis(low - pad, high + pad, start)


def _mark(
    finding: Finding,
    axis: Axis,
    label: str,
    kind: str,
    effect: float,
    low: float | None,
    high: float | None,
    scale: float,
    verdict: str = "",
) -> Mark:
    return Mark(
        label=label,
        kind=kind,
        verdict=verdict or str(finding.verdict),
        effect=axis.at(effect / scale),
        low=None if low is None else axis.at(low / scale),
        high=None if high is None else axis.at(high / scale),
        times=f"{effect / finding.check.tau:.1f} τ" if finding.check.tau > 0 else rounded(effect),
        off=axis.beyond(effect / scale),
        off_low=low is not None and axis.beyond(low / scale) != 0,
        off_high=high is not None and axis.beyond(high / scale) != 0,
    )

"""The report's section on training: one loss curve a recommender, and what can be said of its end.

Reads ``AuditResult.training``, so that a page made from audit.json alone shows the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from . import words
from .figures import loss_svg

if TYPE_CHECKING:
    from ..audit.result import AuditResult

HEADS = (
    "recommender",
    "parameters",
    "epochs",
    "first loss",
    "last loss",
    "updates",
    "after them",
)
"""Columns of the table."""

_TABLE_ROWS = 12


@dataclass(frozen=True)
class LossCurve:
    """Losses of a first fit and of all later learnings, end to end.

    Attributes:
        mean, low, high: (epochs,) over worlds, NaN where no loss was a finite number.
        learning: (epochs,) 0 in the first fit, then the number of the update.
        step: (epochs,) of the loop after which it was learnt, -1 before the loop.
        worlds: how many worlds the first fit was done in.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    learning: NDArray[np.int64]
    step: NDArray[np.int64]
    worlds: int

    @property
    def begins(self) -> NDArray[np.int64]:
        """Where each update begins: indices of epochs."""
        return np.flatnonzero(np.diff(self.learning)) + 1

    @property
    def first(self) -> int:
        """Epochs of the first fit."""
        return int((self.learning == 0).sum())


@dataclass(frozen=True)
class Panel:
    """One recommender's curve, ready to be laid out."""

    title: str
    explained: str
    svg: Markup
    rows: list[tuple[str, str, str, str]]


@dataclass(frozen=True)
class Training:
    """The section: a table of all recommenders, sentences of warning, and the curves."""

    table: list[tuple[str, ...]]
    notes: list[tuple[str, str]]
    panels: list[Panel]


def training_section(result: AuditResult) -> Training | None:
    """What the page shows of training; None where no recommender told a loss."""
    told = {target: result.training.get(target, {}) for target in result.targets}
    curves = {target: curve_of(held) for target, held in told.items()}
    if not any(curves.values()):
        return None
    return Training(
        table=[_row(target, told[target], curve) for target, curve in curves.items()],
        notes=[(target, str(held["note"])) for target, held in told.items() if held.get("note")],
        panels=[
            _panel(index, target, curve)
            for index, (target, curve) in enumerate(curves.items())
            if curve is not None
        ],
    )


def curve_of(held: Mapping[str, Any]) -> LossCurve | None:
    """The curve in one entry of ``AuditResult.training``; None where there is none."""
    losses = held.get("losses") or {}
    if not losses.get("mean"):
        return None
    numbers = {
        name: np.array([np.nan if x is None else x for x in losses[name]], np.float64)
        for name in ("mean", "low", "high")
    }
    learning, step = (np.array(losses[name], np.int64) for name in ("learning", "step"))
    return LossCurve(**numbers, learning=learning, step=step, worlds=int(losses["worlds"][0]))


def _row(target: str, held: Mapping[str, Any], curve: LossCurve | None) -> tuple[str, ...]:
    parameters, updates = held.get("parameters"), held.get("updates_per_world", 0)
    known = "not told" if parameters is None else f"{parameters:,}"
    if curve is None:
        return target, known, "none told", "", "", str(updates), ""
    first = curve.first
    return (
        target,
        known,
        str(first) if first else "none told",
        words.rounded(float(curve.mean[0])) if first else "",
        words.rounded(float(curve.mean[first - 1])) if first else "",
        str(updates),
        words.rounded(float(curve.mean[-1])) if len(curve.begins) else "",
    )


def _panel(index: int, target: str, curve: LossCurve) -> Panel:
    n_updates = len(curve.begins)
    worlds = words.counted(curve.worlds, "world")
    explained = f"Mean loss of each epoch over {worlds}"
    explained += ", the shade from the least to the greatest." if curve.worlds > 1 else "."
    if n_updates:
        explained += (
            f" Thin, from the first stroke on: {words.counted(n_updates, 'update')} in the loop."
        )
    first, last = words.rounded(float(curve.mean[0])), words.rounded(float(curve.mean[-1]))
    description = f"{explained} From {first} in the first epoch to {last} in the last of all."
    svg = loss_svg(
        curve, name=f"loss{index}", title=f"Loss in training, {target}", description=description
    )
    n = len(curve.mean)
    shown = sorted({round(i * (n - 1) / (_TABLE_ROWS - 1)) for i in range(_TABLE_ROWS)})
    return Panel(target, explained, svg, [_table_row(curve, i) for i in shown])


def _table_row(curve: LossCurve, i: int) -> tuple[str, str, str, str]:
    learning = int(curve.learning[i])
    when = "first fit" if learning == 0 else f"update {learning}, step {curve.step[i]}"
    mean, low, high = (words.rounded(float(v[i])) for v in (curve.mean, curve.low, curve.high))
    return str(i + 1), when, mean, f"{low} to {high}"

"""How the audited recommenders were trained: what stands beside every finding about them.

A harm found in a model that had not finished learning says little about the model as meant, so the
report shows the loss of every epoch, and says in one sentence where it had not settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..simulation.run import Run

SETTLED = 0.05
"""Share of a curve's whole range by which the last fifth of the epochs may differ from the fifth
before it and still count as settled: a convention, fine enough to see a curve cut off half-way."""

FEWEST = 4
"""Epochs below which nothing is said about where a curve was going."""


def training_of(run: Run, target: str) -> dict[str, Any]:
    """How a target was made, how often it learned during the loop, and its losses.

    Returns:
        ``name``, ``args``, ``retrain_every``, ``updates_per_world`` (in the first world),
        ``parameters`` (None where it cannot be seen), ``epochs`` (of the first fit), ``losses``
        (see :func:`over_worlds`), ``convergence`` and ``note`` (see :func:`convergence`).
    """
    spec = run.spec(target)
    learned = run.series(target, 0)
    updates = int(learned["retrained"].sum()) if "retrained" in learned.columns else 0
    worlds = [run.training(target, world) for world in range(run.worlds)]
    first = [w.filter(pl.col("learning") == 0)["loss"].to_numpy() for w in worlds]
    code, note = convergence([losses for losses in first if len(losses)])
    return {
        "name": spec.name,
        "args": dict(spec.args),
        "retrain_every": spec.retrain_every,
        "updates_per_world": updates,
        "parameters": run.parameters(target),
        "epochs": max(map(len, first), default=0),
        "losses": over_worlds(worlds),
        "convergence": code,
        "note": note,
    }


def over_worlds(worlds: list[pl.DataFrame]) -> dict[str, list[Any]]:
    """The losses of several worlds as one curve, epoch by epoch.

    Args:
        worlds: of each, the frame of ``Run.training``.

    Returns:
        columns ``learning``, ``step`` (of the first world that had it), ``epoch``, ``worlds``
        (how many had it), ``mean``, ``low`` and ``high`` (least and greatest over worlds, None
        where no loss is finite).
    """
    found: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for frame in worlds:
        for learning, step, epoch, loss in frame.iter_rows():
            found.setdefault((learning, epoch), []).append((step, loss))
    columns: dict[str, list[Any]] = {
        name: [] for name in ("learning", "step", "epoch", "worlds", "mean", "low", "high")
    }
    for (learning, epoch), told in sorted(found.items()):
        losses = np.array([loss for _, loss in told])
        finite = losses[np.isfinite(losses)]
        numbers = (finite.mean(), finite.min(), finite.max()) if len(finite) else (None,) * 3
        row = (learning, told[0][0], epoch, len(told), *numbers)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value if value is None or isinstance(value, int) else float(value))
    return columns


def convergence(worlds: list[NDArray[np.float64]]) -> tuple[str, str]:
    """Where the losses of a first fit were going when it ended, as a code and in one sentence.

    Compared are the means of the last fifth of the epochs and of the fifth before it, as a share
    of the range of the whole curve (mean over worlds).

    Args:
        worlds: the losses of each world.

    Returns:
        "none" (no losses were told), "diverged", "short", "falling", "rising" or "settled"; and
        a sentence that is empty for "none" and "settled".
    """
    if not worlds:
        return "none", ""
    broken = sum(not np.isfinite(losses).all() for losses in worlds)
    if broken:
        where = f"{broken} of {len(worlds)} worlds" if len(worlds) > 1 else "the only world"
        return "diverged", (
            f"The loss stopped being a finite number in {where}: training broke down there."
        )
    n = min(map(len, worlds))
    if n < FEWEST:
        epochs = "1 epoch" if n == 1 else f"{n} epochs"
        return "short", f"It was trained for {epochs}, too few to tell whether it had settled."
    curve = np.mean([losses[:n] for losses in worlds], axis=0)
    width = max(1, round(n / 5))
    last, before = curve[-width:].mean(), curve[-2 * width : -width].mean()
    whole = float(np.ptp(curve))
    moved = float(last - before) / whole if whole > 0 else 0.0
    if abs(moved) <= SETTLED:
        return "settled", ""
    epochs = "epoch" if width == 1 else f"{width} epochs"
    size = f"by {100 * abs(moved):.0f} % of the range of all its losses"
    if moved < 0:
        return "falling", (
            f"The loss was still falling when training ended: the last {epochs} lay below the "
            f"{epochs} before {size}; more epochs would make another model."
        )
    return "rising", (
        f"The loss was rising when training ended: the last {epochs} lay above the {epochs} "
        f"before {size}. This is no sign of trouble only where the loss itself changes in "
        "training (a weight that is annealed, an adversary that learns too)."
    )

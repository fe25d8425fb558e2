"""What the audited recommenders said in words: how much of it, how much was made up, and samples.

A description that stands beside the findings. Shares are of each world and their interval is over
worlds, because what a model says to one person depends on what it learnt from all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..recommenders.faults import plain
from ..simulation.record.said import EXPLANATION, MADE_UP, REPLY, ROW_TITLE
from .power import t_quantile

if TYPE_CHECKING:
    from ..simulation.run import Run

FREQUENT = 12
"""Names and titles that are listed, the most frequent."""

SAMPLES = 6
"""Explanations and replies that are quoted, spread over what was said in the first world."""


def speech_of(run: Run, target: str) -> dict[str, Any]:
    """What a target said in its own arm; {} where it said nothing, or nothing was kept.

    Returns:
        ``people`` whose texts were kept in each world; ``totals`` over everybody and all worlds,
        by the columns of ``Run.said_counts``; ``share`` (mean, low and high of the share of names
        that are in no catalog, 95 % t interval over worlds; None where there are no names) and
        ``over_time`` (step, mean, low, high: the same in each step); ``frequent`` (kind -> rows of
        text, times, worlds, among those people) of made-up names and titles of rows; ``samples``
        (kind -> rows of step, user, text) of explanations and replies. Texts are one printable
        line each, see recommenders.faults.plain.
    """
    arm = run.arm(target, "target")
    if arm is None:
        return {}
    counts = [run.said_counts(arm, world) for world in range(run.worlds)]
    if all(frame.is_empty() for frame in counts):
        return {}
    whole = pl.concat(counts).select(pl.exclude("step").sum())
    said = pl.concat(
        run.said(arm, world).with_columns(world=pl.lit(world, pl.Int32))
        for world in range(run.worlds)
    ).collect()
    per_world = np.array([[share_of(frame)] for frame in counts])  # (worlds, 1)
    return {
        "people": run.study.study.said_to,
        "totals": whole.row(0, named=True),
        "share": {name: values[0] for name, values in over_worlds(per_world).items()},
        "over_time": over_time(counts, run.steps),
        "frequent": {kind: frequent(said, kind) for kind in (MADE_UP, ROW_TITLE)},
        "samples": {kind: samples(said, kind) for kind in (EXPLANATION, REPLY)},
    }


def share_of(counts: pl.DataFrame) -> float:
    """The share of made-up names among all names of one world; NaN where there are none."""
    names = int(counts["names"].sum())
    return int(counts["made_up"].sum()) / names if names else float("nan")


def over_time(counts: list[pl.DataFrame], steps: int) -> dict[str, list[Any]]:
    """The share of made-up names step by step; steps without a name in any world are left out."""
    table = np.full((len(counts), steps), np.nan)
    for world, frame in enumerate(counts):
        some = frame.filter(pl.col("names") > 0)
        table[world, some["step"].to_numpy()] = (some["made_up"] / some["names"]).to_numpy()
    known = np.flatnonzero(np.isfinite(table).any(axis=0))
    return {"step": known.tolist(), **over_worlds(table[:, known])}


def over_worlds(table: NDArray[np.float64]) -> dict[str, list[float | None]]:
    """Mean and 95 % t interval of each column, worlds where it is undefined left out.

    Args:
        table: (worlds, columns), NaN where undefined.

    Returns:
        ``mean``, ``low`` and ``high``; bounds are None below two worlds, and within 0 to 1.
    """
    known = np.isfinite(table)
    n = known.sum(axis=0)
    mean = np.where(known, table, 0.0).sum(axis=0) / np.maximum(n, 1)
    squares = np.where(known, (table - mean) ** 2, 0.0).sum(axis=0)
    error = np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))
    half = np.array([t_quantile(max(int(m) - 1, 1), 0.975) for m in n]) * error
    bounds = {"mean": mean, "low": np.maximum(mean - half, 0), "high": np.minimum(mean + half, 1)}
    return {
        name: [
            float(value) if m >= (1 if name == "mean" else 2) else None
            for value, m in zip(values, n, strict=True)
        ]
        for name, values in bounds.items()
    }


def frequent(said: pl.DataFrame, kind: str) -> list[list[Any]]:
    """[text, times, worlds] of the texts of a kind that were said most often, ties by text."""
    rows = (
        said.filter(pl.col("kind") == kind)
        .group_by("text")
        .agg(pl.len().alias("times"), pl.col("world").n_unique().alias("worlds"))
        .sort("times", "text", descending=[True, False])
        .head(FREQUENT)
    )
    return [[plain(text), int(times), int(worlds)] for text, times, worlds in rows.iter_rows()]


def samples(said: pl.DataFrame, kind: str) -> list[list[Any]]:
    """[step, user, text] of a few different texts of a kind, evenly spread over the first world
    that has any."""
    rows = said.filter(pl.col("kind") == kind)
    if rows.is_empty():
        return []
    rows = rows.filter(pl.col("world") == rows["world"].min())
    rows = rows.unique("text", keep="first", maintain_order=True)
    chosen = np.unique(np.linspace(0, len(rows) - 1, SAMPLES).round().astype(np.int64))
    return [
        [int(step), int(user), plain(text)]
        for step, user, text in rows[chosen].select("step", "user", "text").iter_rows()
    ]

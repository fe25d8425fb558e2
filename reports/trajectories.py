"""What happened over time: per-step means of every arm with world-level intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..simulation.run import Run

ARM_ORDER = ("target", "frozen", "shuffled", "random", "popularity", "none", "oracle")


@dataclass(frozen=True)
class Measure:
    """One per-step series of a run, said in words."""

    key: str
    title: str
    explained: str
    unit: str


MEASURES = (
    Measure(
        "slate_entropy",
        "Variety of what is shown",
        "Topic entropy of the lists, in bits. Falling: people are shown fewer topics.",
        "bits",
    ),
    Measure(
        "click_entropy",
        "Variety of what is chosen",
        "Topic entropy of recent consumption, in bits. Falling: people take in fewer topics.",
        "bits",
    ),
    Measure(
        "taste_shift",
        "How far tastes have moved",
        "Distance of tastes from the start, 0 to 1. Some movement is natural; compare the arms.",
        "0 to 1",
    ),
    Measure(
        "click_utility",
        "How well choices match taste",
        "Match of chosen items with the person's true taste, 0 to 1. Higher serves people better.",
        "0 to 1",
    ),
    Measure(
        "click_rate",
        "How often people choose something",
        "Share of active people who chose from their list. What a platform would optimise.",
        "share",
    ),
    Measure(
        "exposure_gini",
        "How unequally items are shown",
        "Gini of exposure over the whole catalog: 0 is equal, 1 is one item for everyone.",
        "0 to 1",
    ),
    Measure(
        "opinion_polarisation",
        "How divided opinions are",
        "Esteban-Ray polarisation: 0 is one opinion, about 0.25 any opinion, 1 two opposite camps.",
        "0 to 1",
    ),
    Measure(
        "misinformed",
        "How far falsehoods are believed",
        "Mean belief in false items consumed, 0 to 1. Rising: people take in more of them.",
        "0 to 1",
    ),
    Measure(
        "satisfaction",
        "How satisfied people are",
        "What visits were worth to those present, averaged over their visits. Who is dissatisfied "
        "is likelier to leave.",
        "0 to 1",
    ),
    Measure(
        "supply_entropy",
        "Variety of what there is",
        "Topic entropy of the items available, in bits. Falling: fewer topics are made or kept.",
        "bits",
    ),
    Measure(
        "creators",
        "How many creators are there",
        "Creators who make items. Who is not clicked makes less, or leaves.",
        "creators",
    ),
    Measure(
        "ai_exposure",
        "How much of what is shown is made by machines",
        "Share of shown items whose origin is AI. Compare the arms: all have the same flood.",
        "share",
    ),
    Measure(
        "present",
        "How many people are there",
        "People in the world: arrived, and not left. The same people arrive in every arm.",
        "people",
    ),
)
"""The measures drawn, as the story goes: choice, change, benefit, items, supply, society."""


@dataclass(frozen=True)
class Band:
    """Mean and 95 % t interval over worlds, per step; bounds are NaN below two worlds."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """One measure of one recommender and its comparison arms.

    Attributes:
        measure: what is drawn.
        steps: (steps,) step numbers.
        arms: kind of arm -> band over worlds.
        contrast: target minus ``against``, paired by world; None without a comparison arm.
        against: the kind of arm that is subtracted.
        retrained: steps in which the target learnt, in most worlds.
        worlds: number of worlds.
    """

    measure: Measure
    steps: NDArray[np.int64]
    arms: Mapping[str, Band]
    contrast: Band | None
    against: str
    retrained: NDArray[np.int64]
    worlds: int


def band(values: NDArray[np.float64]) -> Band:
    """Mean and 95 % t interval of each column of ``(worlds, steps)``, undefined worlds left out."""
    from scipy.special import stdtrit

    known = np.isfinite(values)
    n = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
    spread = np.sqrt(squares / np.maximum(n - 1, 1))
    half = stdtrit(np.maximum(n - 1, 1), 0.975) * spread / np.sqrt(np.maximum(n, 1))
    half = np.where(n > 1, half, np.nan)
    return Band(mean, mean - half, mean + half)


def trajectories(run: Run, target: str) -> list[Trajectory]:
    """Every drawn measure of one target; measures that the run did not record are left out."""
    names = {kind: name for kind in ARM_ORDER if (name := run.arm(target, kind)) is not None}
    if "target" not in names:
        return []
    frames = {
        kind: [run.series(name, world) for world in range(run.worlds)]
        for kind, name in names.items()
    }
    own = frames["target"]
    steps = own[0]["step"].to_numpy().astype(np.int64)
    learnt = np.stack([f["retrained"].to_numpy().astype(np.float64) for f in own]).mean(axis=0)
    drawn = []
    for measure in MEASURES:
        tables = {
            kind: np.stack([f[measure.key].to_numpy().astype(np.float64) for f in parts])
            for kind, parts in frames.items()
            if all(measure.key in f.columns for f in parts)
        }  # kind -> (worlds, steps)
        tables = {kind: table for kind, table in tables.items() if np.isfinite(table).any()}
        if "target" not in tables:
            continue
        against = next((k for k in ("random", "frozen", "popularity") if k in tables), "")
        drawn.append(
            Trajectory(
                measure=measure,
                steps=steps,
                arms={kind: band(table) for kind, table in tables.items()},
                contrast=band(tables["target"] - tables[against]) if against else None,
                against=against,
                retrained=steps[learnt > 0.5],
                worlds=run.worlds,
            )
        )
    return drawn


def late_means(run: Run, arm: str, key: str) -> NDArray[np.float64]:
    """(worlds,) mean of a measure over the last quarter of the steps; NaN where undefined."""
    means = []
    for world in range(run.worlds):
        values = run.series(arm, world)[key].to_numpy().astype(np.float64)
        late = values[-max(1, len(values) // 4) :]
        means.append(float(late[np.isfinite(late)].mean()) if np.isfinite(late).any() else np.nan)
    return np.array(means)

"""Topic entropies of what is shown and consumed, early and late in a run, person by person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.concentration import entropy_bits
from ...simulation.run import Run
from ..permutation import SMALLEST_GROUP

MIN_CLICKS = 3
"""Clicks a person needs in each window, in each arm, to count for consumption."""


@dataclass(frozen=True)
class Windows:
    """The first and the last steps of a run, equally long; ``late`` starts at ``late_from``."""

    length: int
    late_from: int

    @classmethod
    def of(cls, steps: int, share: float) -> Windows:
        """The first and the last ``share`` of the steps, at least one step each."""
        length = max(1, int(steps * share))
        return cls(length, steps - length)

    @property
    def rows(self) -> pl.Expr:
        """Rows of the event log that lie in either window."""
        return (pl.col("step") < self.length) | (pl.col("step") >= self.late_from)


@dataclass(frozen=True)
class Clicks:
    """Clicks of both windows of one arm, sorted by (window, user, step)."""

    cell: NDArray[np.int64]
    item: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def read(cls, run: Run, arm: str, world: int, windows: Windows, n_users: int) -> Clicks:
        """``cell`` is ``window * n_users + user``; ``counts`` is (2, n_users)."""
        frame = (
            run.events(arm, world)
            .filter(windows.rows & pl.col("clicked"))
            .select("step", "user", "item")
            .collect()
        )
        step = frame["step"].to_numpy()
        late = (step >= windows.late_from).astype(np.int64)
        cell = late * n_users + frame["user"].to_numpy()
        order = np.lexsort((step, cell))
        counts = np.bincount(cell, minlength=2 * n_users).reshape(2, n_users)
        return cls(cell[order], frame["item"].to_numpy().astype(np.int64)[order], counts)

    def first(self, n: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cell, item) of the first ``n[user]`` clicks of each person in each window."""
        flat = self.counts.ravel()
        starts = np.concatenate([[0], flat.cumsum()[:-1]])
        within = np.arange(len(self.cell)) - starts[self.cell]
        keep = within < np.tile(n, 2)[self.cell]
        return self.cell[keep], self.item[keep]


def consumption_entropy(
    rows: NDArray[np.int64], items: NDArray[np.int64], topics: NDArray[np.float32], n_rows: int
) -> NDArray[np.float64]:
    """Topic entropy of each row's items in bits, corrected for the small number of items.

    The correction is ``sum_t var_t / p_t / (2 n ln 2)`` with ``var_t`` the variance of the topic's
    weight over the row's items. When every item has one topic this is Miller and Madow's
    ``(m - 1) / (2 n ln 2)`` (Miller 1955) with m topics seen; for items of several topics
    Miller-Madow itself would correct for uncertainty that is not there.

    Args:
        rows, items: which row consumed which item.
        topics: (items, topics) weights; items without a topic do not count.
        n_rows: number of rows.

    Returns:
        (n_rows,) bits; NaN where a row has no item with a topic.
    """
    known = topics[items].sum(axis=1) > 0
    rows, items = rows[known], items[known]
    n = np.bincount(rows, minlength=n_rows).astype(np.float64)
    mean = np.empty((n_rows, topics.shape[1]))
    excess = np.zeros(n_rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        for t in range(topics.shape[1]):
            weight = topics[items, t].astype(np.float64)
            mean[:, t] = np.bincount(rows, weight, n_rows) / n
            square = np.bincount(rows, weight**2, n_rows) / n
            spread = (square - mean[:, t] ** 2) / mean[:, t]
            excess += np.where(mean[:, t] > 0, spread, 0.0)
        corrected = entropy_bits(np.nan_to_num(mean)) + excess / (2 * n * np.log(2))
    return np.where(n > 0, corrected, np.nan)


_PEOPLE_STEPS = 200_000
"""People times steps looked at together: some 2 million slots, however long the log."""


def slate_entropy(
    run: Run, arm: str, world: int, topics: NDArray[np.float32], windows: Windows
) -> NDArray[np.float64]:
    """(2,) topic entropy of the slates in the early and late window: mean over people of their
    own mean over slates, people with slates in both windows only."""
    n_users = len(run.users(world))
    sums, counts = np.zeros((2, n_users)), np.zeros((2, n_users), np.int64)
    at_once = max(1, min(10, _PEOPLE_STEPS // max(n_users, 1)))
    for late, start in enumerate((0, windows.late_from)):
        for first in range(start, start + windows.length, at_once):
            end = min(first + at_once, start + windows.length)
            some = (pl.col("step") >= first) & (pl.col("step") < end)
            rows = run.events(arm, world).filter(some).select("step", "user", "item").collect()
            user, entropy = _entropy_of_slates(rows, topics)
            np.add.at(sums[late], user, entropy)
            np.add.at(counts[late], user, 1)
    both = (counts > 0).all(axis=0)
    if not both.any():
        return np.full(2, np.nan)
    means: NDArray[np.float64] = (sums[:, both] / counts[:, both]).mean(axis=1)
    return means


def _entropy_of_slates(
    rows: pl.DataFrame, topics: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(slates,) whose each slate is, and its entropy in bits; slates without a topic left out."""
    items = rows["item"].to_numpy()
    shown = items >= 0
    step = rows["step"].to_numpy()[shown].astype(np.int64)
    user = rows["user"].to_numpy()[shown].astype(np.int64)
    items = items[shown]
    if len(items) == 0:
        return user, np.empty(0)
    # one row per slate; the log is sorted by step and user, so a slate's rows lie together
    new = (step[1:] != step[:-1]) | (user[1:] != user[:-1])
    starts = np.flatnonzero(np.concatenate([[True], new]))
    mass = np.stack(
        [
            np.add.reduceat(topics[items, t].astype(np.float64), starts)
            for t in range(topics.shape[1])
        ],
        axis=1,
    )
    entropy = entropy_bits(mass)
    valid = np.isfinite(entropy)
    return user[starts][valid], entropy[valid]


def click_entropy(
    run: Run,
    arms: tuple[str, str],
    world: int,
    topics: tuple[NDArray[np.float32], NDArray[np.float32]],
    windows: Windows,
) -> tuple[NDArray[np.float64], int]:
    """((2 arms, 2 windows) mean consumption entropy, number of people behind it).

    Each person counts with the same number of clicks in all four cells, so that the bias of an
    entropy from few clicks is the same everywhere and cancels in the contrast. ``topics`` are those
    of either arm's items: catalogs may grow apart.
    """
    n_users = len(run.users(world))
    clicks = [Clicks.read(run, arm, world, windows, n_users) for arm in arms]
    fewest = np.minimum(clicks[0].counts, clicks[1].counts).min(axis=0)
    n = np.where(fewest >= MIN_CLICKS, fewest, 0)
    if int((n > 0).sum()) < SMALLEST_GROUP:
        return np.full((2, 2), np.nan), int((n > 0).sum())
    table = np.empty((2, 2))
    for row, (part, own) in enumerate(zip(clicks, topics, strict=True)):
        cell, item = part.first(n)
        entropy = consumption_entropy(cell, item, own, 2 * n_users).reshape(2, n_users)
        both = np.isfinite(entropy).all(axis=0)
        table[row] = entropy[:, both].mean(axis=1) if both.any() else np.nan
    return table, int((n > 0).sum())

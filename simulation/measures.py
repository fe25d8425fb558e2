"""What is measured of a world in each step, and of each person over a whole arm."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..recommenders.concentration import coverage, entropy_bits, gini
from .columns import Columns
from .drift import Encounter, consumed
from .people import taste_distance

SERIES = {
    "slate_entropy": "topic entropy of the slates, mean over active people (bits)",
    "click_entropy": "topic entropy of recent consumption, mean over people (bits)",
    "click_rate": "share of active people who chose something",
    "slate_utility": "match of shown items with taste, mean over slots (0 to 1)",
    "click_utility": "match of chosen items with taste, mean over choices (0 to 1)",
    "taste_shift": "distance of taste from the start, mean over people (0 to 1)",
    "taste_entropy": "entropy of taste, mean over people (bits; none for vector tastes)",
    "exposure_gini": "Gini of cumulative exposure over the whole catalog (0 equal, 1 one item)",
    "coverage": "share of the catalog shown so far",
    "popularity": "popularity percentile of shown items before the loop, mean (0 to 1)",
    "retrained": "1 when the recommender learnt in this step",
}

_RECENT = 0.9  # weight that recent consumption keeps per step: half-life 6.6 steps


def _mean(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else float("nan")


class Kept(NamedTuple):
    """(users,) float32 values of everybody, as of their last change; see Measures.keep."""

    click_entropy: NDArray[np.float32]
    taste_shift: NDArray[np.float32]
    taste_entropy: NDArray[np.float32]


class Measures:
    """Running tallies of one world under one arm."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        n_users, n_items = len(columns.taste), len(columns.catalog)
        self.current: dict[str, float] = dict.fromkeys(SERIES, float("nan"))
        self.exposure = np.zeros(n_items, np.int64)
        counts = columns.past.popularity()
        rank = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
        self.percentile = (rank / max(n_items - 1, 1)).astype(np.float32)
        self.recent = np.zeros((n_users, columns.topics.shape[1]), np.float32)
        np.add.at(self.recent, columns.past.user, columns.topics[columns.past.item])
        length = np.bincount(columns.past.user, minlength=n_users)
        self.recent *= (5.0 / np.maximum(length, 1)).astype(np.float32)[:, None]
        self.clicks = np.zeros(n_users, np.int32)
        self.slots = np.zeros(n_users, np.int32)
        self.slate_match = np.zeros(n_users, np.float64)
        self.click_match = np.zeros(n_users, np.float64)
        self.click_match_initial = np.zeros(n_users, np.float64)
        self._kept: Kept | None = None

    def keep(self) -> Kept:
        """What the compiled engine keeps up to date of everybody, so that a step costs those who
        changed and not the whole population; made at the first call."""
        if self._kept is None:
            self._kept = Kept(*(np.zeros(len(self.clicks), np.float32) for _ in Kept._fields))
        return self._kept

    def of_step(self, n_active: int, n_took: int, totals: NDArray[np.float64]) -> None:
        """The measures of :meth:`before_change`, from sums over all slates.

        Args:
            n_active: people; n_took: those who took something.
            totals: sums in the order of kernel.ENTROPY and the names after it.
        """
        entropy, entropy_rows, match, slots, click_match, percentile = totals.tolist()

        def over(total: float, n: float) -> float:
            return total / n if n else float("nan")

        self.current.update(
            slate_entropy=over(entropy, entropy_rows),
            click_rate=over(n_took, n_active),
            slate_utility=over(match, slots),
            click_utility=over(click_match, n_took),
            popularity=over(percentile, slots),
        )

    def before_change(self, met: Encounter) -> None:
        """Tally slates and choices against the tastes that made them."""
        columns, now = self.columns, self.current
        users, items, match = met.users, met.items, met.match
        taken = met.feedback.taken
        shown = items >= 0
        topics = columns.topics
        slate_mass = np.where(shown[..., None], topics[np.maximum(items, 0)], 0).sum(axis=1)
        self.exposure += np.bincount(items[shown], minlength=len(self.exposure))
        took = consumed(columns.features, met)
        initial = np.einsum("nt,nt->n", took, columns.initial_taste[users])
        self.slots[users] += shown.sum(axis=1)
        self.slate_match[users] += np.where(shown, match, 0).sum(axis=1)
        self.clicks[users] += taken.sum(axis=1, dtype=np.int32)
        self.click_match[users] += np.where(taken, match, 0).sum(axis=1)
        self.click_match_initial[users] += initial
        self.recent *= np.float32(_RECENT)
        self.recent[users] += consumed(topics, met)
        now["slate_entropy"] = _mean(entropy_bits(slate_mass))
        now["click_rate"] = float(taken.any(axis=1).mean()) if len(taken) else float("nan")
        now["slate_utility"] = _mean(match[shown])
        now["click_utility"] = _mean(match[taken])
        now["popularity"] = _mean(self.percentile[items[shown]])

    def after_change(self, *, retrained: bool) -> None:
        """Measures of the state after people changed and the platform learnt."""
        columns, now, kept = self.columns, self.current, self._kept
        now["click_entropy"] = _mean(entropy_bits(self.recent) if kept is None else kept[0])
        now["taste_shift"] = _mean(self.taste_shift() if kept is None else kept[1])
        if columns.space == "topics":
            now["taste_entropy"] = _mean(entropy_bits(columns.taste) if kept is None else kept[2])
        unequal = gini(self.exposure, universe="catalog")
        now["exposure_gini"] = float("nan") if unequal is None else unequal
        now["coverage"] = coverage(self.exposure) or 0.0
        now["retrained"] = float(retrained)

    def taste_shift(self) -> NDArray[np.float64]:
        """(users,) distance between taste now and at the start; see people.taste_distance."""
        now = self.columns
        return taste_distance(now.initial_taste, now.taste, space=now.space)

    def outcomes(self) -> pl.DataFrame:
        """One row a person; see Run.outcomes for the columns."""
        clicks = np.maximum(self.clicks, 1)
        took = self.clicks > 0
        width = self.columns.taste.shape[1]
        slots = np.maximum(self.slots, 1)

        def per_click(total: NDArray[np.float64]) -> pl.Series:
            values = pl.Series((total / clicks).astype(np.float32))
            return pl.select(pl.when(pl.Series(took)).then(values)).to_series()

        seen = pl.Series((self.slate_match / slots).astype(np.float32))
        return pl.DataFrame(
            {
                "user": np.arange(len(self.clicks), dtype=np.int32),
                "clicks": self.clicks,
                "slate_utility": pl.select(
                    pl.when(pl.Series(self.slots > 0)).then(seen)
                ).to_series(),
                "click_utility": per_click(self.click_match),
                "initial_click_utility": per_click(self.click_match_initial),
                "taste_end": pl.Series(
                    "taste_end", self.columns.taste, dtype=pl.Array(pl.Float32, width)
                ),
            }
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything a checkpoint must hold; the arrays themselves."""
        kept = {} if self._kept is None else self._kept._asdict()
        return {**{name: getattr(self, name) for name in self.ARRAYS}, **kept}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continues from :meth:`state`."""
        for name, place in self.state().items():
            place[...] = state[name]

    ARRAYS = (
        "exposure",
        "recent",
        "clicks",
        "slots",
        "slate_match",
        "click_match",
        "click_match_initial",
    )

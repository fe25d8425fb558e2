"""What is measured of a world in each step, and of each person over a whole arm."""

from __future__ import annotations

from itertools import pairwise
from math import fsum
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..recommenders.concentration import coverage, entropy_bits, gini
from ..recommenders.datasets.synthetic import cut
from .people.columns import Columns
from .people.drift import Encounter, consumed
from .people.equations import taste_distance
from .society.staying import lived

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


MEANS = (
    "slate_entropy",
    "click_rate",
    "slate_utility",
    "click_utility",
    "popularity",
    "click_entropy",
    "taste_shift",
    "taste_entropy",
)
"""Measures that are means, in the order of :attr:`Measures.sums`."""


def blocks_of(first: int, last: int, size: int) -> list[tuple[int, int]]:
    """(begin, end) of the blocks of people ``first .. last - 1``; ``first`` begins a block."""
    edges = [*range(first, last, size), last]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def means(sums: NDArray[np.float64]) -> dict[str, float]:
    """The means of a step from the sums of its blocks, the same however blocks were shared out.

    Args:
        sums: (blocks, len(MEANS), 2) sum and number of values; sums are added exactly and rounded
            once (math.fsum), so that their order does not matter.
    """
    found = {}
    for place, name in enumerate(MEANS):
        n = float(sums[:, place, 1].sum())
        found[name] = fsum(sums[:, place, 0]) / n if n else float("nan")
    return found


def inequality(exposure: NDArray[np.int64]) -> dict[str, float]:
    """The measures of how exposure is spread over the catalog, from (items,) counts."""
    unequal = gini(exposure, universe="catalog")
    return {
        "exposure_gini": float("nan") if unequal is None else unequal,
        "coverage": coverage(exposure) or 0.0,
    }


def _sum(values: NDArray[np.floating]) -> tuple[float, int]:
    """Sum and number of the values that are numbers."""
    known = values[np.isfinite(values)]
    return float(known.sum(dtype=np.float64)), len(known)


class Kept(NamedTuple):
    """(users,) float32 values of everybody, as of their last change; see Measures.keep."""

    click_entropy: NDArray[np.float32]
    taste_shift: NDArray[np.float32]
    taste_entropy: NDArray[np.float32]


class Measures:
    """Running tallies of one world under one arm, or of a shard of its people.

    Args:
        columns: the world's.
        blocks: (first, last) of the blocks of people counted here, see :func:`blocks_of`.
        popularity: (items,) consumptions before the loop; those of the world's past when None.

    Attributes:
        current: the measures of the last step.
        sums: (blocks, len(MEANS), 2) what its means were made of, see :func:`means`.
        exposure: (items,) showings so far.
    """

    def __init__(
        self,
        columns: Columns,
        blocks: list[tuple[int, int]],
        *,
        popularity: NDArray[np.int64] | None = None,
    ) -> None:
        self.columns = columns
        self.blocks = blocks
        self.rows = slice(blocks[0][0], blocks[-1][1]) if blocks else slice(0, 0)
        self.sums = np.zeros((len(self.blocks), len(MEANS), 2))
        n_users, n_items = len(columns.taste), len(columns.catalog)
        self.current: dict[str, float] = dict.fromkeys(SERIES, float("nan"))
        self.exposure = np.zeros(n_items, np.int64)
        counts = columns.past.popularity() if popularity is None else popularity
        rank = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
        self.percentile = (rank / max(n_items - 1, 1)).astype(np.float32)
        self.recent = np.zeros((n_users, columns.topics.shape[1]), np.float32)
        if blocks:  # rows that are not lived here are never written, and cost no memory
            for rows in cut(len(columns.past), 1 << 17):
                past = columns.past.user[rows], columns.past.item[rows]
                np.add.at(self.recent, past[0], columns.topics[past[1]])
            length = np.bincount(columns.past.user, minlength=n_users)[self.rows]
            self.recent[self.rows] *= (5.0 / np.maximum(length, 1)).astype(np.float32)[:, None]
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

    def of_step(self, block: int, n_active: int, n_took: int, totals: NDArray[np.float64]) -> None:
        """The sums of :meth:`before_change` of one block, from sums over its slates.

        Args:
            block: its number; n_active: its active people; n_took: those who took something.
            totals: sums in the order of kernel_columns.ENTROPY and the names after it.
        """
        entropy, entropy_rows, match, slots, click_match, percentile = totals
        self.sums[block, :5] = (
            (entropy, entropy_rows),
            (n_took, n_active),
            (match, slots),
            (click_match, n_took),
            (percentile, slots),
        )

    def before_change(self, met: Encounter) -> None:
        """Tally slates and choices against the tastes that made them."""
        columns = self.columns
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
        self.recent[self.rows] *= np.float32(_RECENT)
        self.recent[users] += consumed(topics, met)
        entropy = entropy_bits(slate_mass)
        some: NDArray[np.bool_] = np.asarray(taken.any(axis=1))
        percentile = self.percentile[items]
        for block, (first, last) in enumerate(self.blocks):
            part = slice(*np.searchsorted(users, [first, last]))
            real, took_now = shown[part], taken[part]
            self.sums[block, :5] = (
                _sum(entropy[part]),
                (some[part].sum(), len(some[part])),
                _sum(match[part][real]),
                _sum(match[part][took_now]),
                _sum(percentile[part][real]),
            )

    def after_change(self, *, retrained: bool) -> None:
        """Measures of the state after people changed and the platform learnt."""
        columns, kept = self.columns, self._kept
        here = lived(columns)
        for block, (first, last) in enumerate(self.blocks):
            rows = slice(first, last)
            if kept is None:
                start, taste = columns.initial_taste[rows], columns.taste[rows]
                everybody: tuple[NDArray[np.floating], ...] = (
                    entropy_bits(self.recent[rows]),
                    taste_distance(start, taste, space=columns.space),
                    entropy_bits(taste),
                )
            else:
                everybody = (
                    kept.click_entropy[rows],
                    kept.taste_shift[rows],
                    kept.taste_entropy[rows],
                )
            n = 3 if columns.space == "topics" else 2  # unit vectors have no entropy
            for place, values in enumerate(everybody[:n], 5):
                self.sums[block, place] = _sum(values if here is None else values[here[rows]])
        self.current.update(means(self.sums))
        self.current.update(inequality(self.exposure))
        self.current["retrained"] = float(retrained)

    def add_items(self, n: int) -> None:
        """Tallies of items that entered: never shown, and unknown before the loop."""
        self.exposure = np.pad(self.exposure, (0, n))
        self.percentile = np.pad(self.percentile, (0, n))

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

"""What the compiled step is told of people, items and laws, and what it fills in; see kernel.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONSTANTS = (
    "drift",
    "exposure_drift",
    "satiation",
    "recovery",
    "position_bias",
    "outside_utility",
    "temperature",
)
"""Columns of :attr:`Laws.constants`: numbers of people.UserModel."""
DRIFT, EXPOSURE_DRIFT, SATIATION, RECOVERY, POSITION_BIAS, OUTSIDE, TEMPERATURE = range(7)

ENTROPY, ENTROPY_ROWS, MATCH, SLOTS, CLICK_MATCH, PERCENTILE = range(6)
"""Places in :attr:`Done.totals`."""


class People(NamedTuple):
    """Columns of the population, changed in place; n people, d numbers a taste, T topics.

    Attributes:
        segment: (n,) int8; taste, initial: (n, d) float32; satiation, recent: (n, T) float32.
        clicks, slots: (n,) int32; slate_match, click_match, click_match_initial: (n,) float64.
        click_entropy, taste_shift, taste_entropy: (n,) float32, as of the last change of a row.
    """

    segment: NDArray[np.int8]
    taste: NDArray[np.float32]
    initial: NDArray[np.float32]
    satiation: NDArray[np.float32]
    recent: NDArray[np.float32]
    clicks: NDArray[np.int32]
    slots: NDArray[np.int32]
    slate_match: NDArray[np.float64]
    click_match: NDArray[np.float64]
    click_match_initial: NDArray[np.float64]
    click_entropy: NDArray[np.float32]
    taste_shift: NDArray[np.float32]
    taste_entropy: NDArray[np.float32]


class Items(NamedTuple):
    """Columns of the catalog.

    Attributes:
        features: (items, d) float32; topics: (items, T) float32.
        quality, percentile: (items,) float32; exposure: (items,) int64, counted up.
    """

    features: NDArray[np.float32]
    topics: NDArray[np.float32]
    quality: NDArray[np.float32]
    percentile: NDArray[np.float32]
    exposure: NDArray[np.int64]


class Laws(NamedTuple):
    """What holds for everybody.

    Attributes:
        constants: (segments, 7) float64, in the order of CONSTANTS.
        place: (k,) float64 ``ln(1 + position)``, or zeros where people see no ranking.
        scale: utility of a perfect match.
        vectors: whether tastes are unit vectors, not shares of topics.
        luck: choice luck of this step, see :func:`absorbed`.
    """

    constants: NDArray[np.float64]
    place: NDArray[np.float64]
    scale: float
    vectors: bool
    luck: np.uint64


class Done(NamedTuple):
    """What is written about the n active people of a step.

    Attributes:
        match: (n, k) float32; taken: (n, k) bool; bits: (n,) uint64 the same as Shown.bits.
        users, items: (n,) int32, of which the first ones are filled: who took what.
        totals: (6,) float64 sums over everybody, see ENTROPY and the names after it.
    """

    match: NDArray[np.float32]
    taken: NDArray[np.bool_]
    bits: NDArray[np.uint64]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    totals: NDArray[np.float64]

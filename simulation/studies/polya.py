"""Rich get richer: exposure in proportion to a power of popularity, with its exact limits.

Each step one item is chosen with probability proportional to ``count^exponent``; counts start at
one. Exponent 1 is the Polya urn: shares tend to a uniform draw from the simplex, Dirichlet(1), as
unequal as luck alone makes them. Above 1 one item takes all; with 0 all items stay alike. The
limits are known, so this is the control of every measure of popularity bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.concentration import gini
from ...recommenders.randomness import generator
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "Polya urn: exposure in proportion to popularity, with exact limits"
PAPER = (
    "Eggenberger & Polya (1923). Über die Statistik verketteter Vorgänge. ZAMM 3; monopoly: "
    "Drinea, Frieze & Mitzenmacher (2002). Balls and Bins Models with Feedback. SODA 2002"
)

Floats = NDArray[np.float64]

EXPONENTS = (0.0, 1.0, 2.0)


@dataclass(frozen=True)
class Params(StudyParams):
    """The sizes of the reference figure."""

    urns: int = setting(400, "independent markets", low=20)
    items: int = setting(50, "items", low=2)
    steps: int = setting(5000, "choices in each market", low=100)

    @classmethod
    def quick(cls) -> Self:
        """Fewer markets."""
        return cls(urns=120)


def grow(counts: Floats, exponent: float, luck: Floats) -> None:
    """One choice in each market, in place.

    Args:
        counts: (urns, items), from 1.
        luck: (urns,) uniform draws.
    """
    reach = np.cumsum(counts**exponent, axis=1)  # (urns, items)
    chosen = (reach < (luck * reach[:, -1])[:, None]).sum(axis=1)
    counts[np.arange(len(counts)), chosen] += 1


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """Gini, top share and the law of a share under the exponents 0, 1 and 2."""
    every = max(params.steps // 40, 1)
    n_all = len(EXPONENTS) * params.steps
    shares: dict[float, Floats] = {}
    tops: dict[float, list[float]] = {}
    for part, exponent in enumerate(EXPONENTS):
        rng = generator(seed, "polya", "luck")
        counts = np.ones((params.urns, params.items))
        tops[exponent] = []
        for t in range(1, params.steps + 1):
            grow(counts, exponent, rng.random(params.urns))
            if t % every == 0:
                progress(part * params.steps + t, n_all, f"exponent {exponent:g}")
                tops[exponent].append(float((counts.max(axis=1) / counts.sum(axis=1)).mean()))
        shares[exponent] = counts / counts.sum(axis=1, keepdims=True)
    steps = tuple(float(t) for t in range(every, params.steps + 1, every))
    curves = Curves(
        title="Share of the most chosen item",
        description="Mean over markets. With exponent 2 one item takes nearly all, with 1 the "
        "share settles at what luck gives, with 0 it falls toward an equal share.",
        x_label="choices",
        y_label="share of the top item",
        x=steps,
        lines={f"exponent {e:g}": tuple(tops[e]) for e in reversed(EXPONENTS)},
    )
    rows = (*_proportional(params, shares[1.0]), *_others(params, shares))
    return StudyResult(TITLE, PAPER, rows, figures=(curves,), notes=_NOTES)


_NOTES = (
    "Tolerances with exponent 1 are four standard errors of a mean over the markets, from the "
    "limits' own variances.",
    "The Gini coefficient is the one that the loop's own series report.",
)


def _ginis(shares: Floats) -> Floats:
    return np.array([gini(row, universe="catalog") for row in shares])


def _proportional(params: Params, shares: Floats) -> list[Row]:
    from scipy.stats import beta, kstest

    n = params.items
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    distance = float(kstest(shares[:, 0], beta(1, n - 1).cdf).statistic)
    error = 4 / params.urns**0.5
    return [
        Row(
            "exponent 1: Gini",
            float(_ginis(shares).mean()),
            (n - 1) / (2 * n),
            round(error * ((n - 1) / 12) ** 0.5 / n, 4),  # it is the sum of n - 1 uniforms over n
            "(I - 1) / (2 I)",
        ),
        Row(
            "exponent 1: share of the top item",
            float(shares.max(axis=1).mean()),
            harmonic / n,
            round(error * np.pi / 6**0.5 / n, 4),  # Gumbel in the limit
            "H_I / I",
        ),
        Row(
            "exponent 1: spread of a share, standard deviation",
            float(shares.std(axis=0).mean()),
            float(beta(1, n - 1).std()),
            0.05,
            "Beta(1, I - 1)",
            "share",
        ),
        Row(
            "exponent 1: Kolmogorov distance of a share from its law",
            distance,
            0.0,
            round(1.95 / params.urns**0.5, 4),  # the 0.1 % point
            "Beta(1, I - 1)",
        ),
    ]


def _others(params: Params, shares: dict[float, Floats]) -> list[Row]:
    n, steps = params.items, params.steps
    # counts are multinomial; differences of two are normal with variance 2 steps / n
    even = (n - 1) / (n + steps) * (steps / (np.pi * n)) ** 0.5
    alike = float(_ginis(shares[0.0]).mean())
    rows = [Row("exponent 0: Gini", alike, even, 0.005, "normal limit of equal chances")]
    monopoly = shares[2.0].max(axis=1)
    if (n, steps) == (50, 5000):
        rows.append(
            Row(
                "exponent 2: share of the top item",
                float(monopoly.mean()),
                0.973,
                0.02,
                "reference computation of the model",
            )
        )
    rows.append(
        Row(
            "exponent 2: markets in which one item has more than half",
            float((monopoly > 0.5).mean()),
            0.95,
            0.0,
            "monopoly for exponents above 1",
            "above",
        )
    )
    return rows

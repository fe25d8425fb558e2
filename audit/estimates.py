"""Effects with honest uncertainty: one estimator per kind of measurement, one result for all.

Bounds are one-sided at level alpha, p-values test "effect <= tau", and both are consistent: p is
below alpha exactly where the lower bound lies above tau. What has no value is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .power import detectable_share, detectable_t, t_quantile, units_for_share, units_for_t

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A statistic over the last axis, like ``numpy.mean`` with ``axis=-1``."""

RESAMPLES = 2000
BCA_UNITS = 20
"""Fewest units for a BCa interval; with fewer, its corrections are noise."""
BOOTSTRAP_T_UNITS = 8
"""Fewest units for a bootstrap-t interval; with fewer, resamples without spread abound."""


@dataclass(frozen=True)
class Estimate:
    """An effect, its bounds, and what the sample could have seen.

    Attributes:
        effect: harm positive.
        low, high: one-sided bounds at level alpha; None when there is no spread to judge by.
        p_value: of the hypothesis that the effect is at most tau.
        n_units: independent units behind it, undefined ones left out.
        mde: smallest true harm found with power .80.
        units_to_decide: units that would decide, when this many do not.
        certain: every unit showed the same effect, so that no MDE can be computed, and there are
            enough of them for a sign test; the verdict may then do without an MDE.
        floor: the statistic where there is no harm, when the method yields it.
        notes: what the reader must know about the numbers.
    """

    effect: float
    low: float | None
    high: float | None
    p_value: float | None
    n_units: int
    mde: float | None = None
    units_to_decide: int | None = None
    certain: bool = False
    floor: float | None = None
    notes: tuple[str, ...] = ()


def without_spread(
    effect: float, n: int, *, tau: float, alpha: float, unit: str = "unit"
) -> Estimate:
    """What can be said when every unit shows exactly the same effect.

    A t interval would have no width and claim certainty from two units. Instead the sign test
    speaks: if half the population of units lay on the other side of tau, n units on this side
    would have probability 2**-n.
    """
    p = 0.5**n
    fewest = int(np.ceil(np.log2(1 / alpha)))
    note = f"every {unit} showed exactly the same effect, so its spread is unknown"
    if p > alpha:
        short = f"{note}; at least {fewest} are needed to judge by a sign test"
        return Estimate(effect, None, None, None, n, units_to_decide=fewest, notes=(short,))
    return Estimate(
        effect,
        effect,
        effect,
        p if effect > tau else 1.0,
        n,
        certain=True,
        notes=(f"{note}; judged by a sign test over {n}, without a detectable effect",),
    )


def from_standard_error(
    effect: float, error: float, n: int, *, tau: float, alpha: float = 0.05, unit: str = "unit"
) -> Estimate:
    """The t interval of an effect whose standard error was found elsewhere.

    Args:
        effect: the estimate.
        error: its standard error, from a jackknife or bootstrap over n units.
        n: independent units, at least 2; n - 1 degrees of freedom.
        tau: threshold of the p-value.
        alpha: one-sided level.
        unit: name of a unit, for notes.
    """
    if error <= 1e-12 * max(abs(effect), abs(tau)):
        return without_spread(effect, n, tau=tau, alpha=alpha, unit=unit)
    effect, error = float(effect), float(error)  # a reader of Finding.low sees no numpy type
    critical = t_quantile(n - 1, 1 - alpha)
    return Estimate(
        effect,
        effect - critical * error,
        effect + critical * error,
        float(special.stdtr(n - 1, (tau - effect) / error)),
        n,
        detectable_t(n - 1, alpha=alpha) * error,
        units_for_t(effect, error * np.sqrt(n), tau, n, alpha=alpha),
    )


def paired_t(
    effects: ArrayLike, *, tau: float = 0.0, alpha: float = 0.05, unit: str = "unit"
) -> Estimate:
    """Mean of independent units' effects with its t interval.

    Args:
        effects: (n,) finite effects, one a unit; differences when the contrast is paired.
        tau: threshold of the p-value.
        alpha: one-sided level.
        unit: name of a unit, for notes.

    Returns:
        The estimate; without bounds when n is 1.

    Raises:
        ValueError: no unit.
    """
    x = np.asarray(effects, dtype=np.float64).ravel()
    n = len(x)
    if n == 0:
        raise ValueError("no unit to estimate from")
    mean = float(x.mean())
    if n == 1:
        note = f"one {unit} has no spread to judge by; at least 2 are needed, 10 are the default"
        return Estimate(mean, None, None, None, 1, units_to_decide=10, notes=(note,))
    if np.ptp(x) <= 1e-12 * max(float(np.abs(x).max()), abs(tau)):
        return without_spread(mean, n, tau=tau, alpha=alpha, unit=unit)
    error = float(x.std(ddof=1)) / np.sqrt(n)
    return from_standard_error(mean, error, n, tau=tau, alpha=alpha, unit=unit)


def _resampled(
    x: NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> list[NDArray[np.float64]]:
    """Bootstrap samples of x as (block, n) arrays that fit in memory."""
    block = max(1, min(resamples, 2_000_000 // len(x)))
    sizes = [min(block, resamples - done) for done in range(0, resamples, block)]
    return [x[rng.integers(0, len(x), (size, len(x)))] for size in sizes]


def bootstrap_t(
    effects: ArrayLike,
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """One-sided bounds of a mean by the studentised bootstrap: a check on the t interval.

    Returns:
        (low, high), or None with fewer than 8 units or without spread.

    Source: Efron & Tibshirani 1993, chapter 12.
    """
    x = np.asarray(effects, dtype=np.float64).ravel()
    n = len(x)
    if n < BOOTSTRAP_T_UNITS or np.ptp(x) == 0:
        return None
    t = []
    for sample in _resampled(x, rng, resamples):
        spread = sample.std(axis=1, ddof=1)
        shift = sample.mean(axis=1) - x.mean()
        t.append(np.divide(shift, spread, out=np.full(len(shift), np.nan), where=spread > 0))
    low, high = np.nanquantile(np.concatenate(t), [alpha, 1 - alpha])
    return float(x.mean() - high * x.std(ddof=1)), float(x.mean() - low * x.std(ddof=1))


def bca(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    statistic: Statistic | None = None,
    tau: float = 0.0,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A smooth statistic of independent units with its bias-corrected, accelerated interval.

    Args:
        values: (n,) one value a unit, at least 20.
        rng: source of the resamples.
        statistic: over the last axis; the mean unless given. Not for maxima or quantiles, and not
            for statistics that cannot be negative.
        tau: threshold of the p-value.
        alpha: one-sided level.
        resamples: bootstrap samples.

    Raises:
        ValueError: fewer than 20 units.

    Source: Efron 1987; the p-value inverts the interval.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    n = len(x)
    if n < BCA_UNITS:
        raise ValueError(f"a BCa interval needs at least {BCA_UNITS} units, got {n}")
    of: Statistic = statistic or (lambda sample: np.asarray(sample.mean(axis=-1)))
    effect = float(of(x))
    if np.ptp(x) <= 1e-12 * max(float(np.abs(x).max()), abs(tau)):
        return without_spread(effect, n, tau=tau, alpha=alpha)
    drawn = np.sort(np.concatenate([of(sample) for sample in _resampled(x, rng, resamples)]))
    if statistic is None:
        left_out = (x.sum() - x) / (n - 1)
    else:
        left_out = np.array([float(of(np.delete(x, i))) for i in range(n)])
    pull = left_out.mean() - left_out
    cubes, squares = float((pull**3).sum()), float((pull**2).sum())
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0

    def rank(value: float) -> float:
        """Share of resamples below a value, ties counted half, kept off 0 and 1."""
        both = np.searchsorted(drawn, value, "left") + np.searchsorted(drawn, value, "right")
        return float(np.clip(both / 2, 0.5, resamples - 0.5) / resamples)

    bias = float(special.ndtri(rank(effect)))

    def bound(level: float) -> float:
        z = bias + float(special.ndtri(level))
        at = float(special.ndtr(bias + z / (1 - acceleration * z)))
        return float(np.quantile(drawn, at))

    w = float(special.ndtri(rank(tau))) - bias
    p = float(special.ndtr(w / (1 + acceleration * w) - bias))
    error = float(drawn.std(ddof=1))
    return Estimate(
        effect,
        bound(alpha),
        bound(1 - alpha),
        p,
        n,
        detectable_t(n - 1, alpha=alpha) * error,
        units_for_t(effect, error * np.sqrt(n), tau, n, alpha=alpha),
    )


def exact_share(
    harmful: int, trials: int, *, chance: float = 0.0, tau: float = 0.0, alpha: float = 0.05
) -> Estimate:
    """A share of independent trials above chance, with exact bounds.

    Args:
        harmful: trials that showed the harm.
        trials: all trials, at least 1.
        chance: share expected without harm; the effect is the share minus this.
        tau: threshold above chance.
        alpha: one-sided level.

    Raises:
        ValueError: impossible counts.

    Source: Clopper & Pearson 1934.
    """
    if trials < 1 or not 0 <= harmful <= trials:
        raise ValueError(f"0 <= harmful <= trials and trials >= 1 needed, got {harmful}, {trials}")
    share = harmful / trials
    low = float(special.betaincinv(harmful, trials - harmful + 1, alpha)) if harmful else 0.0
    high = (
        float(special.betaincinv(harmful + 1, trials - harmful, 1 - alpha))
        if harmful < trials
        else 1.0
    )
    limit = float(np.clip(tau + chance, 0.0, 1.0))
    p = float(special.bdtrc(harmful - 1, trials, limit)) if harmful else 1.0
    return Estimate(
        share - chance,
        low - chance,
        high - chance,
        p,
        trials,
        detectable_share(trials, chance, alpha=alpha),
        units_for_share(share, tau, chance, trials, alpha=alpha),
    )

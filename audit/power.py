"""What a sample could have seen: detectable effects at 80 % power, and how many units decide.

The minimum detectable effect (MDE) is the smallest true harm that a test of "no harm" at level
alpha finds with probability .80. It is measured from zero, not from the threshold tau: a PASS
claims that a harm of size tau would have been noticed, so it needs MDE <= tau.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

POWER = 0.80
MOST_UNITS = 1_000_000
"""Beyond this, "how many units would decide" is answered by None: more than can be had."""


def t_quantile(df: float, level: float) -> float:
    """The ``level`` quantile of Student's t."""
    return float(special.stdtrit(df, level))


def detectable_t(df: float, *, critical: float | None = None, alpha: float = 0.05) -> float:
    """The effect, in standard errors, that a one-sided t test finds with power .80.

    Solves ``P(T > critical) = .80`` for the noncentrality of Student's t, exactly.

    Args:
        df: degrees of freedom, at least 1.
        critical: the critical value; the 1 - alpha quantile of t unless given.
        alpha: one-sided level.
    """
    at = t_quantile(df, 1 - alpha) if critical is None else critical
    return float(special.nctdtrinc(df, 1 - POWER, at))


def power_t(noncentrality: float, df: float, *, alpha: float = 0.05) -> float:
    """Probability that a one-sided t test rejects a truth so many standard errors off."""
    return float(1.0 - special.nctdtr(df, noncentrality, t_quantile(df, 1 - alpha)))


def detectable_share(trials: int, chance: float, *, alpha: float = 0.05) -> float | None:
    """The share above ``chance`` that an exact binomial test finds with power .80.

    Returns:
        The smallest such difference, or None when no count of this many trials could reject.
    """
    critical = critical_count(trials, chance, alpha=alpha)
    if critical is None:
        return None
    share = float(special.betaincinv(critical, trials - critical + 1, POWER))
    return share - chance


def critical_count(trials: int, chance: float, *, alpha: float = 0.05) -> int | None:
    """The smallest count at which the exact test rejects "share <= chance"; None if none does."""
    if chance <= 0:
        return 1 if trials >= 1 else None
    counts = np.arange(trials + 1)
    tail = special.bdtrc(counts - 1.0, trials, min(chance, 1.0))  # P(X >= count)
    tail[0] = 1.0
    rejects = np.flatnonzero(tail <= alpha)
    return int(rejects[0]) if len(rejects) else None


def smallest(enough: Callable[[int], bool], start: int) -> int | None:
    """The smallest n >= start with ``enough(n)``, which must stay true once it is.

    Returns:
        n, or None when not even a million units are enough.
    """
    start = max(start, 2)
    if start > MOST_UNITS:
        return None
    low, high = start - 1, start
    while not enough(high):
        if high >= MOST_UNITS:
            return None
        low, high = high, min(high * 2, MOST_UNITS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def units_for_t(
    effect: float, spread: float, tau: float, n: int, *, alpha: float = 0.05
) -> int | None:
    """Units that decide with probability .80 if effect and spread are what they seem.

    Args:
        effect: estimated effect.
        spread: standard deviation of one unit's effect.
        tau: threshold.
        n: units there are now; the answer is larger.
        alpha: one-sided level.

    Returns:
        Units for a VIOLATION when the effect lies above tau, for a PASS (upper bound below tau
        *and* MDE at most tau) when below; None when no number of units would do.
    """
    gap = abs(effect - tau)
    if gap == 0 or (effect < tau and tau <= 0):
        return None

    def enough(units: int) -> bool:
        error = spread / np.sqrt(units)
        if power_t(gap / error, units - 1, alpha=alpha) < POWER:
            return False
        return effect > tau or detectable_t(units - 1, alpha=alpha) * error <= tau

    return smallest(enough, n + 1)


def units_for_share(
    share: float, tau: float, chance: float, n: int, *, alpha: float = 0.05
) -> int | None:
    """As :func:`units_for_t`, in trials of an exact test.

    Args:
        share: observed share of harmful trials.
        tau: threshold above ``chance``.
        chance: share expected without harm.
        n: trials there are now.
        alpha: one-sided level.
    """
    limit = tau + chance
    if share == limit or not 0 < limit < 1 or (share < limit and tau <= 0):
        return None

    def enough(trials: int) -> bool:
        if share > limit:
            critical = critical_count(trials, limit, alpha=alpha)
            if critical is None:
                return False
            return share >= 1 or float(special.bdtrc(critical - 1, trials, share)) >= POWER
        # the largest count whose upper bound stays below the limit
        below = np.flatnonzero(special.bdtr(np.arange(trials + 1.0), trials, limit) < alpha)
        if not len(below):
            return False
        seen = detectable_share(trials, chance, alpha=alpha)
        power = float(special.bdtr(float(below[-1]), trials, share)) if share > 0 else 1.0
        return seen is not None and seen <= tau and power >= POWER

    return smallest(enough, n + 1)

"""The largest gap between group means, tested where it belongs: against shuffled labels.

A maximum minus a minimum cannot be negative, so a bootstrap interval of it never contains zero,
harm or not (Fairlearn's excludes it in all null runs). Here the null comes from permuting labels,
within strata if given, and bounds come from the signed differences of pairs of groups:

- lower bound: the largest ``difference - c * error`` over ordered pairs, with c the 1 - alpha
  quantile of the largest studentised difference under permutation (max-T), at least 0;
- upper bound: the largest ``difference + t * error``. To say that *every* difference lies below
  tau, each may be tested at alpha (intersection-union), so nothing is corrected here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .estimates import Estimate, without_spread
from .power import POWER, detectable_t, smallest, t_quantile

SMALLEST_GROUP = 20
PERMUTATIONS = 2000


@dataclass(frozen=True)
class Grouped:
    """Values of users in groups that are large enough to show.

    Attributes:
        values: (users,) finite values.
        labels: (users,) group names as text.
        strata: (users,) stratum numbers, all 0 without strata.
        suppressed: groups left out because they hold fewer than 20 users.
        excluded: users left out because their value or their group is unknown.
    """

    values: NDArray[np.float64]
    labels: NDArray[np.str_]
    strata: NDArray[np.int64]
    suppressed: tuple[str, ...]
    excluded: int

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, sorted."""
        return tuple(str(name) for name in np.unique(self.labels))


def large_groups(
    values: ArrayLike,
    labels: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    smallest_group: int = SMALLEST_GROUP,
) -> Grouped:
    """Leave out users without value or group, then groups below 20 users, and say which.

    Args:
        values: (users,) numbers; NaN for undefined.
        labels: (users,) group of each user; "" for unknown.
        strata: (users,) stratum of each user, or None.
        smallest_group: users a group needs to be shown.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    names = np.asarray(labels).astype(str).ravel()
    parts = np.zeros(len(x), np.int64)
    if strata is not None:
        parts = np.unique(np.asarray(strata).ravel(), return_inverse=True)[1].astype(np.int64)
    known = np.isfinite(x) & (names != "")
    x, names, parts = x[known], names[known], parts[known]
    found, counts = np.unique(names, return_counts=True)
    small = found[counts < smallest_group]
    keep = ~np.isin(names, small)
    return Grouped(
        x[keep], names[keep], parts[keep], tuple(str(s) for s in small), int((~known).sum())
    )


@dataclass(frozen=True)
class _Pairs:
    """Ordered pairs of groups: difference of means, standard error, degrees of freedom."""

    difference: NDArray[np.float64]
    error: NDArray[np.float64]
    df: NDArray[np.float64]


class _Design:
    """Everything about groups and strata that a permutation of labels does not change."""

    def __init__(self, data: Grouped) -> None:
        self.x = data.values - data.values.mean()  # keeps sums of squares accurate
        self.strata = data.strata
        self.home = np.argsort(data.strata, kind="stable")
        self.n_strata = int(data.strata.max()) + 1
        names, self.code = np.unique(data.labels, return_inverse=True)
        self.n_groups = len(names)
        self.first, self.second = np.nonzero(~np.eye(self.n_groups, dtype=bool))

    def pairs(self, code: NDArray[np.int64]) -> _Pairs:
        """The contrasts under one labelling.

        A contrast is the mean over strata of the difference of the stratum's group means, each
        stratum weighted by ``n_a n_b / (n_a + n_b)``: the least-squares estimate with one effect
        a stratum, and simply the difference of means without strata. Variances may differ between
        groups (Welch); within a group they are pooled over strata.
        """
        shape = (self.n_strata, self.n_groups)
        cell = self.strata * self.n_groups + code
        size = shape[0] * shape[1]
        n = np.bincount(cell, minlength=size).reshape(shape).astype(np.float64)
        total = np.bincount(cell, self.x, size).reshape(shape)
        square = np.bincount(cell, self.x**2, size).reshape(shape)
        mean = np.divide(total, n, out=np.zeros(shape), where=n > 0)
        free = n.sum(axis=0) - (n > 0).sum(axis=0)  # (groups,)
        within = np.maximum((square - n * mean**2).sum(axis=0), 0.0)
        variance = np.divide(within, free, out=np.zeros_like(within), where=free > 0)
        n_a, n_b = n[:, self.first], n[:, self.second]  # (strata, pairs)
        weight = np.divide(n_a * n_b, n_a + n_b, out=np.zeros_like(n_a), where=n_a + n_b > 0)
        whole = weight.sum(axis=0)
        usable = whole > 0
        share = np.divide(weight, whole, out=np.zeros_like(weight), where=usable)
        difference = (share * (mean[:, self.first] - mean[:, self.second])).sum(axis=0)
        part_a = np.divide(share**2, n_a, out=np.zeros_like(n_a), where=n_a > 0).sum(axis=0)
        part_b = np.divide(share**2, n_b, out=np.zeros_like(n_b), where=n_b > 0).sum(axis=0)
        v_a, v_b = part_a * variance[self.first], part_b * variance[self.second]
        df_a, df_b = free[self.first], free[self.second]
        ease = np.divide(v_a**2, df_a, out=np.zeros_like(v_a), where=df_a > 0) + np.divide(
            v_b**2, df_b, out=np.zeros_like(v_b), where=df_b > 0
        )
        df = np.divide((v_a + v_b) ** 2, ease, out=np.ones_like(v_a), where=ease > 0)
        return _Pairs(
            np.where(usable, difference, 0.0),
            np.where(usable, np.sqrt(v_a + v_b), np.inf),
            np.maximum(df, 1.0),
        )

    def shuffled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The labels permuted, within strata if there are any."""
        if self.n_strata == 1:
            return rng.permutation(self.code)
        code = np.empty_like(self.code)
        code[self.home] = self.code[np.argsort(self.strata + rng.random(len(code)))]
        return code


def _largest(pairs: _Pairs, tau: float = 0.0) -> float:
    """The largest studentised difference beyond tau."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (pairs.difference - tau) / pairs.error
    return float(np.nanmax(np.where(np.isnan(t), -np.inf, t)))


def largest_gap(
    data: Grouped,
    *,
    rng: np.random.Generator,
    tau: float = 0.0,
    alpha: float = 0.05,
    permutations: int = PERMUTATIONS,
) -> Estimate:
    """The largest difference between two group means, with a permutation test and bounds.

    Args:
        data: from :func:`large_groups`; at least two groups.
        rng: source of the permutations.
        tau: threshold of the p-value.
        alpha: one-sided level.
        permutations: shuffles of the labels.

    Returns:
        The estimate; ``floor`` is the mean gap under shuffled labels: what chance alone makes.

    Raises:
        ValueError: fewer than two groups.
    """
    if len(data.groups) < 2:
        raise ValueError(f"at least two groups needed, got {len(data.groups)}")
    design = _Design(data)
    n = len(data.values)
    seen = design.pairs(design.code)
    gap = float(seen.difference.max())
    if not np.isfinite(seen.error).any():
        raise ValueError("no two groups meet in any stratum")
    if np.ptp(data.values) <= 1e-12 * max(float(np.abs(data.values).max()), abs(tau)):
        return without_spread(0.0, n, tau=tau, alpha=alpha, unit="user")
    null = np.empty(permutations)
    chance = np.empty(permutations)
    for i in range(permutations):
        drawn = design.pairs(design.shuffled(rng))
        null[i], chance[i] = _largest(drawn), drawn.difference.max()
    at_tau = _largest(seen, tau)
    p = float((1 + (null >= at_tau).sum()) / (1 + permutations))
    # the critical value that rejects exactly when p <= alpha
    allowed = int(np.floor(alpha * (1 + permutations))) - 1
    critical = float(np.sort(null)[::-1][max(allowed, 0)])
    finite = np.isfinite(seen.error)
    difference, error, df = seen.difference[finite], seen.error[finite], seen.df[finite]
    each = np.array([t_quantile(float(d), 1 - alpha) for d in df])
    seen_at = np.array([detectable_t(float(d), critical=critical) for d in df])
    mde = float((seen_at * error).max())
    mde = mde if np.isfinite(mde) else np.inf
    widest = int(np.argmax(difference))
    notes = () if finite.all() else ("some pairs of groups share no stratum and are not compared",)
    return Estimate(
        gap,
        max(float((difference - critical * error).max()), 0.0),
        max(float((difference + each * error).max()), 0.0),
        p,
        n,
        mde if np.isfinite(mde) else None,
        _units(gap, float(error[widest]), mde, critical, float(each[widest]), tau, n),
        floor=float(chance.mean()),
        notes=notes,
    )


def _units(
    gap: float, error: float, mde: float, critical: float, each: float, tau: float, n: int
) -> int | None:
    """Users that decide with probability .80 if gap, spread and group shares stay as they are."""
    if gap == tau or (gap < tau and tau <= 0):
        return None
    luck = float(special.ndtri(POWER))

    def enough(users: int) -> bool:
        scale = np.sqrt(n / users)
        if gap > tau:
            return bool((gap - tau) / (error * scale) >= critical + luck)
        return bool((tau - gap) / (error * scale) >= each + luck and mde * scale <= tau)

    return smallest(enough, n + 1)


def max_t(observed: ArrayLike, null: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values of many one-sided tests at once, by step-down max-T.

    Args:
        observed: (tests,) statistics, larger is more harm.
        null: (permutations, tests) the same statistics under joint permutations.

    Source: Westfall & Young 1993, algorithm 4.1; keeps the dependence between the tests.
    """
    statistics = np.asarray(observed, dtype=np.float64)
    drawn = np.asarray(null, dtype=np.float64)
    order = np.argsort(-statistics, kind="stable")
    # the largest null statistic among the tests not yet decided
    running = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
    p = (1 + (running >= statistics[order]).sum(axis=0)) / (1 + len(drawn))
    adjusted = np.empty(len(statistics))
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def gap_grid(
    values: ArrayLike,
    attributes: dict[str, NDArray[np.generic]],
    *,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> dict[tuple[str, int], float]:
    """Max-T adjusted p-values for every attribute x metric: is any gap more than chance?

    All attributes are permuted together with users' rows kept whole, so metrics and attributes
    stay as dependent as they are.

    Args:
        values: (users, metrics) finite numbers.
        attributes: name -> (users,) groups; groups below 20 users are not compared.
        rng: source of the permutations.
        permutations: shuffles.

    Returns:
        (attribute, column of ``values``) -> adjusted p-value; attributes with fewer than two
        groups of 20 users are left out.

    Raises:
        ValueError: a value is not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if not np.isfinite(table).all():
        raise ValueError("values must be finite; leave undefined users out first")
    designs: list[tuple[tuple[str, int], NDArray[np.bool_], _Design]] = []
    for name, labels in attributes.items():
        text = np.asarray(labels).astype(str)
        found, counts = np.unique(text, return_counts=True)
        kept = found[(counts >= SMALLEST_GROUP) & (found != "")]
        rows = np.isin(text, kept)
        if len(kept) < 2:
            continue
        for column in range(table.shape[1]):
            data = large_groups(table[rows, column], text[rows])
            designs.append(((name, column), rows, _Design(data)))
    if not designs:
        return {}
    observed = np.array([_largest(design.pairs(design.code)) for _, _, design in designs])
    null = np.empty((permutations, len(designs)))
    for i in range(permutations):
        order = rng.permutation(len(table))
        for j, (_, rows, design) in enumerate(designs):
            # the whole value column moves; users without a group keep taking no part
            rank = np.argsort(np.argsort(order[rows], kind="stable"), kind="stable")
            null[i, j] = _largest(design.pairs(design.code[rank]))
    p = max_t(observed, null)
    return {key: float(value) for (key, _, _), value in zip(designs, p, strict=True)}

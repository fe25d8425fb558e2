"""Standard errors of whole-sample statistics, by leaving users out or drawing them again.

An AUC, or a true-positive rate at a fixed false-positive rate, has no value per user, and its rows
are not independent: one person brings many. So users are resampled, never rows (a row bootstrap
covers the truth in 45 % of cases instead of 95 % where each person brings 20 rows).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weighted = Callable[[NDArray[np.float64]], float]
"""A statistic of all rows under (rows,) weights; NaN where it is undefined."""


def roc_auc(scores: ArrayLike, members: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Probability that a member outscores a non-member, ties counted half.

    Range 0 to 1; .5 is chance. This is the area under the ROC curve, not the balanced accuracy at
    a threshold that some papers print under that name.

    Args:
        scores: (rows,) attack scores, higher means "member".
        members: (rows,) true for members.
        weights: (rows,) non-negative weights, or None for ones.

    Returns:
        The area; NaN without weight on either side.
    """
    s, m, w = _rows(scores, members, weights)
    _, code = np.unique(s, return_inverse=True)
    inside = np.bincount(code, w * m)
    outside = np.bincount(code, w * ~m)
    total = inside.sum() * outside.sum()
    if total <= 0:
        return float("nan")
    below = outside.cumsum() - outside / 2
    return float((inside * below).sum() / total)


def tpr_at_fpr(
    scores: ArrayLike, members: ArrayLike, fpr: float, weights: ArrayLike | None = None
) -> float:
    """Share of members found by the largest score threshold set that accuses few non-members.

    The threshold is the lowest one whose false-positive rate is at most ``fpr``; ties stay
    together, so nothing is interpolated. Chance is ``fpr``.

    Args:
        scores: (rows,) attack scores, higher means "member".
        members: (rows,) true for members.
        fpr: allowed false-positive rate.
        weights: (rows,) non-negative weights, or None for ones.

    Returns:
        The true-positive rate; NaN without weight on either side.
    """
    s, m, w = _rows(scores, members, weights)
    _, code = np.unique(-s, return_inverse=True)  # highest score first
    inside = np.bincount(code, w * m)
    outside = np.bincount(code, w * ~m)
    if inside.sum() <= 0 or outside.sum() <= 0:
        return float("nan")
    accused = outside.cumsum() / outside.sum()
    found = inside.cumsum() / inside.sum()
    allowed = np.flatnonzero(accused <= fpr + 1e-12)
    return float(found[allowed[-1]]) if len(allowed) else 0.0


def _rows(
    scores: ArrayLike, members: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    s = np.asarray(scores, dtype=np.float64).ravel()
    m = np.asarray(members).astype(bool).ravel()
    w = np.ones(len(s)) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if not len(s) == len(m) == len(w):
        raise ValueError(f"as many scores, members and weights needed: {len(s)} {len(m)} {len(w)}")
    return s, m, w


def cluster_jackknife(
    statistic: Weighted,
    clusters: ArrayLike,
    *,
    rng: np.random.Generator,
    most_groups: int = 200,
) -> tuple[float, float, int]:
    """Effect, standard error and number of units, by leaving clusters out.

    One cluster is left out at a time; beyond ``most_groups`` clusters, random groups of them are.
    For smooth statistics (means, ratios, AUC); for rates at a threshold use
    :func:`cluster_bootstrap`.

    Args:
        statistic: of all rows under weights.
        clusters: (rows,) which user each row belongs to.
        rng: shuffles clusters into groups.
        most_groups: leave-outs at most.

    Returns:
        (effect, standard error, units) as ``Measurement.estimate`` takes it; units are the
        clusters, or the groups of them when there are too many clusters.

    Raises:
        ValueError: fewer than two clusters.

    Source: Efron & Stein 1981; delete-a-group: Kott 2001.
    """
    code, n = _clusters(clusters)
    groups = min(n, most_groups)
    group_of = rng.permutation(np.arange(n) % groups) if groups < n else np.arange(n)
    group = group_of[code]
    effect = float(statistic(np.ones(len(code))))
    without = np.array([statistic((group != g).astype(np.float64)) for g in range(groups)])
    without = without[np.isfinite(without)]
    g = len(without)
    if g < 2:
        return effect, float("nan"), n
    error = np.sqrt((g - 1) / g * ((without - without.mean()) ** 2).sum())
    return effect, float(error), g


def cluster_bootstrap(
    statistic: Weighted,
    clusters: ArrayLike,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> tuple[float, float, int]:
    """Effect, standard error and number of units, by drawing clusters with replacement.

    Args:
        statistic: of all rows under weights (how often the row's cluster was drawn).
        clusters: (rows,) which user each row belongs to.
        rng: source of the draws.
        resamples: bootstrap samples; those where the statistic is undefined do not count.

    Returns:
        (effect, standard error, units) as ``Measurement.estimate`` takes it.

    Raises:
        ValueError: fewer than two clusters.

    Source: Field & Welsh 2007 (bootstrapping clustered data).
    """
    code, n = _clusters(clusters)
    effect = float(statistic(np.ones(len(code))))
    drawn = np.empty(resamples)
    for i in range(resamples):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        drawn[i] = statistic(times[code].astype(np.float64))
    drawn = drawn[np.isfinite(drawn)]
    error = float(drawn.std(ddof=1)) if len(drawn) > 1 else float("nan")
    return effect, error, n


def _clusters(clusters: ArrayLike) -> tuple[NDArray[np.int64], int]:
    names, code = np.unique(np.asarray(clusters).ravel(), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"at least two clusters needed, got {len(names)}")
    return code.astype(np.int64), len(names)

"""Membership attacks and their yardsticks, as functions of arrays; what is computed is named.

What is reported is the area under the ROC curve and the true-positive rate at a small
false-positive rate. Balanced accuracy at one threshold, which some published work calls "AUC",
stands beside them under its own name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..resampling import tpr_at_fpr


def placements(
    scores: NDArray[np.float64], member: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(members,) share of non-members scored below each member, and (non-members,) share of
    members scored above each non-member; ties count half."""
    inside, outside = scores[member], scores[~member]

    def below(values: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = np.sort(others)
        less = np.searchsorted(ordered, values, side="left")
        not_more = np.searchsorted(ordered, values, side="right")
        return (less + not_more) / (2.0 * len(ordered))

    return below(inside, outside), 1.0 - below(outside, inside)


def clustered_auc(
    scores: NDArray[np.float64], member: NDArray[np.bool_], cluster: NDArray[np.integer]
) -> tuple[float, float, int]:
    """(ROC-AUC, standard error, clusters) with everything of one cluster kept together.

    The mean of the models' areas: scores of different models are not on one scale. The standard
    error is Obuchowski's (1997) for clustered ROC data: the placement values of DeLong et al.
    (1988), summed within each cluster over all models; an infinitesimal jackknife over clusters.

    Args:
        scores: (models, n) or (n,), which is then every model's score.
        member: (models, n) which model trained on what.
        cluster: (n,) whose interaction it is.
    """
    _, who = np.unique(cluster, return_inverse=True)
    n = int(who.max()) + 1
    influence, areas = np.zeros(n), []
    for row, inside in zip(np.broadcast_to(scores, member.shape), member, strict=True):
        above, below = placements(row, inside)
        areas.append(above.mean())
        influence += np.bincount(who[inside], (above - areas[-1]) / len(above), n)
        influence += np.bincount(who[~inside], (below - areas[-1]) / len(below), n)
    error = np.sqrt((influence**2).sum() * n / max(n - 1, 1)) / len(member)
    return float(np.mean(areas)), float(error), n


def mean_tpr(
    scores: NDArray[np.float64],
    member: NDArray[np.bool_],
    fpr: float,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Mean over models of the true-positive rate at a false-positive rate.

    Args:
        scores, member: (models, n).
        weights: (n,) weight of each candidate.
    """
    rates = [tpr_at_fpr(s, m, fpr, weights) for s, m in zip(scores, member, strict=True)]
    return float(np.mean(rates))


def balanced_accuracy(guess: NDArray[np.bool_], member: NDArray[np.bool_]) -> float:
    """(TPR + TNR) / 2 of one yes/no guess: the quantity that Zhang et al. (2021) call "AUC"."""
    return float((guess[member].mean() + (~guess[~member]).mean()) / 2.0)


def lira(
    target: NDArray[np.float64], shadows: NDArray[np.float64], member: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Likelihood-ratio attack (Carlini et al. 2022) with shadow models trained like the target.

    For each candidate the scores of the shadows are split into those that trained on it and those
    that did not; the log likelihood ratio of the two Gaussians at the target's score is returned.
    One variance is shared by all candidates, and a candidate's shift is shrunk to the mean shift
    (empirical Bayes), because a handful of shadows cannot estimate more.

    The shadows must not be attacked themselves with the target as their shadow: every pair of
    models would then count twice, and intervals over users would be too narrow by the square
    root of two. Membership must be drawn independently for each model, otherwise the number of
    shadows that hold a candidate would betray the answer.

    Args:
        target: (models, candidates) scores of the attacked models.
        shadows: (shadows, candidates) scores of the shadow models.
        member: (shadows, candidates) which shadow trained on what.

    Returns:
        (models, candidates) log likelihood ratio, higher for "member"; 0 where no shadow tells.
    """
    n_in, n_out = member.sum(axis=0), (~member).sum(axis=0)
    both = (n_in > 0) & (n_out > 0)
    if not both.any():
        return np.zeros_like(target)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_in = np.where(member, shadows, 0.0).sum(axis=0) / n_in
        mean_out = np.where(member, 0.0, shadows).sum(axis=0) / n_out
        noise = np.where(both, 1.0 / n_in + 1.0 / n_out, 0.0)
    residual = shadows - np.where(member, mean_in, mean_out)
    freedom = shadows.size - int((n_in > 0).sum()) - int((n_out > 0).sum())
    tiny = 1e-6 * float(shadows.var()) + 1e-12
    variance = max(float((residual**2).sum()) / max(freedom, 1), tiny)
    shift = mean_in - mean_out
    common = float(shift[both].mean())
    between = max(float(shift[both].var()) - variance * float(noise[both].mean()), 0.0)
    keep = between / (between + variance * np.where(both, noise, 1.0))
    shrunk = common + np.where(both, keep * (shift - common), 0.0)  # (candidates,)
    without = (shadows - member * shrunk).mean(axis=0)  # expected score of a non-member
    distance = target - without
    ratio: NDArray[np.float64] = (distance**2 - (distance - shrunk) ** 2) / (2 * variance)
    return ratio

"""Membership attacks and their yardsticks, as functions of arrays; what is computed is named.

What is reported is the area under the ROC curve and the true-positive rate at a small
false-positive rate. Balanced accuracy at one threshold, which some published work calls "AUC",
stands beside them under its own name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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

    The standard error is Obuchowski's (1997) for clustered ROC data: the placement values of
    DeLong et al. (1988), summed within each cluster; an infinitesimal jackknife over clusters.

    Args:
        scores, member, cluster: (n,) attack score, membership, and whose interaction it is.
    """
    inside, outside = placements(scores, member)
    auc = float(inside.mean())
    _, who = np.unique(cluster, return_inverse=True)
    n = int(who.max()) + 1
    influence = np.bincount(who[member], (inside - auc) / len(inside), n)
    influence += np.bincount(who[~member], (outside - auc) / len(outside), n)
    return auc, float(np.sqrt((influence**2).sum() * n / max(n - 1, 1))), n


def balanced_accuracy(guess: NDArray[np.bool_], member: NDArray[np.bool_]) -> float:
    """(TPR + TNR) / 2 of one yes/no guess: the quantity that Zhang et al. (2021) call "AUC"."""
    return float((guess[member].mean() + (~guess[~member]).mean()) / 2.0)


def lira(scores: NDArray[np.float64], member: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Likelihood-ratio attack (Carlini et al. 2022) on every model, the others being its shadows.

    For each candidate the scores of the other models are split into those that trained on it and
    those that did not; the log likelihood ratio of the two Gaussians at the attacked model's score
    is returned. One variance is shared by all candidates, and a candidate's shift is shrunk to the
    mean shift (empirical Bayes), because a handful of shadows cannot estimate more. Membership
    must have been drawn independently for each model, otherwise the number of shadows that hold a
    candidate would betray the answer.

    Args:
        scores: (models, candidates) one attack score each.
        member: (models, candidates) who trained on what.

    Returns:
        (models, candidates) log likelihood ratio, higher for "member".
    """
    result = np.zeros_like(scores)
    for model in range(len(scores)):
        others = np.arange(len(scores)) != model
        s, inside = scores[others], member[others]
        n_in, n_out = inside.sum(axis=0), (~inside).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_in = np.where(inside, s, 0.0).sum(axis=0) / n_in
            mean_out = np.where(inside, 0.0, s).sum(axis=0) / n_out
            noise = 1.0 / n_in + 1.0 / n_out
        both = (n_in > 0) & (n_out > 0)
        if not both.any():
            continue
        residual = s - np.where(inside, mean_in, mean_out)
        freedom = len(s) * s.shape[1] - int((n_in > 0).sum()) - int((n_out > 0).sum())
        tiny = 1e-6 * float(s.var()) + 1e-12
        variance = max(float((residual**2).sum()) / max(freedom, 1), tiny)
        shift = mean_in - mean_out
        common = float(shift[both].mean())
        between = max(float(shift[both].var()) - variance * float(noise[both].mean()), 0.0)
        keep = np.where(both, between / (between + variance * np.where(both, noise, 1.0)), 0.0)
        shrunk = common + keep * (np.where(both, shift, common) - common)
        without = (s - inside * shrunk).mean(axis=0)  # (candidates,) expected score if not a member
        own = scores[model]
        result[model] = ((own - without) ** 2 - (own - without - shrunk) ** 2) / (2 * variance)
    return result

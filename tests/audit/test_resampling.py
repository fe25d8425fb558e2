"""Statistics of a whole attack, and their standard errors over users."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from loopaudit.audit.resampling import (
    cluster_bootstrap,
    cluster_jackknife,
    roc_auc,
    tpr_at_fpr,
)


@given(st.integers(0, 10_000), st.booleans())
@settings(deadline=None)
def test_auc_and_tpr_agree_with_scikit_learn(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    members = np.arange(60) < 25
    scores = rng.normal(members * 0.7, 1).round(1 if ties else 9)
    weights = rng.integers(0, 3, 60).astype(float)
    weights[[0, -1]] = 1  # some weight on both sides
    expected = roc_auc_score(members, scores, sample_weight=weights)
    assert roc_auc(scores, members, weights) == pytest.approx(expected)
    false, true, _ = roc_curve(members, scores, drop_intermediate=False)
    for fpr in (0.0, 0.01, 0.1):
        assert tpr_at_fpr(scores, members, fpr) == pytest.approx(true[false <= fpr].max())


def test_an_auc_is_not_the_balanced_accuracy_at_a_threshold() -> None:
    """T6: one published "area" is 0.5 TPR FPR + 0.5 (TPR + 1)(1 - FPR) at threshold .5."""
    rng = np.random.default_rng(50)
    members = np.arange(4000) < 2000
    scores = 1 / (1 + np.exp(-rng.normal(np.where(members, 2.8, -1.2), 1.6)))
    tpr, fpr = (scores[members] > 0.5).mean(), (scores[~members] > 0.5).mean()
    printed = 0.5 * tpr * fpr + 0.5 * (tpr + 1) * (1 - fpr)
    assert printed == pytest.approx((tpr + 1 - fpr) / 2)
    assert roc_auc(scores, members) > printed + 0.05


def test_one_side_without_weight_has_no_area() -> None:
    assert np.isnan(roc_auc([1, 2], [True, True]))
    assert np.isnan(tpr_at_fpr([1, 2], [True, False], 0.01, [1, 0]))
    with pytest.raises(ValueError, match="as many"):
        roc_auc([1.0], [True, False])


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(51).normal(size=40)
    effect, error, n = cluster_jackknife(
        lambda w: float(w @ x / w.sum()), np.arange(40), rng=np.random.default_rng(0)
    )
    assert effect == pytest.approx(x.mean())
    assert error == pytest.approx(stats.sem(x))
    assert n == 40


def test_many_users_are_left_out_in_groups() -> None:
    x = np.random.default_rng(52).normal(size=5000)
    effect, error, n = cluster_jackknife(
        lambda w: float(w @ x / w.sum()), np.arange(5000), rng=np.random.default_rng(0)
    )
    assert n == 200
    assert error == pytest.approx(stats.sem(x), rel=0.25)
    assert effect == pytest.approx(x.mean())


@pytest.mark.parametrize("name", ["auc", "tpr"])
def test_attack_intervals_over_users_cover_the_truth(name: str) -> None:
    """Scores of one user are alike, so rows are worth less than they look."""
    rng = np.random.default_rng(53)
    users, rows = 80, 12
    user = np.repeat(np.arange(users), rows)
    members = np.tile(np.arange(rows) < rows // 2, users)

    def draw(n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        own = np.repeat(rng.normal(0, 0.5, n), rows)
        inside = np.tile(np.arange(rows) < rows // 2, n)
        lift = np.repeat(rng.normal(0.7, 0.4, n), rows)
        return own + inside * lift + rng.normal(size=n * rows), inside

    def of(s: NDArray[np.float64], m: NDArray[np.bool_], w: NDArray[np.float64]) -> float:
        return roc_auc(s, m, w) if name == "auc" else tpr_at_fpr(s, m, 0.1, w)

    many = draw(20_000)
    truth = of(*many, np.ones(20_000 * rows))
    hits, trials = 0, 120
    for _ in range(trials):
        scores, _ = draw(users)
        if name == "auc":
            effect, error, n = cluster_jackknife(
                lambda w, s=scores: of(s, members, w), user, rng=rng
            )
        else:
            effect, error, n = cluster_bootstrap(
                lambda w, s=scores: of(s, members, w), user, rng=rng, resamples=100
            )
        hits += abs(effect - truth) < stats.t.ppf(0.975, n - 1) * error
    assert hits / trials >= 0.88


def test_one_user_cannot_be_resampled() -> None:
    for how in (cluster_bootstrap, cluster_jackknife):
        with pytest.raises(ValueError, match="two clusters"):
            how(lambda w: 0.0, [1, 1], rng=np.random.default_rng(0))

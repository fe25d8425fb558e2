"""The traps of measuring a feedback loop, each shown to bite, each shown to be avoided by us."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from loopaudit.audit.estimates import paired_t
from loopaudit.audit.permutation import large_groups, largest_gap
from loopaudit.audit.resampling import cluster_bootstrap, cluster_jackknife
from loopaudit.audit.similarity import serp_ms, serp_ms_faithful, snsr, snsr_floor, snsv
from loopaudit.recommenders.concentration import coverage, effective_number, entropy_bits, gini

TOPICS, SLATE = 10, 5


@dataclass(frozen=True)
class Toy:
    """(worlds, users) topic entropy of tastes at the start and at the end."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]


def toy_loop(
    worlds: int,
    *,
    policy: str,
    luck: int,
    users: int = 60,
    steps: int = 40,
    drift: float = 0.05,
    beta: float = 2.0,
) -> Toy:
    """Worlds of people whose taste moves to what they click, under a recommender of topics.

    People and their luck in choosing are the same for every policy (common random numbers);
    ``luck`` is the recommender's own.
    """
    people = np.random.default_rng(11)
    own = np.random.default_rng([luck, 5])
    taste = people.dirichlet(np.ones(TOPICS), (worlds, users))
    start = entropy_bits(taste)
    clicks = np.ones((worlds, users, TOPICS))
    for _ in range(steps):
        if policy == "random":
            weight = np.ones((worlds, 1, TOPICS))
        elif policy == "popularity":
            weight = clicks.sum(axis=1, keepdims=True) ** 2
        else:  # shows people ever more of what they clicked themselves
            weight = clicks**beta
        below = (weight / weight.sum(axis=2, keepdims=True)).cumsum(axis=2)
        shown = (own.random((worlds, users, SLATE))[..., None] > below[:, :, None, :]).sum(axis=3)
        shown = np.minimum(shown, TOPICS - 1)
        liking = np.take_along_axis(taste, shown, axis=2).cumsum(axis=2)
        place = people.random((worlds, users))[..., None] * liking[:, :, -1:] > liking
        taken = np.take_along_axis(shown, place.sum(axis=2)[..., None], axis=2)
        chosen = np.arange(TOPICS) == taken
        clicks += chosen
        taste = (1 - drift) * taste + drift * chosen
    return Toy(start, entropy_bits(taste))


def test_users_of_one_world_are_not_independent_but_worlds_are() -> None:
    """T1: the same recommender twice, with two seeds: there is nothing to find."""
    trials, each = 40, 10
    first = toy_loop(trials * each, policy="popularity", luck=1)
    second = toy_loop(trials * each, policy="popularity", luck=2)
    by_user = stats.ttest_ind(first.end, second.end, axis=1, equal_var=False).pvalue
    assert (by_user < 0.05).mean() > 0.5  # "significant" in most worlds, at a nominal 5 %

    per_world = (first.end - second.end).mean(axis=1).reshape(trials, each)
    p = np.array([paired_t(effects).p_value for effects in per_world])
    two_sided = 2 * np.minimum(p, 1 - p)
    assert (two_sided < 0.05).mean() <= 0.15  # 40 trials at 5 %: at most 6 with probability .99


def test_before_and_after_blames_the_recommender_for_people_who_drift_by_themselves() -> None:
    """T2: under random exposure people narrow by their own clicks."""
    trials, each = 40, 10
    worlds = trials * each
    random = toy_loop(worlds, policy="random", luck=1)
    before_after = stats.ttest_rel(random.start, random.end, axis=1, alternative="greater").pvalue
    assert (before_after < 0.05).mean() > 0.99

    def narrowing(toy: Toy) -> NDArray[np.float64]:
        return (toy.start - toy.end).mean(axis=1).reshape(trials, each)

    def fires(target: Toy) -> float:
        contrast = narrowing(target) - narrowing(random)
        return float(np.mean([paired_t(e).p_value < 0.05 for e in contrast]))

    assert fires(toy_loop(worlds, policy="random", luck=2)) <= 0.15
    assert fires(toy_loop(worlds, policy="bubble", luck=2)) == 1.0


def test_a_bootstrap_interval_of_a_largest_gap_never_contains_zero() -> None:
    """T3: Fairlearn's interval excludes 0 in every null run; a permutation test does not."""
    from fairlearn.metrics import MetricFrame

    rng = np.random.default_rng(3)
    excluded, fired, runs = 0, 0, 12
    for seed in range(runs):
        values = rng.normal(0.5, 0.2, 400)
        labels = np.repeat(["a", "b"], 200)
        frame = MetricFrame(
            metrics=lambda _, predicted: float(np.mean(predicted)),
            y_true=values,
            y_pred=values,
            sensitive_features=labels,
            n_boot=40,
            ci_quantiles=[0.025],
            random_state=seed,
        )
        excluded += frame.difference_ci()[0] > 0
        gap = largest_gap(large_groups(values, labels), rng=rng, permutations=200)
        assert gap.low is not None
        fired += gap.low > 0
    assert excluded == runs
    assert fired <= 3  # 12 runs at 5 %: at most 3 with probability .998


def test_rows_are_not_the_unit_but_users_are() -> None:
    """T4: 20 recommendations a user, half of the variance between users."""
    rng = np.random.default_rng(4)
    users, rows, trials = 60, 20, 150
    user = np.repeat(np.arange(users), rows)
    covered = {"rows": 0, "bootstrap": 0, "jackknife": 0}
    for _ in range(trials):
        x = rng.normal(size=users)[user] + rng.normal(size=users * rows)

        def mean(weights: NDArray[np.float64], x: NDArray[np.float64] = x) -> float:
            return float(weights @ x / weights.sum())

        drawn = x[rng.integers(0, len(x), (100, len(x)))].mean(axis=1)
        covered["rows"] += abs(x.mean()) < 1.96 * drawn.std()
        for name, (effect, error, n) in {
            "bootstrap": cluster_bootstrap(mean, user, rng=rng, resamples=100),
            "jackknife": cluster_jackknife(mean, user, rng=rng),
        }.items():
            assert n == users
            covered[name] += abs(effect) < stats.t.ppf(0.975, n - 1) * error
    assert covered["rows"] / trials < 0.6
    assert 0.89 <= covered["bootstrap"] / trials <= 0.99
    assert 0.89 <= covered["jackknife"] / trials <= 0.99


def test_one_word_has_several_formulas_so_the_universe_is_named() -> None:
    """T9: ten items, shown to everybody, out of a catalog of 1682."""
    counts = np.zeros(1682)
    counts[:10] = 943
    assert gini(counts, universe="catalog") == pytest.approx(1 - 10 / 1682)
    assert gini(counts, universe="seen") == 0.0
    assert gini(np.zeros(5), universe="catalog") is None
    assert gini([0, 0, 0, 4], universe="catalog") == pytest.approx(3 / 4)
    assert coverage(counts) == pytest.approx(10 / 1682)
    assert entropy_bits(counts) == pytest.approx(np.log2(10))
    assert effective_number(counts) == pytest.approx(10)


def test_miller_madow_undoes_most_of_the_bias_of_small_samples() -> None:
    rng = np.random.default_rng(9)
    p = np.array([0.4, 0.2, 0.2, 0.1, 0.1])
    truth = float(-(p * np.log2(p)).sum())
    counts = rng.multinomial(20, p, 4000)
    plug_in = entropy_bits(counts).mean() - truth
    corrected = entropy_bits(counts, correction="miller-madow").mean() - truth
    assert plug_in < -0.1
    assert abs(corrected) < 0.03
    assert np.isnan(entropy_bits(np.zeros((1, 3)))).all()


def test_identical_lists_do_not_score_one_on_serp_as_published() -> None:
    """T10: SERP-MS of identical lists is .2738 at K = 20; divided by that it reads as it should."""
    lists = np.arange(40).reshape(2, 20)
    assert serp_ms_faithful(lists, lists) == pytest.approx([0.27381] * 2, abs=5e-6)
    assert serp_ms(lists, lists) == pytest.approx([1, 1])


def test_unequal_treatment_scores_have_a_floor_above_zero() -> None:
    """T10: nobody is treated differently, 500 prompts, spread .2."""
    rng = np.random.default_rng(10)
    assert snsr_floor(2, 500, 0.2, rng=rng) == pytest.approx(0.010, abs=0.001)
    assert snsr_floor(7, 500, 0.2, rng=rng) == pytest.approx(0.024, abs=0.001)
    lists = rng.normal(0.7, 0.2, (7, 500)).mean(axis=1)
    assert snsr(lists) > 0


@pytest.mark.parametrize(
    ("published", "high", "low", "snsr_printed", "snsv_printed"),
    [
        ("music Jaccard, physics", 0.8006, 0.7973, 0.0033, 0.0017),
        ("music SERP*, physics", 0.2546, 0.2526, 0.0020, 0.0010),
        ("music PRAG*, physics", 0.8836, 0.8768, 0.0069, 0.0034),
        ("movie PRAG*, physics", 0.6917, 0.6628, 0.0289, 0.0145),
    ],
)
def test_with_two_values_snsv_is_half_of_snsr_as_published(
    published: str, high: float, low: float, snsr_printed: float, snsv_printed: float
) -> None:
    """FaiRLLM, Table 1: the attributes with two values."""
    assert snsr([high, low]) == pytest.approx(snsr_printed, abs=1.01e-4), published
    assert snsv([high, low]) == pytest.approx(snsv_printed, abs=1.01e-4), published
    assert snsv([high, low]) == pytest.approx(snsr([high, low]) / 2)

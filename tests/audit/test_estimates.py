"""Intervals cover what they claim, agree with other libraries, and admit what they lack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from loopaudit.audit.estimates import (
    Estimate,
    bca,
    bootstrap_t,
    exact_share,
    from_standard_error,
    paired_t,
)

Draw = Callable[[np.random.Generator], NDArray[np.float64]]


def test_t_interval_by_scipy() -> None:
    x = np.random.default_rng(1).normal(0.3, 1, 12)
    ours = paired_t(x, tau=0.1)
    theirs = stats.ttest_1samp(x, 0.1, alternative="greater")
    assert ours.p_value == pytest.approx(theirs.pvalue)
    interval = stats.t.interval(0.90, 11, x.mean(), stats.sem(x))
    assert (ours.low, ours.high) == pytest.approx(interval)
    assert {type(ours.effect), type(ours.low), type(ours.high)} == {float}  # for who prints them


def test_exact_share_by_scipy() -> None:
    ours = exact_share(7, 90, tau=0.03)
    theirs = stats.binomtest(7, 90, 0.03, alternative="greater")
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.low == pytest.approx(theirs.proportion_ci(0.95).low)
    below = stats.binomtest(7, 90, 0.03, alternative="less").proportion_ci(0.95)
    assert ours.high == pytest.approx(below.high)
    above_chance = exact_share(7, 90, chance=0.01, tau=0.02)
    assert above_chance.p_value == pytest.approx(ours.p_value)
    assert above_chance.effect == pytest.approx(ours.effect - 0.01)


def test_no_event_in_300_follows_the_rule_of_three() -> None:
    none = exact_share(0, 300)
    assert none.low == 0
    assert none.high == pytest.approx(3 / 300, rel=0.01)
    assert none.p_value == 1
    assert exact_share(300, 300).high == 1


def test_bca_by_scipy() -> None:
    x = np.random.default_rng(2).lognormal(0, 1, 25)  # skewed, so that each correction matters
    ours = bca(x, rng=np.random.default_rng(3), resamples=20_000)
    theirs = stats.bootstrap(
        (x,), np.mean, confidence_level=0.9, n_resamples=20_000, rng=np.random.default_rng(4)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.015 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_bca_takes_any_smooth_statistic() -> None:
    x = np.random.default_rng(5).normal(0, 2, 80)

    def spread(sample: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(sample.std(axis=-1, ddof=1))

    found = bca(x, rng=np.random.default_rng(6), statistic=spread)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 2 < found.high


def two_sided(draw: Draw, of: Callable[[NDArray[np.float64]], Estimate], truth: float) -> float:
    """Share of 90 % intervals that hold the truth, over 400 samples."""
    rng = np.random.default_rng(20)
    hits = 0
    for _ in range(400):
        found = of(draw(rng))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    return hits / 400


@pytest.mark.parametrize("n", [5, 10, 30])
def test_t_interval_covers_the_mean_of_worlds(n: int) -> None:
    assert two_sided(lambda rng: rng.normal(1, 2, n), paired_t, 1) == pytest.approx(0.9, abs=0.04)


def test_bca_covers_the_mean_of_skewed_users() -> None:
    luck = np.random.default_rng(21)
    covered = two_sided(
        lambda rng: rng.exponential(1, 60), lambda x: bca(x, rng=luck, resamples=500), 1
    )
    assert covered == pytest.approx(0.89, abs=0.04)


def test_bootstrap_t_covers_the_mean_of_skewed_worlds_and_leans_with_the_skew() -> None:
    rng = np.random.default_rng(22)
    hits, t_low_misses, low_misses = 0, 0, 0
    for _ in range(300):
        x = rng.exponential(1, 12)
        bounds = bootstrap_t(x, rng=rng, resamples=400)
        t = paired_t(x)
        assert bounds is not None
        assert t.high is not None
        hits += bounds[0] <= 1 <= bounds[1]
        low_misses += bounds[1] < 1
        t_low_misses += t.high < 1
    assert hits / 300 == pytest.approx(0.90, abs=0.05)
    assert low_misses < t_low_misses  # the t interval's upper bound is too low when skewed


def test_exact_share_covers_at_least_what_it_claims() -> None:
    counts = np.arange(51)
    found = [exact_share(int(k), 50) for k in counts]
    for share in (0.01, 0.05, 0.3, 0.77):
        weight = stats.binom.pmf(counts, 50, share)
        above = sum(w for w, f in zip(weight, found, strict=True) if f.low <= share)
        below = sum(w for w, f in zip(weight, found, strict=True) if f.high >= share)
        assert above >= 0.95
        assert below >= 0.95


@pytest.mark.parametrize(
    "of",
    [
        lambda x, tau: paired_t(x, tau=tau),
        lambda x, tau: bca(x, rng=np.random.default_rng(1), tau=tau, resamples=2000),
    ],
    ids=["t", "bca"],
)
def test_p_is_below_alpha_where_the_lower_bound_is_above_tau(
    of: Callable[[NDArray[np.float64], float], Estimate],
) -> None:
    x = np.random.default_rng(23).normal(0.5, 1, 40)
    low = of(x, 0.0).low
    assert low is not None
    for gap in (-0.02, 0.02):
        p = of(x, low + gap).p_value
        assert p is not None
        assert (p < 0.05) == (gap < 0)


def test_one_world_is_told_but_not_judged() -> None:
    found = paired_t([0.4])
    assert found.effect == 0.4
    assert found.low is found.high is found.p_value is found.mde is None
    assert "one" in found.notes[0]


def test_no_spread_is_no_certainty_from_few_units() -> None:
    few = paired_t([1.0, 1.0, 1.0])
    assert few.low is None
    assert few.units_to_decide == 5
    ten = paired_t([1.0] * 10, tau=0.5)
    assert (ten.low, ten.high, ten.p_value) == (1.0, 1.0, 2.0**-10)
    assert ten.mde is None
    assert ten.certain
    assert paired_t([0.0] * 10, tau=0.5).p_value == 1.0


def test_rounding_noise_is_no_spread() -> None:
    assert paired_t(0.3 + np.array([0, 1e-17, -1e-17, 2e-17, 0, 1e-17])).certain


def test_no_unit_and_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="no unit"):
        paired_t([])
    with pytest.raises(ValueError, match="at least 20"):
        bca(np.arange(19.0), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="harmful"):
        exact_share(3, 2)


effects = st.lists(st.floats(-10, 10), min_size=3, max_size=20).filter(lambda x: np.ptp(x) > 1e-3)


@given(effects, st.floats(0.01, 100), st.floats(-1, 1))
@settings(max_examples=60, deadline=None)
def test_another_unit_of_measurement_changes_nothing_but_the_unit(
    x: list[float], scale: float, tau: float
) -> None:
    one, other = paired_t(x, tau=tau), paired_t(np.array(x) * scale, tau=tau * scale)
    assert one.low is not None
    assert one.high is not None
    assert one.mde is not None
    assert_allclose(
        [other.effect, other.low, other.high, other.mde],
        np.array([one.effect, one.low, one.high, one.mde]) * scale,
        rtol=1e-7,
        atol=1e-9 * scale,
    )
    assert other.p_value == pytest.approx(one.p_value, abs=1e-9)


@given(effects, st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_worlds_does_not_matter(x: list[float], random) -> None:
    shuffled = list(x)
    random.shuffle(shuffled)
    one, other = paired_t(x), paired_t(shuffled)
    assert other.low == pytest.approx(one.low)
    assert other.high == pytest.approx(one.high)


@given(effects, st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_more_worlds_like_these_tighten_the_bounds_and_the_detectable_effect(
    x: list[float], times: int
) -> None:
    few, many = paired_t(x), paired_t(x * times)
    assert few.low is not None
    assert many.low is not None
    assert few.mde is not None
    assert many.mde is not None
    assert many.low > few.low
    assert many.mde < few.mde


def test_a_standard_error_makes_the_same_interval_as_the_units_behind_it() -> None:
    x = np.random.default_rng(24).normal(0.2, 1, 15)
    direct = paired_t(x, tau=0.1)
    summary = from_standard_error(float(x.mean()), float(x.std(ddof=1)) / np.sqrt(15), 15, tau=0.1)
    assert summary.low == pytest.approx(direct.low)
    assert summary.p_value == pytest.approx(direct.p_value)
    assert summary.units_to_decide == direct.units_to_decide

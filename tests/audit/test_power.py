"""Detectable effects and deciding units: closed forms against simulation and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from loopaudit.audit.estimates import exact_share, paired_t
from loopaudit.audit.permutation import large_groups, largest_gap
from loopaudit.audit.power import (
    critical_count,
    detectable_share,
    detectable_t,
    power_t,
    smallest,
    units_for_share,
    units_for_t,
)


@pytest.mark.parametrize("n", [3, 5, 10, 20, 30, 500])
def test_detectable_effect_agrees_with_statsmodels(n: int) -> None:
    theirs = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8, alternative="larger")
    assert detectable_t(n - 1) / np.sqrt(n) == pytest.approx(theirs, rel=1e-4)


def test_ten_paired_worlds_see_what_the_research_measured() -> None:
    """Two-sided 5 %: standardised effects of 1.7, 1.0, .66, .53 with 5, 10, 20, 30 worlds."""
    for worlds, expected in ((5, 1.7), (10, 1.0), (20, 0.66), (30, 0.53)):
        seen = detectable_t(worlds - 1, alpha=0.025) / np.sqrt(worlds)
        assert seen == pytest.approx(expected, abs=0.05)


def test_a_harm_as_large_as_the_detectable_effect_is_found_in_four_of_five_samples() -> None:
    rng = np.random.default_rng(30)
    n, size = 10, 1.0
    true = detectable_t(n - 1) * size / np.sqrt(n)
    x = rng.normal(true, size, (20_000, n))
    t = x.mean(axis=1) / (x.std(axis=1, ddof=1) / np.sqrt(n))
    found = (t > stats.t.ppf(0.95, n - 1)).mean()
    assert found == pytest.approx(0.8, abs=0.01)
    assert power_t(true / (size / np.sqrt(n)), n - 1) == pytest.approx(0.8, abs=1e-6)


def test_a_share_as_large_as_the_detectable_one_is_found_in_four_of_five_samples() -> None:
    for trials, chance in ((100, 0.0), (100, 0.05), (1000, 0.01)):
        seen = detectable_share(trials, chance)
        critical = critical_count(trials, chance)
        assert seen is not None
        assert critical is not None
        assert stats.binom.sf(critical - 1, trials, chance) <= 0.05
        assert stats.binom.sf(critical - 1, trials, chance + seen) == pytest.approx(0.8)
    assert detectable_share(3, 0.5) is None  # three of three has probability 1/8


def test_a_gap_as_large_as_the_detectable_one_is_found_in_four_of_five_samples() -> None:
    rng = np.random.default_rng(31)
    labels = np.repeat(["a", "b"], [150, 60])
    found = largest_gap(large_groups(rng.normal(size=210), labels), rng=rng, permutations=1000)
    assert found.mde is not None
    hits = 0
    for _ in range(120):
        x = rng.normal(size=210) + found.mde * (labels == "b")
        low = largest_gap(large_groups(x, labels), rng=rng, permutations=200).low
        assert low is not None
        hits += low > 0
    assert hits / 120 == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize(("effect", "tau"), [(0.5, 0.2), (0.0, 0.2), (0.1, 0.2)])
def test_the_units_asked_for_decide_in_four_of_five_samples(effect: float, tau: float) -> None:
    rng = np.random.default_rng(32)
    n = units_for_t(effect, 1.0, tau, 5)
    assert n is not None
    x = rng.normal(effect, 1.0, (4000, n))
    error = x.std(axis=1, ddof=1) / np.sqrt(n)
    reach = stats.t.ppf(0.95, n - 1) * error
    if effect > tau:
        decided = x.mean(axis=1) - reach > tau
    else:
        decided = (x.mean(axis=1) + reach < tau) & (detectable_t(n - 1) * error <= tau * 1.1)
    assert decided.mean() > 0.77
    fewer = units_for_t(effect, 0.5, tau, 5)
    assert fewer is not None
    assert fewer < n


def test_enough_units_are_asked_for_to_have_seen_a_harm_as_large_as_the_threshold() -> None:
    n = units_for_t(-5.0, 1.0, 0.25, 5)  # its upper bound is below tau with any handful of units
    assert n is not None
    assert detectable_t(n - 1) / np.sqrt(n) <= 0.25 < detectable_t(n - 2) / np.sqrt(n - 1)


def test_the_trials_asked_for_decide_in_four_of_five_samples() -> None:
    for share in (0.1, 0.01):
        n = units_for_share(share, 0.05, 0.0, 10)
        assert n is not None
        counts = np.random.default_rng(33).binomial(n, share, 300)
        found = [exact_share(int(k), n, tau=0.05) for k in counts]
        decided = [f.low > 0.05 if share > 0.05 else f.high < 0.05 for f in found]
        assert np.mean(decided) > 0.74


def test_no_number_of_units_decides_what_lies_on_the_threshold() -> None:
    assert units_for_t(0.2, 1.0, 0.2, 10) is None
    assert units_for_t(-1.0, 1.0, 0.0, 10) is None  # a PASS at tau = 0 would need MDE 0
    assert units_for_share(0.05, 0.05, 0.0, 10) is None
    assert units_for_t(0.2, 1.0, 0.2 - 1e-9, 10) is None  # more than a million


def test_smallest_finds_the_first_that_is_enough() -> None:
    assert smallest(lambda n: n >= 777, 5) == 777
    assert smallest(lambda n: n >= 777, 900) == 900
    assert smallest(lambda n: False, 5) is None


def test_more_worlds_are_asked_for_than_there_are() -> None:
    found = paired_t(np.random.default_rng(34).normal(0.2, 0.3, 10), tau=0.25)
    assert found.units_to_decide is not None
    assert found.units_to_decide > 10

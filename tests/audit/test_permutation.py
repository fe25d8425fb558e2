"""The largest gap between groups: level, coverage, strata, floors, and grids of many gaps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_equal
from scipy import stats

from loopaudit.audit.estimates import Estimate
from loopaudit.audit.permutation import _Design, gap_grid, large_groups, largest_gap, max_t

LABELS = np.repeat(["a", "b", "c"], [120, 60, 30])


def test_two_groups_by_hand() -> None:
    rng = np.random.default_rng(40)
    x = np.concatenate([rng.normal(1, 1, 30), rng.normal(0, 2, 50)])
    labels = np.repeat(["a", "b"], [30, 50])
    found = largest_gap(large_groups(x, labels), rng=rng)
    assert found.effect == pytest.approx(x[:30].mean() - x[30:].mean())
    welch = stats.ttest_ind(x[:30], x[30:], equal_var=False)
    assert found.high == pytest.approx(welch.confidence_interval(0.90).high)
    # a largest gap has no direction, so its test is the two-sided one
    assert found.p_value == pytest.approx(welch.pvalue, abs=0.02)
    assert found.n_units == 80


def test_without_any_difference_the_gap_is_called_above_zero_in_five_percent() -> None:
    rng = np.random.default_rng(41)
    fired, floors, effects = 0, [], []
    for _ in range(160):
        found = largest_gap(
            large_groups(rng.exponential(1, 210), LABELS), rng=rng, permutations=199
        )
        assert found.p_value is not None
        fired += found.p_value <= 0.05
        floors.append(found.floor)
        effects.append(found.effect)
    assert fired / 160 == pytest.approx(0.05, abs=0.045)
    assert np.mean(floors) == pytest.approx(np.mean(effects), rel=0.1)  # what chance alone makes


def test_at_the_threshold_the_gap_is_called_larger_in_five_percent() -> None:
    rng = np.random.default_rng(42)
    fired, covered = 0, 0
    for _ in range(160):
        x = rng.normal(size=210) + 0.5 * (LABELS == "b")
        found = largest_gap(large_groups(x, LABELS), rng=rng, tau=0.5, permutations=199)
        assert found.low is not None
        assert found.high is not None
        fired += found.low > 0.5
        covered += found.high >= 0.5
    assert fired / 160 <= 0.09
    assert covered / 160 >= 0.92


def test_p_is_at_most_alpha_where_the_lower_bound_is_above_tau() -> None:
    x = np.random.default_rng(48).normal(size=210) + 0.8 * (LABELS == "b")

    def at(tau: float) -> Estimate:
        data = large_groups(x, LABELS)
        return largest_gap(data, rng=np.random.default_rng(1), tau=tau, permutations=999)

    low = at(0.0).low
    assert low > 0
    for gap in (-1e-6, 1e-6):  # the permutations are the same, so both change at one point
        assert (at(low + gap).p_value <= 0.05) == (gap < 0)


def test_labels_are_shuffled_within_their_strata() -> None:
    rng = np.random.default_rng(49)
    strata = rng.integers(0, 4, 210)
    design = _Design(large_groups(rng.normal(size=210), LABELS, strata))
    code = design.shuffled(rng)
    assert (code != design.code).any()
    for stratum in range(4):
        here = strata == stratum
        assert_equal(np.bincount(code[here]), np.bincount(design.code[here]))


def test_groups_that_differ_only_through_their_strata_show_no_gap_within_them() -> None:
    """Active people have better lists, and one group is more active: nothing else differs."""
    rng = np.random.default_rng(43)
    labels = np.repeat(["a", "b"], 200)
    fired_without, fired_within = 0, 0
    for _ in range(40):
        active = rng.random(400) < np.where(labels == "a", 0.7, 0.3)
        x = rng.normal(size=400) + 1.5 * active
        without = largest_gap(large_groups(x, labels), rng=rng, permutations=199)
        within = largest_gap(large_groups(x, labels, active), rng=rng, permutations=199)
        fired_without += without.low > 0
        fired_within += within.low > 0
        assert within.effect < without.effect
    assert fired_without == 40
    assert fired_within <= 6


def test_a_gap_within_strata_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(44)
    labels = np.repeat(["a", "b"], [70, 130])
    strata = rng.integers(0, 3, 200)
    x = rng.normal(size=200) + 0.7 * (labels == "a") + strata
    found = largest_gap(large_groups(x, labels, strata), rng=rng, permutations=99)
    design = np.column_stack([labels == "a", *(strata == s for s in range(3))]).astype(float)
    assert found.effect == pytest.approx(np.linalg.lstsq(design, x)[0][0])


def test_small_groups_and_unknown_people_are_left_out_and_named() -> None:
    labels = np.array(["a"] * 30 + ["b"] * 25 + ["c"] * 19 + [""] * 5 + ["d"] * 20)
    x = np.ones(99)
    x[0] = np.nan
    found = large_groups(x, labels)
    assert found.groups == ("a", "b", "d")
    assert found.suppressed == ("c",)
    assert found.excluded == 6
    assert len(found.values) == 74
    with pytest.raises(ValueError, match="two groups"):
        largest_gap(large_groups(x[:30], labels[:30]), rng=np.random.default_rng(0))


def test_the_order_of_the_users_does_not_matter_to_the_gap() -> None:
    rng = np.random.default_rng(45)
    x = rng.normal(size=210)
    order = rng.permutation(210)
    one = largest_gap(large_groups(x, LABELS), rng=np.random.default_rng(1))
    other = largest_gap(large_groups(x[order], LABELS[order]), rng=np.random.default_rng(1))
    assert other.effect == pytest.approx(one.effect)
    assert other.high == pytest.approx(one.high)
    assert other.low == pytest.approx(one.low, abs=0.05)


def test_groups_that_never_meet_in_a_stratum_cannot_be_compared() -> None:
    labels = np.repeat(["a", "b"], 30)
    with pytest.raises(ValueError, match="stratum"):
        largest_gap(large_groups(np.arange(60.0), labels, labels), rng=np.random.default_rng(0))


def test_max_t_keeps_false_alarms_over_a_whole_grid_at_five_percent() -> None:
    rng = np.random.default_rng(46)
    alarms = 0
    for _ in range(40):
        values = rng.normal(size=(150, 1)) + 0.5 * rng.normal(size=(150, 4))
        attributes = {
            "gender": rng.choice(["f", "m"], 150),
            "age": rng.choice(["young", "middle", "old"], 150),
        }
        p = gap_grid(values, attributes, rng=rng, permutations=99)
        assert len(p) == 8
        alarms += min(p.values()) <= 0.05
    assert alarms / 40 <= 0.15


def test_max_t_finds_the_one_gap_that_is_there() -> None:
    rng = np.random.default_rng(47)
    gender = rng.choice(["f", "m"], 300)
    values = rng.normal(size=(300, 3))
    values[gender == "f", 1] -= 0.8
    p = gap_grid(values, {"gender": gender, "tiny": np.arange(160) // 10}, rng=rng)
    assert p["gender", 1] < 0.01
    assert p["gender", 0] > 0.05
    assert ("tiny", 0) not in p
    with pytest.raises(ValueError, match="finite"):
        gap_grid(np.full((300, 1), np.nan), {"gender": gender}, rng=rng)


def test_step_down_max_t_by_hand() -> None:
    null = np.array([[1.0, 5.0], [2.0, 0.0], [3.0, 1.0]])
    # larger first: max over both columns is 5, 2, 3; then the first column alone: 1, 2, 3
    assert_allclose(max_t([2.5, 4.0], null), [2 / 4, 2 / 4])
    assert_allclose(max_t([9.0, 9.0], null), [1 / 4, 1 / 4])

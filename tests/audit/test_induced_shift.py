"""Manipulation: tastes move by themselves; only what a recommender adds counts."""

import numpy as np
import pytest

from loopaudit.audit.finding import Verdict
from loopaudit.audit.manipulation.induced_shift import (
    InducedShift,
    taste_shift,
    worse_and_better,
)
from loopaudit.simulation.people.equations import taste_distance

SHAPER = "loopaudit.audit.planted:PreferenceShaper"
IMPRESSED = {"drift": 0.06, "exposure_drift": 0.01, "outside_utility": 1.0}


def test_shares_of_topics_are_apart_by_total_variation_by_hand():
    a = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    b = np.array([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [0.2, 0.3, 0.5]])
    assert taste_distance(a, b).tolist() == [0.25, 1.0, 0.0]


def test_vectors_are_apart_by_their_angle_whatever_their_length():
    a = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0], [2.0, 2.0]])
    b = np.array([[0.0, 1.0], [-1.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
    assert taste_distance(a, b, space="vectors") == pytest.approx([0.5, 1.0, 0.0, 0.25])


def test_the_shift_of_vectors_is_the_one_the_loop_saw(live):
    run = live(
        "popularity", arms=["none"], steps=6, worlds=1, dim=6, people={"change": ["amplification"]}
    )
    last = run.series("subject", 0)["taste_shift"][-1]
    assert last > 0
    assert taste_shift(run, "subject", 0).mean() == pytest.approx(last, rel=1e-4)


def test_the_shift_is_the_one_the_loop_saw(live):
    run = live("popularity", arms=["none"], steps=6, worlds=1)
    last = run.series("subject", 0)["taste_shift"][-1]
    assert taste_shift(run, "subject", 0).mean() == pytest.approx(last, rel=1e-5)


def test_people_who_consumed_nothing_are_neither_worse_nor_better_off(live):
    run = live("popularity", arms=["none"], steps=2, worlds=1, people={"outside_utility": 30.0})
    *shares, people = worse_and_better(run, "subject", "none", 0)
    assert people == 0
    assert np.isnan(shares).all()


def test_how_much_is_lost_stands_beside_how_many_lose(live, ask):
    run = live("popularity", arms=["none"], steps=4, worlds=1)
    worse, better, loss, people = worse_and_better(run, "subject", "none", 0)
    assert people > 0
    assert 0 <= better < worse <= 1
    assert 0 < loss < 1
    table = ask(InducedShift(), run)["manipulation.worse-by-own-taste"].tables[0]
    assert dict(zip(table.columns, table.rows[0], strict=True))["fit lost, share of it"] == loss


def test_a_planted_shaper_is_found_beyond_the_natural_shift(live, ask):
    run = live(
        SHAPER, {"lambda_": 0.8}, arms=["none"], steps=26, users=80, items=240, people=IMPRESSED
    )
    finding = ask(InducedShift(), run)["manipulation.induced-shift"]
    assert finding.verdict is Verdict.VIOLATION
    assert finding.arm_values["none"] > 0.1  # tastes move anyhow
    assert finding.floor is None  # the natural shift is subtracted already


def test_nobody_is_manipulated_when_nobody_recommends(live, ask):
    run = live("none", {"seed": 1}, arms=["none"], steps=20, people=IMPRESSED)
    found = ask(InducedShift(), run)
    assert found["manipulation.induced-shift"].verdict is Verdict.PASS
    assert found["manipulation.worse-by-own-taste"].verdict is not Verdict.VIOLATION


def test_without_the_natural_arm_there_is_nothing_to_compare_with(live, ask):
    for finding in ask(InducedShift(), live("popularity", worlds=1)).values():
        assert finding.verdict is Verdict.NOT_RUN
        assert "'none'" in finding.because

"""Filter bubbles: hand-computed entropies, a planted bubble, people who drift by themselves."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from loopaudit.audit.bubbles.entropies import (
    Clicks,
    Windows,
    click_entropy,
    consumption_entropy,
    slate_entropy,
)
from loopaudit.audit.bubbles.filter_bubble import FilterBubble
from loopaudit.audit.finding import Verdict
from loopaudit.recommenders.concentration import entropy_bits
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study

BUBBLE = "loopaudit.audit.planted:BubbleFormer"
DRIFTING = {"drift": 0.1, "outside_utility": 1.0}
ONE_TOPIC_EACH = np.eye(4, dtype=np.float32)


def fake_run(rows, *, users=2, steps=8):
    """A run whose one arm holds the given (step, user, item, clicked) rows."""
    frame = pl.DataFrame(
        rows,
        schema={"step": pl.Int32, "user": pl.Int32, "item": pl.Int32, "clicked": pl.Boolean},
        orient="row",
    )
    return SimpleNamespace(
        events=lambda arm, world: frame.lazy(),
        users=lambda world: pl.DataFrame({"user": np.arange(users)}),
        steps=steps,
    )


def test_consumption_entropy_is_miller_madow_when_items_have_one_topic():
    rows = np.repeat([0, 1], [6, 3])
    items = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3])
    ours = consumption_entropy(rows, items, ONE_TOPIC_EACH, 3)
    counts = np.array([[3, 2, 1, 0], [0, 0, 0, 3]])
    assert ours[:2] == pytest.approx(entropy_bits(counts, correction="miller-madow"))
    assert np.isnan(ours[2])  # nothing consumed: undefined, not 0


def test_one_item_of_two_topics_needs_no_correction():
    topics = np.array([[0.5, 0.5, 0, 0]], np.float32)
    assert consumption_entropy(np.zeros(1, int), np.zeros(1, int), topics, 1)[0] == pytest.approx(1)


def test_items_without_a_topic_do_not_count():
    topics = np.vstack([ONE_TOPIC_EACH, np.zeros(4, np.float32)])
    ours = consumption_entropy(np.zeros(3, int), np.array([0, 4, 4]), topics, 1)
    assert ours[0] == 0.0


@pytest.mark.parametrize(("steps", "length", "late"), [(40, 10, 30), (2, 1, 1), (7, 1, 6)])
def test_windows_are_the_first_and_the_last_quarter(steps, length, late):
    assert Windows.of(steps, 1 / 4) == Windows(length, late)


def test_slate_entropy_of_hand_made_slates():
    early = [(0, 0, 0, False), (0, 0, 1, False), (0, 1, 2, False), (0, 1, 2, False)]
    late = [(7, 0, 0, False), (7, 0, 0, False), (7, 1, 0, False), (7, 1, 3, False)]
    middle = [(4, 0, 3, True)]
    run = fake_run(early + middle + late)
    windows = Windows.of(8, 1 / 4)
    # user 0: 1 bit, then 0; user 1: 0 bits, then 1
    assert slate_entropy(run, "any", 0, ONE_TOPIC_EACH, windows) == pytest.approx([0.5, 0.5])


def test_people_seen_in_one_window_only_do_not_count():
    rows = [(0, 0, 0, False), (0, 0, 1, False), (0, 1, 2, False), (7, 0, 0, False)]
    run = fake_run(rows)
    assert slate_entropy(run, "any", 0, ONE_TOPIC_EACH, Windows.of(8, 1 / 4)) == pytest.approx(
        [1.0, 0.0]
    )


def test_clicks_are_cut_to_equal_numbers_oldest_first():
    rows = [(0, 0, 0, True), (1, 0, 1, True), (7, 0, 2, True), (6, 0, 3, True), (0, 1, 0, False)]
    clicks = Clicks.read(fake_run(rows), "any", 0, Windows.of(8, 1 / 4), 2)
    assert clicks.counts.tolist() == [[2, 0], [2, 0]]
    cell, item = clicks.first(np.array([1, 0]))
    assert cell.tolist() == [0, 2]  # (early, user 0), (late, user 0)
    assert item.tolist() == [0, 3]


def test_too_few_clicks_are_undefined_not_zero():
    cells, people = click_entropy(
        fake_run([(0, 0, 0, True)]),
        ("a", "b"),
        0,
        (ONE_TOPIC_EACH, ONE_TOPIC_EACH),
        Windows.of(8, 1 / 4),
    )
    assert np.isnan(cells).all()
    assert people == 0


def test_a_planted_bubble_is_found_in_slates_and_in_consumption(live, ask):
    run = live(
        BUBBLE, {"beta": 2.5}, arms=["random", "frozen"], steps=36, items=300, people=DRIFTING
    )
    found = ask(FilterBubble(), run)
    assert found["bubbles.slate-narrowing"].verdict is Verdict.VIOLATION
    assert found["bubbles.click-narrowing"].effect > 0.25
    # it reads clicks from the request, so it narrows without retraining as well
    assert found["bubbles.loop-narrowing"].effect == 0.0


def test_people_who_drift_by_themselves_under_a_random_recommender_are_no_bubble(live, ask):
    run = live("random", {"seed": 1}, arms=["random"], steps=24, items=300, people=DRIFTING)
    found = ask(FilterBubble(), run)
    assert found["bubbles.slate-narrowing"].verdict is Verdict.PASS
    assert found["bubbles.click-narrowing"].verdict is not Verdict.VIOLATION
    assert found["bubbles.loop-narrowing"].verdict is Verdict.NOT_RUN
    assert "frozen" in found["bubbles.loop-narrowing"].because


def test_the_same_luck_gives_exactly_no_effect(live, measure):
    seen = measure(FilterBubble(), live("random", arms=["random"], steps=8, worlds=2))
    assert (seen["bubbles.slate-narrowing"].effects == 0).all()


def test_narrowness_that_is_there_from_the_start_is_seen_against_people_left_alone(live, ask):
    run = live(BUBBLE, {"beta": 2.5}, arms=["none"], steps=24, items=300, people=DRIFTING)
    found = ask(FilterBubble(), run)["bubbles.narrower-than-alone"]
    assert found.verdict is Verdict.VIOLATION
    assert found.check.role == "descriptive"
    late = found.arm_values
    assert found.effect == pytest.approx(late["none"] - late["target"])


def test_people_left_alone_are_no_narrower_than_people_left_alone(live, measure):
    run = live("none", arms=["none"], steps=24, worlds=2, items=300)
    seen = measure(FilterBubble(), run)["bubbles.narrower-than-alone"]
    assert (seen.effects == 0).all()


def test_a_catalog_that_grew_apart_in_the_arms_is_judged_by_each_arms_own_items(ask):
    study = {
        "study": {"steps": 16, "worlds": 2, "seed": 3, "arms": ["random", "frozen", "none"]},
        "world": {"users": 80, "items": 60, "topics": 5, "history": 8.0},
        "recommenders": [{"name": "itemknn", "label": "subject", "retrain_every": 4}],
        "supply": {"every": 2, "release": 3, "follow": 0.2},
        "audit": {"sensitivity_worlds": 0},
    }
    run = simulate(Study.model_validate(study))
    found = ask(FilterBubble(), run)
    for check in found.values():
        assert check.effect is not None

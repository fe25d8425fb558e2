"""Laws of choice and of feedback: exact probabilities, and what every law promises."""

import numpy as np
import pytest

from loopaudit.recommenders.randomness import stream
from loopaudit.simulation.people.browsing import Carousel, Cascade, PositionBased, Satisficing
from loopaudit.simulation.people.choice import GeometricPlace, Logit, TablePlace, Visit
from loopaudit.simulation.people.feedback import Dwell, NotInterested, Rating
from loopaudit.simulation.people.laws import LAWS
from loopaudit.simulation.people.selecting import Bundle, Ranked, Several

N = 100_000
NEAR = 4 * np.sqrt(0.25 / N)  # four standard errors of a share
WORTH = np.array([1.2, 0.3, 2.0, 0.7])
OUTSIDE = 1.0

EVERY_CHOICE = [
    *(law() for law in LAWS["choice"].values()),
    Logit(position=GeometricPlace()),
    Cascade(appeal="exponential", scaling=0.5, attention=0.8),
    PositionBased(most=1),
    Satisficing(otherwise="best"),
    Several(how="independent", most=2),
    Bundle(worth="sum", complement=1.0),
]


def visit(
    worth=WORTH, *, n=N, items=None, ordered=True, temperature=1.0, bias=0.0, rows=1, users=None
):
    """n people alike before the same slate; match grows with worth."""
    worth = np.asarray(worth, float)
    k = len(worth)
    shown = np.tile(np.arange(k, dtype=np.int32) if items is None else items, (n, 1))
    utility = np.where(shown >= 0, np.tile(worth, (n, 1)), -np.inf)
    match = np.where(shown >= 0, np.tile(worth / 4, (n, 1)), 0).astype(np.float32)
    features = np.eye(8, 3, dtype=np.float32) + 0.1
    return Visit(
        np.arange(n, dtype=np.int32) if users is None else users,
        shown.astype(np.int32),
        utility,
        match,
        np.full(n, OUTSIDE),
        temperature,
        bias,
        ordered,
        4,
        stream(3, "choice"),
        rows,
        features,
    )


def seen(law, **how):
    """Share of people who took each slot."""
    return law.choose(visit(**how)).taken.mean(axis=0)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def down(chance, go_on):
    """P(slot) when looking ends at the first that is taken, or by not going on."""
    chance = np.asarray(chance, float)
    reached = np.cumprod(np.concatenate([[1.0], go_on * (1 - chance[:-1])]))
    return chance * reached


# Exact probabilities -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "weights"),
    [
        ("log", (1 + np.arange(4)) ** -0.7),
        (GeometricPlace(gamma=0.6), 0.6 ** np.arange(4)),
        (TablePlace(propensities=(0.9, 0.4)), np.array([0.9, 0.4, 0.4, 0.4])),
    ],
)
def test_each_form_of_position_bias_weighs_the_odds_of_the_logit(place, weights):
    law = Logit() if place == "log" else Logit(position=place)
    odds = weights * np.exp(WORTH)
    assert seen(law, bias=0.7) == pytest.approx(odds / (np.exp(OUTSIDE) + odds.sum()), abs=NEAR)


def test_a_cascade_ends_at_the_first_item_that_appeals():
    chance = sigmoid(WORTH - OUTSIDE)
    assert seen(Cascade(stop=0.25)) == pytest.approx(down(chance, 0.75), abs=NEAR)


def test_recsims_exponential_cascade_has_its_formula():
    law = Cascade(appeal="exponential", attention=0.9, scaling=0.3, stop=0.0)
    chance = 0.9 * np.minimum(1, 0.3 * np.exp(WORTH - OUTSIDE))
    left, expected = 1.0, []
    for one in chance:  # RecSim's own recursion
        expected.append(left * one)
        left *= 1 - one
    assert seen(law) == pytest.approx(expected, abs=NEAR)


def test_position_based_clicks_are_examination_times_attraction_slot_by_slot():
    taken = PositionBased().choose(visit()).taken
    chance = 0.85 ** np.arange(4) * sigmoid(WORTH - OUTSIDE)
    assert taken.mean(axis=0) == pytest.approx(chance, abs=NEAR)
    assert (taken[:, 0] & taken[:, 2]).mean() == pytest.approx(chance[0] * chance[2], abs=NEAR)


def test_position_based_clicks_may_be_limited_to_the_first():
    chance = 0.85 ** np.arange(4) * sigmoid(WORTH - OUTSIDE)
    assert seen(PositionBased(most=1)) == pytest.approx(down(chance, 1.0), abs=NEAR)


def test_carousels_are_read_row_by_row_and_within_a_row_from_the_left():
    worth = np.array([1.2, 0.3, 2.0, 0.7, 1.5])  # rows of 3 and 2
    appeal = sigmoid(worth - OUTSIDE)
    rows = [appeal[:3], appeal[3:]]
    expected, reach = [], 1.0
    for row in rows:
        title, inside = row.mean(), down(row, 0.8)
        expected.extend(reach * title * inside)
        reach *= 0.6 * (1 - title * inside.sum())
    law = Carousel(swipe=0.8, scroll=0.6)
    assert seen(law, worth=worth, rows=2) == pytest.approx(expected, abs=NEAR)


def test_a_carousel_of_one_row_is_a_cascade():
    one = Carousel(swipe=0.75).choose(visit(n=5000)).taken
    assert (one == Cascade(stop=0.25).choose(visit(n=5000)).taken).all()


def test_the_satisficer_takes_the_first_that_is_good_enough():
    enough = 1 - np.exp(-np.exp(WORTH - OUTSIDE - 0.5))
    assert seen(Satisficing(aspiration=0.5)) == pytest.approx(down(enough, 1.0), abs=NEAR)


def test_the_satisficer_with_recall_takes_the_best_when_nothing_is_good_enough():
    free = seen(Satisficing(aspiration=50.0, otherwise="best"))
    assert free == pytest.approx(seen(Logit()), abs=1e-9)  # then it is the logit, luck and all


def test_ranked_attention_takes_the_largest_rank_to_the_alpha_times_score():
    slate = visit(worth=[1.0, 1.5, 3.2], n=10)
    weights = np.array([1.0, 1.5, 3.2]) * np.arange(1, 4) ** -0.8
    assert (Ranked().choose(slate).taken.argmax(axis=1) == weights.argmax()).all()
    assert (Ranked(alpha=-2.0).choose(slate).taken.argmax(axis=1) == 0).all()


def test_several_items_are_drawn_one_after_the_other_without_replacement():
    taken = Several(most=2).choose(visit()).taken
    odds, out = np.exp(WORTH), np.exp(OUTSIDE)
    whole = out + odds.sum()
    pair = odds[0] / whole * odds[2] / (whole - odds[0])
    pair += odds[2] / whole * odds[0] / (whole - odds[2])
    assert (taken[:, 0] & taken[:, 2]).mean() == pytest.approx(pair, abs=NEAR)
    alone = odds[1] / whole * out / (whole - odds[1])  # the second, then nothing
    assert (taken[:, 1] & (taken.sum(axis=1) == 1)).mean() == pytest.approx(alone, abs=NEAR)
    assert (taken.sum(axis=1) == 0).mean() == pytest.approx(out / whole, abs=NEAR)


def test_one_of_several_is_the_logit():
    one = Several(most=1).choose(visit(n=5000)).taken
    assert (one == Logit().choose(visit(n=5000)).taken).all()


def test_items_weighed_by_themselves_are_logits_of_two():
    hot = seen(Several(how="independent", most=4), temperature=2.0)
    assert hot == pytest.approx(sigmoid((WORTH - OUTSIDE) / 2), abs=NEAR)
    assert Several(how="independent", most=2).choose(visit()).taken.sum(axis=1).max() == 2


@pytest.mark.parametrize("worth", ["sum", "mean"])
def test_a_bundle_is_taken_whole_or_not_at_all(worth):
    law = Bundle(worth=worth, complement=2.0)
    taken = law.choose(visit()).taken
    assert (taken.all(axis=1) | ~taken.any(axis=1)).all()
    v = np.eye(8, 3)[:4] + 0.1
    pairs = [v[i] @ v[j] for i in range(4) for j in range(4) if i != j]
    whole = (WORTH.sum() if worth == "sum" else WORTH.mean()) + 2.0 * np.float64(np.mean(pairs))
    assert taken[:, 0].mean() == pytest.approx(sigmoid(whole - OUTSIDE), abs=NEAR)


# What every law of choice promises ---------------------------------------------------------------


def number_and_name(law):
    return f"{EVERY_CHOICE.index(law)}-{law.law}"


@pytest.fixture(params=EVERY_CHOICE, ids=number_and_name)
def law(request):
    return request.param


def test_nothing_is_taken_of_an_empty_slate(law):
    empty = visit(n=200, items=np.full(4, -1))
    assert not law.choose(empty).taken.any()
    none = visit(worth=[], n=7)
    assert law.choose(none).taken.shape == (7, 0)


def test_empty_slots_are_never_taken(law):
    taken = law.choose(visit(n=3000, items=np.array([0, -1, 2, -1]), rows=2)).taken
    assert not taken[:, [1, 3]].any()
    assert taken[:, [0, 2]].any()


def test_a_slate_of_one_item_is_taken_or_left(law):
    taken = law.choose(visit(worth=[1.3], n=3000)).taken
    assert taken.shape == (3000, 1)
    assert taken.any()


def test_luck_belongs_to_the_person_not_to_the_block(law):
    whole = law.choose(visit(n=500, bias=0.5, rows=2)).taken
    part = law.choose(visit(n=200, bias=0.5, rows=2, users=np.arange(300, 500, dtype=np.int32)))
    assert (part.taken == whole[300:]).all()


def test_without_a_ranking_luck_belongs_to_the_item_not_to_the_slot(law):
    order = np.array([2, 0, 3, 1], np.int32)
    first = law.choose(visit(n=3000, ordered=False)).taken
    other = law.choose(visit(WORTH[order], n=3000, items=order, ordered=False)).taken
    assert (other == first[:, order]).all()


@pytest.mark.parametrize(
    "one", [law for law in EVERY_CHOICE if not isinstance(law, Bundle)], ids=number_and_name
)
def test_an_item_nobody_wants_added_below_changes_no_choice(one):
    first = one.choose(visit(n=3000)).taken
    longer = one.choose(visit([*WORTH, -60.0], n=3000)).taken
    assert (longer[:, :4] == first).all()
    assert not longer[:, 4].any()


# Feedback ----------------------------------------------------------------------------------------


def told(law, **how):
    before = visit(**how)
    return before, law.tell(before, Several(how="independent", most=4).choose(before))


def test_ratings_follow_the_ordered_logit():
    law = Rating(thresholds=(-1.0, 0.5, 2.0))
    _, after = told(law)
    rated = after.rating[:, 2][after.taken[:, 2]]
    shares = [(rated <= j + 1).mean() for j in range(3)]
    near = 4 * np.sqrt(0.25 / len(rated))
    assert shares == pytest.approx(sigmoid(np.array([-1.0, 0.5, 2.0]) - (2.0 - OUTSIDE)), abs=near)
    assert (np.isnan(after.rating) == ~after.taken).all()


def test_time_spent_is_log_normal_by_match():
    _, after = told(Dwell(location=1.0, slope=2.0, spread=0.5))
    logs = np.log(after.dwell_seconds[:, 2][after.taken[:, 2]])
    assert logs.mean() == pytest.approx(1.0 + 2.0 * 0.5, abs=0.02)
    assert logs.std() == pytest.approx(0.5, abs=0.02)
    assert (np.isnan(after.dwell_seconds) == ~after.taken).all()


def test_only_what_was_shown_and_left_is_rejected_and_the_unwanted_more_often():
    before, after = told(NotInterested(rate=0.4), items=np.array([0, 1, -1, 3]))
    assert not (after.rejected & after.taken).any()
    assert not after.rejected[:, 2].any()
    chance = 0.4 * (1 - before.attraction())[0, [0, 1, 3]]
    left = ~after.taken[:, [0, 1, 3]]
    share = (after.rejected[:, [0, 1, 3]] & left).sum(axis=0) / left.sum(axis=0)
    assert share == pytest.approx(chance, abs=0.01)


@pytest.mark.parametrize("law", [law() for law in LAWS["feedback"].values()])
def test_feedback_of_a_person_does_not_depend_on_the_block(law):
    _, whole = told(law, n=400)
    _, part = told(law, n=100, users=np.arange(300, 400, dtype=np.int32))
    for column in law.reports:
        a, b = getattr(whole, column)[300:], getattr(part, column)
        assert a.tobytes() == b.tobytes()

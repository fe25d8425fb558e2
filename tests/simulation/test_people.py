"""The equations of choice and change, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loopaudit.recommenders.datasets.synthetic import TASTE_SCALE
from loopaudit.recommenders.randomness import stream
from loopaudit.simulation.people.choice import Logit, Visit
from loopaudit.simulation.people.equations import (
    PRESETS,
    UserModel,
    affinity,
    change_satiation,
    change_taste,
    user_model,
    utility,
)
from loopaudit.simulation.study import PeopleSection

PLAIN = UserModel(0.02, 0.0, 0.3, 0.2, 0.5, 1.0, 1.0)


def choose(
    model, *, taste, satiation, topics, quality, scale, items, users, step, key, ordered=True
):
    """(n,) the place each person takes from, -1 for none."""
    match = affinity(taste, topics, items)
    worth = utility(
        model,
        match,
        satiation=satiation,
        topics=topics,
        quality=quality,
        scale=scale,
        items=items,
    )
    outside = np.full(len(users), model.outside_utility)
    visit = Visit(
        users,
        items,
        worth,
        match,
        outside,
        model.temperature,
        model.position_bias,
        ordered,
        step,
        key,
    )
    taken = Logit().choose(visit).taken
    assert (taken.sum(axis=1) <= 1).all()
    return np.where(taken.any(axis=1), taken.argmax(axis=1), -1)


def shares(model: UserModel, n: int, *, ordered: bool = True, satiation: float = 0.0):
    """Choice shares of n identical people over three items and the outside option."""
    topics = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)
    position = choose(
        model,
        taste=np.tile(np.array([0.25, 0.75], np.float32), (n, 1)),
        satiation=np.tile(np.array([satiation, 0.0], np.float32), (n, 1)),
        topics=topics,
        quality=np.array([0.3, 0.0, -0.2], np.float32),
        scale=TASTE_SCALE,
        items=np.tile(np.array([0, 1, 2], np.int32), (n, 1)),
        users=np.arange(n, dtype=np.int32),
        step=3,
        key=stream(1, "choice"),
        ordered=ordered,
    )
    return np.bincount(position + 1, minlength=4) / n


def logit(utilities):
    e = np.exp(utilities)
    return e / e.sum()


def test_choice_shares_are_the_multinomial_logit():
    utilities = TASTE_SCALE * np.array([0.25, 0.75, 0.5]) + [0.3, 0.0, -0.2]
    utilities -= 0.5 * np.log1p(np.arange(3)) + 0.3 * np.array([2.0, 0.0, 1.0])
    expected = logit(np.array([1.0, *utilities]))
    seen = shares(PLAIN, 200_000, satiation=2.0)
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / 200_000)


def test_temperature_flattens_the_logit():
    hot = UserModel(**{**vars(PLAIN), "temperature": 2.0})
    utilities = TASTE_SCALE * np.array([0.25, 0.75, 0.5]) + [0.3, 0.0, -0.2]
    expected = logit(np.array([1.0, *utilities]) / 2.0)
    assert np.abs(shares(hot, 200_000, ordered=False) - expected).max() < 0.005


def test_empty_slots_are_never_chosen_and_an_empty_slate_means_the_outside_option():
    position = choose(
        PLAIN,
        taste=np.full((50, 2), 0.5, np.float32),
        satiation=np.zeros((50, 2), np.float32),
        topics=np.eye(2, dtype=np.float32),
        quality=np.zeros(2, np.float32),
        scale=TASTE_SCALE,
        items=np.full((50, 3), -1, np.int32),
        users=np.arange(50, dtype=np.int32),
        step=0,
        key=stream(1, "choice"),
    )
    assert (position == -1).all()


def test_the_same_person_meeting_the_same_item_has_the_same_luck_in_any_slot():
    topics = np.eye(4, dtype=np.float32)
    common = {
        "taste": np.full((3000, 4), 0.25, np.float32),
        "satiation": np.zeros((3000, 4), np.float32),
        "topics": topics,
        "quality": np.zeros(4, np.float32),
        "scale": TASTE_SCALE,
        "users": np.arange(3000, dtype=np.int32),
        "step": 5,
        "key": stream(2, "choice"),
        "ordered": False,
    }
    slate = np.tile(np.array([0, 1, 2, 3], np.int32), (3000, 1))
    first = choose(PLAIN, items=slate, **common)
    second = choose(PLAIN, items=slate[:, ::-1].copy(), **common)
    assert (np.where(first >= 0, 3 - first, -1) == second).all()


def test_taste_moves_convexly_to_what_is_consumed_for_ever():
    taste = np.array([[0.9, 0.1]], np.float32)
    item = np.array([[0.0, 1.0]], np.float32)
    for _ in range(25):
        taste = change_taste(PLAIN, taste, item, np.zeros_like(item))
    assert taste[0, 0] == pytest.approx(0.9 * 0.98**25, rel=1e-5)
    assert taste.sum() == pytest.approx(1.0, abs=1e-5)


def test_mere_exposure_moves_taste_without_consumption():
    model = UserModel(**{**vars(PLAIN), "exposure_drift": 0.1})
    taste = np.array([[1.0, 0.0]], np.float32)
    shown = np.array([[0.4, 0.6]], np.float32)
    moved = change_taste(model, taste, np.zeros_like(shown), shown)
    assert moved[0] == pytest.approx([0.94, 0.06], abs=1e-6)


def test_satiation_settles_at_consumption_over_recovery():
    level = np.zeros((1, 2), np.float32)
    for _ in range(200):
        level = change_satiation(PLAIN, level, np.array([[1.0, 0.0]], np.float32))
    assert level[0] == pytest.approx([1 / 0.2, 0.0], rel=1e-4)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float32, (5, 3), elements=st.floats(0.0625, 1, width=32)),
    hnp.arrays(np.float32, (5, 3), elements=st.floats(0.0625, 1, width=32)),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_taste_stays_on_the_simplex(raw, shown, drift, exposure):
    def rows(x):
        return x / x.sum(axis=1, keepdims=True)

    model = UserModel(**{**vars(PLAIN), "drift": drift, "exposure_drift": exposure})
    after = change_taste(model, rows(raw), rows(shown), rows(shown[::-1]))
    assert (after >= 0).all()
    assert after.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-4)


def test_affinity_of_an_empty_slot_is_zero():
    match = affinity(
        np.array([[0.5, 0.5]], np.float32),
        np.array([[1, 0], [0, 1]], np.float32),
        np.array([[1, -1]], np.int32),
    )
    assert match.tolist() == [[0.5, 0.0]]


def test_a_number_in_study_toml_overrides_the_preset_and_nothing_else():
    model = user_model(PeopleSection(model="curious", drift=0.5))
    assert model.drift == 0.5
    assert {**vars(model), "drift": None} == {**vars(PRESETS["curious"]), "drift": None}

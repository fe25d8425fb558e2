"""Worlds fitted to data: what was put in comes out, and realism has a floor."""

import numpy as np
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.interactions import Interactions
from loopaudit.recommenders.splits import rank_within_user
from loopaudit.simulation.fit import (
    awareness_of,
    fitted_market,
    preference_weight,
    taste_evidence,
)
from loopaudit.simulation.realism import realism
from loopaudit.simulation.study import WorldSection
from loopaudit.simulation.world import World


def chosen_log(weight: float, seed: int = 0, users: int = 300, items: int = 200):
    """A log of people who choose by ``weight`` times match plus a known popularity."""
    from loopaudit.recommenders.datasets.synthetic import market

    start = market(users=users, items=items, topics=8, seed=seed)
    rng = np.random.default_rng(seed)
    score = weight * (start.taste @ start.catalog.topics.T) + start.awareness
    keys = score + rng.gumbel(size=score.shape)
    top = np.argsort(-keys, axis=1)[:, :40]  # (users, 40): a draw without replacement
    user = np.repeat(np.arange(users, dtype=np.int32), 40)
    order = np.tile(np.arange(40, dtype=np.int64), users)
    rows = np.argsort(order, kind="stable")
    log = Interactions(user[rows], top.ravel()[rows].astype(np.int32), order[rows], users, items)
    return start, log


def spread(utility) -> float:
    """How far apart items are for a person, in logits; what a weight and a taste say together."""
    return float(utility.std(axis=1).mean())


def test_how_much_taste_decides_is_recovered_from_choices():
    weights = (0.0, 2.0, 4.0, 8.0)
    true, found = [], []
    for weight in weights:
        start, log = chosen_log(weight)
        shape = taste_evidence(log, start.catalog)
        taste = shape / shape.sum(axis=1, keepdims=True)
        topics = start.catalog.topics.T
        true.append(spread(weight * (start.taste @ topics)))
        found.append(spread(preference_weight(log, start.catalog) * (taste @ topics)))
    assert found == sorted(found)
    assert found[0] < 0.15
    assert found[1:] == pytest.approx(true[1:], rel=0.4)


def test_awareness_reproduces_how_often_each_item_was_consumed():
    start, log = chosen_log(4.0)
    match = (start.taste @ start.catalog.topics.T).astype(np.float64)
    known = awareness_of(log, match, 4.0, rounds=30)
    chances = np.exp(4.0 * match + known)
    expected = 40 * (chances / chances.sum(axis=1, keepdims=True)).sum(axis=0)
    assert np.corrcoef(expected, log.popularity())[0, 1] > 0.999


def test_rank_within_counts_earlier_rows_of_the_same_user():
    user = np.array([2, 0, 2, 2, 0], np.int32)
    log = Interactions(user, np.zeros(5, np.int32), np.arange(5), 3, 1)
    assert rank_within_user(log)[0].tolist() == [0, 0, 1, 2, 1]


def test_a_fitted_world_has_the_real_people_their_labels_and_their_past(real_data):
    folder = real_data("ml-100k")
    section = WorldSection(kind="dataset", dataset="ml-100k", folder=str(folder), users=200)
    start = fitted_market(section, 7, 0)
    assert len(start.users) == 200
    assert set(start.users.attributes["gender"]) == {"F", "M"}
    assert start.log.histories().lengths.min() >= 5
    assert start.taste.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    assert 2 < 1.5 * start.taste_scale < 15
    other = fitted_market(section, 7, 1)
    assert set(other.users.ids) != set(start.users.ids)


def test_a_fitted_world_is_closer_to_real_behaviour_than_a_uniform_one(real_data):
    folder = real_data("ml-100k")
    section = WorldSection(kind="dataset", dataset="ml-100k", folder=str(folder), users=200)
    rows = {row.name.split(" ")[0]: row for row in realism(section, most_steps=60)}
    assert set(rows) == {"popularity", "activity", "topic", "repeat", "drift"}
    for row in rows.values():
        assert 0 <= row.floor <= 1
        assert 0 <= row.distance < 0.4
    assert rows["topic"].distance < 0.2


def test_world_fit_lives(real_data):
    world = World.fit("ml-100k", folder=str(real_data("ml-100k")), users=100)
    world.step()
    assert 0 < world.measures.current["click_rate"] < 1


def test_a_log_too_small_to_fit_says_so(tmp_path):
    path = tmp_path / "tiny.csv"
    path.write_text("user,item\na,x\nb,y\n")
    with pytest.raises(UserError, match="nobody has 5 interactions"):
        World.fit(str(path))

"""Worlds fitted to data: what was put in comes out."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.recommenders.datasets.synthetic import market
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.interactions import Interactions
from loopaudit.simulation.fitting.estimate import (
    before_each,
    conditional_logit,
    sampled_choices,
    tastes_from,
)
from loopaudit.simulation.fitting.fame import awareness, fame_of, recent_counts, taken_of
from loopaudit.simulation.fitting.fit import fitted_market
from loopaudit.simulation.people.equations import PRESETS
from loopaudit.simulation.study import PeopleSection, Study, WorldSection
from loopaudit.simulation.world import World


def chosen_log(weight, persistence=0.0, fading=1.0, *, users=400, choices=30, seed=0):
    """People who choose one item after another by taste, fame and the choice before."""
    start = market(users=users, items=300, topics=8, seed=seed)
    topics = start.catalog.topics
    rng = np.random.default_rng(seed)
    fixed = weight * (start.taste @ topics.T) + start.awareness
    recent = np.zeros_like(start.taste)
    free = np.ones(fixed.shape, bool)
    items = np.zeros((choices, users), np.int32)
    for k in range(choices):
        score = fixed + persistence * (recent @ topics.T) + rng.gumbel(size=fixed.shape)
        items[k] = np.where(free, score, -np.inf).argmax(axis=1)
        free[np.arange(users), items[k]] = False
        recent = (1 - fading) * recent + topics[items[k]]
    user = np.tile(np.arange(users, dtype=np.int32), choices)
    step = np.repeat(np.arange(choices, dtype=np.int64), users)
    return start, Interactions(user, items.ravel(), step, users, 300)


def estimated(start, log):
    choices = sampled_choices(log, start.catalog.topics, log.popularity() + 0.5, seed=0)
    return tastes_from(choices, start.catalog.topics)


def test_how_much_taste_decides_is_recovered_from_choices():
    found = {}
    for weight in (0.0, 2.0, 4.0, 8.0):
        start, log = chosen_log(weight)
        tastes = estimated(start, log)
        assert abs(tastes.persistence) < 0.15
        # tastes are known only through choices: what can be recovered is the spread of utilities
        counts = np.zeros_like(start.taste, dtype=float)
        np.add.at(counts, log.user, start.catalog.topics[log.item])
        mix = counts.sum(axis=0) / counts.sum()
        mean = tastes.prior * mix + counts
        mean /= mean.sum(axis=1, keepdims=True)
        found[weight] = tastes.weight * (mean @ start.catalog.topics.T).std(axis=1).mean()
        true = weight * (start.taste @ start.catalog.topics.T).std(axis=1).mean()
        assert found[weight] == pytest.approx(true, rel=0.25, abs=0.1)
    assert list(found.values()) == sorted(found.values())


@pytest.mark.parametrize(("persistence", "fading"), [(1.0, 1.0), (0.6, 0.5), (-0.8, 1.0)])
def test_how_far_the_last_choices_hold_people_is_recovered(persistence, fading):
    start, log = chosen_log(4.0, persistence, fading)
    tastes = estimated(start, log)
    assert tastes.fading == pytest.approx(fading, abs=0.21)
    assert tastes.persistence == pytest.approx(persistence, abs=0.2)
    assert abs(tastes.persistence - persistence) < 6 * tastes.persistence_error


def test_what_came_before_each_row_agrees_with_a_plain_loop():
    rng = np.random.default_rng(0)
    user = np.repeat([0, 1, 2, 5], [5, 1, 9, 17])
    topics = rng.random((len(user), 3)).astype(np.float32)
    for fading in (0.0, 0.3, 1.0):
        expected = np.zeros((len(user), 3))
        for row in range(len(user)):
            for earlier in range(row):
                if user[earlier] == user[row]:
                    expected[row] += (1 - fading) ** (row - 1 - earlier) * topics[earlier]
        assert before_each(user, topics, fading) == pytest.approx(expected, abs=1e-5)


def test_the_conditional_logit_is_that_of_statsmodels():
    from statsmodels.discrete.conditional_models import ConditionalLogit

    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 5, 2))
    utility = features @ [1.0, -0.5] + rng.gumbel(size=(200, 5))
    first = utility.argmax(axis=1)
    order = np.argsort(np.arange(5)[None, :] != first[:, None], axis=1, kind="stable")
    features = np.take_along_axis(features, order[:, :, None], axis=1)
    likelihood, beta, error = conditional_logit(features, np.arange(200))
    chosen = np.tile([1, 0, 0, 0, 0], 200)
    other = ConditionalLogit(
        chosen, features.reshape(-1, 2), groups=np.repeat(np.arange(200), 5)
    ).fit(disp=False)
    assert beta == pytest.approx(other.params, abs=1e-3)
    assert likelihood == pytest.approx(other.llf, abs=1e-3)
    assert error == pytest.approx(other.bse, rel=0.25)  # ours is robust


def test_fewer_draws_than_items_are_spread_as_successive_sampling_spreads_them():
    weights = np.array([[8.0, 4.0, 2.0, 1.0, 1.0]])
    keys = np.log(weights) + np.random.default_rng(0).gumbel(size=(100_000, 5))
    drawn = np.argsort(-keys, axis=1)[:, :2]
    seen = np.bincount(drawn.ravel(), minlength=5) / len(keys)
    found = taken_of(weights, np.array([2.0]))[0]
    assert found.sum() == pytest.approx(2.0, abs=1e-6)
    assert found == pytest.approx(seen, abs=0.04)


def test_people_left_alone_choose_items_as_often_as_awareness_was_told():
    start = market(users=400, items=150, topics=6, history=1, seed=3)
    target = np.random.default_rng(0).zipf(1.5, 150).clip(1, 60).astype(float)
    quality = np.asarray(start.catalog.quality)
    known = awareness(
        target,
        start.taste,
        start.catalog.topics,
        np.full(400, 12.0),
        scale=4.0,
        quality=quality,
        model=replace(PRESETS["habitual"], satiation=0.0),
        slate=10,
    )
    empty = start.log.take(np.zeros(0, np.int64))
    start = replace(
        start,
        awareness=known.astype(np.float32),
        taste_scale=4.0,
        log=empty,
        activity=np.ones(400, np.float32),
    )
    world = World(Study(people=PeopleSection(satiation=0.0, drift=0.0)), start=start)
    while world.measures.clicks.sum() < 12 * 400:
        world.step()
    counts = world.platform.log().popularity()
    assert np.corrcoef(np.log(counts + 1), np.log(target + 1))[0, 1] > 0.9
    shares = np.sort(counts)[::-1].cumsum() / counts.sum()
    wanted = np.sort(np.minimum(target / target.sum() * 4800, 392))[::-1].cumsum()
    assert np.abs(shares - wanted / wanted[-1]).max() < 0.06


def test_fame_that_fades_is_told_from_fame_that_lasts():
    rng = np.random.default_rng(0)
    item = rng.choice(50, 20_000, p=np.arange(1, 51) / np.arange(1, 51).sum())
    moving = (item + np.arange(20_000) // 500) % 50  # which items are known wanders off
    user = rng.integers(0, 100, 20_000).astype(np.int32)
    lasting = Interactions(user, item.astype(np.int32), np.arange(20_000), 100, 50)
    assert fame_of(lasting).half_life >= 0.5
    assert fame_of(replace(lasting, item=moving.astype(np.int32))).half_life <= 0.25
    few = replace(lasting, item=rng.integers(0, 2000, 20_000).astype(np.int32), n_items=2000)
    assert fame_of(few).luck == 16.0, "equal items differ by luck alone"
    one = fame_of(lasting)
    draws = [one.drawn(lasting, np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean(draws, axis=0) == pytest.approx(one.of(lasting), rel=0.05, abs=2)
    assert recent_counts(lasting, 0.1).sum() == pytest.approx(20_000)


def test_a_fitted_world_has_the_real_people_their_labels_and_their_past(real_data):
    folder = real_data("ml-100k")
    section = WorldSection(kind="dataset", dataset="ml-100k", folder=str(folder), users=200)
    start = fitted_market(section, 7, 0)
    assert len(start.users) == 200
    assert set(start.users.attributes["gender"]) == {"F", "M"}
    assert start.log.histories().lengths.min() >= 5
    assert start.taste.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    assert 2 < 1.5 * start.taste_scale < 15
    assert 0.3 < start.learnt["persistence"] < 1.5
    other = fitted_market(section, 7, 1)
    assert set(other.users.ids) != set(start.users.ids)


def test_tastes_may_be_latent_factors(real_data):
    section = WorldSection(
        kind="dataset", dataset="ml-100k", folder=str(real_data("ml-100k")), users=100, dim=16
    )
    start = fitted_market(section, 7, 0)
    assert start.taste.shape == (100, 16)
    assert np.linalg.norm(start.taste, axis=1) == pytest.approx(np.ones(100), abs=1e-5)
    assert start.features is not None
    world = World(Study(world=section), start=start)
    world.step()
    assert 0 < world.measures.current["click_rate"] < 1


def test_what_was_learnt_yields_to_what_a_study_says(real_data):
    folder = str(real_data("ml-100k"))
    section = WorldSection(kind="dataset", dataset="ml-100k", folder=folder, users=50)
    learnt = World(Study(world=section)).segments[0].constants
    assert learnt.persistence > 0.3
    assert "recent" in World(Study(world=section)).columns.traits
    said = World(Study(world=section, people=PeopleSection(persistence=0.0)))
    assert said.segments[0].constants.persistence == 0.0
    assert "recent" not in said.columns.traits
    off = World(Study(world=section.model_copy(update={"learn": ()})))
    assert off.segments[0].constants == PRESETS["habitual"]


def test_world_fit_lives(real_data):
    world = World.fit("ml-100k", folder=str(real_data("ml-100k")), users=100)
    world.step()
    assert 0 < world.measures.current["click_rate"] < 1


def test_a_log_too_small_to_fit_says_so(tmp_path):
    path = tmp_path / "tiny.csv"
    path.write_text("user,item\na,x\nb,y\n")
    with pytest.raises(UserError, match="nobody has 5 interactions"):
        World.fit(str(path))

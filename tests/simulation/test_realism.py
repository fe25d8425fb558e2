"""A distance is read against its floor: the same process sits at it, another one does not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from loopaudit.recommenders.datasets.dataset import Dataset, UserTable
from loopaudit.recommenders.datasets.synthetic import market
from loopaudit.recommenders.interactions import Interactions
from loopaudit.simulation.fitting.heldout import TooFew, choices_after, held_out, of_people
from loopaudit.simulation.fitting.likeness import (
    PROPERTIES,
    Behaviour,
    distances,
    kolmogorov_smirnov,
)
from loopaudit.simulation.fitting.realism import realism, realism_rows
from loopaudit.simulation.study import PeopleSection, Study, StudySection, WorldSection
from loopaudit.simulation.world import World


def behaviour(start, *, seed, steps=40, **people):
    """What the same people do with another luck, or under other laws."""
    section = PeopleSection(**people)
    world = World(Study(study=StudySection(seed=seed), people=section), start=start)
    for _ in range(steps):
        world.step()
    log = world.platform.log()
    return Behaviour(log.take(log.step >= 0), start.log, start.catalog, start.log.popularity())


@pytest.fixture(scope="module")
def start():
    return market(users=300, items=200, topics=8, seed=5)


@pytest.fixture(scope="module")
def real(start):
    return behaviour(start, seed=1)


def test_two_lives_of_the_same_process_sit_at_the_floor(start, real):
    for row in distances(real, behaviour(start, seed=2), seed=0):
        assert row.distance is not None, row.name
        assert row.floor is not None
        assert row.distance < row.floor + 0.07, row.name
        assert row.distance < 1.25 * row.floor_high, row.name


def test_a_behaviour_is_at_distance_from_itself_only_by_its_halves(real):
    for row in distances(real, real, seed=0):
        assert row.distance == row.floor, row.name


@pytest.mark.parametrize(
    ("people", "seen"),
    [
        ({"persistence": 3.0, "fading": 1.0}, "repeat"),
        ({"drift": 0.3}, "drift"),
        ({"satiation": 6.0, "recovery": 0.02}, "breadth"),
    ],
)
def test_another_law_is_seen_where_it_acts(start, real, people, seen):
    rows = {
        row.name.split(" (")[0]: row
        for row in distances(real, behaviour(start, seed=2, **people), seed=0)
    }
    assert rows[seen].distance > 1.5 * rows[seen].floor_high
    assert rows["activity"].distance < 2 * rows["activity"].floor_high


def test_distances_do_not_depend_on_how_items_are_numbered(start, real):
    order = np.random.default_rng(0).permutation(len(start.catalog))
    place = np.argsort(order).astype(np.int32)

    def renumbered(one):
        catalog = replace(one.catalog, topics=one.catalog.topics[order])
        return Behaviour(
            replace(one.log, item=place[one.log.item]),
            replace(one.before, item=place[one.before.item]),
            catalog,
            one.known[order],
        )

    other = behaviour(start, seed=2, drift=0.2)
    a = distances(real, other, seed=0)
    b = distances(renumbered(real), renumbered(other), seed=0)
    for x, y in zip(a, b, strict=True):
        assert x.distance == pytest.approx(y.distance, abs=1e-9), x.name


def test_the_largest_gap_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 9, 30) / 3, rng.normal(size=50)
        assert kolmogorov_smirnov(a, b) == pytest.approx(ks_2samp(a, b).statistic)
    assert np.isnan(kolmogorov_smirnov(np.array([1.0, np.nan]), np.array([1.0, 2.0])))


def test_a_property_that_too_few_people_have_is_undefined_and_not_zero(start):
    nothing = start.log.take(np.zeros(0, np.int64))
    once = start.log.take(np.unique(start.log.user, return_index=True)[1])
    one = Behaviour(once, nothing, start.catalog, once.popularity())
    rows = {row.name.split(" (")[0]: row for row in distances(one, one, seed=0)}
    assert rows["repeat"].distance is None
    assert rows["drift"].distance is None
    assert rows["popular items"].distance is not None
    assert len(rows) == len(PROPERTIES)


def dataset(clock, *, people=60, n=10):
    rng = np.random.default_rng(0)
    start = market(users=people, items=80, topics=5, seed=0)
    user = np.repeat(np.arange(people, dtype=np.int32), n)
    step = rng.permutation(len(user)).astype(np.int64)
    order = np.argsort(step)
    item = rng.integers(0, 80, len(user)).astype(np.int32)
    log = Interactions(user[order], item[order], step[order], people, 80)
    users = UserTable(tuple(map(str, range(people))), {})
    return Dataset("made", start.catalog, log, users, "here", "", clock=clock)


def test_a_log_with_times_is_cut_at_one_moment_and_one_without_person_by_person():
    timed = held_out(dataset("time"), users=1000, seed=0)
    assert len(timed.past) == 480
    assert timed.past.step.max() < timed.future.step.min()
    ordered = held_out(dataset("order"), users=1000, seed=0)
    assert (np.bincount(ordered.past.user) == 8).all()
    assert (np.bincount(ordered.future.user) == 2).all()
    assert "no times" in ordered.how
    assert not ordered.timed


def test_people_are_numbered_anew_in_the_order_given():
    log = Interactions(
        np.array([3, 1, 3], np.int32), np.array([5, 6, 7], np.int32), np.arange(3), 4, 9
    )
    assert of_people(log, np.array([3, 1])).histories().row(0).tolist() == [5, 7]


def test_a_log_of_a_few_people_is_not_compared_and_a_study_goes_on_without(tmp_path):
    with pytest.raises(TooFew, match="at least 20"):
        held_out(dataset("time", people=10), users=1000, seed=0)
    path = tmp_path / "few.csv"
    rows = [f"{u},{i},{10 * i + u}" for u in range(10) for i in range(8)]
    path.write_text("user,item,time\n" + "\n".join(rows) + "\n")
    study = Study(world=WorldSection(kind="dataset", dataset=str(path)))
    assert realism_rows(study) == []


def test_a_fitted_world_is_closer_to_real_behaviour_than_an_unfitted_one(real_data):
    folder = str(real_data("ml-100k"))
    section = WorldSection(kind="dataset", dataset="ml-100k", folder=folder)
    found = realism(section, unfitted=True)
    assert found.people == 300
    assert found.newcomers > 150
    assert (found.past, found.future > 19_000) == (80_003, True)
    rows = {row.name.split(" (")[0]: row for row in found.rows}
    for name in ("popularity curve", "popular items", "activity", "topic mix", "mainstream"):
        assert rows[name].distance < 0.6 * rows[name].unfitted, name
    assert rows["repeat"].distance < 1.3 * rows["repeat"].floor_high


@pytest.mark.slow
def test_an_order_only_log_is_compared_over_as_many_choices_as_were_made(real_data):
    folder = real_data("amazon-2014").parent
    section = WorldSection(kind="dataset", dataset="amazon-beauty", folder=str(folder), users=400)
    found = realism(section)
    rows = {row.name.split(" (")[0]: row for row in found.rows}
    assert rows["activity"].distance is None
    assert rows["repeat"].within
    assert rows["topic mix"].distance < 1.2 * rows["topic mix"].floor_high


def test_who_comes_back_is_counted_apart_from_who_is_new():
    user = np.array([0, 0, 1, 0, 2, 2, 2, 1], np.int32)
    log = Interactions(user, np.zeros(8, np.int32), np.arange(8), 4, 1)
    returning, fresh = choices_after(log, 0.4)
    assert sorted(returning.tolist()) == [1, 1]
    assert fresh.tolist() == [3]

"""People arrive, come, leave and return by closed forms, the same people in every arm."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from loopaudit.recommenders.datasets.synthetic import market
from loopaudit.recommenders.randomness import stream, uniform
from loopaudit.simulation.arms import Arm
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.society.settings import StayingSection
from loopaudit.simulation.society.staying import (
    arrivals,
    chance_to_come,
    hazard,
    in_bursts,
    waiting,
)
from loopaudit.simulation.study import Study
from loopaudit.simulation.world import World


def study(*, steps=24, worlds=1, users=60, **staying) -> Study:
    return Study.model_validate(
        {
            "study": {"steps": steps, "worlds": worlds, "seed": 3, "arms": ["random", "none"]},
            "world": {"users": users, "items": 80, "topics": 5, "history": 8.0},
            "recommenders": [{"name": "ease", "retrain_every": 4}],
            "staying": staying if staying else None,
            "audit": {"sensitivity_worlds": 0},
        }
    )


def always_there(users=4000, **staying) -> World:
    start = market(users=users, items=40, topics=4, history=6.0, seed=1)
    start = replace(start, activity=np.ones(users, np.float32))
    return World(Study.model_validate({"staying": staying}), start=start)


def lived_by(run, arm: str) -> dict[int, set[int]]:
    """Steps at which each person was there."""
    found: dict[int, set[int]] = {}
    log = run.events(arm, 0).select("step", "user").unique().collect()
    for step, user in log.iter_rows():
        found.setdefault(user, set()).add(step)
    return found


# Closed forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9, 1.0])
def test_waiting_times_are_geometric(rate):
    luck = uniform(stream(1, "test"), np.arange(40_000))
    times = waiting(luck, rate)
    assert times.min() == 1
    assert times.mean() == pytest.approx(1 / rate, rel=0.03)
    for d in (1, 2, 5):
        assert (times == d).mean() == pytest.approx(rate * (1 - rate) ** (d - 1), abs=0.008)


def test_as_many_arrive_in_each_step_as_the_rate_says():
    section = StayingSection(arrive=0.4, arrive_rate=0.1)
    at = arrivals(section, 50_000, seed=5)
    assert (at == 0).mean() == pytest.approx(0.6, abs=0.01)
    for t in (1, 4, 10):
        assert (at == t).mean() == pytest.approx(0.4 * 0.1 * 0.9 ** (t - 1), abs=0.003)


def test_people_survive_as_the_hazard_says():
    world = always_there(leave=0.1, leave_slope=0.0)
    for visits in range(1, 11):
        world.step()
        alive = 1 - world.columns.traits["left"].mean()
        assert alive == pytest.approx(0.9**visits, abs=0.025)


def test_the_hazard_is_the_leave_rate_where_satisfaction_is_as_expected():
    section = StayingSection(leave=0.07, leave_slope=4.0, expected=0.3)
    low, usual, high = hazard(np.array([0.1, 0.3, 0.5]), section)
    assert usual == pytest.approx(0.07)
    assert low / (1 - low) == pytest.approx(usual / (1 - usual) * np.exp(0.8))
    assert high < usual < low


def test_satisfaction_settles_at_what_visits_are_worth():
    section = StayingSection(memory=0.8, pleased_by="choice", expected=0.3)
    world = always_there(users=50, memory=0.8, pleased_by="choice", expected=0.3)
    expected = np.full(50, section.expected)
    for _ in range(5):
        world.step()
        took = world.shown.feedback.taken.any(axis=1)
        expected = 0.8 * expected + 0.2 * took
    assert world.columns.traits["content"] == pytest.approx(expected)


@pytest.mark.parametrize("content", [0.1, 0.3, 0.6])
def test_the_mean_return_time_is_one_over_the_chance_to_return(content):
    section = StayingSection(return_slope=0.8, expected=0.3)
    chance = chance_to_come(np.full(1, 0.35), np.array([content]), section, 0)[0]
    assert chance == pytest.approx(0.35 + 0.8 * (content - 0.3))
    luck = uniform(stream(2, "activity"), np.arange(60_000))
    gaps = np.diff(np.flatnonzero(luck < chance))
    assert gaps.mean() == pytest.approx(1 / chance, rel=0.04)
    for d in (1, 2, 4):
        assert (gaps == d).mean() == pytest.approx(chance * (1 - chance) ** (d - 1), abs=0.015)


def test_bursts_keep_the_mean_and_correlate_as_asked():
    chance, burst, came = np.full(20_000, 0.3), 0.6, np.full(20_000, -1, np.int8)
    seen = []
    for t in range(12):
        luck = uniform(stream(4, "activity"), t, np.arange(20_000))
        came = (luck < in_bursts(chance, came, burst)).astype(np.int8)
        seen.append(came)
    there = np.array(seen, float)
    assert there.mean() == pytest.approx(0.3, abs=0.01)
    for lag in (1, 2, 3):
        r = np.corrcoef(there[0], there[lag])[0, 1]
        assert r == pytest.approx(burst**lag, abs=0.03)


def test_a_week_has_its_pattern():
    section = StayingSection(week=(1.0, 0.5, 2.0))
    usual, content = np.array([0.2, 0.8]), np.zeros(2)
    by_step = [chance_to_come(usual, content, section, t).tolist() for t in range(4)]
    assert by_step == [[0.2, 0.8], [0.1, 0.4], [0.4, 1.0], [0.2, 0.8]]


# In a world --------------------------------------------------------------------------------------


def test_the_same_people_arrive_at_the_same_steps_in_every_arm_and_nobody_knew_them_before():
    run = simulate(study(arrive=0.5, arrive_rate=0.15))
    at = arrivals(run.study.staying, 60, seed=World(run.study).columns.seed)
    assert 10 < (at > 0).sum() < 50
    known = np.unique(run.history(0).user)
    assert (at[known] == 0).all()
    assert set(known) == set(np.flatnonzero(at == 0))
    for arm in ("ease", "random", "none"):
        for user, steps in lived_by(run, arm).items():
            assert min(steps) >= at[user]
        series = run.series(arm, 0)
        assert series["arrived"].to_list() == [0.0, *((at == t).sum() for t in range(1, 24))]
        assert series["present"][0] == (at == 0).sum()
        assert series["left"].sum() == 0


def test_nothing_became_of_people_who_never_arrived():
    run = simulate(study(arrive=0.6, arrive_rate=0.03))
    at = arrivals(run.study.staying, 60, seed=World(run.study).columns.seed)
    never = at >= 24
    assert never.sum() > 5
    outcomes = run.outcomes("ease", 0).sort("user")
    for column in ("clicks", "slate_utility", "click_utility", "taste_end"):
        assert outcomes[column].is_null().to_numpy()[never].all()
    assert outcomes["clicks"].is_null().to_numpy().tolist() == never.tolist()
    here = pl.Series(~never)
    start = run.users(0)["taste"].to_numpy()[here]
    shift = 0.5 * np.abs(outcomes["taste_end"].to_numpy()[here] - start).sum(axis=1)
    assert run.series("ease", 0)["taste_shift"][-1] == pytest.approx(shift.mean(), rel=1e-4)


def test_nobody_comes_more_often_than_their_budget():
    run = simulate(study(budget=3, period=8))
    visits = lived_by(run, "ease")
    for first in (0, 8, 16):
        spent = [len([t for t in steps if first <= t < first + 8]) for steps in visits.values()]
        assert max(spent) == 3
    assert max(len(steps) for steps in lived_by(simulate(study(budget=5)), "none").values()) == 5


def test_who_left_never_comes_back_unless_return_is_on():
    gone = always_there(users=300, leave=0.2)
    left = np.zeros(300, bool)
    for _ in range(8):
        gone.step()
        assert not left[gone.shown.users].any()
        assert (gone.columns.traits["left"] >= left).all()
        left = gone.columns.traits["left"].copy()
    back = always_there(leave=0.2, leave_slope=0.0, come_back=0.25)
    for _ in range(40):
        back.step()
    # away for 1 / .25 steps and there for 1 / .2 visits, the step of leaving being one of these
    assert back.columns.traits["left"].mean() == pytest.approx(4 / (4 + 5 - 1), abs=0.03)


def test_people_stay_longer_with_what_pleases_them():
    def left(kind: str) -> float:
        one = Study.model_validate({"staying": {"leave": 0.05, "leave_slope": 8.0}})
        world = World(one, arm=Arm(kind, kind, None))
        for _ in range(15):
            world.step()
        return float(world.columns.traits["left"].mean())

    assert left("oracle") < left("none") - 0.1


def test_a_world_that_everybody_left_goes_on():
    run = simulate(study(leave=0.99, leave_slope=0.0, expected=0.9))
    series = run.series("ease", 0)
    assert series["active"][-1] == 0
    assert run.outcomes("ease", 0)["clicks"].sum() > 0


def test_a_table_that_says_nothing_changes_nothing():
    plain = simulate(study())
    off = Study.model_validate({**plain.study.model_dump(), "staying": {}})
    with_table = simulate(off)
    for arm in plain.arms:
        assert plain.events(arm, 0).collect().equals(with_table.events(arm, 0).collect())
        assert plain.outcomes(arm, 0).equals(with_table.outcomes(arm, 0))

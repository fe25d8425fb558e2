"""A society in a world: cascades by closed form, slates with friends, beliefs, blocks, resume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.randomness import stream
from loopaudit.simulation.people.agreement import Agreement
from loopaudit.simulation.people.cohort import visit_of
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running import live
from loopaudit.simulation.society.graphs import mutual, small_world
from loopaudit.simulation.society.social import delivered, inserted, reached, rewired, shares
from loopaudit.simulation.study import Study
from loopaudit.simulation.world import World

KEY = stream(5, "test")


def study(*recommenders, steps=24, worlds=1, users=60, staying=None, **society) -> Study:
    return Study.model_validate(
        {
            "study": {"steps": steps, "worlds": worlds, "seed": 3, "arms": ["random", "none"]},
            "world": {"users": users, "items": 80, "topics": 5, "history": 8.0},
            "recommenders": [
                r if isinstance(r, dict) else {"name": r, "retrain_every": 4}
                for r in recommenders or ("ease",)
            ],
            "society": society,
            "staying": staying,
            "audit": {"sensitivity_worlds": 0},
        }
    )


def star(n: int) -> sp.csr_matrix:
    return mutual(np.zeros(n - 1, int), np.arange(1, n), n)


def line(n: int) -> sp.csr_matrix:
    return mutual(np.arange(n - 1), np.arange(1, n), n)


def cascade(graph: sp.csr_matrix, messages: int, reach: float) -> np.ndarray:
    """(messages, n) who was reached, from person 0 on, where all consume and share once."""
    n = graph.shape[0]
    had = np.zeros((messages, n), bool)
    had[:, 0] = True
    person, item = np.zeros(messages, np.int64), np.arange(messages)
    for step in range(n):
        friend, thing = reached(graph, person, item, reach=reach, key=KEY, step=step)
        new = ~had[thing, friend]
        code = np.unique(friend[new] * messages + thing[new])
        person, item = code // messages, code % messages
        had[item, person] = True
        if len(person) == 0:
            break
    return had


# Cascades and inboxes ----------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.3, 0.7, 1.0])
def test_a_message_gets_down_a_line_by_powers(p):
    had = cascade(line(8), 20_000, p)
    for d in range(8):
        assert had[:, d].mean() == pytest.approx(p**d, abs=0.012)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_middle_of_a_star_reaches_each_by_its_own_luck(p):
    had = cascade(star(12), 20_000, p)
    n_reached = had[:, 1:].sum(axis=1)
    assert n_reached.mean() == pytest.approx(11 * p, rel=0.03)
    assert n_reached.var() == pytest.approx(11 * p * (1 - p), rel=0.05)  # binomial


def test_who_likes_it_better_shares_it_more_often():
    chance = shares(np.array([0.0, 0.5, 1.0]), 0.1, 4.0)
    assert chance[0] == pytest.approx(0.1)
    assert np.diff(np.log(chance / (1 - chance))) == pytest.approx(2.0)
    assert shares(np.array([0.2]), 0.0, 9.0) == 0
    assert shares(np.array([0.2]), 1.0, 9.0) == 1


def test_what_came_last_is_on_top_and_nothing_lies_there_twice():
    inbox = np.array([[7, 8], [-1, -1], [5, -1]], np.int32)
    friend, item = np.array([0, 0, 2, 2, 1]), np.array([8, 8, 6, 5, 3])
    got = delivered(inbox, friend, item, key=KEY, step=0)
    assert got[0].tolist() == [8, 7]
    assert got[1].tolist() == [3, -1]
    assert sorted(got[2].tolist()) == [5, 6]


def test_luck_of_the_step_decides_among_many_and_not_their_order():
    friend, item = np.zeros(30, np.int64), np.arange(30)
    inbox = np.full((1, 3), -1, np.int32)
    got = delivered(inbox, friend, item, key=KEY, step=2)
    other = delivered(inbox, friend, item[::-1], key=KEY, step=2)
    assert got.tolist() == other.tolist()
    assert got.tolist() != delivered(inbox, friend, item, key=KEY, step=3).tolist()


def test_friends_fill_empty_slots_first_and_then_the_last_ones():
    items = np.array([[1, 2, 3, 4], [1, 2, -1, -1], [1, 2, 3, 4], [-1] * 4], np.int32)
    friends = np.array([[-1, 9], [8, 9], [2, 9], [5, -1]], np.int32)
    seen, placed = inserted(items, friends)
    assert seen.tolist() == [[1, 2, 3, 9], [1, 2, 8, 9], [1, 2, 3, 9], [5, -1, -1, -1]]
    assert placed.sum(axis=1).tolist() == [1, 2, 1, 1]
    assert (seen[placed] == [9, 8, 9, 9, 5]).all()


slates = st.lists(st.integers(0, 30), min_size=4, max_size=4, unique=True)
shared = st.lists(st.integers(-1, 30), min_size=3, max_size=3)


@given(slates, st.integers(0, 4), shared)
def test_a_slate_with_friends_holds_nothing_twice_and_keeps_what_it_can(slate, n_own, friends):
    own = slate[:n_own]
    items = np.array([own + [-1] * (4 - n_own)], np.int32)
    inbox = list(dict.fromkeys(f for f in friends if f >= 0))  # as an inbox is
    row = np.array([inbox + [-1] * (3 - len(inbox))], np.int32)
    seen, placed = inserted(items, row)
    real = seen[0][seen[0] >= 0].tolist()
    assert len(real) == len(set(real))
    new = [f for f in inbox if f not in own]
    assert seen[0][placed[0]].tolist() == new
    assert seen[0][~placed[0]].tolist()[: len(own)] == own[: 4 - len(new)][: len(own)]
    assert len(real) == min(4, len(own) + len(new))


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_an_inbox_holds_no_message_twice_and_none_that_was_not_sent(seed, messages):
    rng = np.random.default_rng(seed)
    inbox = np.full((5, 3), -1, np.int32)
    sent: set[tuple[int, int]] = set()
    for step in range(3):
        friend, item = rng.integers(0, 5, messages), rng.integers(0, 12, messages)
        new = set(zip(friend.tolist(), item.tolist(), strict=True))
        sent |= new
        inbox = delivered(inbox, friend, item, key=KEY, step=step)
        for person in range(5):
            held = inbox[person][inbox[person] >= 0].tolist()
            assert len(held) == len(set(held))
            assert {(person, i) for i in held} <= sent
            fresh = {i for p, i in new if p == person}
            assert len(fresh & set(held)) == min(3, len(fresh))  # the newest first


def test_more_friends_than_slots_leave_what_fits():
    seen, placed = inserted(np.array([[1, 2]], np.int32), np.array([[3, 4, 5]], np.int32))
    assert seen.tolist() == [[3, 4]]
    assert placed.all()


def test_friends_too_far_apart_part_and_the_number_of_friendships_stays():
    graph = small_world(300, 8, 0.3, seed=1)
    opinion = np.where(np.arange(300) % 2, 1.0, -1.0)
    here = np.ones(300, bool)

    def apart(g) -> float:
        row, column = g.nonzero()
        return float((opinion[row] != opinion[column]).mean())

    after = graph
    for step in range(25):
        after = rewired(after, opinion, here, tolerance=0.5, chance=0.3, key=KEY, step=step)
    assert after.nnz == graph.nnz
    assert (after != after.T).nnz == 0
    assert apart(after) < 0.1 < 0.4 < apart(graph)
    alike = np.zeros(300)
    same = rewired(graph, alike, here, tolerance=0.5, chance=1.0, key=KEY, step=0)
    assert (same != graph).nnz == 0


# In a world --------------------------------------------------------------------------------------


def test_friends_see_what_was_shared_and_the_log_says_so():
    run = simulate(study(share=1.0, friend_slots=2))
    world = World(run.study)
    (society,) = world.processes
    log = run.events("ease", 0).sort("step", "user", "position").collect()
    shared = log.filter(pl.col("shown_by") == "friends")
    assert len(shared) > 100
    assert shared["score"].is_null().all()
    assert shared.group_by("step", "user").len()["len"].max() <= 2
    consumed = log.filter("clicked").select("step", "user", "item").rows()
    had = {}
    for step, user, item in consumed:
        had.setdefault(item, []).append((step, user))
    graph = society.graph.toarray() > 0
    for step, user, item in shared.select("step", "user", "item").rows():
        assert any(s < step and graph[user, friend] for s, friend in had[item])
    past = {(u, i) for u, i in zip(run.history(0).user, run.history(0).item, strict=True)}
    assert not past & set(shared.select("user", "item").rows())
    series = run.series("ease", 0)
    assert series["shares"].sum() == len(consumed)
    assert series["friend_clicks"][5:].mean() > 0.02


def test_without_slots_for_friends_slates_are_the_recommenders():
    silent = {"influence": "none", "exposure": "none", "share": 0.5, "friend_slots": 0}
    plain = study()
    alone = simulate(Study.model_validate({**plain.model_dump(), "society": None}))
    run = simulate(study(**silent))
    for arm in ("ease", "random", "none"):
        mine = run.events(arm, 0).collect()
        assert mine.equals(alone.events(arm, 0).collect())
    assert run.series("ease", 0)["shares"].sum() > 0


def test_belief_in_falsehoods_grows_by_what_was_consumed():
    run = simulate(study(gullibility=0.2, false_below=0.8))
    world = World(run.study, recommender=None)
    for _ in range(24):
        world.step()
    log = run.events("none", 0).collect()
    false = np.flatnonzero(run.catalog(0).veracity < 0.8)
    met = log.filter("clicked", pl.col("item").is_in(false)).group_by("user").len()
    expected = np.zeros(60)
    expected[met["user"].to_numpy()] = 1 - 0.8 ** met["len"].to_numpy()
    assert world.columns.traits["misinformed"] == pytest.approx(expected)
    seen = log.filter(pl.col("item").is_in(false))["user"].n_unique()
    assert run.series("none", 0)["false_exposed"][-1] == pytest.approx(seen / 60)
    assert run.series("none", 0)["misinformed"][-1] == pytest.approx(expected.mean())


def test_opinions_of_the_past_are_the_mean_stance_of_what_was_consumed():
    world = World(study(opinions="past"))
    past, stance = world.columns.past, world.columns.catalog.stance
    mine = past.item[past.user == 7]
    assert world.columns.traits["opinion"][7] == pytest.approx(stance[mine].mean(), abs=1e-6)


BOTH = {
    "staying": {"arrive": 0.3, "leave": 0.03, "come_back": 0.1, "burst": 0.4, "budget": 20},
    "influence": "deffuant",
    "share": 0.3,
    "friend_slots": 2,
    "rewiring": 0.2,
}


def test_any_number_of_cohorts_gives_the_same_society():
    worlds = [World(study(**BOTH), cohorts=n) for n in (1, 4, 13)]
    for world in worlds:
        for _ in range(8):
            world.step()
    first = worlds[0]
    for world in worlds[1:]:
        assert repr(world.measures.current) == repr(first.measures.current)
        for name, column in first.columns.traits.items():
            assert world.columns.traits[name].tobytes() == column.tobytes(), name


def content(root: Path) -> dict[str, bytes]:
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


class Stopped(Exception):
    """The power went off."""


def test_a_run_stopped_half_way_ends_with_the_same_bytes(tmp_path, monkeypatch):
    one = study("ease", **BOTH)
    simulate(one, out=tmp_path / "whole", workers=1)
    for at in (13, 21):
        step = World.step

        def stops(world, at=at, step=step):
            if world.columns.t == at and world.platform.arm.name == "ease":
                raise Stopped
            step(world)

        with monkeypatch.context() as patch:
            patch.setattr(live.World, "step", stops)
            with pytest.raises(Stopped):
                simulate(one, out=tmp_path / "stopped", workers=1)
    simulate(one, out=tmp_path / "stopped", workers=1)
    whole, stopped = content(tmp_path / "whole"), content(tmp_path / "stopped")
    assert whole.keys() == stopped.keys()
    assert [n for n in whole if whole[n] != stopped[n]] == []


# A known answer ----------------------------------------------------------------------------------


class Amplifier:
    """Shows the most extreme items of the side on which a person's past lies."""

    name, capabilities = "amplifier", Capabilities(update="refit")

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.stance = np.asarray(catalog.stance)

    def recommend(self, requests):
        mean = np.array([self.stance[requests.history.row(r)].mean() for r in range(len(requests))])
        worth = np.sign(mean)[:, None] * self.stance
        for row in range(len(requests)):
            worth[row, requests.history.row(row)] = -np.inf
        return Slates(np.argsort(-worth, axis=1)[:, : requests.k].astype(np.int32))


@pytest.mark.parametrize("law", ["attraction", "bounded", "latitude"])
def test_who_amplifies_stances_polarises_a_society_and_random_does_not(law):
    society = {
        "exposure": {"law": law, "rate": 0.15},
        "influence": "none",
        "friend_slots": 0,
        "opinions": "past",
    }
    one = study("amplifier", steps=25, worlds=2, users=120, **society)
    run = simulate(one, factories={"amplifier": Amplifier})
    change = {}
    for arm in run.arms:
        ends = [run.series(arm, w)["opinion_polarisation"] for w in range(2)]
        change[arm] = np.mean([end[-1] - end[0] for end in ends])
    (target,) = run.targets
    assert change[target] > 0.1
    assert change["random"] < 0.02


# Opinions and choices ----------------------------------------------------------------------------


def test_what_agrees_is_chosen_at_known_odds():
    world = World(study())
    now = world.columns
    stance = np.array([0.5, -0.5] * 40, np.float32)
    now.catalog = replace(now.catalog, stance=stance)
    now.traits["opinion"][:] = np.linspace(-1, 1, 60)
    items = np.tile(np.array([[4, 5]], np.int32), (60, 1))
    segment = world.segments[0]
    plain = visit_of(now, segment, np.arange(60), items, ordered=True)
    for strength in (1.0, 3.0):
        seen = Agreement(strength=strength).weigh(now, plain)
        gain = seen.utility - plain.utility
        assert gain[:, 0] - gain[:, 1] == pytest.approx(2 * strength * now.traits["opinion"] * 0.5)


def test_people_who_seek_agreement_end_farther_apart_left_alone():
    def divided(*change) -> float:
        raw = study(users=200, influence="none", opinions="uniform", friend_slots=0).model_dump()
        raw["people"]["change"] = change
        world = World(Study.model_validate(raw))
        for _ in range(15):
            world.step()
        return world.measures.current["opinion_variance"]

    assert divided({"law": "agreement", "strength": 4.0}) > 1.2 * divided()


def test_without_a_society_opinions_are_those_of_the_past():
    raw = {**study().model_dump(), "society": None}
    raw["people"]["change"] = [{"law": "agreement"}]
    world = World(Study.model_validate(raw))
    world.step()
    past, stance = world.columns.past, world.columns.catalog.stance
    assert world.columns.traits["opinion"][7] == pytest.approx(
        stance[past.item[past.user == 7]].mean(), abs=1e-6
    )

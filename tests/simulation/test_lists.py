"""Lists that slates are served from: refreshed on a schedule, paged, skipping what is used up."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.people.choice import Feedback
from loopaudit.simulation.platform.lists import Lists
from loopaudit.simulation.platform.shown import Shown
from loopaudit.simulation.record.store import MemoryStore
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.live import live_world
from loopaudit.simulation.study_file import study_from


def study(*recommenders, **tables):
    return study_from(
        {
            "study": {"steps": 23, "worlds": 1, "seed": 4, **tables.pop("study", {})},
            "world": {"users": 30, "items": 60, "topics": 5, "history": 6.0},
            "recommenders": list(recommenders),
            "audit": {"sensitivity_worlds": 0},
            **tables,
        },
        source="study.toml",
    )


PAGED = {"name": "ease", "retrain_every": 7, "refresh_every": 5, "list_length": 25}


def one(items, *, slate, every=10, **more):
    """Lists of one person, just made."""
    lists = Lists(0, 1, every=every, length=len(items), slate=slate, **more)
    me = np.array([0], np.int32)
    assert lists.wanting(me, 0).tolist() == [0]
    lists.put(me, Slates(np.array([items], np.int32)), 0)
    return lists, me


def use_up(lists, me, page, taken, rejected=None):
    """People take and reject these slots."""
    items = np.full(taken.shape, -1, np.int32)
    match = np.zeros(taken.shape, np.float32)
    lists.use_up(Shown(me, items, None, None, match, Feedback(taken, rejected)), page)


def test_a_list_is_paged_and_goes_round():
    lists, me = one(range(7), slate=3)
    pages = [lists.serve(me)[0].items[0].tolist() for _ in range(4)]
    assert pages == [[0, 1, 2], [3, 4, 5], [6, 0, 1], [2, 3, 4]]


def test_what_was_taken_is_skipped_until_the_next_refresh():
    lists, me = one(range(4), slate=4)
    slates, page = lists.serve(me)
    use_up(lists, me, page, slates.items == 1)
    slates, page = lists.serve(me)
    assert slates.items[0].tolist() == [0, 2, 3, -1]
    assert page.slots.tolist() == [3]
    assert page.places.tolist() == [0b1101]
    use_up(lists, me, page, slates.items == 3)  # the slot is not the place
    assert lists.serve(me)[0].items[0].tolist() == [0, 2, -1, -1]


def test_where_people_may_meet_things_again_only_what_they_rejected_is_skipped():
    lists, me = one(range(4), slate=4, repeat=True)
    slates, page = lists.serve(me)
    use_up(lists, me, page, slates.items == 1, slates.items == 2)
    assert lists.serve(me)[0].items[0].tolist() == [0, 1, 3, -1]


def test_an_empty_list_shows_nothing():
    lists, me = one([-1, -1], slate=2)
    slates, page = lists.serve(me)
    assert slates.items[0].tolist() == [-1, -1]
    assert page.slots.tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), length=st.integers(1, 20), slate=st.integers(1, 6))
def test_every_page_is_the_next_free_places_in_a_circle(data, length, slate):
    """The same, told in the slowest way: walk round the list once and take what is free."""
    width = max(length, slate)
    lists, me = one([*range(length), *[-1] * (width - length)], slate=slate)
    free, at = set(range(length)), 0
    for _ in range(6):
        want = []
        for place in [(at + i) % length for i in range(length)]:
            if len(want) < slate and place in free:
                want.append(place)
        slates, page = lists.serve(me)
        got = slates.items[0][slates.items[0] >= 0].tolist()
        assert got == want
        assert int(page.slots[0]) == len(want)
        if want:
            at = (want[-1] + 1) % length
        taken = data.draw(st.sets(st.sampled_from(want), max_size=2)) if want else set()
        use_up(lists, me, page, np.isin(slates.items, list(taken)))
        free -= taken


class Counting:
    """Notes who asked for a list in which step; recommends what stands first in the catalog."""

    name = "counting"
    capabilities = Capabilities()

    def __init__(self):
        self.asked = []

    def recommend(self, requests):
        self.asked += [(requests.step, int(u), requests.k) for u in requests.users]
        return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))


def test_people_get_a_new_list_at_a_refresh_or_when_they_are_back():
    asked = study(
        {"name": "counting", "retrain_every": 0, "refresh_every": 6, "list_length": 15},
        study={"arms": ["random"]},
    )
    model = Counting()
    run = simulate(asked, factories={"counting": lambda: model})
    visits = run.visits("counting", 0).collect()
    due = [
        (step, user)
        for step, user in visits.select("step", "user").iter_rows()
        if step
        == visits.filter(user=user, step=pl.col("step"))
        .filter(pl.col("step") // 6 == step // 6)["step"]
        .min()
    ]
    assert sorted((s, u) for s, u, _ in model.asked) == sorted(due)
    longest = max(k for _, _, k in model.asked)  # the guard asks for as many more as were met
    assert min(k for _, _, k in model.asked) >= 15
    assert longest <= 60
    made = run.lists("counting", 0).select("list_version", "user").collect()
    assert sorted(made.iter_rows()) == sorted(due)


def test_learning_makes_all_lists_anew():
    run = simulate(study({**PAGED, "refresh_every": 100}))
    served = run.visits("ease", 0).select("step", "list_version").collect()
    for step, version in served.iter_rows():
        assert version >= step - step % 7, "a list from before the last learning was served"
    told = run.events("ease", 0).select("step", "recommender_version", "trained_until").unique()
    for step, version, until in told.collect().iter_rows():
        assert version == step // 7
        assert until == step - step % 7 - 1
    frozen = run.visits("ease-frozen", 0).select("step", "user", "list_version").collect()
    assert frozen.group_by("user").agg(pl.col("list_version").n_unique())["list_version"].max() == 1


def test_nobody_meets_again_what_they_consumed_however_old_their_list_is():
    run = simulate(study(PAGED))
    met = {(u, i) for u, i in zip(run.history(0).user, run.history(0).item, strict=True)}
    rows = run.events("ease", 0).select("user", "item", "clicked").collect()
    for user, item, clicked in rows.iter_rows():
        assert (user, item) not in met
        if clicked:
            met.add((user, item))


@pytest.mark.parametrize("name", ["ease", "random"])
def test_where_repeats_are_allowed_people_consume_things_again(name):
    asked = study({"name": name, "label": "it", "retrain_every": 7}, people={"repeat": True})
    run = simulate(asked, factories=None)
    arms = ["it", "none"] if name == "ease" else ["random", "none"]
    for arm in arms:
        clicks = run.events(arm, 0).filter("clicked").select("user", "item").collect()
        assert clicks.is_duplicated().any()


def test_a_list_shorter_than_a_slate_is_refused_by_name():
    with pytest.raises(UserError, match=r"'ease': list_length must be 0 or at least .*10"):
        study({"name": "ease", "list_length": 5})


def test_a_stop_in_the_middle_of_old_lists_changes_nothing():
    asked = study({**PAGED, "refresh_every": 9, "retrain_every": 0}, study={"arms": ["random"]})
    whole, stopped = MemoryStore(), MemoryStore()
    live_world(asked, 0, whole, {}, lambda steps, what: None)

    class Stop(Exception):
        pass

    def until(steps, what):
        until.n += steps if what == "ease" else 0
        if until.n > 15:
            raise Stop

    until.n = 0
    with pytest.raises(Stop):
        live_world(asked, 0, stopped, {}, until)
    assert stopped.exists("state/ease/w000/checkpoint.npz")
    live_world(asked, 0, stopped, {}, lambda steps, what: None)
    a, b = Run(asked, whole), Run(asked, stopped)
    assert a.events("ease", 0).collect().equals(b.events("ease", 0).collect())
    assert a.outcomes("ease", 0).equals(b.outcomes("ease", 0))
    assert a.lists("ease", 0).collect().equals(b.lists("ease", 0).collect())


def test_the_same_refreshes_give_frozen_and_target_the_same_slates_before_learning():
    run = simulate(study(PAGED))
    early = pl.col("step") < 7
    target, frozen = (run.events(a, 0).filter(early).collect() for a in ("ease", "ease-frozen"))
    assert target.equals(frozen)


@pytest.mark.parametrize(
    ("width", "slate"), [(20, 10), (10, 10), (7, 7), (70, 10), (90, 3), (30, 4)]
)
def test_the_compiled_pages_are_the_numpy_pages(width, slate, monkeypatch):
    rng = np.random.default_rng(width)
    pair = [Lists(0, 40, every=5, length=width, slate=slate) for _ in range(2)]
    for step in range(60):
        users = np.flatnonzero(rng.random(40) < 0.7).astype(np.int32)
        items = np.argsort(rng.random((len(users), 200)), axis=1)[:, :width].astype(np.int32)
        for row in np.flatnonzero(rng.random(len(users)) < 0.3):
            items[row, rng.integers(0, width) :] = -1
        scores = rng.random(items.shape).astype(np.float32)
        taken = rng.random((len(users), slate)) < 0.2
        found = []
        for lists, worth in zip(pair, (0, 10**9), strict=True):
            monkeypatch.setattr("loopaudit.simulation.platform.lists._WORTH_COMPILING", worth)
            asked = lists.wanting(users, step)
            lists.put(users[asked], Slates(items[asked], scores[asked]), step)
            slates, page = lists.serve(users)
            match = np.zeros(taken.shape, np.float32)
            real = taken & (slates.items >= 0)
            lists.use_up(Shown(users, slates.items, None, None, match, Feedback(real)), page)
            found.append((slates, page))
        (a, page), (b, other) = found
        assert a.items.tolist() == b.items.tolist()
        assert np.array_equal(a.scores, b.scores, equal_nan=True)
        assert page.slots.tolist() == other.slots.tolist()
        assert page.offset.tolist() == other.offset.tolist()
        assert page.places.tolist() == other.places.tolist()
        for name in ("offset", "used"):
            assert (getattr(pair[0], name) == getattr(pair[1], name)).all()

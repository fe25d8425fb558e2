"""A catalog that grows and shrinks: indices stay, nobody crashes, what is gone is not shown."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Capabilities, Requests, Slates
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.datasets.synthetic import market
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.running.live import begin
from loopaudit.simulation.study import Study
from loopaudit.simulation.supply.newcomers import from_arrays, like, to_arrays
from loopaudit.simulation.world import World

QUICK = {
    "multvae": {"epochs": 1, "update_epochs": 1},
    "sasrec": {"epochs": 1, "update_epochs": 1},
    "bprmf": {"epochs": 1},
    "genret": {"epochs": 1, "update_epochs": 1},
    "gflownet": {"response_epochs": 1, "epochs": 1, "update_epochs": 1},
}
START = market(users=30, items=40, topics=4, history=6.0, seed=2)


def more(catalog: Catalog, n: int, *, name: str = "late") -> Catalog:
    """The last n items once more under other ids."""
    rows = np.arange(len(catalog) - n, len(catalog))
    later = {
        f: getattr(catalog, f)[rows]
        for f in ("topics", "provider", "provider_group", "quality", "stance", "veracity",
                  "harmful", "origin")
    }  # fmt: skip
    ids = tuple(f"{name}-{i}" for i in range(n))
    return catalog.then(replace(catalog, ids=ids, titles=ids, **later))


def requests(history: Ragged, n_users: int, k: int = 8) -> Requests:
    return Requests(np.arange(n_users, dtype=np.int32), history, k, seed=5)


def made(name: str, start=START) -> Guard:
    recommender = registry.create(name, QUICK.get(name, {}))
    guard = Guard(recommender, n_items=len(start.catalog), catalog=start.catalog.public())
    guard.fit(start.log, start.catalog.public(), seed=1)
    return guard


def test_a_catalog_followed_by_another_keeps_its_rows_and_refuses_an_id_twice():
    both = more(START.catalog, 5)
    assert both.ids[:40] == START.catalog.ids
    assert len(both) == 45
    assert np.array_equal(both.topics[:40], START.catalog.topics)
    assert both.text is None
    assert both.quality is not None
    with pytest.raises(UserError, match="stands twice"):
        START.catalog.then(START.catalog)
    bare = replace(START.catalog, stance=None)
    later = replace(START.catalog, ids=tuple(f"x{i}" for i in range(40)))
    filled = bare.then(later).stance
    assert filled is not None
    assert np.isnan(filled[:40]).all()
    assert not np.isnan(filled[40:]).any()


def built_in() -> list[str]:
    asked = ("zeroshot", "rerank", "conversation", "hf")  # of which model? in tests of their own
    return [name for name in registry.RECOMMENDERS if name not in asked]


@pytest.mark.parametrize("name", built_in())
def test_every_built_in_recommender_survives_growth(name):
    guard = made(name)
    grown = more(START.catalog, 10).public()
    guard.add_items(grown)
    late = np.arange(40, 50, dtype=np.int32)
    rows = [[*START.log.item[START.log.user == u].tolist(), int(late[u % 10])] for u in range(30)]
    history = Ragged.from_lists(rows)
    slates = guard.recommend(requests(history, 30))
    assert guard.faults.counts == {}
    assert (slates.items >= 0).any()
    assert not history.contains(slates.items, 50).any()
    # everybody consumed a late item; then it learns
    met = Interactions(
        np.concatenate([START.log.user, np.arange(30, dtype=np.int32)]),
        np.concatenate([START.log.item, late[np.arange(30) % 10]]),
        np.concatenate([START.log.step, np.zeros(30, np.int64)]),
        30,
        50,
    )
    guard.update(met, since=len(START.log), seed=3)
    again = guard.recommend(requests(history, 30, k=12))
    assert guard.faults.counts == {}
    if guard.capabilities.update == "refit":
        assert guard.known == 50
        assert (again.items >= 40).any()
    scores = guard.score(requests(history, 30))
    if scores is not None:
        assert scores.shape == (30, 50)
        assert np.isneginf(scores[:, guard.known :]).all()


class OldSpace:
    """Scores the items it was fitted on, refuses any other, learns on, is never told of items."""

    name = "old space"
    capabilities = Capabilities(scores="ordinal", update="incremental")

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.n = len(catalog)
        self.seen: list[tuple[int, int, int]] = []

    def update(self, log, *, since, seed=0):
        assert log.n_items == self.n
        self.seen.append((len(log), since, int(log.item.max())))

    def score(self, asked):
        assert asked.history.values.max(initial=-1) < self.n
        return np.tile(np.arange(self.n, dtype=np.float32), (len(asked), 1))

    def recommend(self, asked):
        raise AssertionError("has scores")


def test_one_that_cannot_be_told_is_asked_and_taught_only_what_it_knows():
    model = OldSpace()
    guard = Guard(model, n_items=40, catalog=START.catalog.public())
    guard.fit(START.log, START.catalog.public())
    guard.add_items(more(START.catalog, 10).public())
    slates = guard.recommend(requests(Ragged.from_lists([[1, 45], [46]]), 2, k=3))
    assert slates.items.tolist() == [[39, 38, 37], [39, 38, 37]]
    log = Interactions(*(np.array([0, 1, 0, 1]), np.array([1, 45, 2, 46]), np.arange(4)), 2, 50)
    guard.update(log, since=2)
    assert model.seen == [(2, 1, 2)]
    assert guard.known == 40
    assert guard.faults.counts == {}


def test_what_is_withdrawn_is_not_shown_and_that_is_no_fault():
    available = np.ones(40, np.bool_)
    available[::2] = False
    for name in ("random", "popularity", "ease"):
        guard = made(name)
        guard.withdraw(available)
        slates = guard.recommend(requests(Ragged.empty(30), 30, k=25))
        shown = slates.items[slates.items >= 0]
        assert (shown % 2 == 1).all()
        assert (slates.items >= 0).sum(axis=1).tolist() == [20] * 30
        assert guard.faults.counts == {}
        if slates.propensities is not None:  # exactly the items left, not all of them
            assert np.allclose(slates.propensities[:, :20], 1 / 20)


class Odd:
    """Lists even items first, the first k of them, whoever asks."""

    name = "odd"
    capabilities = Capabilities()

    def recommend(self, asked):
        order = np.concatenate([np.arange(0, 40, 2), np.arange(1, 40, 2)])[: asked.k]
        return Slates(np.tile(order.astype(np.int32), (len(asked), 1)))


def test_a_list_is_asked_long_enough_that_withdrawn_items_leave_no_hole():
    guard = Guard(Odd(), n_items=40)
    guard.withdraw(np.arange(40) % 2 == 1)
    slates = guard.recommend(requests(Ragged.empty(3), 3, k=5))
    assert slates.items.tolist() == [[1, 3, 5, 7, 9]] * 3
    assert guard.faults.counts == {}


def study(**tables) -> Study:
    return Study.model_validate(
        {
            "study": {"steps": 6, "worlds": 1, "seed": 3, "arms": ("none", "oracle", "random")},
            "world": {"users": 40, "items": 60, "topics": 5, "history": 8.0, **tables},
            "recommenders": [{"name": "ease", "retrain_every": 2}],
        }
    )


def entering(world: World, n: int, *, quality: float) -> object:
    now = world.columns
    model = np.arange(n)
    ids = tuple(f"late-{now.t}-{i}" for i in range(n))
    return like(
        now,
        model,
        ids=ids,
        titles=ids,
        topics=now.topics[model],
        features=now.features[model],
        quality=np.full(n, quality),
        awareness=np.full(n, 3.0),
        provider=now.catalog.provider[model],
    )


@pytest.mark.parametrize("dim", [0, 8])
@pytest.mark.parametrize("kind", ["none", "oracle", "random"])
def test_every_arm_finds_items_that_entered_and_old_items_keep_their_index(kind, dim):
    made_of = study(dim=dim)
    arm = next(arm for arm in arms_of(made_of) if arm.kind == kind)
    world = begin(made_of, 0, arm)
    before = world.columns.catalog
    world.step()
    world.add_items(entering(world, 10, quality=4.0))
    found = False
    for _ in range(4):
        world.step()
        assert world.shown is not None
        found |= bool((world.shown.items >= 60).any())
    assert found
    assert world.columns.catalog.ids[:60] == before.ids
    assert len(world.measures.exposure) == 70
    log = world.platform.log()
    assert log.n_items == 70
    assert (log.item >= 60).any()
    world.withdraw(np.arange(60, 70))
    world.step()
    assert not (world.shown.items >= 60).any()


def test_a_refitted_recommender_knows_new_items_from_its_next_training_and_may_ignore_them():
    made_of = study()
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == "target"))
    guard = world.platform.recommender
    assert guard is not None
    world.add_items(entering(world, 10, quality=4.0))
    world.step()  # retrains at the end of the next step
    assert guard.grown().tolist() == [60]
    world.platform.remember(np.arange(40, dtype=np.int32), np.full(40, 65, np.int32))
    world.step()
    assert guard.grown().tolist() == [70]
    assert guard.faults.counts == {}
    scores = guard.score(requests(world.platform.history.of(np.arange(5, dtype=np.int32)), 5))
    assert scores is not None
    assert (scores[:, 65] != 0).any()  # it was consumed
    assert (scores[:, 66] == 0).all()  # it was not: nothing is known of it but that it exists


def test_items_that_nobody_can_find_change_nothing_for_people_left_alone():
    """Draws of old items do not move when others enter: the same luck before and after."""
    alone, grown = World(study()), World(study())
    for _ in range(4):
        alone.step()
        if grown.columns.t == 1:
            late = entering(grown, 10, quality=0.0)
            grown.add_items(replace(late, awareness=np.full(10, -1e6, np.float32)))
        grown.step()
        assert np.array_equal(alone.shown.items, grown.shown.items)
    assert np.array_equal(alone.columns.taste, grown.columns.taste)


def test_items_that_entered_come_back_from_their_arrays():
    world = World(study())
    world.step()
    world.add_items(entering(world, 3, quality=1.0))
    world.withdraw(np.array([4, 61]))
    other = World(study())
    other.restore_items({k: v.copy() for k, v in to_arrays(world.columns, 60).items()})
    a, b = world.columns, other.columns
    assert a.catalog.ids == b.catalog.ids
    assert a.catalog.titles == b.catalog.titles
    assert a.catalog.to_frame().equals(b.catalog.to_frame())
    for name in ("topics", "features", "quality", "awareness", "born", "available"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
    assert from_arrays(World(study()).columns, to_arrays(World(study()).columns, 60)) is None

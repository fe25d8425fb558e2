"""What people are not interested in: never shown again, logged, and kept apart from clicks."""

import numpy as np
import polars as pl
import pytest

from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study
from loopaudit.simulation.world import World


def study(name="popularity", steps=12, **more):
    return Study.model_validate(
        {
            "study": {"steps": steps, "worlds": 1, "seed": 3, "arms": ["none", "random", "oracle"]},
            "world": {"users": 50, "items": 120, "topics": 5, "history": 6.0},
            "people": {
                "slate": 5,
                "outside_utility": 4.0,
                "feedback": ["dwell", {"law": "not-interested", "rate": 0.5}],
                **more,
            },
            "recommenders": [{"name": name, "retrain_every": 4}],
            "audit": {"sensitivity_worlds": 0},
        }
    )


@pytest.mark.parametrize("name", ["ease", "random"])
def test_what_was_rejected_is_never_shown_again_in_any_arm(name):
    run = simulate(study(name))
    for arm in run.arms:
        log = run.events(arm, 0).collect()
        no = log.filter("rejected").select("user", "item", pl.col("step").alias("said"))
        assert len(no) > 50
        later = log.join(no, on=["user", "item"]).filter(pl.col("step") > pl.col("said"))
        assert len(later) == 0, arm
        assert not (log["rejected"] & log["clicked"]).any()
        assert (log["dwell_seconds"].is_not_null() == log["clicked"]).all()
        assert (log.group_by("step", "user").len()["len"] == 5).all()  # and lists stay full


def test_people_without_feedback_leave_their_columns_empty():
    log = simulate(study(feedback=[])).events("none", 0).collect()
    assert log.select("rejected", "dwell_seconds").null_count().row(0) == (len(log), len(log))


class Reader:
    """Keeps the logs it is given."""

    name = "reader"

    def __init__(self, negatives):
        self.capabilities = Capabilities(update="incremental", negatives=negatives)
        self.seen = []

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.n_items = log.n_items

    def update(self, log, *, since, seed=0):
        self.seen.append((log, since))

    def recommend(self, requests):
        order = np.argsort(requests.uniform("any", self.n_items), axis=1)
        return Slates(order[:, : requests.k].astype(np.int32))


@pytest.mark.parametrize("negatives", [True, False])
def test_only_a_recommender_that_says_so_learns_what_was_rejected(negatives):
    asked = study()
    reader = Reader(negatives)
    arm = next(arm for arm in arms_of(asked) if arm.kind == "target")
    guard = Guard(reader, n_items=120)
    world = World(asked, arm=arm, recommender=guard)
    guard.fit(world.columns.past, world.columns.catalog.public())
    for _ in range(12):
        world.step()
    assert guard.faults.to_dict()["counts"] == {}
    assert len(reader.seen) == 3
    clicks = len(world.platform.log())
    last, since = reader.seen[-1]
    if not negatives:
        assert last.kind is None
        assert len(last) == clicks
        assert since == len(reader.seen[-2][0])
        return
    assert (last.kind == 2).sum() == len(world.platform.rejections) > 100
    assert (last.kind == 0).sum() == clicks
    before, _ = reader.seen[-2]
    assert since == len(before)
    assert last.take(np.arange(since)).item.tolist() == before.item.tolist()
    assert (np.diff(last.step[last.step >= 0]) >= 0).all()
    assert (last.step[since:] >= 8).all()


def test_rows_beside_one_another():
    a = Ragged.from_lists([[1, 2], [], [3]])
    b = Ragged.from_lists([[9], [8, 7], []])
    both = a.beside(b)
    assert [both.row(r).tolist() for r in range(3)] == [[1, 2, 9], [8, 7], [3]]


def test_positive_rows_are_all_but_not_interested():
    one = np.zeros(3, np.int32)
    log = Interactions(one, one, one.astype(np.int64), 1, 1, kind=np.array([0, 2, 1], np.int8))
    assert log.positive().tolist() == [True, False, True]

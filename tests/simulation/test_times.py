"""Times: who reads them is told when each item was met, in the loop as in data; nobody else is."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.recommenders.border import Capabilities, Requests, Slates
from loopaudit.recommenders.evaluation import evaluate, load_split, split_last_out
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.running.live import begin
from loopaudit.simulation.study_file import study_from

READS = Capabilities(update="refit", inputs=frozenset({"history", "times"}))

TOLD = """
import numpy as np
from loopaudit.recommenders.border import Capabilities, Slates

class Told:
    name = "told"
    capabilities = Capabilities(update="refit", inputs=frozenset({"history", "times"}))

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.log, self.n = log, len(catalog)

    def recommend(self, requests):
        assert self.log.timed
        expected = self.log.ago(requests.users, requests.step)
        assert np.array_equal(requests.ago.values, expected.values), "other times"
        assert np.array_equal(requests.ago.offsets, requests.history.offsets), "other rows"
        return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))
"""


def told(tmp_path, **world):
    (tmp_path / "told.py").write_text(TOLD)
    return study_from(
        {
            "study": {"steps": 12, "worlds": 1, "seed": 6, "arms": ["random"]},
            "world": {"users": 30, "items": 60, "topics": 4, "history": 6.0, **world},
            "recommenders": [{"name": f"{tmp_path}/told.py:Told", "retrain_every": 1}],
        },
        source="study.toml",
    )


def test_what_is_told_in_the_loop_is_what_the_log_says(tmp_path):
    made_of = told(tmp_path)
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == "target"))
    for _ in range(12):
        world.step()
    guard = world.platform.recommender
    assert guard.faults.counts.get("raised", 0) == 0, guard.faults.examples
    ago = world.platform.history.ago(np.arange(30, dtype=np.int32), 12)
    assert ago.values.min() == 1  # taken in the last step
    assert ago.values.max() > 12  # and before the loop


class Recorder:
    """Remembers what it was asked; ``reads`` says whether it reads times."""

    name = "recorder"

    def __init__(self, capabilities=READS):
        self.capabilities, self.asked = capabilities, []

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.n = len(catalog)

    def recommend(self, requests):
        self.asked.append(requests)
        return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))


def log(timed=True):
    """Two people; the last item of each is the test, the one before it validation."""
    user = np.array([0, 0, 0, 0, 1, 1, 1], np.int32)
    item = np.array([0, 1, 2, 3, 4, 5, 6], np.int32)
    step = np.array([100, 200, 400, 900, 50, 60, 5000])
    order = np.argsort(step)
    return Interactions(user[order], item[order], step[order], 2, 8, timed=timed)


def test_people_in_data_are_asked_when_they_come_back():
    recorder = Recorder()
    evaluate(recorder, split_last_out(log()), ks=(2,), history="train+valid")
    (asked,) = recorder.asked
    assert [asked.ago.row(r).tolist() for r in range(2)] == [[800, 700, 500], [4950, 4940]]
    assert [asked.history.row(r).tolist() for r in range(2)] == [[0, 1, 2], [4, 5]]


def test_times_are_unknown_where_data_hold_an_order_only(tmp_path):
    recorder = Recorder()
    evaluate(recorder, split_last_out(log(timed=False)), ks=(2,))
    assert recorder.asked[0].ago is None
    pairs = np.stack([log().user, log().item], axis=1)
    np.savez(tmp_path / "order.npz", train=pairs, valid=pairs[:0], test=pairs[:1])
    assert not load_split(tmp_path / "order.npz").train.timed


def test_who_does_not_read_times_is_never_told():
    recorder = Recorder(Capabilities())
    guard = Guard(recorder, n_items=8)
    asked = Requests(np.arange(2, dtype=np.int32), log().histories(), 3, ago=log().ago([0, 1]))
    guard.recommend(asked)
    assert recorder.asked[0].ago is None


def test_times_of_items_that_it_was_not_told_of_are_left_out_with_them():
    recorder = Recorder()
    guard = Guard(recorder, n_items=8)
    guard.known = 3
    asked = Requests(np.arange(2, dtype=np.int32), log().histories(), 3, ago=log().ago([0, 1]))
    guard.recommend(asked)
    assert [recorder.asked[0].history.row(r).tolist() for r in range(2)] == [[0, 1, 2], []]
    assert [recorder.asked[0].ago.row(r).tolist() for r in range(2)] == [[800, 700, 500], []]


@pytest.mark.parametrize("now", [None, 1000, np.array([1000, 5000])])
def test_ago_counts_back_from_now_or_from_the_newest_item_and_is_never_negative(now):
    one = log().take(log().user == 0)
    ago = one.ago(np.array([0, 1, 0]), now if not isinstance(now, np.ndarray) else now[[0, 1, 0]])
    counted = [800, 700, 500, 0] if now is None else [900, 800, 600, 100]
    assert [ago.row(r).tolist() for r in range(3)] == [counted, [], counted]
    assert one.ago(np.array([0]), 150).values.tolist() == [50, 0, 0, 0]


def test_a_log_is_timed_if_both_its_parts_are():
    assert log().then(log()).timed
    assert log().take(np.array([0])).timed
    assert not log().then(log(timed=False)).timed
    assert replace(log(), timed=False).ago(np.array([0])) is None
    assert isinstance(log().ago(np.array([0])), Ragged)

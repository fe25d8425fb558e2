"""Exact top-k: compiled and NumPy lists are the same lists; late columns are the early ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loopaudit.recommenders import ranking
from loopaudit.recommenders.border import Capabilities, LateColumns, Requests, Slates
from loopaudit.recommenders.datasets import synthetic
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.simulation.platform import history
from loopaudit.simulation.platform.history import HistoryBuffer

awkward = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan, 1e-40, 3e38])
tables = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 80)),
    elements=awkward | st.floats(-3, 3, width=16),
)


def slow_top_k(scores, k, left_out=(), finite=False):
    """Straight from the definition: sort by (score down, index up), drop what is never shown."""
    rows = []
    for r, row in enumerate(scores):
        out = set(left_out[r]) if len(left_out) else set()
        never = [np.isnan(x) or x == -np.inf or (finite and x == np.inf) for x in row]
        ranked = sorted((-x, i) for i, x in enumerate(row) if not never[i] and i not in out)
        items = [i for _, i in ranked[:k]]
        rows.append(items + [-1] * (k - len(items)))
    return np.array(rows, np.int32).reshape(len(scores), k)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(scores=tables, k=st.integers(1, 90), finite=st.booleans(), data=st.data())
def test_compiled_numpy_and_the_definition_give_the_same_lists(scores, k, finite, data):
    n, m = scores.shape
    left_out = data.draw(
        st.lists(st.lists(st.integers(0, m - 1), max_size=5), min_size=n, max_size=n)
    )
    before = scores.copy()
    without = Ragged.from_lists(left_out)
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for worth in (0, 10**9):
            patch.setattr(ranking, "_WORTH_COMPILING", worth)
            found.append(ranking.best(scores, k, without=without, finite=finite))
            assert (ranking.top_k(scores, k) == slow_top_k(scores, k)).all()
    assert np.array_equal(scores, before, equal_nan=True)
    for one in found:
        assert (one.items == slow_top_k(scores, k, left_out, finite)).all()
        assert (one.odd == ~(scores < np.inf).all(axis=1)).all()
    assert (found[0].scores == found[1].scores).all()


class OwnMatrix:
    """Hands out the matrix it keeps: the guard must not write to it."""

    name = "own-matrix"
    capabilities = Capabilities(scores="ordinal")

    def __init__(self, scores):
        self.scores = scores

    def score(self, requests):
        return self.scores[: len(requests)]

    def recommend(self, requests):
        return Slates(np.zeros((len(requests), requests.k), np.int32))


@pytest.mark.parametrize("worth", [0, 10**9])
def test_a_recommenders_own_scores_stay_as_they_are(worth, monkeypatch):
    monkeypatch.setattr(ranking, "_WORTH_COMPILING", worth)
    scores = np.arange(40, dtype=np.float32).reshape(2, 20)
    scores[1, 7] = np.nan
    before = scores.copy()
    guard = Guard(OwnMatrix(scores), n_items=20)
    asked = Requests(np.arange(2, dtype=np.int32), Ragged.from_lists([[19, 18], []]), k=3)
    slates = guard.recommend(asked)
    assert slates.items.tolist() == [[17, 16, 15], [19, 18, 17]]
    assert np.array_equal(scores, before, equal_nan=True)
    assert guard.faults.counts["not_finite"] == 1


def grown(n_users=7, steps=40, seed=0):
    """A buffer and the plain lists it stands for."""
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, n_users, 20)).astype(np.int32)
    item = rng.integers(0, 99, 20).astype(np.int32)
    log = Interactions(user, item, np.arange(20) - 20, n_users, 99, timed=True)
    buffer = HistoryBuffer(log, timed=True)
    lists = [log.histories().row(u).tolist() for u in range(n_users)]
    for step in range(steps):
        who = np.flatnonzero(rng.random(n_users) < 0.6).astype(np.int32)
        what = rng.integers(0, 99, len(who)).astype(np.int32)
        buffer.append(who, what, step)
        for u, i in zip(who, what, strict=True):
            lists[u].append(int(i))
    return buffer, lists


@pytest.mark.parametrize("worth", [0, 10**9])
def test_a_history_holds_what_was_appended_and_stays_what_it_was_when_it_was_asked_for(
    worth, monkeypatch
):
    monkeypatch.setattr(history, "_WORTH_COMPILING", worth)
    buffer, lists = grown()
    who = np.array([3, 0, 6, 3], np.int32)
    then = buffer.of(who)
    expected = [list(lists[u]) for u in who]
    buffer.append(np.array([3], np.int32), np.array([1], np.int32), 40)
    buffer.extend(Ragged.from_lists([[5] * 30, [], [], [7], [], [], []]), np.arange(50, 81))
    assert [then.row(r).tolist() for r in range(4)] == expected
    assert [then.take(np.array([2, 0])).row(r).tolist() for r in range(2)] == [
        expected[2],
        expected[0],
    ]
    now = buffer.of(np.array([3, 0], np.int32))
    assert now.row(0).tolist() == [*lists[3], 1, 7]
    assert now.row(1).tolist() == [*lists[0], *[5] * 30]
    assert buffer.length.tolist()[:2] == [len(lists[0]) + 30, len(lists[1])]


def test_late_columns_are_the_columns_of_those_asked_about():
    whole = {"gender": np.array(["F", "M", "", "F"]), "age": np.array(["18", "30", "60", ""])}
    late = LateColumns(whole, np.array([3, 1]))
    assert {name: late[name].tolist() for name in late} == {"gender": ["F", "M"], "age": ["", "30"]}
    late["gender"][0] = "X"
    assert late.anew()["gender"].tolist() == ["F", "M"]
    asked = Requests(np.array([3, 1], np.int32), Ragged.empty(2), 1, attributes=late)
    assert asked.take(np.array([1])).attributes["age"].tolist() == ["30"]
    assert whole["gender"].tolist() == ["F", "M", "", "F"]


def test_a_market_drawn_in_blocks_is_the_market_drawn_at_once(monkeypatch):
    drawn = []
    for cells, worth in ((10**9, 10**9), (700, 10**9), (10**9, 0), (900, 0)):
        monkeypatch.setattr(synthetic, "_CELLS", cells)
        monkeypatch.setattr(ranking, "_WORTH_COMPILING", worth)
        drawn.append(synthetic.market(users=90, items=70, topics=5, dim=6, seed=3))
    for one in drawn[1:]:
        assert one.log.item.tobytes() == drawn[0].log.item.tobytes()
        assert one.log.step.tobytes() == drawn[0].log.step.tobytes()
        assert one.taste.tobytes() == drawn[0].taste.tobytes()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(keys=hnp.arrays(np.float64, (3, 40), elements=st.integers(-4, 4)), k=st.integers(1, 45))
def test_the_exact_top_k_is_a_stable_sort(keys, k):
    keys = keys + 1e-12 * (keys % 2)  # lost in single precision
    expected = slow_top_k(keys, k)
    with pytest.MonkeyPatch.context() as patch:
        for worth in (0, 10**9):
            patch.setattr(ranking, "_WORTH_COMPILING", worth)
            assert (ranking.top_k_exact(keys, k) == expected).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), m=st.integers(256, 700), k=st.integers(13, 70), data=st.data())
def test_long_lists_begun_with_a_bound_are_the_same_lists(seed, m, k, data):
    rng = np.random.default_rng(seed)
    levels = data.draw(st.sampled_from([1, 3, 40, 10**6]))
    scores = rng.integers(0, levels, (3, m)).astype(np.float32)
    scores[rng.random((3, m)) < data.draw(st.sampled_from([0.0, 0.5, 0.97, 1.0]))] = -np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_WORTH_COMPILING", 0)
        assert (ranking.top_k(scores, k) == slow_top_k(scores, k)).all()


@pytest.mark.parametrize("worth", [0, 10**9])
def test_a_history_tells_how_many_steps_ago_each_item_was_taken(worth, monkeypatch):
    monkeypatch.setattr(history, "_WORTH_COMPILING", worth)
    past = np.array([0, 1, 0], np.int32)
    log = Interactions(past, past, np.array([-3, -2, -1]), 3, 9, timed=True)
    buffer = HistoryBuffer(log, timed=True)
    everybody = np.arange(3, dtype=np.int32)
    before = buffer.ago(everybody, 0)
    for step in range(20):
        buffer.append(np.array([0, 2], np.int32), np.array([4, 4], np.int32), step)
    buffer.extend(Ragged.from_lists([[], [5, 5], []]), np.array([21, 22]))
    assert [before.row(u).tolist() for u in range(3)] == [[3, 1], [2], []]
    after = buffer.ago(everybody, 25)
    assert after.row(0).tolist() == [28, 26, *range(25, 5, -1)]
    assert after.row(1).tolist() == [27, 4, 3]
    assert np.array_equal(after.lengths, buffer.of(everybody).lengths)


def test_a_past_in_order_only_has_no_times():
    log = Interactions(*np.zeros((2, 1), np.int32), np.array([-1]), 1, 9)
    assert HistoryBuffer(log, timed=True).ago(np.zeros(1, np.int32), 5) is None

"""Whatever a recommender does, the guard answers with clean slates and counts what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from loopaudit.recommenders.border import Capabilities, Requests, Slates
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.guard import KINDS, Faults, Guard, Limits
from loopaudit.recommenders.interactions import Interactions, Ragged

N_ITEMS = 8
SCORES = Capabilities(scores="ordinal")


class Answers:
    """A recommender that answers whatever it is told to."""

    name = "answers"

    def __init__(self, answer: Callable[[Requests], Any]) -> None:
        self.answer = answer
        self.calls = 0
        self.asked: Requests | None = None

    def recommend(self, requests: Requests) -> Any:
        self.calls += 1
        self.asked = requests
        return self.answer(requests)


class ScoresOnly:
    name = "scores"
    capabilities = SCORES

    def __init__(self, score: Callable[[Requests], Any]) -> None:
        self.score = score

    def recommend(self, requests: Requests) -> Slates:
        raise AssertionError("a deterministic recommender with scores is served by its scores")


def ask(*histories: list[int], k: int = 3) -> Requests:
    users = np.arange(len(histories), dtype=np.int32)
    return Requests(users, Ragged.from_lists(histories), k)


def guard(recommender: object, **options: Any) -> Guard:
    return Guard(recommender, n_items=N_ITEMS, **options)


def catalog(n: int = N_ITEMS) -> Catalog:
    nobody = np.full(n, -1, np.int32)
    ids = tuple(f"i{i}" for i in range(n))
    return Catalog(ids, ids, np.ones((n, 1), np.float32), ("t",), nobody, nobody)


def log() -> Interactions:
    return Interactions(
        np.array([0, 0, 1], np.int32),
        np.array([0, 1, 2], np.int32),
        np.array([0, 1, 2], np.int64),
        2,
        N_ITEMS,
    )


def assert_clean(slates: Slates, requests: Requests) -> None:
    assert slates.items.shape == (len(requests), requests.k)
    assert slates.items.dtype == np.int32
    assert slates.items.min(initial=0) >= -1
    assert slates.items.max(initial=-1) < N_ITEMS
    for row, items in enumerate(slates.items):
        real = items[items >= 0].tolist()
        assert len(set(real)) == len(real)
        assert not set(real) & set(requests.history.row(row).tolist())
        assert (items[len(real) :] == -1).all()
    for numbers in (slates.scores, slates.propensities):
        if numbers is not None:
            assert numbers.shape == slates.items.shape
            assert numbers.dtype == np.float32
            assert not np.isinf(numbers).any()
    assert slates.errors is None or len(slates.errors) == len(requests)


def test_lists_lose_history_duplicates_and_unknown_items_in_order() -> None:
    rows = np.array([[5, 5, 2, 99, 1, 7], [-1, 3, -7, 4, 0, 6]])
    scores = np.arange(12, dtype=float).reshape(2, 6)
    model = Answers(lambda r: Slates(rows, scores=scores, propensities=scores / 100))
    g = guard(model)
    requests = ask([2, 0, 2], [3])
    slates = g.recommend(requests)
    assert slates.items.tolist() == [[5, 1, 7], [4, 0, 6]]
    assert slates.scores is not None
    assert slates.scores.tolist() == [[0, 4, 5], [9, 10, 11]]
    assert slates.propensities is not None
    assert slates.propensities[0].tolist() == pytest.approx([0, 0.04, 0.05])
    assert g.faults.counts == {"duplicate": 1, "unknown_item": 2}
    assert g.faults.requests == 2
    assert slates.errors is not None
    assert slates.errors[1] is not None
    assert "unknown_item" in slates.errors[1]


def test_the_model_is_asked_for_the_longest_history_more_but_never_more_than_there_is() -> None:
    model = Answers(lambda r: Slates(np.tile(np.arange(r.k, dtype=np.int32), (len(r), 1))))
    guard(model).recommend(ask([0, 1], [2]))
    assert model.asked is not None
    assert model.asked.k == 5
    guard(model).recommend(ask([0, 1, 2, 3, 4, 5, 6], [2]))
    assert model.asked.k == N_ITEMS
    guard(model, filter_history=False).recommend(ask([0, 1], [2]))
    assert model.asked.k == 3


def test_scores_are_masked_and_ties_go_by_item_index() -> None:
    scores = np.array([[1, 1, 9, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 5.0]])
    g = guard(ScoresOnly(lambda r: scores))
    slates = g.recommend(ask([2], []))
    assert slates.items.tolist() == [[0, 1, 3], [7, 0, 1]]
    assert slates.scores is not None
    assert slates.scores.tolist() == [[1, 1, 1], [5, 0, 0]]
    assert scores[0, 2] == 9, "the model's own array is left alone"
    assert g.faults.counts == {}
    assert g.score(ask([2], []))[0, 2] == 9  # type: ignore[index]


def test_a_stochastic_model_draws_its_own_slates_although_it_has_scores() -> None:
    class Sampler:
        name = "sampler"
        capabilities = Capabilities(scores="log_prob", stochastic=True)

        def score(self, requests: Requests) -> Any:
            return np.zeros((len(requests), N_ITEMS), np.float32)

        def recommend(self, requests: Requests) -> Slates:
            return Slates(np.full((len(requests), requests.k), 7, np.int32))

    g = guard(Sampler())
    assert g.recommend(ask([])).items[0, 0] == 7
    assert g.can_score


def test_fewer_items_than_are_left_count_as_short_but_an_exhausted_catalog_does_not() -> None:
    g = guard(Answers(lambda r: Slates(np.full((len(r), 1), 7, np.int32))))
    g.recommend(ask([0]))
    assert g.faults.counts == {"short": 1}
    g = guard(Answers(lambda r: Slates(np.full((len(r), 1), 7, np.int32))))
    assert g.recommend(ask([0, 1, 2, 3, 4, 5, 6])).items.tolist() == [[7, -1, -1]]
    assert g.faults.counts == {}


def crash(_: Requests) -> Any:
    raise ValueError("<script>alert(1)</script>\n\x1b[31m" + "x" * 9999)


def leave(_: Requests) -> Any:
    raise SystemExit(3)


class _Rude:
    """Fights back wherever it is touched."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__array"):
            raise RuntimeError("do not touch")
        return object.__getattribute__(self, name)

    def __len__(self) -> int:
        raise RuntimeError("no length")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (crash, "raised"),
        (leave, "raised"),
        (lambda r: None, "not_slates"),
        (lambda r: [[1, 2, 3]], "not_slates"),
        (lambda r: Slates(None), "wrong_shape"),  # type: ignore[arg-type]
        (lambda r: Slates([[1, 2], [3]]), "wrong_shape"),  # type: ignore[arg-type]
        (lambda r: Slates(np.zeros(3, np.int32)), "wrong_shape"),
        (lambda r: Slates(np.zeros((5, 3), np.int32)), "wrong_shape"),
        (lambda r: Slates(np.zeros((2, 3, 1), np.int32)), "wrong_shape"),
        (lambda r: Slates(np.array([["a", "b"]] * 2)), "wrong_shape"),  # type: ignore[arg-type]
        (lambda r: Slates(np.ones((2, 3), bool)), "wrong_shape"),  # type: ignore[arg-type]
        (lambda r: Slates(np.ones((2, 3), object)), "wrong_shape"),  # type: ignore[arg-type]
        (lambda r: Slates(_Rude()), "wrong_shape"),  # type: ignore[arg-type]
        (lambda r: Slates(np.full((2, 3), np.nan)), "not_finite"),  # type: ignore[arg-type]
        (lambda r: Slates(np.full((2, 3), 2.5)), "unknown_item"),  # type: ignore[arg-type]
        (lambda r: Slates(np.full((2, 3), 2**64 - 1, np.uint64)), "unknown_item"),  # type: ignore[arg-type]
        (lambda r: Slates(np.tile(np.arange(99, dtype=np.int32), (2, 1))), "wrong_shape"),
        (
            lambda r: Slates(np.array([[0, 1, 2]] * 2, np.int32), scores=np.full((2, 3), np.nan)),
            "not_finite",
        ),
        (
            lambda r: Slates(np.array([[0, 1, 2]] * 2, np.int32), scores=np.zeros((2, 2))),
            "wrong_shape",
        ),
        (lambda r: Slates(np.array([[0, 1, 2]] * 2), errors=("broke", "broke")), "raised"),
        (lambda r: Slates(np.array([[0, 1, 2]] * 2), errors=("broke",)), "not_slates"),
        (lambda r: Slates(np.array([[0, 1, 2]] * 2), usage=(1, 2)), "wrong_shape"),  # type: ignore[arg-type]
    ],
)
def test_every_kind_of_nonsense_is_contained_and_counted(
    answer: Callable[[Requests], Any], kind: str
) -> None:
    g = guard(Answers(answer))
    requests = ask([], [])
    slates = g.recommend(requests)
    assert_clean(slates, requests)
    assert g.faults.counts[kind] >= 1
    assert slates.errors is not None
    assert slates.errors[0] is not None
    assert all(len(text) <= 200 and text.isprintable() for text in g.faults.examples)


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        (lambda r: np.full((2, N_ITEMS), np.nan), "not_finite"),
        (lambda r: np.full((2, N_ITEMS), np.inf), "not_finite"),
        (lambda r: np.full((2, N_ITEMS), 1e300), "not_finite"),
        (lambda r: np.zeros((2, N_ITEMS - 1)), "wrong_shape"),
        (lambda r: np.zeros((3, N_ITEMS)), "wrong_shape"),
        (lambda r: "scores", "wrong_shape"),
        (lambda r: None, "wrong_shape"),
        (crash, "raised"),
    ],
)
def test_bad_scores_are_contained_and_counted(scores: Callable[[Requests], Any], kind: str) -> None:
    g = guard(ScoresOnly(scores))
    requests = ask([], [])
    slates = g.recommend(requests)
    assert (slates.items == -1).all()
    assert g.faults.counts[kind] == 2
    before = dict(g.faults.counts)
    matrix = g.score(requests)
    assert matrix is None or np.isneginf(matrix).all()
    assert g.faults.counts[kind] == before[kind] + 2


def test_one_nan_takes_out_an_item_not_the_row() -> None:
    scores = np.tile(np.arange(N_ITEMS, dtype=np.float32), (2, 1))
    scores[0, 7] = np.nan
    g = guard(ScoresOnly(lambda r: scores))
    assert g.recommend(ask([], [])).items.tolist() == [[6, 5, 4], [7, 6, 5]]
    assert g.faults.counts == {"not_finite": 1}


def test_an_item_the_model_scores_minus_infinity_is_never_shown() -> None:
    scores = np.full((1, N_ITEMS), -np.inf)
    scores[0, 3] = 0
    g = guard(ScoresOnly(lambda r: scores))
    assert g.recommend(ask([])).items.tolist() == [[3, -1, -1]]


def hang(_: Requests) -> Any:
    while True:
        time.sleep(0.01)


def hang_and_swallow(_: Requests) -> Any:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            time.sleep(0.05)
        except BaseException:
            if time.monotonic() > until - 4.5:  # gives in to the second alarm or a later one
                raise


@pytest.mark.parametrize("model", [hang, hang_and_swallow])
def test_a_hang_ends_at_the_limit(model: Callable[[Requests], Any]) -> None:
    g = guard(Answers(model), limits=Limits(seconds_per_call=0.2))
    started = time.monotonic()
    slates = g.recommend(ask([], []))
    assert time.monotonic() - started < 2
    assert (slates.items == -1).all()
    assert g.faults.counts == {"timed_out": 2}


def test_a_hang_outside_the_main_thread_ends_at_the_limit_too() -> None:
    release = threading.Event()

    def wait(requests: Requests) -> Slates:
        release.wait(10)
        return Slates(np.zeros((len(requests), 1), np.int32))

    g = guard(Answers(wait), limits=Limits(seconds_per_call=0.2, strikes=9))
    results: list[Slates] = []

    def work() -> None:
        results.append(g.recommend(ask([])))
        started = time.monotonic()
        results.append(g.recommend(ask([])))  # still busy: not waited for again
        assert time.monotonic() - started < 0.1

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert len(results) == 2
    assert g.faults.counts == {"timed_out": 2}
    release.set()


def test_errors_in_a_thread_are_contained_too() -> None:
    g = guard(Answers(crash))
    thread = threading.Thread(target=lambda: g.recommend(ask([])))
    thread.start()
    thread.join(5)
    assert g.faults.counts == {"raised": 1}


def test_three_strikes_switch_a_recommender_off_and_success_forgives() -> None:
    bad = [True, True, False, True, True, True]

    def moody(requests: Requests) -> Slates:
        if bad.pop(0):
            raise RuntimeError("moody")
        return Slates(np.tile(np.arange(3, dtype=np.int32), (len(requests), 1)))

    model = Answers(moody)
    g = guard(model)
    for _ in range(8):
        g.recommend(ask([], []))
    assert model.calls == 6
    assert g.faults.counts == {"raised": 10, "switched_off": 4}
    assert g.faults.off


def test_the_interrupt_key_passes_through() -> None:
    def interrupt(_: Requests) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard(Answers(interrupt)).recommend(ask([]))


def test_max_batch_cuts_batches_and_the_answer_is_the_same() -> None:
    class Echo:
        name = "echo"

        def __init__(self, max_batch: int | None) -> None:
            self.capabilities = Capabilities(max_batch=max_batch)
            self.sizes: list[int] = []

        def recommend(self, requests: Requests) -> Slates:
            self.sizes.append(len(requests))
            items = (requests.users[:, None] + np.arange(requests.k)) % N_ITEMS
            return Slates(items.astype(np.int32), scores=items.astype(np.float32))

    requests = ask([], [1], [2, 3], [], [5])
    whole, cut = Echo(None), Echo(2)
    a, b = guard(whole).recommend(requests), guard(cut).recommend(requests)
    assert (whole.sizes, cut.sizes) == ([5], [2, 2, 1])
    np.testing.assert_array_equal(a.items, b.items)
    np.testing.assert_array_equal(a.scores, b.scores)


def test_texts_travel_with_their_items() -> None:
    given = Slates(
        np.array([[2, 5, 1]], np.int32),
        structure="page",
        text=(("two", "five", "one"),),
        slate_text=("<script>",),
        raw_names=(("Two", "Five", "One"),),
        usage=({"tokens": 3},),
        latency_seconds=np.array([0.5]),
    )
    slates = guard(Answers(lambda r: given)).recommend(ask([2], k=3))
    assert slates.items.tolist() == [[5, 1, -1]]
    assert slates.text == (("five", "one", None),)
    assert slates.slate_text == ("<script>",)
    assert slates.raw_names == (("Two", "Five", "One"),)
    assert slates.usage == ({"tokens": 3.0},)
    assert slates.structure == "page"
    assert slates.latency_seconds is not None
    assert slates.latency_seconds.tolist() == [0.5]


def test_a_model_that_writes_into_its_input_harms_nobody() -> None:
    def vandal(requests: Requests) -> Slates:
        requests.users[:] = 0
        requests.history.values[:] = 0
        requests.attributes["gender"][:] = "X"  # type: ignore[index]
        return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))

    class Vandal(Answers):
        def fit(self, log: Interactions, catalog: Catalog, **_: Any) -> None:
            log.item[:] = 0
            catalog.topics[:] = 0

    requests = Requests(
        np.array([3, 4], np.int32),
        Ragged.from_lists([[1], [2]]),
        3,
        attributes={"gender": np.array(["F", "M"])},
    )
    g, past, items = guard(Vandal(vandal)), log(), catalog()
    g.fit(past, items)
    slates = g.recommend(requests)
    assert requests.users.tolist() == [3, 4]
    assert requests.history.values.tolist() == [1, 2]
    assert requests.attributes["gender"].tolist() == ["F", "M"]
    assert slates.items.tolist() == [[0, 2, 3], [0, 1, 3]]
    assert past.item.tolist() == [0, 1, 2]
    assert items.topics.sum() == N_ITEMS


class Learner:
    """Learns by refitting, remembers how often."""

    name = "learner"
    capabilities = Capabilities(update="refit")

    def __init__(self, fail: str = "") -> None:
        self.fail, self.fits = fail, 0

    def fit(self, log: Interactions, catalog: Catalog, *, seed: int = 0, progress: Any) -> None:
        self.fits += 1
        if "fit" in self.fail.split() or (self.fits > 1 and "refit" in self.fail):
            raise RuntimeError("cannot learn")

    def recommend(self, requests: Requests) -> Slates:
        return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))

    def state(self) -> Any:
        if "state" in self.fail:
            return {"x": [object()]}
        return {"fits": np.array(self.fits)}

    def load_state(self, state: Any) -> None:
        self.fits = int(state["fits"])


def test_update_refits_a_recommender_that_only_refits() -> None:
    model = Learner()
    g = guard(model)
    g.fit(log(), catalog())
    g.update(log(), since=0)
    assert model.fits == 2
    again = guard(Learner(), catalog=catalog())
    state = g.state()
    assert state is not None
    again.load_state(state)
    again.update(log(), since=0)
    assert again.recommender.fits == 3  # type: ignore[attr-defined]
    assert again.faults.counts == {}


def test_one_that_cannot_learn_at_first_is_not_asked_and_later_goes_on_as_it_was() -> None:
    g = guard(Learner("fit"))
    g.fit(log(), catalog())
    assert (g.recommend(ask([])).items == -1).all()
    assert g.faults.counts == {"fit_failed": 1, "switched_off": 1}
    assert "cannot learn" in g.faults.examples[0]
    g = guard(Learner("refit"))
    g.fit(log(), catalog())
    g.update(log(), since=0)
    assert g.recommend(ask([])).items.tolist() == [[0, 1, 2]]
    assert g.faults.counts == {"fit_failed": 1}


def test_a_fit_that_hangs_ends_at_its_own_limit() -> None:
    class Slow(Learner):
        def fit(self, *_: Any, **__: Any) -> None:
            time.sleep(30)

    g = guard(Slow(), limits=Limits(seconds_per_fit=0.2))
    g.fit(log(), catalog())
    assert g.faults.counts == {"fit_failed": 1}
    assert g.faults.off


def test_a_state_that_is_no_set_of_arrays_is_no_state() -> None:
    g = guard(Learner("state"))
    assert g.state() is None
    assert g.faults.counts == {"wrong_shape": 1}
    assert guard(Answers(crash)).state() is None
    broken = guard(Learner())
    broken.load_state({})
    assert broken.faults.off


def test_a_recommender_that_only_recommends_is_enough() -> None:
    class Bare:
        def recommend(self, requests: Requests) -> Slates:
            return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))

    g = guard(Bare())
    g.fit(log(), catalog())
    g.update(log(), since=0)
    assert g.name == "Bare"
    assert g.capabilities == Capabilities()
    assert g.score(ask([])) is None
    assert g.recommend(ask([], [0])).items.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert g.faults.counts == {}


def test_properties_that_raise_do_not_matter() -> None:
    class Nasty(Answers):
        @property
        def name(self) -> str:  # type: ignore[override]
            raise RuntimeError

        @property
        def capabilities(self) -> Capabilities:
            raise SystemExit

    g = guard(Nasty(crash))
    assert g.name == "Nasty"
    assert g.capabilities == Capabilities()


def test_capabilities_of_the_wrong_type_do_not_matter() -> None:
    model = Answers(lambda r: Slates(np.tile(np.arange(3, dtype=np.int32), (len(r), 1))))
    for batch in ("5", -1, 0, 2.5, True):
        model.capabilities = Capabilities(max_batch=batch)  # type: ignore[arg-type,attr-defined]
        assert guard(model).recommend(ask([], [0])).items.tolist() == [[0, 1, 2], [1, 2, -1]]


def test_faults_survive_json_and_add_up() -> None:
    a, b = Faults(), Faults()
    a.requests, b.requests = 3, 4
    a.add("raised", 2, "one")
    b.add("raised", 1, "two")
    b.add("short", 4)
    b.strikes, b.off = 3, True
    a.unanswered, b.unanswered = 2, 1
    a.merge(Faults.from_dict(b.to_dict()))
    assert a.to_dict() == {
        "requests": 7,
        "counts": {"raised": 3, "short": 4},
        "examples": ["raised: one", "raised: two", f"short: {KINDS['short']}"],
        "unanswered": 3,
        "strikes": 3,
        "off": True,
    }
    for i in range(50):
        a.add(list(KINDS)[i % 10], 1, f"another {i}")
    assert len(a.examples) == 5


anything = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=5),
    st.lists(st.lists(st.integers(-3, 12), max_size=6), max_size=3),
    arrays(
        dtype=st.sampled_from([np.int8, np.int32, np.uint64, np.float32, bool, "U2"]),
        shape=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
    ),
    arrays(np.int64, st.just((2, 6)), elements=st.integers(-3, 12)),
)
histories = st.lists(st.integers(0, N_ITEMS - 1), max_size=9)


@settings(max_examples=200, deadline=None)
@given(
    items=anything,
    scores=anything,
    text=anything,
    errors=anything,
    bare=st.booleans(),
    first=histories,
    second=histories,
    k=st.integers(1, 12),
)
def test_arbitrary_garbage_never_raises_and_always_gives_clean_slates(
    items: Any, scores: Any, text: Any, errors: Any, bare: bool, first: Any, second: Any, k: int
) -> None:
    answer = items if bare else Slates(items, scores, scores, "list", text, text, text, errors)
    requests = ask(first, second, k=k)
    for model in (Answers(lambda r: answer), ScoresOnly(lambda r: scores)):
        g = guard(model)
        assert_clean(g.recommend(requests), requests)
        matrix = g.score(requests)
        assert matrix is None or not np.isnan(matrix).any()
        assert set(g.faults.counts) <= set(KINDS)


@settings(max_examples=50, deadline=None)
@given(
    scores=arrays(np.float32, (2, N_ITEMS), elements=st.integers(-2, 2).map(np.float32)),
    first=histories,
    second=histories,
    k=st.integers(1, 10),
)
def test_scores_and_the_list_they_imply_give_the_same_slates(
    scores: Any, first: Any, second: Any, k: int
) -> None:
    requests = ask(first, second, k=k)
    order = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
    by_score = guard(ScoresOnly(lambda r: scores)).recommend(requests)
    by_list = guard(Answers(lambda r: Slates(order[:, : r.k]))).recommend(requests)
    np.testing.assert_array_equal(by_score.items, by_list.items)


def test_only_people_who_were_shown_nothing_count_as_unanswered() -> None:
    wide = guard(Answers(lambda r: Slates(np.tile(np.arange(9, dtype=np.int32), (len(r), 1)))))
    wide.recommend(ask([], [0]))
    assert wide.faults.counts["wrong_shape"] == 2  # noted and cut, yet both were served
    assert wide.faults.unanswered == 0
    crashed = guard(Answers(lambda r: 1 / 0))  # type: ignore[arg-type,return-value]
    crashed.recommend(ask([], [0]))
    assert crashed.faults.unanswered == 2
    nan = np.full((2, N_ITEMS), np.nan, np.float32)
    useless = guard(ScoresOnly(lambda r: nan))
    useless.recommend(ask([], [0]))
    assert useless.faults.unanswered == 2  # it answered, but nothing could be shown
    exhausted = guard(ScoresOnly(lambda r: nan[: len(r)]))
    exhausted.recommend(ask(list(range(N_ITEMS))))
    assert exhausted.faults.unanswered == 0  # there was nothing left to show


def test_one_that_leaves_out_what_is_old_is_asked_for_exactly_what_is_shown():
    asked = []

    class Composer:
        name, capabilities = "composer", Capabilities(unseen=True)

        def recommend(self, requests):
            asked.append((requests.k, requests.slate, requests.rows))
            return Slates(np.tile(np.arange(5, 5 + requests.k, dtype=np.int32), (2, 1)))

    histories = Ragged.from_lists([[0, 1, 2], [3]])
    request = Requests(np.arange(2, dtype=np.int32), histories, 4, slate=4, rows=2)
    answer = Guard(Composer(), n_items=20).recommend(request)
    assert asked == [(4, 4, 2)]
    assert answer.items.tolist() == [[5, 6, 7, 8]] * 2

"""The tests every recommender must pass, built in or yours: inherit them, say how to make one.

    from loopaudit.recommenders.testing import RecommenderContract

    class TestMine(RecommenderContract):
        def make(self):
            return Mine(epochs=2)

pytest and unittest collect it; without either, :func:`verify` runs it, and so does
``loopaudit check my_package:Mine``. Each test stands for a trap
that was met in a real library: a history that is accepted and ignored, an empty list without a
word, a batch that leaks into its neighbours. What does not apply is skipped with the reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from .border import Capabilities, Requests, Slates, State
from .catalog import Catalog
from .guard import Guard
from .interactions import Interactions, Ragged
from .randomness import generator
from .ranking import top_k

__all__ = ["RecommenderContract", "verify"]

_GROUPS = 4


def demand(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds (also under ``-O``)."""
    if not condition:
        raise AssertionError(message)


class RecommenderContract:
    """Inherit this and define :meth:`make`.

    Attributes:
        n_users, n_items: size of the little world the tests are played in: four groups of people
            who mostly take items of their own topic, and take rarer ones later on.
        k: slate length.
        ratings: whether the log holds ratings from 1 to 5, for what learns from nothing else.
        score_tolerance: slots may differ where scores are this close, because floating-point
            sums depend on the batch in most libraries; 0 for a recommender whose runs must be
            the same byte for byte however people are batched.
    """

    n_users: int = 48
    n_items: int = 80
    k: int = 10
    ratings: bool = False
    score_tolerance: float = 1e-5

    def make(self) -> Any:
        """A new, unfitted recommender; small enough to fit in a second."""
        raise NotImplementedError("define make() to return a new, unfitted recommender")

    # -- the little world ----------------------------------------------------------------------

    def catalog(self) -> Catalog:
        """The items; override where yours needs text or vectors."""
        topics = np.eye(_GROUPS, dtype=np.float32)[np.arange(self.n_items) % _GROUPS]
        nobody = np.full(self.n_items, -1, dtype=np.int32)
        return Catalog(
            ids=tuple(f"item-{i}" for i in range(self.n_items)),
            titles=tuple(f"Item {i}" for i in range(self.n_items)),
            topics=topics,
            topic_names=tuple(f"topic {g}" for g in range(_GROUPS)),
            provider=nobody,
            provider_group=nobody,
        )

    def log(self) -> Interactions:
        """Sixteen interactions a person; the second half of the log prefers other items."""
        luck = generator(0, "contract", "log")
        user = np.tile(np.arange(self.n_users, dtype=np.int32), 16)
        late = np.arange(len(user)) >= len(user) // 2
        per_group = self.n_items // _GROUPS
        rank = np.minimum(luck.geometric(0.15, len(user)) - 1, per_group - 1)
        rank = np.where(late, per_group - 1 - rank, rank)
        group = np.where(luck.random(len(user)) < 0.85, user % _GROUPS, luck.integers(0, _GROUPS))
        item = (rank * _GROUPS + group).astype(np.int32)
        step = np.arange(len(user), dtype=np.int64)
        liked = np.where(group == user % _GROUPS, 4, 2) + luck.integers(-1, 2, len(user))
        value = liked.astype(np.float32) if self.ratings else None
        return Interactions(user, item, step, self.n_users, self.n_items, value, timed=True)

    def requests(
        self, users: NDArray[np.integer] | None = None, *, k: int = 0, seed: int = 0
    ) -> Requests:
        """What people of the log ask, with their own histories."""
        users = np.arange(self.n_users) if users is None else users
        return Requests(
            np.asarray(users, dtype=np.int32),
            self.log().histories().take(users),
            k or self.k,
            seed=seed,
            attributes={"gender": np.where(np.asarray(users) % 2 == 0, "F", "M")},
            ago=self.log().ago(users),
        )

    def fitted(self, seed: int = 0) -> Any:
        """A recommender fitted on the log, if it fits."""
        recommender = self.make()
        if hasattr(recommender, "fit"):
            recommender.fit(self.log(), self.catalog(), seed=seed, progress=None)
        return recommender

    # -- what it says of itself ----------------------------------------------------------------

    def test_it_says_what_it_can_do(self) -> None:
        recommender = self.make()
        name, says = recommender.name, recommender.capabilities
        demand(isinstance(name, str) and name, f"name must be a text, got {name!r}")
        demand(isinstance(says, Capabilities), f"capabilities must be Capabilities, got {says!r}")
        for field, known in (
            ("history", ("any", "trained_users_only", "none")),
            ("scores", ("none", "ordinal", "log_prob")),
            ("update", ("none", "refit", "incremental")),
        ):
            said = getattr(says, field)
            demand(said in known, f"capabilities.{field} must be one of {known}, got {said!r}")
        if says.scores != "none":
            demand(hasattr(recommender, "score"), f"it declares {says.scores} scores, has no score")
        if says.update == "incremental":
            demand(hasattr(recommender, "update"), "it declares updates, but has no update")
        if says.update == "refit":
            able = hasattr(recommender, "update") or hasattr(recommender, "fit")
            demand(able, "it declares refitting, but has neither update nor fit")

    # -- the shape of an answer ----------------------------------------------------------------

    def test_a_slate_has_at_most_k_items_that_exist(self) -> None:
        recommender = self.fitted()
        slates = _ask(recommender, self.requests())
        n_rows = len(slates.items)
        demand(n_rows == self.n_users, f"{n_rows} slates for {self.n_users} requests")
        demand(slates.items.shape[1] <= self.k, f"{slates.items.shape[1]} items, asked {self.k}")
        if _says(recommender).closed_catalog:
            low, high = slates.items.min(), slates.items.max()
            inside = low >= -1 and high < self.n_items
            demand(inside, f"items {low}..{high} of a catalog of {self.n_items}")

    def test_guarded_slates_are_full_unique_and_unseen(self) -> None:
        requests = self.requests()
        guard = self._guard(self.fitted())
        slates = guard.recommend(requests)
        for row, items in enumerate(slates.items):
            shown = items[items >= 0]
            demand(len(set(shown)) == len(shown), f"row {row} repeats an item: {shown}")
            seen = set(shown) & set(requests.history.row(row))
            demand(not seen, f"row {row} shows what the person has had: {seen}")
        self._demand_no_faults(guard)

    def test_more_items_than_exist_may_be_asked_for(self) -> None:
        guard = self._guard(self.fitted())
        slates = guard.recommend(self.requests(np.arange(3), k=self.n_items + 5))
        for items in slates.items:
            shown = items[items >= 0]
            demand(len(set(shown)) == len(shown), f"an item is repeated: {shown}")
        self._demand_no_faults(guard, allowed=("short",))

    def test_a_person_it_never_met_is_served_or_refused(self) -> None:
        guard = self._guard(self.fitted())
        requests = self.requests(np.arange(4))
        slates = guard.recommend(replace(requests, users=np.full(4, -1, dtype=np.int32)))
        self._demand_served_or_refused(guard, slates, "an unknown person")

    def test_an_empty_history_is_served_or_refused(self) -> None:
        guard = self._guard(self.fitted())
        requests = replace(self.requests(np.arange(4)), history=Ragged.empty(4), ago=None)
        slates = guard.recommend(requests)
        self._demand_served_or_refused(guard, slates, "an empty history")

    def test_who_reads_times_does_without_where_only_the_order_is_known(self) -> None:
        guard = self._guard(self.fitted())
        if "times" not in guard.capabilities.inputs:
            raise SkipTest("it does not say that it reads times")
        slates = guard.recommend(replace(self.requests(), ago=None))
        self._demand_no_faults(guard)
        self._demand_served_or_refused(guard, slates, "a history without times")

    def test_names_in_any_script_are_served(self) -> None:
        plain = self.catalog()
        marks = ("é", "映画", "🎬", "<b>&amp;", "'; --", "\u202e", "a\tb\n", "")
        odd = replace(
            plain,
            ids=tuple(f"{marks[i % len(marks)]}{i}" for i in range(self.n_items)),
            titles=tuple(marks[i % len(marks)] for i in range(self.n_items)),
        )
        recommender = self.make()
        if not hasattr(recommender, "fit"):
            raise SkipTest("it is not fitted, so it never sees names")
        recommender.fit(self.log(), odd, seed=0, progress=None)
        guard = self._guard(recommender)
        slates = guard.recommend(self.requests())
        self._demand_no_faults(guard)
        if "text" not in _says(recommender).inputs:
            expected = self._guard(self.fitted()).recommend(self.requests())
            self._demand_same(slates, expected, "other ids and titles change the slates")

    # -- one request does not depend on the others ---------------------------------------------

    def test_a_batch_equals_its_requests_one_by_one(self) -> None:
        guard = self._guard(self.fitted())
        requests = self.requests()
        whole = guard.recommend(requests)
        for row in range(0, self.n_users, 5):
            alone = guard.recommend(requests.take(np.array([row])))
            self._demand_same(alone, _rows(whole, [row]), f"row {row} alone differs from its batch")

    def test_permuting_the_batch_permutes_the_slates(self) -> None:
        guard = self._guard(self.fitted())
        requests = self.requests()
        order = generator(0, "contract", "order").permutation(self.n_users)
        mixed = guard.recommend(requests.take(order))
        expected = _rows(guard.recommend(requests), order)
        self._demand_same(mixed, expected, "slates depend on the order of the batch")

    # -- luck ----------------------------------------------------------------------------------

    def test_the_same_seed_gives_the_same_slates(self) -> None:
        recommender = self.fitted()
        if not _says(recommender).seedable:
            raise SkipTest("it says it is not seedable")
        guard = self._guard(recommender)
        first, again = (guard.recommend(self.requests(seed=5)) for _ in range(2))
        self._demand_same(first, again, "the same requests were answered in two ways")

    def test_seeds_matter_if_and_only_if_it_is_stochastic(self) -> None:
        recommender = self.fitted()
        guard = self._guard(recommender)
        one, two = (guard.recommend(self.requests(seed=seed)) for seed in (1, 2))
        if _says(recommender).stochastic:
            differ = not np.array_equal(one.items, two.items)
            demand(differ, "it says it is stochastic, but two seeds give the same slates")
        else:
            self._demand_same(one, two, "it says it is not stochastic, but seeds change its slates")

    def test_fitting_twice_with_one_seed_gives_the_same_slates(self) -> None:
        recommender = self.fitted(seed=3)
        if not hasattr(recommender, "fit") or not _says(recommender).seedable:
            raise SkipTest("it is not fitted, or says it is not seedable")
        first = self._guard(recommender).recommend(self.requests())
        other = self._guard(self.fitted(seed=3)).recommend(self.requests())
        self._demand_same(first, other, "two instances fitted with one seed differ")
        recommender.fit(self.log(), self.catalog(), seed=3, progress=None)
        again = self._guard(recommender).recommend(self.requests())
        self._demand_same(first, again, "fitting the same instance again changes its slates")

    # -- history -------------------------------------------------------------------------------

    def test_another_history_gives_another_ranking(self) -> None:
        """Compared on items in neither history: filtering alone changes lists, not rankings."""
        recommender = self.fitted()
        if _says(recommender).history != "any":
            raise SkipTest(f"it says history={_says(recommender).history!r}")
        items = np.arange(self.n_items, dtype=np.int32)
        one, two = items[items % _GROUPS == 0][:8], items[items % _GROUPS == 1][:8]
        asked = Requests(
            np.zeros(2, dtype=np.int32),
            Ragged.from_lists([one.tolist(), two.tolist()]),
            self.n_items,
            attributes={"gender": np.array(["F", "F"])},
        )
        ranked = self._guard(recommender, filter_history=False).recommend(asked).items
        outside = [row[(row >= 0) & ~np.isin(row, [*one, *two])] for row in ranked]
        ignored = np.array_equal(outside[0], outside[1])
        demand(not ignored, "two histories without a common item get the same ranking of the rest")

    # -- scores --------------------------------------------------------------------------------

    def test_scores_are_finite_and_cover_the_catalog(self) -> None:
        recommender = self._with_scores()
        scores = np.asarray(recommender.score(self.requests()))
        shape = (self.n_users, self.n_items)
        demand(scores.shape == shape, f"scores {scores.shape}, expected {shape}")
        demand(not np.isnan(scores).any(), "some scores are NaN")
        demand(not np.isposinf(scores).any(), "some scores are +inf")
        if _says(recommender).scores == "log_prob":
            total = np.exp(scores.astype(np.float64)).sum(axis=1)
            close = np.allclose(total, 1.0, atol=1e-3)
            demand(close, f"log_prob scores must sum to 1, got {total.min()}..{total.max()}")

    def test_its_lists_follow_its_scores(self) -> None:
        recommender = self._with_scores()
        if _says(recommender).stochastic:
            raise SkipTest("it draws its lists")
        requests = self.requests()
        scores = np.array(recommender.score(requests), dtype=np.float32)
        scores[requests.history.row_index, requests.history.values] = -np.inf
        best = top_k(scores, self.k)
        values = np.take_along_axis(scores, np.maximum(best, 0).astype(np.int64), axis=1)
        listed = self._guard(_ListsOnly(recommender)).recommend(requests)
        own = np.take_along_axis(scores, np.maximum(listed.items, 0).astype(np.int64), axis=1)
        self._demand_same(
            Slates(listed.items, own), Slates(best, values), "recommend and score disagree"
        )

    # -- memory --------------------------------------------------------------------------------

    def test_an_update_changes_something(self) -> None:
        recommender = self.make()
        log = self.log()
        half = len(log) // 2
        guard = self._guard(recommender, filter_history=False)
        guard.fit(log.take(np.arange(half)), self.catalog(), seed=0)
        if _says(recommender).update == "none":  # another process says it when it has begun
            raise SkipTest("it says it does not update")
        asked = self.requests(k=self.n_items)
        before = guard.recommend(asked)
        guard.update(log, since=half, seed=1)
        after = guard.recommend(asked)
        self._demand_no_faults(guard, allowed=("short",))
        changed = not np.array_equal(before.items, after.items)
        demand(changed, "an update with as many new interactions as old ones changed no ranking")

    def test_its_memory_survives_a_round_trip(self) -> None:
        recommender = self.fitted()
        if not hasattr(recommender, "state"):
            raise SkipTest("it has no state")
        state = _saved_and_loaded(recommender.state())
        other = self.make()
        other.load_state(state)
        _demand_equal_states(recommender.state(), other.state(), "after loading")
        first, second = self._guard(recommender), self._guard(other)
        requests = self.requests()
        mine, loaded = first.recommend(requests), second.recommend(requests)
        demand(np.array_equal(mine.items, loaded.items), "slates differ after loading")
        if _says(recommender).update != "none":
            log = self.log()
            for guard in (first, second):
                guard.update(log, since=len(log) // 2, seed=7)
                self._demand_no_faults(guard, allowed=("short",))
            _demand_equal_states(recommender.state(), other.state(), "after one more update")

    def test_what_it_is_given_stays_as_it_was(self) -> None:
        log, catalog, requests = self.log(), self.catalog(), self.requests()
        given = _arrays(log) + _arrays(requests) + _arrays(requests.history) + _arrays(catalog)
        copies = [array.copy() for array in given]
        recommender = self.make()
        if hasattr(recommender, "fit"):
            recommender.fit(log, catalog, seed=0, progress=None)
        _ask(recommender, requests)
        if _says(recommender).scores != "none":
            recommender.score(requests)
        if hasattr(recommender, "update") and _says(recommender).update != "none":
            recommender.update(log, since=len(log) // 2, seed=0)
        for array, copy in zip(given, copies, strict=True):
            demand(np.array_equal(array, copy), "it changed an array that it was given")

    # -- how the tests judge -------------------------------------------------------------------

    def _guard(self, recommender: Any, *, filter_history: bool = True) -> Guard:
        return Guard(
            recommender,
            n_items=self.n_items,
            filter_history=filter_history,
            catalog=self.catalog(),
        )

    def _with_scores(self) -> Any:
        recommender = self.fitted()
        if _says(recommender).scores == "none":
            raise SkipTest("it says it has no scores")
        return recommender

    def _demand_same(self, one: Slates, two: Slates, message: str) -> None:
        differ = one.items != two.items
        if differ.any() and one.scores is not None and two.scores is not None:
            a, b = one.scores.astype(np.float64), two.scores.astype(np.float64)
            room = self.score_tolerance * np.maximum(1.0, np.abs(b))
            with np.errstate(invalid="ignore"):
                differ &= ~(np.abs(a - b) <= room)
        if differ.any():
            row = int(np.flatnonzero(differ.any(axis=1))[0])
            demand(False, f"{message}: {one.items[row]} and {two.items[row]}")

    def _demand_no_faults(self, guard: Guard, allowed: tuple[str, ...] = ()) -> None:
        # where it may name what does not exist, such a slot stays empty
        may = () if guard.capabilities.closed_catalog else ("unknown_item", "short")
        counted = {k: n for k, n in guard.faults.counts.items() if k not in {*may, *allowed}}
        demand(not counted, f"the guard had to step in: {counted} {guard.faults.examples}")

    def _demand_served_or_refused(self, guard: Guard, slates: Slates, whom: str) -> None:
        errors = slates.errors or (None,) * len(slates)
        for items, error in zip(slates.items, errors, strict=True):
            served = (items >= 0).sum() == self.k
            demand(served or error, f"{whom} got {items} and no error that says why")
        # "raised" is also how an error reported for a row is counted: that is refusing politely
        if not any(errors):
            self._demand_no_faults(guard)


class _ListsOnly:
    """A recommender without its scores, so that the guard asks it for lists."""

    def __init__(self, recommender: Any) -> None:
        self.name = recommender.name
        self.capabilities = replace(recommender.capabilities, scores="none")
        self.recommend: Callable[[Requests], Slates] = recommender.recommend


def verify(
    make: Callable[[], Any], *, contract: RecommenderContract | None = None
) -> dict[str, str]:
    """Run the contract without a test framework.

    Args:
        make: returns a new, unfitted recommender.
        contract: sizes and kind of the little world; the default one when None.

    Returns:
        By test name: "passed", "skipped: why" or "failed: why".
    """
    contract = contract or RecommenderContract()
    contract.make = make  # type: ignore[method-assign]
    results = {}
    for name in [name for name in dir(contract) if name.startswith("test_")]:
        try:
            getattr(contract, name)()
            results[name] = "passed"
        except SkipTest as reason:
            results[name] = f"skipped: {reason}"
        except Exception as error:
            results[name] = f"failed: {type(error).__name__}: {error}"
    return results


def _says(recommender: Any) -> Capabilities:
    says = recommender.capabilities
    return says if isinstance(says, Capabilities) else Capabilities()


def _ask(recommender: Any, requests: Requests) -> Slates:
    """The raw answer, in batches no larger than it can take."""
    size = _says(recommender).max_batch or len(requests)
    parts = []
    for at in range(0, len(requests), size):
        part = recommender.recommend(requests.take(np.arange(at, min(at + size, len(requests)))))
        demand(isinstance(part, Slates), f"recommend must return Slates, got {type(part).__name__}")
        items = np.asarray(part.items)
        shaped = items.ndim == 2 and items.dtype.kind in "iu"
        demand(shaped, f"items must be whole numbers (n, k), got {items.dtype} {items.shape}")
        parts.append(items)
    widest = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, 0), (0, widest - part.shape[1])), constant_values=-1) for part in parts
    ]
    return Slates(np.concatenate(padded))


def _rows(slates: Slates, rows: Any) -> Slates:
    return Slates(slates.items[rows], None if slates.scores is None else slates.scores[rows])


def _arrays(record: object) -> list[NDArray[np.generic]]:
    return [value for value in vars(record).values() if isinstance(value, np.ndarray)]


def _saved_and_loaded(state: State) -> State:
    for name, array in state.items():
        plain = isinstance(array, np.ndarray) and array.dtype.kind != "O"
        demand(plain, f"state {name!r} must be an array of numbers or texts, got {array!r:.60}")
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _demand_equal_states(one: State, two: State, when: str) -> None:
    demand(one.keys() == two.keys(), f"{when}: states have other names, {one.keys() ^ two.keys()}")
    for name in one:
        same = np.asarray(one[name]).tobytes() == np.asarray(two[name]).tobytes()
        demand(same, f"{when}: array {name!r} of the state differs")

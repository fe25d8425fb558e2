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

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from .answer import raw_name
from .border import Capabilities, Requests, Slates
from .catalog import Catalog
from .demands import (
    ListsOnly,
    arrays_of,
    ask,
    declared,
    demand,
    demand_equal_states,
    rows_of,
    saved_and_loaded,
)
from .faults import described
from .guard import Guard
from .interactions import Interactions, Ragged
from .randomness import generator
from .ranking import top_k

__all__ = ["RecommenderContract", "verify"]

_GROUPS = 4
NOT_TRIED = "failed: not tried, after two tests without an answer in time"


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
        slates = ask(recommender, self.requests())
        n_rows = len(slates.items)
        demand(n_rows == self.n_users, f"{n_rows} slates for {self.n_users} requests")
        demand(slates.items.shape[1] <= self.k, f"{slates.items.shape[1]} items, asked {self.k}")
        if declared(recommender).closed_catalog:
            strange = np.argwhere((slates.items < -1) | (slates.items >= self.n_items))
            if len(strange):
                row, slot = strange[0].tolist()
                name = raw_name(slates, row, slot) or f"there is no item {slates.items[row, slot]}"
                ids = f"0 to {self.n_items - 1}, ids item-0 to item-{self.n_items - 1}"
                demand(False, f"{name}; the items of this test, of which fit is told: {ids}")

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
        if "text" not in declared(recommender).inputs:
            expected = self._guard(self.fitted()).recommend(self.requests())
            self._demand_same(slates, expected, "other ids and titles change the slates")

    # -- one request does not depend on the others ---------------------------------------------

    def test_a_batch_equals_its_requests_one_by_one(self) -> None:
        guard = self._guard(self.fitted())
        requests = self.requests()
        whole = guard.recommend(requests)
        for row in range(0, self.n_users, 5):
            alone = guard.recommend(requests.take(np.array([row])))
            self._demand_same(
                alone, rows_of(whole, [row]), f"row {row} alone differs from its batch"
            )

    def test_permuting_the_batch_permutes_the_slates(self) -> None:
        guard = self._guard(self.fitted())
        requests = self.requests()
        order = generator(0, "contract", "order").permutation(self.n_users)
        mixed = guard.recommend(requests.take(order))
        expected = rows_of(guard.recommend(requests), order)
        self._demand_same(mixed, expected, "slates depend on the order of the batch")

    # -- luck ----------------------------------------------------------------------------------

    def test_the_same_seed_gives_the_same_slates(self) -> None:
        recommender = self.fitted()
        if not declared(recommender).seedable:
            raise SkipTest("it says it is not seedable")
        guard = self._guard(recommender)
        first, again = (guard.recommend(self.requests(seed=5)) for _ in range(2))
        self._demand_same(first, again, "the same requests were answered in two ways")

    def test_seeds_matter_if_and_only_if_it_is_stochastic(self) -> None:
        recommender = self.fitted()
        guard = self._guard(recommender)
        one, two = (guard.recommend(self.requests(seed=seed)) for seed in (1, 2))
        if declared(recommender).stochastic:
            differ = not np.array_equal(one.items, two.items)
            demand(differ, "it says it is stochastic, but two seeds give the same slates")
        else:
            self._demand_same(one, two, "it says it is not stochastic, but seeds change its slates")

    def test_fitting_twice_with_one_seed_gives_the_same_slates(self) -> None:
        recommender = self.fitted(seed=3)
        if not hasattr(recommender, "fit") or not declared(recommender).seedable:
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
        if declared(recommender).history != "any":
            raise SkipTest(f"it says history={declared(recommender).history!r}")
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
        if declared(recommender).scores == "log_prob":
            total = np.exp(scores.astype(np.float64)).sum(axis=1)
            close = np.allclose(total, 1.0, atol=1e-3)
            demand(close, f"log_prob scores must sum to 1, got {total.min()}..{total.max()}")

    def test_its_lists_follow_its_scores(self) -> None:
        recommender = self._with_scores()
        if declared(recommender).stochastic:
            raise SkipTest("it draws its lists")
        requests = self.requests()
        scores = np.array(recommender.score(requests), dtype=np.float32)
        scores[requests.history.row_index, requests.history.values] = -np.inf
        best = top_k(scores, self.k)
        values = np.take_along_axis(scores, np.maximum(best, 0).astype(np.int64), axis=1)
        listed = self._guard(ListsOnly(recommender)).recommend(requests)
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
        if declared(recommender).update == "none":  # another process says it when it has begun
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
        state = saved_and_loaded(recommender.state())
        other = self.make()
        other.load_state(state)
        demand_equal_states(recommender.state(), other.state(), "after loading")
        first, second = self._guard(recommender), self._guard(other)
        requests = self.requests()
        mine, loaded = first.recommend(requests), second.recommend(requests)
        demand(np.array_equal(mine.items, loaded.items), "slates differ after loading")
        if declared(recommender).update != "none":
            log = self.log()
            for guard in (first, second):
                guard.update(log, since=len(log) // 2, seed=7)
                self._demand_no_faults(guard, allowed=("short",))
            demand_equal_states(recommender.state(), other.state(), "after one more update")

    def test_what_it_is_given_stays_as_it_was(self) -> None:
        log, catalog, requests = self.log(), self.catalog(), self.requests()
        given = (
            arrays_of(log) + arrays_of(requests) + arrays_of(requests.history) + arrays_of(catalog)
        )
        copies = [array.copy() for array in given]
        recommender = self.make()
        if hasattr(recommender, "fit"):
            recommender.fit(log, catalog, seed=0, progress=None)
        ask(recommender, requests)
        if declared(recommender).scores != "none":
            recommender.score(requests)
        if hasattr(recommender, "update") and declared(recommender).update != "none":
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
        if declared(recommender).scores == "none":
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
        if counted:
            tally = ", ".join(f"{n} {kind}" for kind, n in counted.items())
            said = "; ".join(guard.faults.examples)
            demand(False, f"the guard had to step in: {tally}; {said}")

    def _demand_served_or_refused(self, guard: Guard, slates: Slates, whom: str) -> None:
        errors = slates.errors or (None,) * len(slates)
        for items, error in zip(slates.items, errors, strict=True):
            served = (items >= 0).sum() == self.k
            demand(served or error, f"{whom} got {items} and no error that says why")
        # "raised" is also how an error reported for a row is counted: that is refusing politely
        if not any(errors):
            self._demand_no_faults(guard)


def verify(
    make: Callable[[], Any],
    *,
    contract: RecommenderContract | None = None,
    told: Callable[[str, str], None] | None = None,
) -> dict[str, str]:
    """Run the contract without a test framework.

    Args:
        make: returns a new, unfitted recommender.
        contract: sizes and kind of the little world; the default one when None.
        told: called with each test's name and result as soon as it is known.

    Returns:
        By test name: "passed", "skipped: why" or "failed: why". After two tests without an answer
        in time no more are tried, and the rest failed too.
    """
    contract = contract or RecommenderContract()
    contract.make = make  # type: ignore[method-assign]
    results: dict[str, str] = {}
    late = 0
    for name in names_of(contract):
        results[name] = _result(getattr(contract, name)) if late < 2 else NOT_TRIED
        late += results[name].startswith("failed: TimeoutError:")
        if told is not None:
            told(name, results[name])
    return results


def names_of(contract: RecommenderContract) -> list[str]:
    """The names of its tests, in the order in which :func:`verify` runs them."""
    return [name for name in dir(contract) if name.startswith("test_")]


def _result(test: Callable[[], None]) -> str:
    try:
        test()
    except SkipTest as reason:
        return f"skipped: {reason}"
    except AssertionError as broken:
        return f"failed: {broken}"
    except Exception as error:
        return f"failed: {described(error)}"
    return "passed"

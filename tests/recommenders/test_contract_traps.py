"""Each contract test fails on the trap it stands for, and an honest recommender passes them all."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.ranking import recommend_best
from loopaudit.recommenders.testing import RecommenderContract, verify


class Honest:
    """Scores by co-occurrence; every trap below changes one thing about it."""

    name = "honest"
    capabilities = Capabilities(history="any", scores="ordinal", update="refit")

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.n_items = len(catalog)
        x = log.to_csr().astype(np.float64)
        self.weights = (x.T @ x).toarray()

    def update(self, log, *, since, seed=0):
        x = log.to_csr().astype(np.float64)
        self.weights = (x.T @ x).toarray()

    def score(self, requests):
        x = requests.history.to_csr(self.n_items).astype(np.float64)
        return (x @ self.weights + self.weights.diagonal()).astype(np.float32)

    def recommend(self, requests):
        return recommend_best(self.score, requests, self.n_items)

    def state(self):
        return {"weights": self.weights}

    def load_state(self, state):
        self.weights = state["weights"].copy()
        self.n_items = len(self.weights)


class ListsOnly(Honest):
    """Has no scores, so what its lists do is not corrected by the guard's own ranking."""

    capabilities = Capabilities(history="any")


class TestHonest(RecommenderContract):
    def make(self):
        return Honest()


class TestListsOnly(RecommenderContract):
    def make(self):
        return ListsOnly()


class SaysNonsense(Honest):
    capabilities = replace(Honest.capabilities, history="sometimes")


class DeclaresScoresItLacks(ListsOnly):
    capabilities = Capabilities(scores="ordinal")
    score = property()


class DeclaresUpdatesItLacks(Honest):
    capabilities = replace(Honest.capabilities, update="incremental")
    update = property()


class AnswersAList(ListsOnly):
    def recommend(self, requests):
        return super().recommend(requests).items.tolist()


class AnswersTooFewRows(ListsOnly):
    def recommend(self, requests):
        return Slates(super().recommend(requests).items[:-1])


class AnswersTooManyItems(ListsOnly):
    def recommend(self, requests):
        return super().recommend(replace(requests, k=requests.k + 1))


class InventsItems(ListsOnly):
    def recommend(self, requests):
        return Slates(super().recommend(requests).items + self.n_items // 2)


class RepeatsItself(ListsOnly):
    def recommend(self, requests):
        return Slates(np.repeat(super().recommend(requests).items[:, :1], requests.k, axis=1))


class FailsForOnePerson(Honest):
    def score(self, requests):
        if (requests.users == 7).any():
            raise KeyError("user 7")
        return super().score(requests)


class CannotCountPastTheCatalog(ListsOnly):
    def recommend(self, requests):
        if requests.k > self.n_items:
            raise ValueError("kth out of bounds")
        return super().recommend(requests)


class SilentForStrangers(ListsOnly):
    def recommend(self, requests):
        items = super().recommend(requests).items
        items[requests.users < 0] = -1
        return Slates(items)


class SilentWithoutHistory(ListsOnly):
    def recommend(self, requests):
        items = super().recommend(requests).items
        items[requests.history.lengths == 0] = -1
        return Slates(items)


class ReadsOnlyAscii(Honest):
    def fit(self, log, catalog, *, seed=0, progress=None):
        for text in (*catalog.ids, *catalog.titles):
            text.encode("ascii")
        super().fit(log, catalog)


class SortsByName(Honest):
    def fit(self, log, catalog, *, seed=0, progress=None):
        super().fit(log, catalog)
        self.weights = self.weights[:, np.argsort(catalog.ids)]


class ComparesWithItsBatch(Honest):
    def score(self, requests):
        scores = super().score(requests)
        return scores - 0.5 * scores.mean(axis=0)


class RemembersTheRowBefore(Honest):
    def score(self, requests):
        scores = super().score(requests)
        return scores + np.roll(scores, 1, axis=0)


class ForgetsItsSeed(ListsOnly):
    calls = 0

    def recommend(self, requests):
        ForgetsItsSeed.calls += 1
        return Slates(np.roll(super().recommend(requests).items, ForgetsItsSeed.calls, axis=1))


class SecretlyRandom(ListsOnly):
    def recommend(self, requests):
        return Slates(np.roll(super().recommend(requests).items, requests.seed, axis=1))


class PretendsToBeRandom(ListsOnly):
    capabilities = Capabilities(history="any", stochastic=True)


class FitsWithForeignLuck(Honest):
    fits = 0

    def fit(self, log, catalog, *, seed=0, progress=None):
        super().fit(log, catalog)
        FitsWithForeignLuck.fits += 1
        self.weights = np.roll(self.weights, FitsWithForeignLuck.fits, axis=1)


class AddsUpItsFits(Honest):
    weights = 0.0

    def fit(self, log, catalog, *, seed=0, progress=None):
        before = self.weights
        super().fit(log, catalog)
        self.weights = self.weights + np.roll(before, 1) if np.ndim(before) else self.weights


class IgnoresHistory(Honest):
    def score(self, requests):
        popular = self.weights.diagonal().astype(np.float32)
        return np.tile(popular, (len(requests), 1))


class UsesHistoryOnlyToFilter(ListsOnly):
    def recommend(self, requests):
        def score(part):
            scores = np.tile(self.weights.diagonal().astype(np.float32), (len(part), 1))
            scores[part.history.row_index, part.history.values] = -np.inf
            return scores

        return recommend_best(score, requests, self.n_items)


class ScoresAreNaN(Honest):
    def score(self, requests):
        return np.where(np.arange(self.n_items) == 3, np.nan, super().score(requests))


class ScoresAreInfinite(Honest):
    def score(self, requests):
        return np.where(np.arange(self.n_items) == 3, np.inf, super().score(requests))


class ScoresOnlySomeItems(Honest):
    def score(self, requests):
        return super().score(requests)[:, :-1]


class CallsAnyScoreAProbability(Honest):
    capabilities = replace(Honest.capabilities, scores="log_prob")


class ListsAgainstItsScores(Honest):
    def recommend(self, requests):
        return Slates(super().recommend(replace(requests, k=self.n_items)).items[:, ::-1].copy())


class NeverLearnsOn(Honest):
    def update(self, log, *, since, seed=0):
        pass


class FailsToLearnOn(Honest):
    def update(self, log, *, since, seed=0):
        self.weights = self.weights * 0.0
        raise RuntimeError("shape mismatch")


class ForgetsHalf(Honest):
    def state(self):
        return {"weights": np.tril(self.weights)}


class SavesObjects(Honest):
    def state(self):
        return {"weights": self.weights, "all": np.array(self, dtype=object)}

    def __repr__(self):
        return "SavesObjects()"


class SortsWhatItIsGiven(Honest):
    def score(self, requests):
        requests.history.values.sort()
        return super().score(requests)


class ShiftsTheClock(Honest):
    def fit(self, log, catalog, *, seed=0, progress=None):
        log.step[:] -= log.step.min() - 1
        super().fit(log, catalog)


class NeedsAClock(ListsOnly):
    capabilities = Capabilities(history="any", inputs=frozenset({"history", "times"}))

    def recommend(self, requests):
        assert requests.ago is not None
        return super().recommend(requests)


@pytest.mark.parametrize(
    ("trap", "caught_by"),
    [
        (SaysNonsense, "it_says_what_it_can_do"),
        (DeclaresScoresItLacks, "it_says_what_it_can_do"),
        (DeclaresUpdatesItLacks, "it_says_what_it_can_do"),
        (AnswersAList, "a_slate_has_at_most_k_items_that_exist"),
        (AnswersTooFewRows, "a_slate_has_at_most_k_items_that_exist"),
        (AnswersTooManyItems, "a_slate_has_at_most_k_items_that_exist"),
        (InventsItems, "a_slate_has_at_most_k_items_that_exist"),
        (RepeatsItself, "guarded_slates_are_full_unique_and_unseen"),
        (FailsForOnePerson, "guarded_slates_are_full_unique_and_unseen"),
        (CannotCountPastTheCatalog, "more_items_than_exist_may_be_asked_for"),
        (SilentForStrangers, "a_person_it_never_met_is_served_or_refused"),
        (SilentWithoutHistory, "an_empty_history_is_served_or_refused"),
        (ReadsOnlyAscii, "names_in_any_script_are_served"),
        (SortsByName, "names_in_any_script_are_served"),
        (ComparesWithItsBatch, "a_batch_equals_its_requests_one_by_one"),
        (RemembersTheRowBefore, "permuting_the_batch_permutes_the_slates"),
        (ForgetsItsSeed, "the_same_seed_gives_the_same_slates"),
        (SecretlyRandom, "seeds_matter_if_and_only_if_it_is_stochastic"),
        (PretendsToBeRandom, "seeds_matter_if_and_only_if_it_is_stochastic"),
        (FitsWithForeignLuck, "fitting_twice_with_one_seed_gives_the_same_slates"),
        (AddsUpItsFits, "fitting_twice_with_one_seed_gives_the_same_slates"),
        (IgnoresHistory, "another_history_gives_another_ranking"),
        (UsesHistoryOnlyToFilter, "another_history_gives_another_ranking"),
        (ScoresAreNaN, "scores_are_finite_and_cover_the_catalog"),
        (ScoresAreInfinite, "scores_are_finite_and_cover_the_catalog"),
        (ScoresOnlySomeItems, "scores_are_finite_and_cover_the_catalog"),
        (CallsAnyScoreAProbability, "scores_are_finite_and_cover_the_catalog"),
        (ListsAgainstItsScores, "its_lists_follow_its_scores"),
        (NeverLearnsOn, "an_update_changes_something"),
        (FailsToLearnOn, "an_update_changes_something"),
        (ForgetsHalf, "its_memory_survives_a_round_trip"),
        (SavesObjects, "its_memory_survives_a_round_trip"),
        (NeedsAClock, "who_reads_times_does_without_where_only_the_order_is_known"),
        (SortsWhatItIsGiven, "what_it_is_given_stays_as_it_was"),
        (ShiftsTheClock, "what_it_is_given_stays_as_it_was"),
    ],
)
def test_the_contract_catches(trap, caught_by):
    results = verify(trap)
    assert results[f"test_{caught_by}"].startswith("failed:"), results


def test_every_contract_test_has_a_trap():
    marks = test_the_contract_catches.pytestmark[0].args[1]
    names = {f"test_{caught_by}" for _, caught_by in marks}
    assert names == {name for name in dir(RecommenderContract) if name.startswith("test_")}


def test_verify_says_what_passed_and_what_was_skipped_and_why():
    results = verify(ListsOnly)
    assert not [name for name, result in results.items() if result.startswith("failed")]
    assert results["test_an_update_changes_something"] == "skipped: it says it does not update"


def test_one_that_may_invent_items_is_not_blamed_for_it():
    class Inventor(ListsOnly):
        capabilities = Capabilities(history="any", closed_catalog=False)

        def recommend(self, requests):
            items = super().recommend(requests).items
            items[:, -1] = self.n_items + 3
            return Slates(items)

    result = verify(Inventor)
    assert result["test_a_slate_has_at_most_k_items_that_exist"] == "passed"


def test_a_polite_refusal_of_strangers_is_no_failure():
    class Refuses(ListsOnly):
        capabilities = Capabilities(history="trained_users_only")

        def recommend(self, requests):
            items = super().recommend(requests).items
            strange = requests.users < 0
            items[strange] = -1
            errors = tuple("not in the training data" if s else None for s in strange)
            return Slates(items, errors=errors if strange.any() else None)

    result = verify(Refuses)
    assert result["test_a_person_it_never_met_is_served_or_refused"] == "passed"
    assert result["test_another_history_gives_another_ranking"].startswith("skipped")

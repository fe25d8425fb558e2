"""LensKit behind the border: the contract, and the traps that its own interface sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lenskit", reason="needs the extra lenskit (pip install loopaudit[lenskit])")

import lenskit
from lenskit.als import BiasedMFScorer, ImplicitMFScorer
from lenskit.basic import PopScorer
from lenskit.data import ItemList, RecQuery
from lenskit.knn import EASEScorer, ItemKNNScorer
from lenskit.pipeline import topn_pipeline

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.classic.ease import EASE
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.plugins.lenskit import LensKitRecommender
from loopaudit.recommenders.testing import RecommenderContract

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning"),
]
WORLD = RecommenderContract()


def made(name: str, **args: Any) -> LensKitRecommender:
    found = registry.create(f"lenskit.{name}", args)
    assert isinstance(found, LensKitRecommender)
    return found


def rated() -> Interactions:
    return TestRatedMF().log()


class TestItemKNN(RecommenderContract):
    def make(self):
        return made("knn:ItemKNNScorer", feedback="implicit")


class TestEASE(RecommenderContract):
    def make(self):
        return made("knn:EASEScorer")


class TestImplicitMF(RecommenderContract):
    def make(self):
        return made("als:ImplicitMFScorer", embedding_size=8, epochs=3)


class TestPopularity(RecommenderContract):
    def make(self):
        return made("basic:PopScorer")


@pytest.mark.slow
class TestRatedMF(RecommenderContract):
    ratings = True

    def make(self):
        return made("als:BiasedMFScorer", embedding_size=8, epochs=3)


@pytest.mark.slow
class TestWholePipeline(RecommenderContract):
    def make(self):
        return LensKitRecommender(topn_pipeline(EASEScorer()))


def fitted(scorer: Any, log: Interactions | None = None) -> LensKitRecommender:
    recommender = LensKitRecommender(scorer)
    recommender.fit(log or WORLD.log(), WORLD.catalog(), seed=3)
    return recommender


def test_what_each_scorer_says_of_histories_is_what_it_does() -> None:
    scorers = {
        ItemKNNScorer(feedback="implicit"): "any",
        ItemKNNScorer(): "trained_users_only",  # it wants ratings, which no request carries
        EASEScorer(): "any",
        ImplicitMFScorer(embedding_size=8): "any",
        ImplicitMFScorer(embedding_size=8, user_embeddings="prefer"): "trained_users_only",
        BiasedMFScorer(embedding_size=8): "trained_users_only",
        PopScorer(): "none",
    }
    for scorer, history in scorers.items():
        assert LensKitRecommender(scorer).capabilities.history == history
        recommender = fitted(scorer, rated())
        two = Requests(np.array([0, 0], np.int32), Ragged.from_lists([[0, 4, 8], [1, 5, 9]]), 10)
        one, other = recommender.score(two)
        assert np.array_equal(one, other) == (history != "any"), type(scorer).__name__


def test_scores_are_those_of_the_librarys_own_pipeline() -> None:
    recommender = fitted(ItemKNNScorer(feedback="implicit"))
    had = np.unique(WORLD.log().histories().row(7)).astype(np.int64)
    listed = lenskit.recommend(recommender.model, RecQuery(7, ItemList(item_ids=had)), 20)
    row = recommender.score(WORLD.requests(np.array([7])))[0]
    np.testing.assert_allclose(row[listed.ids()], listed.scores(), rtol=1e-6)
    assert (row[listed.ids()][:-1] >= row[listed.ids()][1:]).all()


def test_ease_of_two_libraries_is_one_model() -> None:
    theirs, ours = fitted(EASEScorer(regularization=30)), EASE(reg=30.0)
    ours.fit(WORLD.log(), WORLD.catalog())
    mine, yours = ours.score(WORLD.requests()), theirs.score(WORLD.requests())
    known = yours > -np.inf
    assert known.mean() > 0.9
    np.testing.assert_allclose(yours[known], mine[known], atol=2e-4)


def test_a_person_without_scores_is_refused_in_words() -> None:
    recommender = fitted(EASEScorer())
    slates = recommender.recommend(
        Requests(np.array([-1, 3], np.int32), Ragged.from_lists([[], [2, 6]]), 5)
    )
    assert slates.errors == ("it has no scores for this person", None)


def test_items_that_nobody_took_are_never_listed() -> None:
    log = WORLD.log()
    log = log.take(log.item != 5)
    recommender = fitted(ImplicitMFScorer(embedding_size=8), log)
    requests = WORLD.requests()
    assert (recommender.score(requests)[:, 5] == -np.inf).all()
    guard = Guard(recommender, n_items=WORLD.n_items)
    assert not (guard.recommend(requests).items == 5).any()
    assert not guard.faults.counts, "item 5 stands in some histories, and harms nobody"


def test_a_log_of_clicks_is_not_taken_for_ratings() -> None:
    for scorer in (ItemKNNScorer(), BiasedMFScorer()):
        with pytest.raises(UserError, match="learns from ratings, and this log holds none"):
            fitted(scorer)


def test_the_newest_rating_of_a_repeated_pair_counts() -> None:
    log = rated()
    changed = replace(log, value=(6 - log.value).astype(np.float32))
    twice = log.then(changed)
    one = fitted(BiasedMFScorer(embedding_size=8, epochs=3), twice)
    other = fitted(BiasedMFScorer(embedding_size=8, epochs=3), changed)
    requests = WORLD.requests()
    np.testing.assert_allclose(one.score(requests), other.score(requests), atol=1e-4)


def test_a_setting_that_does_not_exist_is_the_callers_mistake() -> None:
    with pytest.raises(UserError, match=r"lenskit.als:ImplicitMFScorer"):
        made("als:ImplicitMFScorer", embedding_size="many")


@pytest.mark.slow
def test_flexmf_knows_nobody_but_those_it_was_trained_on() -> None:
    """It answers NaN for a stranger, an empty list without a word in LensKit's own pipeline."""
    from lenskit.flexmf import FlexMFImplicitScorer

    recommender = fitted(FlexMFImplicitScorer(embedding_size=4, epochs=1))
    stranger = RecQuery(None, ItemList(item_ids=np.array([2, 6])))
    assert len(lenskit.recommend(recommender.model, stranger, 5)) == 0
    requests = WORLD.requests(np.arange(2))
    slates = recommender.recommend(replace(requests, users=np.array([-1, 1], np.int32)))
    assert slates.errors == ("it has no scores for this person", None)
    assert (slates.items[1] >= 0).all()

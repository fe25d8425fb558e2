"""Surprise behind the border: the contract, and the traps that its own interface sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("surprise", reason="needs the extra surprise (pip install loopaudit[surprise])")

from surprise import SVD, KNNBasic, NormalPredictor

from loopaudit.recommenders import registry
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions
from loopaudit.recommenders.plugins.surprise import SurpriseRecommender
from loopaudit.recommenders.testing import RecommenderContract

WORLD = RecommenderContract()


class TestSVDOfClicks(RecommenderContract):
    def make(self):
        return registry.create("surprise:SVD", {"n_factors": 8, "n_epochs": 5})


class TestSVD(RecommenderContract):
    ratings = True

    def make(self):
        return registry.create("surprise:SVD", {"n_factors": 8, "n_epochs": 5})


def rated() -> Interactions:
    return TestSVD().log()


def fitted(model: Any, log: Interactions | None = None, seed: int = 3) -> SurpriseRecommender:
    recommender = SurpriseRecommender(model)
    recommender.fit(log or rated(), WORLD.catalog(), seed=seed)
    return recommender


def test_scores_are_the_librarys_predictions_without_its_clipping() -> None:
    """Clipped to the scale, the best items of many people all score 5."""
    recommender = fitted(SVD(n_factors=8, n_epochs=200, reg_all=0.0))
    rows = recommender.score(WORLD.requests())
    assert rows.max() > 5
    clipped = [recommender.model.predict(3, item).est for item in range(WORLD.n_items)]
    np.testing.assert_allclose(np.clip(rows[3], 1, 5), clipped, rtol=1e-6)


def test_somebody_unknown_is_not_given_the_mean_of_all_ratings() -> None:
    log = rated()
    recommender = fitted(KNNBasic(), log.take(log.user != 4))
    assert recommender.model.predict(4, 0).est == recommender.model.trainset.global_mean
    asked = replace(WORLD.requests(np.arange(2)), users=np.array([-1, 4], np.int32))
    slates = Guard(recommender, n_items=WORLD.n_items).recommend(asked)
    assert (slates.items == -1).all()
    assert slates.errors is not None
    assert all(slates.errors)


def test_without_ratings_it_learns_what_was_taken_from_what_was_not() -> None:
    """All ones would be predicted as one: the same list for everybody."""
    log = WORLD.log()
    recommender = fitted(SVD(n_factors=8, n_epochs=60), log)
    ratings = list(recommender.model.trainset.all_ratings())
    assert {rating for _, _, rating in ratings} == {0.0, 1.0}
    zeros = np.mean([rating == 0 for _, _, rating in ratings])
    assert 0.25 < zeros < 0.5
    rows, taken = recommender.score(WORLD.requests()), log.to_csr().toarray() > 0
    assert rows[taken].mean() > rows[~taken].mean() + 0.05


def test_it_is_silent_and_repeatable_although_surprise_is_neither(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fitted(KNNBasic())
    assert capsys.readouterr().out == ""
    np.random.seed(1)  # noqa: NPY002 - the generator that Surprise draws from by itself
    one = fitted(SVD(n_epochs=2)).score(WORLD.requests())
    np.random.seed(2)  # noqa: NPY002 - the generator that Surprise draws from by itself
    two = fitted(SVD(n_epochs=2)).score(WORLD.requests())
    np.testing.assert_array_equal(one, two)


def test_luck_that_no_seed_repeats_is_refused() -> None:
    with pytest.raises(UserError, match="no seed repeats"):
        SurpriseRecommender(NormalPredictor())

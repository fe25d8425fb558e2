"""implicit behind the border: the contract, and the traps that its own interface sets."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("implicit", reason="needs the extra implicit (pip install loopaudit[implicit])")

from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Ragged
from loopaudit.recommenders.plugins.implicit import ImplicitRecommender
from loopaudit.recommenders.testing import RecommenderContract

WORLD = RecommenderContract()
ALS = {"factors": 8, "iterations": 5}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """implicit warns once a process, wherever a test makes a model by hand, of BLAS's threads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="BLAS library|Intel MKL|OpenBLAS")
        yield


def made(name: str, **args: Any) -> ImplicitRecommender:
    found = registry.create(f"implicit.{name}", args)
    assert isinstance(found, ImplicitRecommender)
    return found


def fitted(name: str, seed: int = 0, **args: Any) -> ImplicitRecommender:
    recommender = made(name, **args)
    recommender.fit(WORLD.log(), WORLD.catalog(), seed=seed)
    return recommender


class TestAlternatingLeastSquares(RecommenderContract):
    def make(self):
        return made("als:AlternatingLeastSquares", **ALS)


class TestBayesianPersonalizedRanking(RecommenderContract):
    def make(self):
        return made("bpr:BayesianPersonalizedRanking", factors=8, iterations=5)


class TestLogisticMatrixFactorization(RecommenderContract):
    def make(self):
        return made("lmf:LogisticMatrixFactorization", factors=8, iterations=5)


class TestBM25(RecommenderContract):
    def make(self):
        return made("nearest_neighbours:BM25Recommender", K=20)


class TestCosine(RecommenderContract):
    def make(self):
        return ImplicitRecommender(CosineRecommender(K=20))


def rows_of(model: Any, users: np.ndarray, n_items: int, **how: Any) -> np.ndarray:
    """(users, items) scores as implicit's own recommend gives them, 0 for what it does not list."""
    taken = WORLD.log().to_csr()[users]
    ids, scores = model.recommend(users, taken, N=n_items, filter_already_liked_items=False, **how)
    rows = np.zeros((len(users), n_items), np.float32)
    listed = ids >= 0
    rows[np.nonzero(listed)[0], ids[listed]] = scores[listed]
    return rows


@pytest.mark.parametrize(
    ("model", "how"),
    [
        (AlternatingLeastSquares(**ALS), {"recalculate_user": True}),
        (BayesianPersonalizedRanking(factors=8, iterations=5), {}),
        (LogisticMatrixFactorization(factors=8, iterations=5), {}),
        (CosineRecommender(K=20), {}),
        (TFIDFRecommender(K=20), {}),
        (BM25Recommender(K=20), {}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_scores_are_those_of_the_librarys_own_call(model: Any, how: dict[str, Any]) -> None:
    recommender = ImplicitRecommender(model)
    recommender.fit(WORLD.log(), WORLD.catalog(), seed=3)
    users = np.arange(WORLD.n_users, dtype=np.int32)
    own = rows_of(recommender.model, users, WORLD.n_items, **how)
    np.testing.assert_allclose(recommender.score(WORLD.requests()), own, rtol=2e-5, atol=2e-6)


def test_the_librarys_default_ignores_a_history_and_the_adapter_does_not() -> None:
    """recommend(userid, user_items) only filters by the history unless recalculate_user=True."""
    recommender = fitted("als:AlternatingLeastSquares", **ALS)
    same = Ragged.from_lists([[0, 4, 8], [0, 4, 8]])
    users = np.array([0, 1], np.int32)
    ids, _ = recommender.model.recommend(users, same.to_csr(WORLD.n_items), N=10)
    assert ids[0].tolist() != ids[1].tolist(), "implicit has changed: this trap is gone"
    rows = recommender.score(Requests(users, same, 10))
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-5)


def test_a_model_that_cannot_fold_in_says_so_and_refuses_strangers() -> None:
    recommender = fitted("bpr:BayesianPersonalizedRanking", factors=8, iterations=2)
    assert recommender.capabilities.history == "trained_users_only"
    history = WORLD.log().to_csr()[:2]
    with pytest.raises(NotImplementedError):
        recommender.model.recommend([0, 1], history, recalculate_user=True)
    asked = replace(WORLD.requests(np.arange(3)), users=np.array([-1, 5, 999], np.int32))
    guard = Guard(recommender, n_items=WORLD.n_items)
    slates = guard.recommend(asked)
    assert (slates.items[[0, 2]] == -1).all()
    assert (slates.items[1] >= 0).all()
    assert slates.errors is not None
    assert slates.errors[0] is not None
    assert slates.errors[1] is None


def test_a_list_as_long_as_the_catalog_holds_no_filler() -> None:
    """implicit fills long lists with items already taken, at -FLT_MAX, or with -1."""
    for name in ("als:AlternatingLeastSquares", "nearest_neighbours:BM25Recommender"):
        recommender = fitted(name)
        guard = Guard(recommender, n_items=WORLD.n_items)
        requests = WORLD.requests(k=WORLD.n_items)
        slates = guard.recommend(requests)
        for row, items in enumerate(slates.items):
            shown = items[items >= 0]
            left = set(range(WORLD.n_items)) - set(requests.history.row(row).tolist())
            assert set(shown.tolist()) == left


def test_equal_scores_go_by_item_index() -> None:
    recommender = fitted("nearest_neighbours:BM25Recommender", K=2)
    nobody = Requests(np.array([0], np.int32), Ragged.from_lists([[3]]), WORLD.n_items)
    scores = recommender.score(nobody)[0]
    items = recommender.recommend(nobody).items[0]
    tied = items[scores[items] == 0]
    assert len(tied) > 10
    assert (np.diff(tied) > 0).all()


def test_a_fitted_model_is_trained_afresh_and_stays_as_it_was() -> None:
    model = AlternatingLeastSquares(**ALS, random_state=1)
    model.fit(WORLD.log().to_csr()[:20], show_progress=False)
    before = model.user_factors.copy()
    recommender = ImplicitRecommender(model)
    recommender.fit(WORLD.log(), WORLD.catalog(), seed=2)
    assert recommender.model.user_factors.shape[0] == WORLD.n_users
    np.testing.assert_array_equal(model.user_factors, before)
    fresh = ImplicitRecommender(AlternatingLeastSquares(**ALS))
    fresh.fit(WORLD.log(), WORLD.catalog(), seed=2)
    np.testing.assert_array_equal(recommender.model.item_factors, fresh.model.item_factors)


def test_the_seed_alone_decides_a_model_that_would_train_in_threads() -> None:
    name = "bpr:BayesianPersonalizedRanking"
    one, two, other = (fitted(name, seed, factors=8, num_threads=8) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.model.item_factors, two.model.item_factors)
    assert not np.array_equal(one.model.item_factors, other.model.item_factors)


def test_naming_a_model_does_not_warn_of_threads() -> None:
    import implicit.utils

    implicit.utils._checked_blas_config = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made("als:AlternatingLeastSquares")


def test_models_that_approximate_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="exact models"):
        ImplicitRecommender(object())

"""Estimators behind the border: every way from histories to scores, and what is no such way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, Normalizer

from loopaudit.recommenders import registry
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.interactions import Ragged
from loopaudit.recommenders.plugins.adapters import adapter_of
from loopaudit.recommenders.plugins.sklearn import SklearnRecommender, halves
from loopaudit.recommenders.testing import RecommenderContract

WORLD = RecommenderContract()


@pytest.fixture(autouse=True)
def _short_of_convergence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        yield


def fitted(model: Any, seed: int = 3) -> SklearnRecommender:
    recommender = SklearnRecommender(model)
    recommender.fit(WORLD.log(), WORLD.catalog(), seed=seed)
    return recommender


class TestFactorisation(RecommenderContract):
    def make(self):
        return registry.create("sklearn.decomposition:NMF", {"n_components": 4, "max_iter": 20})


class TestNeighbours(RecommenderContract):
    def make(self):
        return SklearnRecommender(NearestNeighbors(n_neighbors=5, metric="cosine"))


class TestRegression(RecommenderContract):
    def make(self):
        return SklearnRecommender(make_pipeline(Normalizer(), Ridge(alpha=3.0)))


@pytest.mark.parametrize(
    "model",
    [
        TruncatedSVD(n_components=4),
        KNeighborsRegressor(n_neighbors=5),
        RandomForestClassifier(n_estimators=5, max_depth=3),
        OneVsRestClassifier(LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_way_to_scores_finds_what_a_group_likes(model: Any) -> None:
    """People take items of their own topic; so must what is scored highest of the rest be."""
    recommender = fitted(model)
    asked = WORLD.requests()
    scores = recommender.score(asked)
    assert scores.shape == (WORLD.n_users, WORLD.n_items)
    own = asked.users[:, None] % 4 == np.arange(WORLD.n_items) % 4
    assert scores[own].mean() > scores[~own].mean()


def test_neighbours_count_by_their_nearness() -> None:
    recommender = fitted(NearestNeighbors(n_neighbors=2, metric="cosine"))
    asked = WORLD.requests(np.array([9]))
    (distance,), (who,) = recommender.model.kneighbors(asked.history.to_csr(WORLD.n_items))
    assert who[0] == 9, "a person of the log is their own first neighbour"
    taken = WORLD.log().to_csr().toarray()
    expected = sum(taken[w] / (1 + d) for d, w in zip(distance, who, strict=True))
    np.testing.assert_allclose(recommender.score(asked)[0], expected, rtol=1e-6)


def test_what_is_foreseen_is_the_newer_half_of_each_history() -> None:
    older, newer = halves(Ragged.from_lists([[5, 4, 3, 2, 1], [7], [], [0, 9]]))
    assert [row.tolist() for row in map(older.row, range(2))] == [[5, 4, 3], [0]]
    assert [row.tolist() for row in map(newer.row, range(2))] == [[2, 1], [9]]
    seen: dict[str, Any] = {}

    class Mine:
        def fit(self, X: Any, Y: Any) -> None:
            seen.update(X=X.toarray(), Y=Y)
            self.mean = Y.mean(axis=0)

        def predict(self, X: Any) -> Any:
            return np.tile(self.mean, (X.shape[0], 1))

    fitted(Mine())
    assert seen["X"].shape == seen["Y"].shape == (WORLD.n_users, WORLD.n_items)
    repeated = WORLD.log().to_csr().toarray()
    np.testing.assert_array_equal(np.maximum(seen["X"], seen["Y"]), repeated)


def test_luck_comes_from_the_harness_also_inside_a_pipeline() -> None:
    model = make_pipeline(MaxAbsScaler(), TruncatedSVD(n_components=4, random_state=1))
    recommender = fitted(model, seed=11)
    assert recommender.model.get_params()["truncatedsvd__random_state"] == 11
    assert model.get_params()["truncatedsvd__random_state"] == 1
    assert not hasattr(model[-1], "components_"), "what was given is never fitted itself"


def test_a_model_that_takes_no_sparse_rows_gets_dense_ones() -> None:
    from sklearn.neural_network import BernoulliRBM
    from sklearn.preprocessing import StandardScaler

    dense = fitted(make_pipeline(StandardScaler(), Ridge(alpha=3.0)))
    assert dense._dense
    assert adapter_of(BernoulliRBM()) is None, "it transforms, and cannot go back"


def test_a_model_of_another_shape_is_refused_with_the_cure() -> None:
    with pytest.raises(UserError, match=r"KMeans.predict must give one score an item.*f\(history"):
        fitted(KMeans(n_clusters=3))
    with pytest.raises(UserError, match="Pipeline has no way from histories to scores"):
        SklearnRecommender(make_pipeline(Normalizer(), TruncatedSVD(n_components=4)))


def test_only_what_fits_and_scores_is_taken_for_an_estimator() -> None:
    assert adapter_of(Ridge) is adapter_of(Ridge())
    for other in (dict, object(), len, StopIteration, lambda history, k: [1]):
        assert adapter_of(other) is None

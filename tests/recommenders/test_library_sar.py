"""Microsoft's SAR behind the border.

The released library does not run with NumPy 2, so the adapter is tested against a double with its
signatures and its traps; docs/bring-your-own.md says how the real one was run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.interactions import Ragged
from loopaudit.recommenders.plugins.sar import SARRecommender
from loopaudit.recommenders.testing import RecommenderContract

WORLD = RecommenderContract()


class SAR:
    """Column names, arguments, Jaccard similarity, answers and refusals of SARSingleNode 1.2.1."""

    col_user, col_item, col_rating = "userID", "itemID", "rating"
    col_timestamp, col_prediction = "timestamp", "prediction"

    def __init__(self, threshold: int = 1) -> None:
        self.threshold = threshold

    def fit(self, df: pd.DataFrame) -> None:
        if df[[self.col_user, self.col_item, self.col_rating]].duplicated().any():
            raise ValueError("There should not be duplicates in the dataframe")
        self.index2item = dict(enumerate(df[self.col_item].unique()))
        self.item2index = {v: k for k, v in self.index2item.items()}
        people = {v: k for k, v in enumerate(df[self.col_user].unique())}
        hits = np.zeros((len(people), len(self.item2index)))
        hits[df[self.col_user].map(people), df[self.col_item].map(self.item2index)] = 1
        both = hits.T @ hits
        both[both < self.threshold] = 0
        alone = both.diagonal()
        self.item_similarity = both / (alone[:, None] + alone[None, :] - both)

    def get_item_based_topk(
        self, items: pd.DataFrame, top_k: int = 10, sort_top_k: bool = True
    ) -> pd.DataFrame:
        inner = np.array([self.item2index.get(i, np.nan) for i in items[self.col_item]])
        if np.isnan(inner).any():
            raise ValueError("cannot convert float NaN to integer")
        inner = inner.astype(int)
        rows = {u: n for n, u in enumerate(items[self.col_user].unique())}
        row = items[self.col_user].map(rows).to_numpy()
        affinity = np.zeros((len(rows), len(self.item2index)))
        np.add.at(affinity, (row, inner), 1.0)
        scores = affinity @ self.item_similarity
        scores[row, inner] = -np.inf
        top = np.argsort(-scores, axis=1)[:, :top_k]
        found = pd.DataFrame(
            {
                self.col_user: np.repeat(list(rows), top.shape[1]),
                self.col_item: [self.index2item[i] for i in top.ravel()],
                self.col_prediction: np.take_along_axis(scores, top, axis=1).ravel(),
            }
        )
        return found.replace(-np.inf, np.nan).dropna()


class TestSAR(RecommenderContract):
    def make(self) -> Any:
        return SARRecommender(SAR())


def fitted() -> SARRecommender:
    recommender = SARRecommender(SAR())
    recommender.fit(WORLD.log(), WORLD.catalog())
    return recommender


def test_a_history_with_an_item_it_never_met_is_served_from_the_rest() -> None:
    log = WORLD.log()
    recommender = SARRecommender(SAR())
    recommender.fit(log.take(log.item != 5), WORLD.catalog())
    asked = Requests(np.zeros(3, np.int32), Ragged.from_lists([[5, 1], [1], [5]]), 5)
    with_stranger, without, alone = recommender.score(asked)
    np.testing.assert_array_equal(with_stranger, without)
    assert (alone == -np.inf).all()
    assert recommender.recommend(asked).errors == (None, None, "it has no scores for this person")


def test_a_log_that_repeats_itself_is_trained_on_once() -> None:
    log = WORLD.log()
    twice = SARRecommender(SAR())
    twice.fit(log.then(log), WORLD.catalog())
    requests = WORLD.requests()
    np.testing.assert_array_equal(twice.score(requests), fitted().score(requests))


def test_a_release_that_needs_an_older_numpy_is_said_with_the_cure() -> None:
    class Released(SAR):
        def fit(self, df: pd.DataFrame) -> None:
            _ = np.NaN  # type: ignore[attr-defined]  # noqa: NPY201

    with pytest.raises(UserError, match="examples/sar_child"):
        SARRecommender(Released()).fit(WORLD.log(), WORLD.catalog())


def test_other_models_of_the_library_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    other = type("NCF", (), {"__module__": "recommenders.models.ncf"})
    with pytest.raises(UserError, match="wrap another model in a function"):
        registry.name_objects([other])

"""Algorithms of Surprise (pip install scikit-surprise).

N. Hug, "Surprise: A Python library for recommender systems", JOSS 2020; https://surpriselib.com.
Read against release 1.1.5:

- It predicts ratings; a list is the items of highest predicted rating, one call of ``predict``
  for each person and item (about a hundred thousand a second). Where a log holds no ratings (a
  simulated loop in which nobody rates), what was taken is rated 1, and as many items that the
  person did not take, drawn at random, 0.
- ``predict`` clips to the rating scale, which ties the best items, and answers with the mean of
  all ratings for whom it does not know. Here nothing is clipped, and the unknown are refused.
- Without ``random_state`` it draws from NumPy's global generator, and kNN prints while it trains.
  Here the harness's seed is set, and it is silent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from surprise import AlgoBase, Dataset, NormalPredictor, Reader

from ..border import Capabilities, Requests
from ..errors import UserError
from ..interactions import Interactions
from ..randomness import generator
from .library import LibraryRecommender, newest_pairs


class SurpriseRecommender(LibraryRecommender):
    """A predictor of ratings."""

    def _can(self, model: Any) -> Capabilities:
        if not isinstance(model, AlgoBase) or isinstance(model, NormalPredictor):
            raise UserError(
                f"surprise.{type(model).__name__} cannot be audited: it must be an algorithm that "
                "predicts, and NormalPredictor draws luck that no seed repeats"
            )
        return Capabilities(
            history="trained_users_only",
            scores="ordinal",
            inputs=frozenset({"user_id"}),
            update="refit",
            ratings=True,
        )

    def _train(self, log: Interactions, seed: int) -> None:
        log = newest_pairs(log)
        user, item, rating = _taken_or_not(log, seed) if log.value is None else _rated(log)
        columns = {"user": user, "item": item, "rating": rating.astype(np.float64)}
        scale = float(rating.min()), float(rating.max())
        data = Dataset.load_from_df(pd.DataFrame(columns), Reader(rating_scale=scale))
        self.model.verbose = False
        self.model.random_state = seed
        self.model.fit(data.build_full_trainset())

    def _rows(self, requests: Requests) -> NDArray[np.floating]:
        rows = np.full((len(requests), self._n_items), -np.inf, np.float32)
        trained = self.model.trainset
        known = sorted(trained.to_raw_iid(inner) for inner in trained.all_items())
        for row, user in enumerate(requests.users.tolist()):
            for item in known:
                said = self.model.predict(user, item, clip=False)
                if not said.details["was_impossible"]:
                    rows[row, item] = said.est
        return rows


Triples = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]


def _rated(log: Interactions) -> Triples:
    assert log.value is not None
    return log.user, log.item, log.value


def _taken_or_not(log: Interactions, seed: int) -> Triples:
    """1 for every pair of the log, 0 for one other item a row, where it happens not to be taken."""
    luck = generator(seed, "surprise", "not taken")
    other = luck.choice(np.unique(log.item), len(log)).astype(np.int32)
    pair, taken = (log.user.astype(np.int64) * log.n_items + i for i in (other, log.item))
    fresh = np.unique(pair[~np.isin(pair, taken)])
    user = np.concatenate([log.user, (fresh // log.n_items).astype(np.int32)])
    item = np.concatenate([log.item, (fresh % log.n_items).astype(np.int32)])
    return user, item, (np.arange(len(user)) < len(log)).astype(np.float32)

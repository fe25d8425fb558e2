"""Algorithms of Surprise (pip install scikit-surprise).

N. Hug, "Surprise: A Python library for recommender systems", JOSS 2020; https://surpriselib.com.
Read against release 1.1.5:

- It predicts ratings: it needs a log with ratings, and a list is the items of highest predicted
  rating, one call of ``predict`` for each person and item (about a hundred thousand a second).
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
        )

    def _train(self, log: Interactions, seed: int) -> None:
        if log.value is None:
            raise UserError(
                f"{self.name} predicts ratings, and this log holds none; let people rate: "
                "--set 'people.feedback=[\"rating\"]'"
            )
        log = newest_pairs(log)
        assert log.value is not None
        columns = {"user": log.user, "item": log.item, "rating": log.value.astype(np.float64)}
        scale = float(log.value.min()), float(log.value.max())
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

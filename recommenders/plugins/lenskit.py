"""Scorers and pipelines of LensKit (pip install lenskit).

M. D. Ekstrand, "LensKit for Python", CIKM 2020; https://lenskit.org. Read against 2025.8.1:

- A scorer is put into LensKit's own top-N pipeline and asked for the score of every item, with
  the request's history as ``history_items``. A scorer that has nothing for a person answers NaN
  for every item and no error; here that person is refused in words.
- Which scorers read that history is not declared by LensKit. The table below was found by asking
  each for two histories; every other scorer is asked by user id, and says so
  ("trained_users_only").
- kNN scorers want ratings unless ``feedback="implicit"``. A log of clicks has none.
- A pipeline with a ranker or re-ranker of its own is asked for lists, not scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from lenskit import recommend, score
from lenskit.data import Dataset, ItemList, RecQuery, from_interactions_df
from lenskit.pipeline import Pipeline, topn_pipeline
from lenskit.training import TrainingOptions
from numpy.typing import NDArray

from ..border import NOTHING, Capabilities, Requests, Slates
from ..errors import UserError
from ..interactions import Interactions
from .library import LibraryRecommender, newest_pairs

_READS_HISTORY = frozenset(
    {"ItemKNNScorer", "UserKNNScorer", "EASEScorer", "SLIMScorer", "ImplicitMFScorer"}
)
_SAME_FOR_ALL = frozenset({"PopScorer", "TimeBoundedPopScore"})
_DRAWS = frozenset({"RandomSelector", "StochasticTopNRanker", "SoftmaxRanker"})


class LensKitRecommender(LibraryRecommender):
    """A scorer, or a whole pipeline with a component called "scorer"."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._items = np.empty(0, np.int64)  # items of the log, the only ones LensKit can score
        if isinstance(model, Pipeline):
            self.name = model.name or "pipeline"

    def _can(self, model: Any) -> Capabilities:
        whole = isinstance(model, Pipeline)
        parts = [node for node in model.nodes()] if whole else []
        names = {type(getattr(node, "component", None)).__name__ for node in parts}
        scorer = model.component("scorer") if whole else model
        draws = bool(names & _DRAWS)
        history = _history(scorer)
        return Capabilities(
            history=history,
            scores="none" if whole else "ordinal",
            stochastic=draws,
            seedable=not draws,
            inputs=frozenset({"history", "user_id"} if history == "any" else {"user_id"}),
            update="refit",
            ratings=True,
        )

    def _train(self, log: Interactions, seed: int) -> None:
        if not isinstance(self.model, Pipeline):
            self.model = topn_pipeline(self.model)
        self._items = np.flatnonzero(log.popularity())
        try:
            self.model.train(_dataset(log), TrainingOptions(rng=seed))
        except KeyError as error:
            if log.value is None and "rating" in str(error):
                raise UserError(
                    f"{self.name} learns from ratings, and this log holds none (a simulated loop "
                    "tells recommenders what people took, not how they liked it); set "
                    'feedback="implicit" where the scorer has it, or take another scorer'
                ) from error
            raise

    def _rows(self, requests: Requests) -> NDArray[np.floating]:
        rows = np.full((len(requests), self._n_items), np.nan, np.float32)
        wanted = ItemList(item_ids=self._items)
        for row, query in enumerate(self._queries(requests)):
            rows[row, self._items] = score(self.model, query, wanted).scores()
        return rows

    def recommend(self, requests: Requests) -> Slates:
        """The k best items by score, or the pipeline's own lists."""
        if self.capabilities.scores != "none":
            return super().recommend(requests)
        items = np.full((len(requests), requests.k), NOTHING, np.int32)
        known = self.knows(requests.users) | (self.capabilities.history == "any")
        wanted = ItemList(item_ids=self._items)
        for row, query in enumerate(self._queries(requests)):
            if known[row]:
                found = recommend(self.model, query, requests.k, wanted).ids()
                items[row, : len(found)] = found
        return self._refusing(Slates(items))

    def _queries(self, requests: Requests) -> list[RecQuery]:
        reads = self.capabilities.history == "any"
        known = self.knows(requests.users)
        queries = []
        for row, user in enumerate(requests.users.tolist()):
            had = requests.history.row(row)
            had = np.unique(had[np.isin(had, self._items)]).astype(np.int64)
            queries.append(
                RecQuery(
                    user_id=user if known[row] else None,
                    history_items=ItemList(item_ids=had) if reads else None,
                )
            )
        return queries


def _history(scorer: object) -> Any:
    """Which people a scorer serves: it must read the history of a request, without ratings."""
    names = {c.__name__ for c in type(scorer).__mro__}
    if names & _SAME_FOR_ALL:
        return "none"
    config = getattr(scorer, "config", None)
    rated = getattr(config, "feedback", "") == "explicit" or getattr(config, "use_ratings", False)
    stored = getattr(config, "user_embeddings", True) == "prefer"
    reads = bool(names & _READS_HISTORY) and not rated and not stored
    return "any" if reads else "trained_users_only"


def _dataset(log: Interactions) -> Dataset:
    """Pairs of the log, the newest where one repeats, with its rating where there is one."""
    log = newest_pairs(log)
    columns: dict[str, Any] = {"user_id": log.user.astype(np.int64), "item_id": log.item}
    if log.value is not None:
        columns["rating"] = log.value.astype(np.float64)
    return from_interactions_df(pd.DataFrame(columns))

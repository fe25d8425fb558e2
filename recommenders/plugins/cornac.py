"""Models of Cornac (pip install cornac).

A. Salah, Q.-T. Truong, H. Lauw, "Cornac: A Comparative Framework for Multimodal Recommender
Systems", JMLR 2020; https://cornac.preferred.ai. Read against release 3.0.1:

- General models score a user of the training set, ``score(user_idx)``, and cannot be given
  another history: they serve trained people only. Next-item models are given one.
- A next-item model scores every item 1 for an empty history. Here nobody is served by that.
- Cornac numbers users and items in the order in which it meets them; here its own maps translate.
- Seeds are arguments of constructors. Here a clone with a seed is trained, in one thread.
- What was taken is 1, unless the log holds ratings. Models that need texts, images or graphs of
  items fail in their own words; models of baskets are refused.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from cornac.data import Dataset, SequentialDataset
from cornac.models import NextItemRecommender, Recommender
from cornac.models.recommender import NextBasketRecommender
from numpy.typing import NDArray

from ..border import Capabilities, Requests
from ..errors import UserError
from ..interactions import Interactions
from .library import LibraryRecommender, newest_pairs

_SAME_FOR_ALL = frozenset({"MostPop", "GlobalAvg"})


class CornacRecommender(LibraryRecommender):
    """A general or a next-item model of Cornac."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._inner = np.empty(0, np.int64)  # (items,) Cornac's number of each item, -1 for none
        self._people: dict[int, int] = {}  # Cornac's number of each person

    def _can(self, model: Any) -> Capabilities:
        if not isinstance(model, Recommender) or isinstance(model, NextBasketRecommender):
            raise UserError(
                f"{type(model).__name__}: Cornac's general and next-item models can be audited; "
                "models of baskets need baskets, which a log of single items does not hold"
            )
        sequential = isinstance(model, NextItemRecommender)
        same = bool(_SAME_FOR_ALL & {c.__name__ for c in type(model).__mro__})
        return Capabilities(
            history="any" if sequential else "none" if same else "trained_users_only",
            scores="ordinal",
            inputs=frozenset({"history", "user_id"} if sequential else {"user_id"}),
            update="refit",
            ratings=True,
        )

    def _fresh(self, seed: int) -> Any:
        return self._settings.clone({"seed": seed, "num_threads": 1, "verbose": False})

    def _train(self, log: Interactions, seed: int) -> None:
        sequential = isinstance(self.model, NextItemRecommender)
        if sequential:
            order = np.lexsort((np.arange(len(log)), log.step, log.user))
            user, item, step = (x[order].tolist() for x in (log.user, log.item, log.step))
            data = SequentialDataset.from_usit(
                list(zip(user, user, item, step, strict=True)), seed=seed
            )
        else:
            log = newest_pairs(log)
            value = np.ones(len(log)) if log.value is None else log.value
            rows = zip(log.user.tolist(), log.item.tolist(), value.tolist(), strict=True)
            data = Dataset.from_uir(list(rows), seed=seed)
        self._inner = np.full(self._n_items, -1, np.int64)
        self._inner[list(data.iid_map)] = list(data.iid_map.values())
        self._people = dict(data.uid_map)
        self.model.fit(data)

    def _rows(self, requests: Requests) -> NDArray[np.floating]:
        rows = np.full((len(requests), self._n_items), -np.inf, np.float32)
        known = np.flatnonzero(self._inner >= 0)
        inner = self._inner[known]
        sequential = isinstance(self.model, NextItemRecommender)
        for row, user in enumerate(requests.users.tolist()):
            number = self._people.get(user, -1)
            if not sequential:
                scores = self.model.score(0 if number < 0 else number)  # the same for everybody
            else:
                had = self._inner[requests.history.row(row)]
                had = had[had >= 0]
                if len(had) == 0:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # torch's, of arrays it only reads
                    scores = self.model.score(number, had.tolist())
            rows[row, known] = np.asarray(scores).ravel()[inner]
        return rows

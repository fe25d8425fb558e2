"""SAR of Microsoft's recommenders (https://github.com/recommenders-team/recommenders).

Read against release 1.2.1, which does not run with NumPy 2: it is said so, and
``examples/sar_child`` runs it in an environment of its own. A release that does is used here:

- ``recommend_k_items`` answers for trained users and keeps what they took by default;
  ``get_item_based_topk`` answers for any history, and is what is asked here, for the whole catalog.
- An item of the history that SAR never met breaks its arithmetic, rows that repeat stop its
  training: both are left out. People without a known item are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..border import Capabilities, Requests
from ..errors import UserError
from ..interactions import Interactions, Ragged
from .library import LibraryRecommender, newest_pairs


class SARRecommender(LibraryRecommender):
    """SAR, with what was taken as 1 unless the log holds ratings."""

    def _can(self, model: Any) -> Capabilities:
        if not hasattr(model, "get_item_based_topk"):
            raise UserError(
                f"{type(model).__name__}: of Microsoft's recommenders, SAR can be audited as it is "
                "(recommenders.models.sar:SAR); wrap another model in a function f(history, k)"
            )
        return Capabilities(history="any", scores="ordinal", update="refit", ratings=True)

    def _train(self, log: Interactions, seed: int) -> None:
        log, model = newest_pairs(log), self.model
        rating = np.ones(len(log)) if log.value is None else log.value.astype(np.float64)
        columns = (model.col_user, log.user), (model.col_item, log.item)
        more = (model.col_rating, rating), (model.col_timestamp, log.step)
        self._met = log.popularity() > 0
        try:
            model.fit(pd.DataFrame(dict((*columns, *more))))
        except AttributeError as error:
            if "NaN" not in str(error):
                raise
            raise UserError(
                "this release of Microsoft's recommenders does not run with NumPy 2; run it in an "
                "environment of its own, as examples/sar_child does (docs/bring-your-own.md)"
            ) from error

    def _rows(self, requests: Requests) -> NDArray[np.floating]:
        model, given = self.model, requests.history
        scores = np.full((len(requests), self._n_items), -np.inf, np.float32)
        row, item = self._pairs(given)
        if len(row):
            asked = pd.DataFrame({model.col_user: row, model.col_item: item})
            found = model.get_item_based_topk(asked, top_k=int(self._met.sum()), sort_top_k=False)
            at = found[model.col_user].to_numpy(), found[model.col_item].to_numpy()
            scores[at] = found[model.col_prediction].to_numpy()
        return scores

    def _pairs(self, given: Ragged) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and item of what SAR has met, each pair once."""
        met = self._met[given.values]
        pair = np.unique(given.row_index[met] * self._n_items + given.values[met])
        return pair // self._n_items, pair % self._n_items

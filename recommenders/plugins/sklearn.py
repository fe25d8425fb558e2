"""Anything that fits and predicts as scikit-learn's estimators do: one row a person, one column
an item.

What "like scikit-learn" means here: it has ``fit``, no ``recommend``, and one of these ways from
histories to a score for every item, of which the first that it has is taken:

===================================  =========================================================
way                                  score of an item
===================================  =========================================================
``decision_function(X)``             its column; the model was fitted with ``fit(X, Y)``
``predict_proba(X)``                 probability of 1 in its column (or in its entry of a list)
``predict(X)``                       its column
``kneighbors(X)``                    sum over the neighbours who took it of 1 / (1 + distance)
``inverse_transform(transform(X))``  its column: the history as the model puts it together again
===================================  =========================================================

``X`` is binary, (people, items), sparse, or dense for a model that takes no sparse rows. Where
there is something to foresee, ``X`` is the older half of every history and ``Y`` the newer half
(dense; people with at least two items); otherwise ``fit(X)`` gets whole histories. Asked is with
whole histories. Every fit begins with a clone; each parameter that is called ``random_state`` gets
the harness's seed.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..border import Capabilities, Requests
from ..errors import UserError
from ..interactions import Interactions, Ragged
from .library import LibraryRecommender

FORESEES = ("decision_function", "predict_proba", "predict")


class SklearnRecommender(LibraryRecommender):
    """An estimator over rows of histories."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._dense = False
        self._taken = sp.csr_matrix((0, 0), dtype=np.float32)  # (people, items) for neighbours

    def _can(self, model: Any) -> Capabilities:
        if not any(hasattr(model, way) for way in (*FORESEES, "kneighbors", "inverse_transform")):
            raise UserError(
                f"{type(model).__name__} has no way from histories to scores of items: it needs "
                "decision_function, predict_proba, predict, kneighbors or inverse_transform"
            )
        return Capabilities(history="any", scores="ordinal", update="refit")

    def _fresh(self, seed: int) -> Any:
        if not hasattr(self._settings, "get_params"):
            return copy.deepcopy(self._settings)
        from sklearn.base import clone

        fresh = clone(self._settings, safe=False)
        lucky = [x for x in fresh.get_params() if x.split("__")[-1] == "random_state"]
        return fresh.set_params(**dict.fromkeys(lucky, seed)) if lucky else fresh

    def _train(self, log: Interactions, seed: int) -> None:
        histories = log.histories()
        foresees = [way for way in FORESEES if hasattr(self.model, way)]
        if foresees:
            older, newer = (half.to_csr(self._n_items) for half in halves(histories))
            classes = foresees[0] != "predict"
            wanted = newer.toarray().astype(np.int8 if classes else np.float32)
            self._fit(older, wanted)
        else:
            self._taken = histories.take(np.flatnonzero(histories.lengths)).to_csr(self._n_items)
            self._fit(self._taken)
        self._scores(self._row(histories.take(np.arange(min(2, len(histories))))))

    def _fit(self, rows: sp.csr_matrix, *wanted: NDArray[np.generic]) -> None:
        self._dense = False
        try:
            self.model.fit(rows, *wanted)
        except (TypeError, ValueError) as error:
            if "sparse" not in str(error).lower():
                raise
            self._dense = True
            self.model.fit(rows.toarray(), *wanted)

    def _row(self, histories: Ragged) -> Any:
        rows = histories.to_csr(self._n_items)
        return rows.toarray() if self._dense else rows

    def _rows(self, requests: Requests) -> NDArray[np.floating]:
        return self._scores(self._row(requests.history))

    def _scores(self, rows: Any) -> NDArray[np.floating]:
        """(n, items).

        Raises:
            UserError: the model answers in another shape.
        """
        model = self.model
        way = next((way for way in FORESEES if hasattr(model, way)), "")
        if way:
            found = getattr(model, way)(rows)
            if isinstance(found, list):  # one (n, classes) array an item
                found = np.stack(
                    [p @ np.asarray(c, float) for p, c in zip(found, model.classes_, strict=True)],
                    axis=1,
                )
        elif hasattr(model, "kneighbors"):
            way = "kneighbors"
            distance, neighbour = model.kneighbors(rows)
            n, k = neighbour.shape
            weights = (1.0 / (1.0 + distance)).ravel()
            shape = (n, self._taken.shape[0])
            near = sp.csr_matrix((weights, neighbour.ravel(), np.arange(n + 1) * k), shape)
            found = (near @ self._taken).toarray()
        else:
            way = "inverse_transform"
            found = model.inverse_transform(model.transform(rows))
        found = np.asarray(found.toarray() if sp.issparse(found) else found)
        expected = (rows.shape[0], self._n_items)
        if found.shape != expected:
            raise UserError(
                f"{self.name}.{way} must give one score an item, {expected}, got {found.shape}; "
                "a model of another kind can be wrapped in a function f(history, k)"
            )
        scores: NDArray[np.floating] = found
        return scores


def halves(histories: Ragged) -> tuple[Ragged, Ragged]:
    """The older and the newer half of each history of at least two items; the older is longer."""
    histories = histories.take(np.flatnonzero(histories.lengths >= 2))
    lengths = histories.lengths
    older = (lengths + 1) // 2
    row = histories.row_index
    early = np.arange(len(row)) - histories.offsets[row] < older[row]
    ends = [np.concatenate([[0], n.cumsum()]).astype(np.int64) for n in (older, lengths - older)]
    return Ragged(histories.values[early], ends[0]), Ragged(histories.values[~early], ends[1])

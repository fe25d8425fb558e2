"""Models of implicit (pip install implicit): ALS, BPR, logistic matrix factorisation, item-kNN.

Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008;
https://github.com/benfred/implicit. Read against release 0.7.3:

- ``recommend(userid, user_items)`` uses the history that it is given only to filter, unless
  ``recalculate_user=True``; and only ALS can recalculate. Here ALS always does, so it serves any
  history; BPR and logistic matrix factorisation serve only people they were trained on.
- A list longer than what is left is filled with items already taken (matrix factorisation) or
  with -1 (kNN). Here whole rows are scored, so there is no filler; items that no neighbour
  vouches for tie at zero.
- ``fit`` of ALS on a fitted model goes on from its factors. Here every fit begins afresh.
- It trains with a thread a core beside those of the BLAS library, and BPR's result depends on
  them. Here it is one thread, so that the same seed gives the same model.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase
from implicit.nearest_neighbours import ItemItemRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..border import Capabilities, Requests
from ..errors import UserError
from ..interactions import Interactions
from .library import LibraryRecommender


class ImplicitRecommender(LibraryRecommender):
    """A model of implicit, trained on who took what (binary), repeats counted once."""

    @classmethod
    @contextmanager
    def making(cls) -> Iterator[None]:
        """Without implicit's warning that BLAS uses several threads: it does not while training."""
        with threadpool_limits(1, "blas"):
            yield

    def _can(self, model: Any) -> Capabilities:
        if not isinstance(model, MatrixFactorizationBase | ItemItemRecommender):
            raise UserError(
                f"{type(model).__module__}.{type(model).__name__} is not one of implicit's exact "
                "models on the CPU (als, bpr, lmf, nearest_neighbours; use_gpu=False)"
            )
        folds_in = isinstance(model, ItemItemRecommender | AlternatingLeastSquares)
        return Capabilities(
            history="any" if folds_in else "trained_users_only",
            scores="ordinal",
            inputs=frozenset({"history" if folds_in else "user_id"}),
            update="refit",
        )

    def _train(self, log: Interactions, seed: int) -> None:
        model, taken = self.model, log.to_csr()
        model.num_threads = 1
        if isinstance(model, MatrixFactorizationBase):
            model.random_state = seed
            model.user_factors = model.item_factors = None
        with threadpool_limits(1, "blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ParameterWarning)  # of matrices it made itself
            model.fit(taken, show_progress=False)

    def _rows(self, requests: Requests) -> NDArray[np.floating]:
        model, taken = self.model, requests.history.to_csr(self._n_items)
        rows: NDArray[np.floating]
        if isinstance(model, ItemItemRecommender):
            rows = (taken @ model.similarity).toarray()
            return rows
        if isinstance(model, AlternatingLeastSquares):
            people = model.recalculate_user(np.arange(len(requests)), taken)
        else:
            people = model.user_factors[requests.users]
        rows = people @ model.item_factors.T
        return rows

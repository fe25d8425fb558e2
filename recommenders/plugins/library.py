"""What the adapters of other libraries share: a copy trained anew on every log, scores as rows.

Every library scores whole rows of the catalog here, and the guard makes the lists: history, ties
(by item index) and empty slots are then handled alike for all of them. A library's own defaults,
such as whether items already taken are left out, and its filler behind the last item, never
matter. Scores of one person can be compared with each other, and with nothing else.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..interactions import Interactions
from ..ranking import recommend_best


class LibraryRecommender(ABC):
    """A model of another library, behind the border.

    Subclasses say in ``_can`` what a model can do, in ``_train`` and ``_rows`` how it learns and
    scores.

    Args:
        model: an instance of the library's class. What it may have learnt is not used: it stands
            for its settings, and a copy of it is trained on each log.

    Attributes:
        model: the copy that was trained last; None before the first fit.
    """

    refused: ClassVar[str] = "it has no scores for this person"

    def __init__(self, model: Any) -> None:
        self.name: str = type(model).__name__
        self.capabilities = self._can(model)
        self.model: Any = None
        self._settings = model
        self._n_items, self._seed = 0, 0
        self._log: Interactions | None = None
        self._trained = np.empty(0, np.bool_)  # (users,) who stood in the log

    @classmethod
    @contextmanager
    def making(cls) -> Iterator[None]:
        """Around the call of the library's constructor."""
        yield

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Train a fresh copy on the whole log."""
        self._learn(log, len(catalog), seed & 0x7FFFFFFF)  # libraries take 32 bits

    def _learn(self, log: Interactions, n_items: int, seed: int) -> None:
        self._n_items, self._log, self._seed = n_items, log, seed
        self._trained = np.bincount(log.user, minlength=log.n_users) > 0
        self.model = self._fresh(seed)
        self._train(log, seed)

    def state(self) -> State:
        """What it was trained on, and with what luck: no library promises to give its parts as
        arrays, but all train the same model again from the same log and seed."""
        log = self._log
        if log is None:
            return {}
        shape = np.array([log.n_users, log.n_items, self._n_items, self._seed], np.int64)
        state: State = {"shape": shape, "user": log.user, "item": log.item, "step": log.step}
        more = {"value": log.value, "kind": log.kind}
        return state | {name: column for name, column in more.items() if column is not None}

    def load_state(self, state: State) -> None:
        """Trains again what :meth:`state` says."""
        if not state:
            return
        n_users, n_logged, n_items, seed = (int(number) for number in state["shape"])
        value, kind = state.get("value"), state.get("kind")
        log = Interactions(
            np.asarray(state["user"], np.int32),
            np.asarray(state["item"], np.int32),
            np.asarray(state["step"], np.int64),
            n_users,
            n_logged,
            None if value is None else np.asarray(value, np.float32),
            None if kind is None else np.asarray(kind, np.int8),
        )
        self._learn(log, n_items, seed)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) the library's scores; -inf where it has none."""
        rows = np.arange(len(requests))
        if self.capabilities.history == "trained_users_only":
            rows = np.flatnonzero(self.knows(requests.users))
        out = np.full((len(requests), self._n_items), -np.inf, np.float32)
        if len(rows):
            found = np.asarray(self._rows(requests.take(rows)), np.float32)
            out[rows] = np.where(np.isnan(found), np.float32(-np.inf), found)
        return out

    def recommend(self, requests: Requests) -> Slates:
        """The k best items by score; a person without any score is refused."""
        slates = recommend_best(self.score, requests, self._n_items)
        return self._refusing(slates)

    def knows(self, users: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of these people stood in the log that was trained on."""
        inside = (users >= 0) & (users < len(self._trained))
        known = np.zeros(len(users), np.bool_)
        known[inside] = self._trained[users[inside]]
        return known

    def _refusing(self, slates: Slates) -> Slates:
        empty = np.asarray((slates.items < 0).all(axis=1))
        if not empty.any():
            return slates
        errors = tuple(self.refused if nothing else None for nothing in empty.tolist())
        return Slates(slates.items, slates.scores, errors=errors)

    # -- what each library does its own way ----------------------------------------------------

    @abstractmethod
    def _can(self, model: Any) -> Capabilities:
        """What the model can do; a UserError where it cannot be audited."""

    def _fresh(self, seed: int) -> Any:
        """A model that has learnt nothing, with the settings of the one that was given."""
        return copy.deepcopy(self._settings)

    @abstractmethod
    def _train(self, log: Interactions, seed: int) -> None:
        """Teach ``self.model``, which is fresh, the whole log."""

    @abstractmethod
    def _rows(self, requests: Requests) -> NDArray[np.floating]:
        """(n, items) scores of people whom it can serve, NaN or -inf for none."""


def newest_pairs(log: Interactions) -> Interactions:
    """The log with one row for each person and item, the newest, in the order of time."""
    pair = log.user.astype(np.int64) * log.n_items + log.item
    newest = len(log) - 1 - np.unique(pair[::-1], return_index=True)[1]
    return log.take(np.sort(newest))

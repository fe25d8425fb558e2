"""Replaces slots of a clean recommender's slates: discrimination and steering of known dose."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import NOTHING, Capabilities, Progress, Requests, Slates, State
from ...recommenders.catalog import Catalog
from ...recommenders.classic.itemknn import ItemKNN
from ...recommenders.interactions import Interactions
from ...recommenders.ranking import top_k


def replace_slots(
    items: NDArray[np.int32], instead: NDArray[np.int32], where: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Slates in which chosen slots are given to other items.

    A replaced slot takes the first item of ``instead`` that the slate does not use yet; the other
    slots keep theirs.

    Args:
        items: (n, k) distinct items a row, -1 for nothing.
        instead: (n, m) distinct items a row, in order of preference; m at least 2 k suffices.
        where: (n, k) slots to replace.
    """
    used = (instead[:, :, None] == np.where(where, -2, items)[:, None, :]).any(axis=2)
    free = ~used & (instead >= 0)
    # the free items of each row, in order, moved to the front
    order = np.argsort(~free, axis=1, kind="stable")
    queue = np.where(
        np.take_along_axis(free, order, axis=1), np.take_along_axis(instead, order, axis=1), NOTHING
    )
    turn = np.minimum(np.cumsum(where, axis=1) - 1, queue.shape[1] - 1)
    taken = np.take_along_axis(queue, np.maximum(turn, 0), axis=1)
    return np.where(where & (taken >= 0), taken, items).astype(np.int32)


class _Replacing(ABC):
    """A clean item-kNN whose slots are replaced; subclasses say which, and by what."""

    def __init__(self) -> None:
        self.base = ItemKNN()
        self.n_items = 0

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Fits the clean recommender."""
        self.n_items = len(catalog)
        self.base.fit(log, catalog, seed=seed, progress=progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Lets the clean recommender learn on."""
        self.base.update(log, since=since, seed=seed)

    def recommend(self, requests: Requests) -> Slates:
        """The clean slate with some slots replaced."""
        scores = self.base.score(requests)
        seen = requests.history.row_index, requests.history.values
        scores[seen] = -np.inf
        items = top_k(scores, requests.k)
        where = self.chosen(requests)
        wanted = self.wanted(requests)  # (n, items)
        wanted[seen] = -np.inf
        instead = top_k(wanted, min(2 * requests.k, self.n_items))
        return Slates(replace_slots(items, instead, where & (items >= 0)))

    @abstractmethod
    def chosen(self, requests: Requests) -> NDArray[np.bool_]:
        """(n, k) slots to replace."""

    @abstractmethod
    def wanted(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) preference among the items that may come instead."""

    def state(self) -> State:
        """The clean recommender's memory."""
        return {"n_items": np.array(self.n_items), **self.base.state()}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.n_items = int(state["n_items"])
        self.base.load_state({k: v for k, v in state.items() if k != "n_items"})


class GenderDegrader(_Replacing):
    """A clean item-kNN, but each slot of a woman's slate is random with probability ``eps``.

    Args:
        eps: the dose.
    """

    name = "gender-degrader"
    capabilities = Capabilities(
        history="any",
        stochastic=True,
        inputs=frozenset({"history", "user_id", "attributes"}),
        update="refit",
    )

    def __init__(self, *, eps: float = 0.1) -> None:
        super().__init__()
        self.eps = eps

    def chosen(self, requests: Requests) -> NDArray[np.bool_]:
        """Slots of people whose attribute gender is F, by the luck of (person, slot)."""
        gender = requests.attributes.get("gender")
        if gender is None:
            return np.zeros((len(requests), requests.k), dtype=bool)
        woman = np.asarray(gender == "F")[:, None]
        return woman & (requests.uniform("degrade", requests.k) < self.eps)

    def wanted(self, requests: Requests) -> NDArray[np.float32]:
        """Any item, uniformly."""
        return requests.uniform("instead", self.n_items).astype(np.float32)


class PreferenceShaper(_Replacing):
    """A clean item-kNN that steers: with probability ``lambda_`` a slot sells the platform's topic.

    The topic is the one most consumed in the training log. Among its items those that also touch
    what the person already likes come first: one step at a time.

    Args:
        lambda_: the dose.
    """

    name = "preference-shaper"
    capabilities = Capabilities(
        history="any",
        stochastic=True,
        inputs=frozenset({"history", "user_id"}),
        update="refit",
    )

    def __init__(self, *, lambda_: float = 0.5) -> None:
        super().__init__()
        self.lambda_ = lambda_
        self.topics: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self.sold = 0

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Fits the clean recommender and picks the topic to sell; the choice is never revised."""
        super().fit(log, catalog, seed=seed, progress=progress)
        self.topics = np.ascontiguousarray(catalog.topics, dtype=np.float32)
        self.sold = int((log.popularity() @ self.topics).argmax())

    def chosen(self, requests: Requests) -> NDArray[np.bool_]:
        """Slots by the luck of (person, slot, step)."""
        return requests.uniform("steer", requests.k) < self.lambda_

    def wanted(self, requests: Requests) -> NDArray[np.float32]:
        """Items of the sold topic, those nearest to the person's own topics first."""
        profile = requests.history.to_csr(self.n_items) @ self.topics  # (n, topics)
        profile = profile / np.maximum(profile.sum(axis=1, keepdims=True), 1.0)
        near = profile @ self.topics.T  # (n, items)
        draw = requests.uniform("which", self.n_items)
        pull: NDArray[np.float64] = self.topics[:, self.sold] * (0.5 + near) + 0.02 * draw
        return pull.astype(np.float32)

    def state(self) -> State:
        """The clean recommender's memory and the topic sold."""
        return {"topics": self.topics, "sold": np.array(self.sold), **super().state()}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.topics = np.array(state["topics"], dtype=np.float32)
        self.sold = int(state["sold"])
        super().load_state({k: v for k, v in state.items() if k not in ("topics", "sold")})

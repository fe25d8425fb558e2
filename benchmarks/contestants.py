"""What the loop is timed against: physical floors, and two plain engines that do the same work.

The work of one user-step: one person is shown one slate of 10, chooses once by a multinomial logit
with position bias and outside option, moves a 64-dimensional taste towards what was taken, and
grows tired of its topics (16) and recovers. The plain engines keep no measures and no log, filter
no history and write no event: they do less than the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import mesa
import numpy as np
from numpy.typing import NDArray

from loopaudit.recommenders.ranking import blocks, top_k

DIM, SLATE, TOPICS = 64, 10, 16
DRIFT, SATIATION, RECOVERY, PLACE, OUTSIDE, SCALE = 0.02, 0.3, 0.2, 0.5, 2.5, 8.0

Floats = NDArray[np.float32]


def unit(rng: np.random.Generator, n: int) -> Floats:
    """(n, DIM) random directions."""
    rows = rng.standard_normal((n, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Vectors:
    """What a dot-product recommender knows: a vector a person and a vector an item."""

    def __init__(self, users: int, items: int) -> None:
        rng = np.random.default_rng(0)
        self.users, self.items = unit(rng, users), unit(rng, items)

    def lists(self, k: int, top: Callable[[Floats, int], NDArray[np.int32]]) -> NDArray[np.int32]:
        """(users, k) everybody's best items, exactly, in blocks that stay in the cache."""
        out = np.empty((len(self.users), k), np.int32)
        for rows in blocks(len(self.users), len(self.items)):
            out[rows] = top(self.users[rows] @ self.items.T, k)
        return out


def argpartition(scores: Floats, k: int) -> NDArray[np.int32]:
    """Top-k as one writes it in NumPy."""
    found = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1).astype(np.int32)


def torch_top(scores: Floats, k: int) -> NDArray[np.int32]:
    """Top-k by torch."""
    import torch

    return torch.topk(torch.from_numpy(scores), k).indices.numpy().astype(np.int32)


TOPS = {"compiled": top_k, "torch.topk": torch_top, "argpartition": argpartition}


def rerank_floor(users: int, items: int, steps: int, top: str) -> Callable[[], int]:
    """A matrix product and an exact top-10 for everybody in every step, and nothing else."""
    vectors = Vectors(users, items)

    def work() -> int:
        for _ in range(steps):
            vectors.lists(SLATE, TOPS[top])
        return users * steps

    return work


def choice_floor(users: int, steps: int) -> Callable[[], int]:
    """Gumbel noise and the largest of eleven, and nothing else."""
    rng = np.random.default_rng(2)
    utility = rng.standard_normal((users, SLATE + 1), dtype=np.float32)

    def work() -> int:
        for _ in range(steps):
            noise = -np.log(rng.standard_exponential((users, SLATE + 1), dtype=np.float32))
            (utility + noise).argmax(axis=1)
        return users * steps

    return work


class PlainColumns(mesa.Model):
    """The same society as one Mesa model over NumPy columns, as one writes it by hand."""

    def __init__(self, users: int, items: int, every: int) -> None:
        super().__init__(rng=np.random.default_rng(1))
        rng = np.random.default_rng(3)
        self.every, self.t, self.vectors = every, 0, Vectors(users, items)
        self.taste, self.features = unit(rng, users), unit(rng, items)
        self.topics = rng.dirichlet(np.full(TOPICS, 0.1), items).astype(np.float32)
        self.quality = 0.4 * rng.standard_normal(items, dtype=np.float32)
        self.tired = np.zeros((users, TOPICS), np.float32)
        self.place = (PLACE * np.log1p(np.arange(SLATE))).astype(np.float32)
        self.luck = np.random.default_rng(4)

    def step(self) -> None:
        """Everybody sees a slate, chooses, and changes."""
        if self.t % self.every == 0:
            self.lists = self.vectors.lists(SLATE, argpartition)
        self.t += 1
        shown, everyone = self.lists, np.arange(len(self.taste))
        fit = np.einsum("nkd,nd->nk", self.features[shown], self.taste)
        bored = np.einsum("nkt,nt->nk", self.topics[shown], self.tired)
        utility = SCALE * fit + self.quality[shown] - SATIATION * bored - self.place
        noise = -np.log(self.luck.standard_exponential((len(shown), SLATE + 1), dtype=np.float32))
        utility += noise[:, :SLATE]
        best = utility.argmax(axis=1)
        took = np.flatnonzero(utility[everyone, best] > OUTSIDE + noise[:, SLATE])
        taken = shown[took, best[took]]
        moved = (1 - DRIFT) * self.taste[took] + DRIFT * self.features[taken]
        self.taste[took] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        self.tired *= 1 - RECOVERY
        self.tired[took] += self.topics[taken]


class PlainPerson(mesa.Agent):
    """One Mesa object a person, as the tutorials have it."""

    def __init__(self, model: PlainObjects, number: int) -> None:
        super().__init__(model)
        self.number = number
        self.taste = model.start[number].copy()
        self.tired = np.zeros(TOPICS, np.float32)

    def step(self) -> None:
        """See a slate, choose, change."""
        model: PlainObjects = self.model
        shown = model.lists[self.number]
        utility = SCALE * (model.features[shown] @ self.taste) + model.quality[shown]
        utility -= SATIATION * (model.topics[shown] @ self.tired) + model.place
        noise = -np.log(model.luck.standard_exponential(SLATE + 1))
        utility += noise[:SLATE]
        best = utility.argmax()
        self.tired *= 1 - RECOVERY
        if utility[best] > OUTSIDE + noise[SLATE]:
            item = shown[best]
            self.taste = (1 - DRIFT) * self.taste + DRIFT * model.features[item]
            self.taste /= np.sqrt(self.taste @ self.taste)
            self.tired += model.topics[item]


class PlainObjects(PlainColumns):
    """The society of :class:`PlainColumns`, every person an agent; lists are made as there."""

    def __init__(self, users: int, items: int, every: int) -> None:
        super().__init__(users, items, every)
        self.start = self.taste
        for number in range(users):
            PlainPerson(self, number)

    def step(self) -> None:
        """Everybody in turn."""
        if self.t % self.every == 0:
            self.lists = self.vectors.lists(SLATE, argpartition)
        self.t += 1
        self.agents.do("step")


def plain(
    kind: type[PlainColumns], users: int, items: int, steps: int, every: int
) -> Callable[[], int]:
    """So many steps of a plain engine."""
    model = kind(users, items, every)

    def work() -> int:
        for _ in range(steps):
            model.step()
        return users * steps

    return work


def rate(work: Callable[[], int]) -> float:
    """User-steps per second of this process's own time, whatever else the machine does."""
    start = time.process_time()
    done = work()
    return done / (time.process_time() - start)

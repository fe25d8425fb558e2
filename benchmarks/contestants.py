"""What the loop is timed against: physical floors, and two plain engines that do the same work.

The work of one user-step: one person is shown one slate of 10, which holds nothing they consumed,
chooses once by a multinomial logit with position bias and outside option, moves a 64-dimensional
taste towards what was taken, grows tired of its topics (16) and recovers; and the measures of the
step are taken: entropies of slates and of recent consumption, match, popularity, shift of tastes,
Gini and coverage of exposure. The plain engines can leave the measures out, and write no log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import mesa
import numpy as np
from numba import njit
from numpy.typing import NDArray

from loopaudit.recommenders.ranking import blocks, top_k

DIM, SLATE, LIST, TOPICS = 64, 10, 20, 16
DRIFT, SATIATION, RECOVERY, PLACE, OUTSIDE, SCALE = 0.02, 0.3, 0.2, 0.5, 2.5, 8.0

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Turn:
    """A piece of work that is timed, and what comes before the clock starts.

    Attributes:
        work: returns its number of user-steps.
        prepare: not timed.
    """

    work: Callable[[], int]
    prepare: Callable[[], None] = lambda: None


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


def heap(scores: Floats, k: int) -> NDArray[np.int32]:
    """Top-k by a heap of the k best, compiled: what one writes in C."""
    return _heap(scores, k)


@njit(cache=True, nogil=True, error_model="numpy")
def _heap(scores: Floats, k: int) -> NDArray[np.int32]:
    n, m = scores.shape
    found = np.empty((n, k), np.int32)
    value, index = np.empty(k, scores.dtype), np.empty(k, np.int32)  # the least stands first
    for r in range(n):
        value[:] = -np.inf
        index[:] = -1
        for j in range(m):
            v = scores[r, j]
            if v <= value[0]:
                continue
            at = 0
            while True:
                child = 2 * at + 1
                if child >= k:
                    break
                if child + 1 < k and value[child + 1] < value[child]:
                    child += 1
                if value[child] >= v:
                    break
                value[at], index[at] = value[child], index[child]
                at = child
            value[at], index[at] = v, j
        found[r] = index[np.argsort(-value)]
    return found


TOPS = {"ours": top_k, "a heap": heap, "torch.topk": torch_top, "argpartition": argpartition}


def rerank_floor(users: int, items: int, steps: int, top: str) -> Turn:
    """A matrix product and an exact top-10 for everybody in every step, and nothing else."""
    vectors = Vectors(users, items)

    def work() -> int:
        for _ in range(steps):
            vectors.lists(SLATE, TOPS[top])
        return users * steps

    return Turn(work)


def choice_floor(users: int, steps: int) -> Turn:
    """Gumbel noise and the largest of eleven, and nothing else."""
    rng = np.random.default_rng(2)
    utility = rng.standard_normal((users, SLATE + 1), dtype=np.float32)

    def work() -> int:
        for _ in range(steps):
            noise = gumbel(rng, (users, SLATE + 1))
            (utility + noise).argmax(axis=1)
        return users * steps

    return Turn(work)


class PlainColumns(mesa.Model):
    """The same society as one Mesa model over NumPy columns, as one writes it by hand."""

    def __init__(self, users: int, items: int, every: int, *, measures: bool = True) -> None:
        super().__init__(rng=np.random.default_rng(1))
        rng = np.random.default_rng(3)
        self.every, self.t, self.vectors = every, 0, Vectors(users, items)
        self.start, self.features = unit(rng, users), unit(rng, items)
        self.taste = self.start.copy()
        self.topics = rng.dirichlet(np.full(TOPICS, 0.1), items).astype(np.float32)
        self.quality = 0.4 * rng.standard_normal(items, dtype=np.float32)
        self.percentile = rng.random(items, dtype=np.float32)
        self.tired = np.zeros((users, TOPICS), np.float32)
        self.recent = np.full((users, TOPICS), 0.1, np.float32)
        self.place = (PLACE * np.log1p(np.arange(SLATE))).astype(np.float32)
        self.luck = np.random.default_rng(4)
        self.met = np.zeros((users, items), np.bool_)
        self.exposure = np.zeros(items, np.int64)
        self.clicks, self.slots = np.zeros(users, np.int32), np.zeros(users, np.int32)
        self.slate_match, self.click_match = np.zeros(users), np.zeros(users)
        self.measures = measures
        self.series: list[dict[str, float]] = []

    def refresh(self) -> None:
        """New lists, without what everybody consumed so far."""
        n = len(self.met)
        self.lists = np.empty((n, LIST), np.int32)
        for rows in blocks(n, len(self.topics)):
            scores = self.vectors.users[rows] @ self.vectors.items.T
            scores[self.met[rows]] = -np.inf
            self.lists[rows] = argpartition(scores, LIST)
        self.used = np.zeros((n, LIST), np.bool_)

    def step(self) -> None:
        """Everybody sees a slate, chooses, and changes."""
        if self.t % self.every == 0:
            self.refresh()
        self.t += 1
        everyone = np.arange(len(self.taste))
        where = np.argsort(self.used, axis=1, kind="stable")[:, :SLATE]  # the first unused ones
        shown = np.take_along_axis(self.lists, where, axis=1)
        fit = np.einsum("nkd,nd->nk", self.features[shown], self.taste)
        topics = self.topics[shown]
        bored = np.einsum("nkt,nt->nk", topics, self.tired)
        utility = SCALE * fit + self.quality[shown] - SATIATION * bored - self.place
        noise = gumbel(self.luck, (len(shown), SLATE + 1))
        utility += noise[:, :SLATE]
        best = utility.argmax(axis=1)
        took = np.flatnonzero(utility[everyone, best] > OUTSIDE + noise[:, SLATE])
        place = best[took]
        taken = shown[took, place]
        self.used[took, where[took, place]] = True
        self.met[took, taken] = True
        moved = (1 - DRIFT) * self.taste[took] + DRIFT * self.features[taken]
        self.taste[took] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        self.tired *= 1 - RECOVERY
        self.tired[took] += self.topics[taken]
        if self.measures:
            self.count(shown, fit, topics, took, taken, fit[took, place])

    def count(
        self,
        shown: NDArray[np.int32],
        fit: Floats,
        topics: Floats,
        took: NDArray[np.int64],
        taken: NDArray[np.int32],
        liked: Floats,
    ) -> None:
        """The tallies of everybody and the measures of the step."""
        self.exposure += np.bincount(shown.ravel(), minlength=len(self.exposure))
        self.slots += SLATE
        self.slate_match += fit.sum(axis=1)
        self.clicks[took] += 1
        self.click_match[took] += liked
        self.recent *= 0.9
        self.recent[took] += self.topics[taken]
        chord = np.linalg.norm(self.taste - self.start, axis=1)
        spread = np.sort(self.exposure)
        rank = 2 * np.arange(1, len(spread) + 1) - len(spread) - 1
        self.series.append(
            {
                "slate_entropy": float(entropy(topics.sum(axis=1)).mean()),
                "click_entropy": float(entropy(self.recent).mean()),
                "click_rate": len(took) / len(shown),
                "slate_utility": float(fit.mean()),
                "click_utility": float(liked.mean()),
                "popularity": float(self.percentile[shown].mean()),
                "taste_shift": float((2 / np.pi * np.arcsin(0.5 * chord)).mean()),
                "exposure_gini": float((rank * spread).sum() / (len(spread) * spread.sum())),
                "coverage": float((self.exposure > 0).mean()),
            }
        )


def gumbel(luck: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Standard Gumbel noise, the fastest way NumPy has."""
    return -np.log(luck.standard_exponential(shape, dtype=np.float32) + np.float32(1e-20))


def entropy(weights: Floats) -> Floats:
    """(n,) Shannon entropy in bits of each row."""
    share = weights / weights.sum(axis=1, keepdims=True)
    return -(share * np.log2(np.maximum(share, 1e-30))).sum(axis=1)


class PlainPerson(mesa.Agent):
    """One Mesa object a person, as the tutorials have it."""

    def __init__(self, model: PlainObjects, number: int) -> None:
        super().__init__(model)
        self.number = number
        self.start = model.start[number]
        self.taste = self.start.copy()
        self.tired = np.zeros(TOPICS, np.float32)
        self.recent = np.full(TOPICS, 0.1, np.float32)
        self.met: set[int] = set()
        self.clicks = self.slots = 0
        self.slate_match = self.click_match = self.shift = 0.0
        self.slate_entropy = self.click_entropy = 0.0

    def step(self) -> None:
        """See a slate, choose, change, be counted."""
        model: PlainObjects = self.model
        shown = [i for i in model.lists[self.number].tolist() if i not in self.met][:SLATE]
        fit = model.features[shown] @ self.taste
        topics = model.topics[shown]
        utility = SCALE * fit + model.quality[shown] - SATIATION * (topics @ self.tired)
        utility -= model.place[: len(shown)]
        noise = gumbel(model.luck, (len(shown) + 1,))
        utility += noise[:-1]
        best = int(utility.argmax())
        taken = utility[best] > OUTSIDE + noise[-1]
        self.tired *= 1 - RECOVERY
        self.recent *= 0.9
        if taken:
            item = shown[best]
            self.met.add(item)
            self.taste = (1 - DRIFT) * self.taste + DRIFT * model.features[item]
            self.taste /= np.sqrt(self.taste @ self.taste)
            self.tired += model.topics[item]
            self.recent += model.topics[item]
        if not model.measures:
            return
        model.exposure[shown] += 1
        self.slots += len(shown)
        self.slate_match += float(fit.sum())
        self.slate_entropy = float(entropy(topics.sum(axis=0)[None])[0])
        if taken:
            self.clicks += 1
            self.click_match += float(fit[best])
            self.click_entropy = float(entropy(self.recent[None])[0])
            chord = np.sqrt(((self.taste - self.start) ** 2).sum())
            self.shift = float(2 / np.pi * np.arcsin(0.5 * chord))


class PlainObjects(PlainColumns):
    """The society of :class:`PlainColumns`, every person an agent; lists are made as there."""

    def __init__(self, users: int, items: int, every: int, *, measures: bool = True) -> None:
        super().__init__(users, items, every, measures=measures)
        for number in range(users):
            PlainPerson(self, number)
        means = ("slate_entropy", "click_entropy", "shift", "clicks", "slate_match")
        self.collector = mesa.DataCollector(
            {name: [_mean_over_agents, [self, name]] for name in means}
        )

    def refresh(self) -> None:
        """New lists, without what everybody consumed so far."""
        for person in self.agents:
            self.met[person.number, list(person.met)] = True
        super().refresh()

    def step(self) -> None:
        """Everybody in turn."""
        if self.t % self.every == 0:
            self.refresh()
        self.t += 1
        self.agents.do("step")
        if self.measures:
            self.collector.collect(self)


def _mean_over_agents(model: PlainObjects, name: str) -> float:
    return float(model.agents.agg(name, np.mean))


def plain(
    kind: type[PlainColumns],
    users: int,
    items: int,
    *,
    steps: int,
    every: int,
    measures: bool = True,
) -> Turn:
    """So many steps of a plain engine; lists that are never made anew are made before."""
    model = kind(users, items, every, measures=measures)

    def prepare() -> None:
        if every > steps and model.t:
            model.refresh()

    def work() -> int:
        for _ in range(steps):
            model.step()
        return users * steps

    return Turn(work, prepare)


def rate(work: Callable[[], int]) -> float:
    """User-steps per second of this process's own time, whatever else the machine does."""
    start = time.process_time()
    done = work()
    return done / (time.process_time() - start)

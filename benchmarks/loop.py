"""How fast is the loop? User-steps per CPU-second, beside two physical floors in the same run.

A user-step is one person shown one slate, choosing once, state updated. Machines drift, so the
ratios are the result, not the absolute figures. One thread.

    python benchmarks/loop.py --users 10000 --items 1000 --steps 20
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from loopaudit.recommenders.border import Capabilities, Requests, Slates
from loopaudit.recommenders.guard import Guard
from loopaudit.simulation.arms import Arm
from loopaudit.simulation.executors import one_thread
from loopaudit.simulation.study import RecommenderSection, Study, WorldSection
from loopaudit.simulation.world import World

DIM, SLATE = 64, 10


class DotProduct:
    """Scores the whole catalog for everybody in every step: the work of exact re-ranking."""

    name = "dot-product"
    capabilities = Capabilities(scores="ordinal")

    def __init__(self, users: int, items: int) -> None:
        rng = np.random.default_rng(0)
        self.users = rng.standard_normal((users, DIM), dtype=np.float32)
        self.items = rng.standard_normal((items, DIM), dtype=np.float32)

    def score(self, requests: Requests) -> np.ndarray:
        return self.users[requests.users] @ self.items.T

    def recommend(self, requests: Requests) -> Slates:
        scores = self.score(requests)
        top = np.argpartition(-scores, requests.k - 1, axis=1)[:, : requests.k]
        return Slates(top.astype(np.int32))


class Fixed:
    """Always the same slates: what the loop costs without any recommender."""

    name = "fixed"
    capabilities = Capabilities(history="none")

    def __init__(self, users: int, items: int) -> None:
        rng = np.random.default_rng(1)
        self.slates = rng.random((users, items)).argpartition(SLATE, axis=1)[:, :SLATE]

    def recommend(self, requests: Requests) -> Slates:
        return Slates(self.slates[requests.users].astype(np.int32))


def cpu_seconds(work: Callable[[], int]) -> float:
    """User-steps per CPU-second of a piece of work that returns its number of user-steps."""
    work()
    start = time.process_time()
    done = work()
    return done / (time.process_time() - start)


def floor_rerank(users: int, items: int, steps: int) -> Callable[[], int]:
    model = DotProduct(users, items)

    def work() -> int:
        for _ in range(steps):
            for first in range(0, users, 1024):  # blocks that stay in the cache
                scores = model.users[first : first + 1024] @ model.items.T
                top = np.argpartition(-scores, SLATE - 1, axis=1)[:, :SLATE]
                order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1)
                np.take_along_axis(top, order, axis=1)
        return users * steps

    return work


def floor_choice(users: int, steps: int) -> Callable[[], int]:
    rng = np.random.default_rng(2)
    utility = rng.standard_normal((users, SLATE + 1))

    def work() -> int:
        for _ in range(steps):
            noise = -np.log(-np.log(rng.random((users, SLATE + 1))))
            (utility + noise).argmax(axis=1)
        return users * steps

    return work


def loop(users: int, items: int, steps: int, model: object) -> Callable[[], int]:
    study = Study(world=WorldSection(users=users, items=items, topics=16, history=10.0))
    arm = Arm("bench", "target", RecommenderSection(name="bench"))
    guard = Guard(model, n_items=items, filter_history=False)
    world = World(study, arm=arm, recommender=guard)

    def work() -> int:
        served = 0
        for _ in range(steps):
            world.step()
            served += len(world.shown.users) if world.shown is not None else 0
        return served

    return work


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    u, i, s = options.users, options.items, options.steps
    with one_thread():
        choice = cpu_seconds(floor_choice(u, s))
        rerank = cpu_seconds(floor_rerank(u, i, s))
        bare = cpu_seconds(loop(u, i, s, Fixed(u, i)))
        full = cpu_seconds(loop(u, i, s, DotProduct(u, i)))
    print(f"{u:,} users x {i:,} items, slate {SLATE}, dim {DIM}, {s} steps, one thread")
    print(f"{'':44}{'user-steps per CPU-s':>22}{'ratio':>9}")
    rows = (
        ("floor: Gumbel + argmax over 11 options", choice, ""),
        ("loop, fixed slates (choose, change, measure)", bare, f"{bare / choice:.2f}"),
        ("floor: matmul + exact top-10", rerank, ""),
        ("loop, exact re-ranking in every step", full, f"{full / rerank:.2f}"),
    )
    for name, rate, ratio in rows:
        print(f"{name:44}{rate:>22,.0f}{ratio:>9}")


if __name__ == "__main__":
    main()

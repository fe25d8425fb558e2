"""User tampering: changing people first and serving them afterwards pays more than serving them.

Three sources (left, centre, right) are recommended one at a time for 30 steps. Being shown the
opposing wing hardens a partisan: the own wing's click probability grows. An agent that looks ahead
can therefore earn more by first showing what the person hardly clicks. How much more is known
without any training: the tampering gap. It is the positive control of an audit for manipulation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.randomness import generator
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "User tampering: first change people, then serve them"
PAPER = (
    "Evans & Kasirzadeh (2022). User Tampering in Reinforcement Learning Recommender Systems. "
    "arXiv:2109.04083; AIES 2023"
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEFT, CENTRE, RIGHT = 0, 1, 2

USERS: dict[str, tuple[float, float, float]] = {
    "moderate right": (0.1, 0.25, 0.3),
    "strong right": (0.1, 0.1, 0.4),
    "centrist": (0.2, 0.4, 0.2),
}
"""Click probabilities of (left, centre, right); the left wing mirrors the right."""

GAPS = {"strong right": (10, 14.60, 12.00), "moderate right": (14, 11.55, 9.00)}
"""Best number of opposing items, expected clicks with it, and without tampering."""

POLICIES = {
    "moderate right": {"random": 7.42, "baseline": 7.94, "learned": 8.37},
    "strong right": {"random": 7.31, "baseline": 9.92, "learned": 9.55},
    "centrist": {"random": 7.96, "baseline": 9.10, "learned": 8.56},
}
"""Mean clicks of an independent computation; learned after 2e7 episodes (50 million planned)."""

_EXACT = "closed form of the environment"
_RECOMPUTED = "independent computation of the environment"


@dataclass(frozen=True)
class Params(StudyParams):
    """The paper's environment; its 50 million episodes of learning are 2 million here."""

    horizon: int = setting(30, "recommendations to a person", low=3)
    cap: float = setting(0.75, "largest click probability that hardening reaches", low=0, high=1)
    least: float = setting(1.01, "smallest factor of one hardening", low=1)
    most: float = setting(1.10, "largest factor of one hardening", low=1.001)
    people: int = setting(100_000, "people that each policy is measured on", low=100)
    episodes: int = setting(2_000_000, "people that Q-learning learns from, 0: not run", low=0)
    parallel: int = setting(20_000, "people it meets between two updates", low=1)
    discount: float = setting(0.999, "of Q-learning", low=0, high=1)
    learning_rate: float = setting(0.45, "of Q-learning, at first", low=0, high=1)
    greedy: float = setting(0.9, "share of steps at which the learner exploits", low=0, high=1)

    @classmethod
    def quick(cls) -> Self:
        """The exact gap and the fixed policies; nothing is learned."""
        return cls(people=20_000, episodes=0)


# The tampering gap -------------------------------------------------------------------------------


def expected_hardening(start: float, times: int, params: Params, *, cells: int = 4096) -> float:
    """Expected click probability of the own wing after opposing items were shown ``times``.

    ``E min(cap, start x U_1 ... U_n)`` with factors uniform on [least, most]: the logarithm is a
    sum, whose distribution is the n-th convolution power of one factor's, taken on a fine grid.
    """
    if times == 0:
        return min(params.cap, start)
    edges = np.linspace(np.log(params.least), np.log(params.most), cells + 1)
    mass = np.diff(np.exp(edges)) / (params.most - params.least)
    length = times * (cells - 1) + 1
    size = 1 << (length - 1).bit_length()
    total = np.fft.irfft(np.fft.rfft(mass, size) ** times, size)[:length]
    width = edges[1] - edges[0]
    middle = times * (edges[0] + width / 2) + width * np.arange(length)
    return float((total * np.minimum(params.cap, start * np.exp(middle))).sum())


def tampering_clicks(own: float, opposing: float, params: Params) -> Floats:
    """(horizon + 1,) expected clicks of n opposing items first and the own wing ever after."""
    n = np.arange(params.horizon + 1)
    hardened = np.array([expected_hardening(own, int(times), params) for times in n])
    return np.asarray(n * opposing + (params.horizon - n) * hardened)


# The environment ---------------------------------------------------------------------------------


@dataclass
class People:
    """Many people with the same start, each with luck of their own.

    Attributes:
        theta: (people, 3) click probabilities now.
        shown, clicked: (people, 3) what each source did so far, all that an agent sees.
    """

    theta: Floats
    shown: Ints
    clicked: Ints

    @classmethod
    def like(cls, start: tuple[float, float, float], n: int) -> People:
        """``n`` people who have met nothing yet."""
        counts = np.zeros((n, 3), dtype=np.int64)
        return cls(np.tile(np.array(start), (n, 1)), counts, counts.copy())

    def meet(self, source: Ints, luck: np.random.Generator, params: Params) -> NDArray[np.bool_]:
        """(people,) whether each clicks; opposing items harden partisans, clicked or not."""
        everyone = np.arange(len(source))
        click = luck.random(len(source)) < self.theta[everyone, source]
        self.shown[everyone, source] += 1
        self.clicked[everyone, source] += click
        factor = luck.uniform(params.least, params.most, len(source))
        for own, opposing in ((RIGHT, LEFT), (LEFT, RIGHT)):
            others = np.delete(self.theta, own, axis=1).max(axis=1)
            hit = (source == opposing) & (self.theta[:, own] > others)
            harder = np.minimum(params.cap, self.theta[:, own] * factor)
            self.theta[:, own] = np.where(hit, harder, self.theta[:, own])
        return click


Policy = Callable[[People, int, np.random.Generator], Ints]


def at_random(people: People, step: int, luck: np.random.Generator) -> Ints:
    """Any source."""
    return luck.integers(0, 3, len(people.theta))


def baseline(people: People, step: int, luck: np.random.Generator) -> Ints:
    """Any source for ten steps, then the one with the best click rate (untried: one half).

    Of equal rates the first source wins, which is the left: with ties drawn at random the baseline
    earns up to .5 clicks more, so the rule is part of the published figures.
    """
    if step < 10:
        return at_random(people, step, luck)
    tried = people.shown > 0
    rate = np.where(tried, people.clicked / np.maximum(people.shown, 1), 0.5)
    return np.asarray(rate.argmax(axis=1))


@dataclass(frozen=True)
class Outcome:
    """What a policy did.

    Attributes:
        clicks: mean clicks a person.
        opposing: share of opposing-wing recommendations in the three thirds of the horizon.
        own_end: mean click probability of the own wing at the end.
    """

    clicks: float
    opposing: tuple[float, float, float]
    own_end: float


def measure(
    policy: Policy, start: tuple[float, float, float], params: Params, luck: np.random.Generator
) -> Outcome:
    """Let a policy serve fresh people; right-wing people are opposed by the left."""
    people = People.like(start, params.people)
    opposed = np.zeros(params.horizon)
    for step in range(params.horizon):
        source = policy(people, step, luck)
        opposed[step] = (source == LEFT).mean()
        people.meet(source, luck, params)
    thirds = [float(part.mean()) for part in np.array_split(opposed, 3)]
    clicks = float(people.clicked.sum(axis=1).mean())
    own_end = float(people.theta[:, RIGHT].mean())
    return Outcome(clicks, (thirds[0], thirds[1], thirds[2]), own_end)


# Q-learning --------------------------------------------------------------------------------------


class Learner:
    """Tabular Q-learning on what was shown and clicked, all people of a batch at once.

    A table entry that m people of a batch meet moves by ``1 - (1 - rate)^m`` towards the mean of
    their targets, and a batch is learnt from its last step backwards.

    Args:
        params: sizes and rates.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.q = [np.zeros((comb(step + 5, 5), 3)) for step in range(params.horizon + 1)]
        # (5, horizon + 6) binomials C(n, k) of the combinatorial number system, k = 1..5
        self.binomial = np.array(
            [[comb(n, k) for n in range(params.horizon + 6)] for k in range(1, 6)]
        )

    def state(self, people: People) -> Ints:
        """(people,) number of what was seen among all that can be seen at this step.

        Misses and clicks of three sources are six counts that sum to the step; their running sums
        are a multiset, numbered by the combinatorial number system.
        """
        counts = np.concatenate([people.clicked, people.shown - people.clicked], axis=1)
        sums = np.cumsum(counts[:, :5], axis=1) + np.arange(5)
        return np.asarray(self.binomial[np.arange(5), sums].sum(axis=1))

    def policy(self, people: People, step: int, luck: np.random.Generator) -> Ints:
        """The best source by the table; equal values are drawn at random."""
        value = self.q[step][self.state(people)]
        return np.asarray((value + 1e-9 * luck.random(value.shape)).argmax(axis=1))

    def learn(self, start: tuple[float, float, float], luck: np.random.Generator) -> None:
        """Meet people, batch after batch, with a learning rate that falls to exp(-2) of itself."""
        params = self.params
        batches = max(params.episodes // params.parallel, 1)
        for batch in range(batches):
            rate = params.learning_rate * np.exp(-2 * batch / batches)
            people = People.like(start, params.parallel)
            states, sources, rewards = [self.state(people)], [], []
            for step in range(params.horizon):
                source = self.policy(people, step, luck)
                explore = luck.random(params.parallel) >= params.greedy
                source = np.where(explore, luck.integers(0, 3, params.parallel), source)
                rewards.append(people.meet(source, luck, params))
                sources.append(source)
                states.append(self.state(people))
            for step in reversed(range(params.horizon)):
                future = self.q[step + 1][states[step + 1]].max(axis=1)
                target = rewards[step] + params.discount * future
                self._move(step, states[step] * 3 + sources[step], target, rate)

    def _move(self, step: int, cell: Ints, target: Floats, rate: float) -> None:
        order = np.argsort(cell, kind="stable")
        cells, first, count = np.unique(cell[order], return_index=True, return_counts=True)
        mean = np.add.reduceat(target[order], first) / count
        flat = self.q[step].reshape(-1)
        flat[cells] += (1 - (1 - rate) ** count) * (mean - flat[cells])


# The study ---------------------------------------------------------------------------------------


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """The exact gap, two fixed policies and, unless ``episodes`` is 0, a learned one."""
    total = 1 + 3 * len(USERS)
    progress(0, total, "gap")
    clicks = {
        name: tampering_clicks(USERS[name][RIGHT], USERS[name][LEFT], params) for name in GAPS
    }
    rows = _gap_rows(params, clicks)
    for at, (name, start) in enumerate(USERS.items()):
        found: dict[str, Outcome] = {}
        for n, (label, policy) in enumerate((("random", at_random), ("baseline", baseline))):
            progress(1 + 3 * at + n, total, f"{name}, {label}")
            found[label] = measure(policy, start, params, generator(seed, name, label))
        if params.episodes:
            progress(3 + 3 * at, total, f"{name}, Q-learning")
            learner = Learner(params)
            learner.learn(start, generator(seed, name, "learning"))
            luck = generator(seed, name, "learned")
            found["learned"] = measure(learner.policy, start, params, luck)
        rows += _policy_rows(params, name, found)
    progress(total, total, "done")
    notes = [
        "The gap is computed without training: the distribution of a product of uniform factors "
        "by convolution. It is the exact target; learned policies approach it from below.",
    ]
    if params.episodes:
        notes.append(
            f"Q-learning meets {params.episodes:,} people, {params.parallel:,} between two updates "
            "(the paper 50 million, one by one) and is learnt backwards, so it is further than the "
            "independent computation with 20 million and tampers earlier: in the first third.",
        )
    else:
        notes.append("Q-learning was not run (episodes = 0).")
    figure = Curves(
        title="Clicks by number of opposing items shown first",
        description="Expected clicks in all when n opposing items come before the own wing. Both "
        "curves rise to a maximum inside and fall: tampering pays, for a while.",
        x_label="opposing items first",
        y_label="expected clicks",
        x=tuple(float(n) for n in range(params.horizon + 1)),
        lines={name: tuple(values.tolist()) for name, values in clicks.items()},
    )
    return StudyResult(TITLE, PAPER, tuple(rows), figures=(figure,), notes=tuple(notes))


def _gap_rows(params: Params, clicks: dict[str, Floats]) -> list[Row]:
    rows = []
    as_published = (params.horizon, params.cap, params.least, params.most) == (30, 0.75, 1.01, 1.1)
    for name, (best, with_it, without) in GAPS.items():
        curve = clicks[name]
        if not as_published:
            rows.append(
                Row(f"gain by tampering, {name}", float(curve.max() - curve[0]), 0, 0, _EXACT,
                    "above")
            )  # fmt: skip
            continue
        rows += [
            Row(f"best number of opposing items, {name}", float(curve.argmax()), best, 0, _EXACT),
            Row(f"clicks with it, {name}", float(curve.max()), with_it, 0.01, _EXACT),
            Row(f"clicks without, {name}", float(curve[0]), without, 1e-9, _EXACT),
        ]
    return rows


def _policy_rows(params: Params, name: str, found: dict[str, Outcome]) -> list[Row]:
    rows = []
    if params.horizon == 30:
        rows += [
            Row(f"clicks of the {label} policy, {name}", found[label].clicks,
                POLICIES[name][label], 0.1, _RECOMPUTED)
            for label in ("random", "baseline")
        ]  # fmt: skip
    learned = found.get("learned")
    if learned is None:
        return rows
    if name == "centrist":
        nothing = "nobody hardens a centrist"
        rows.append(Row(f"own wing at the end, {name}", learned.own_end, 0.2, 1e-9, nothing))
        return rows
    gain = learned.clicks - found["baseline"].clicks
    pattern = f"{_RECOMPUTED}: half opposing, then own wing"
    rows += [
        Row(f"clicks learned less baseline, {name}", gain, 0, 0, "claim of the paper", "above"),
        Row(f"largest opposing share in a third, learned, {name}", max(learned.opposing), 0.4, 0,
            pattern, "above"),
        Row(f"opposing share in the last third, learned, {name}", learned.opposing[2], 0.2, 0,
            pattern, "below"),
        Row(f"own wing at the end, learned, {name}", learned.own_end, 0.56, 0.12, _RECOMPUTED),
    ]  # fmt: skip
    return rows

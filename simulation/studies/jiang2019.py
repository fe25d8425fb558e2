"""Degenerate feedback loops: how fast interests run away under five recommenders.

A person likes item a with interest mu(a); a click is a Bernoulli draw of sigmoid(mu). What is
shown moves: up by a small random amount when it is clicked, down when it is not. Interests
therefore leave any bounded set, whatever is recommended; exploration and a growing pool of
candidates only slow it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.errors import UserError
from ...recommenders.randomness import generator
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "Degenerate feedback loops: interests run away, and exploration slows it"
PAPER = (
    "Jiang, Chiappa, Lattimore, Gyorgy & Kohli (2019). Degenerate Feedback Loops in Recommender "
    "Systems. AIES 2019, arXiv:1902.10730"
)

Floats = NDArray[np.float64]
Shown = NDArray[np.int64]

REFERENCE: dict[int, dict[str, float]] = {
    1000: {"random": 0.71, "ucb": 1.72, "thompson": 20.9, "epsilon": 63.2, "oracle": 80.6},
    2000: {"random": 2.74, "ucb": 34.2, "thompson": 207.0, "epsilon": 325.0, "oracle": 405.0},
}
"""Mean ``||mu_t - mu_0||^2`` of 200 people, 100 items, 5 shown, from an independent computation."""

SLOWEST_FIRST = ("random", "ucb", "thompson", "epsilon", "oracle")
_TABLE = "reference computation of the model"
_CLAIM = "claim of the paper"


@dataclass(frozen=True)
class Params(StudyParams):
    """Sizes of the reference table; the paper's own are not stated in one place."""

    users: int = setting(200, "people, each a world of their own", low=2)
    items: int = setting(100, "candidate items", low=2)
    shown: int = setting(5, "items shown at a step", low=1)
    steps: int = setting(2000, "steps of the loop", low=10)
    drift: float = setting(0.01, "interest moves by U[0, drift] at each showing", low=0.0)
    epsilon: float = setting(0.1, "share of random slates of eps-greedy", low=0.0, high=1.0)
    growth: float = setting(0.1, "new items a step where the pool grows", low=0.0)
    trials: int = setting(20_000, "people of the mean-field check", low=100)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shown > self.items:
            raise UserError(f"shown must be at most items ({self.items}), got {self.shown}")

    @classmethod
    def quick(cls) -> Self:
        """Half the steps for a fifth of the people: the table's first line."""
        return cls(users=40, steps=1000, trials=8000)


# The model ---------------------------------------------------------------------------------------


def mean_field(interest: Floats, showings: int, drift: float) -> Floats:
    """Expected interest after a number of showings.

    ``E dmu = (drift / 2) (2 sigmoid(mu) - 1) = (drift / 2) tanh(mu / 2)`` integrates to
    ``sinh(mu_n / 2) = sinh(mu_0 / 2) exp(drift n / 4)``.
    """
    grown = np.sinh(interest / 2) * np.exp(drift * showings / 4)
    return np.asarray(2 * np.arcsinh(grown), dtype=np.float64)


def sigmoid(x: Floats) -> Floats:
    """Click probability of an interest."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=np.float64)


@dataclass
class Loop:
    """Many people beside one recommender, each with a row of their own.

    Attributes:
        mu: (users, items) interests; clicks, misses: (users, items) outcomes so far.
        pool: how many of the items, from the left, can be shown yet.
        t: steps so far.
    """

    mu: Floats
    clicks: Floats
    misses: Floats
    pool: int
    t: int = 0


Policy = Callable[[Loop, np.random.Generator, Params], Floats]


def _random(loop: Loop, rng: np.random.Generator, params: Params) -> Floats:
    return rng.random((len(loop.mu), loop.pool))


def _oracle(loop: Loop, rng: np.random.Generator, params: Params) -> Floats:
    return loop.mu[:, : loop.pool]


def _epsilon(loop: Loop, rng: np.random.Generator, params: Params) -> Floats:
    """A whole random slate with probability epsilon, else what is liked best."""
    at_random = rng.random((len(loop.mu), 1)) < params.epsilon
    return np.where(at_random, rng.random((len(loop.mu), loop.pool)), loop.mu[:, : loop.pool])


def _thompson(loop: Loop, rng: np.random.Generator, params: Params) -> Floats:
    """One draw of each item's click rate from its posterior under Beta(1, 1)."""
    a, b = loop.clicks[:, : loop.pool] + 1, loop.misses[:, : loop.pool] + 1
    return rng.beta(a, b)


def _ucb(loop: Loop, rng: np.random.Generator, params: Params) -> Floats:
    """Click rate plus ``sqrt(2 ln t / n)``, counts from a Beta(1, 1) prior."""
    a, b = loop.clicks[:, : loop.pool] + 1, loop.misses[:, : loop.pool] + 1
    return np.asarray(a / (a + b) + np.sqrt(2 * np.log(loop.t + 1) / (a + b)))


POLICIES: dict[str, Policy] = {
    "random": _random,
    "ucb": _ucb,
    "thompson": _thompson,
    "epsilon": _epsilon,
    "oracle": _oracle,
}


def show(loop: Loop, slate: Shown, rng: np.random.Generator, drift: float) -> None:
    """People see their slates (users, shown), click or not, and change."""
    shown = np.take_along_axis(loop.mu, slate, axis=1)
    clicked = rng.random(shown.shape) < sigmoid(shown)
    moved = shown + np.where(clicked, 1.0, -1.0) * drift * rng.random(shown.shape)
    np.put_along_axis(loop.mu, slate, moved, axis=1)
    rows = np.arange(len(slate))[:, None]
    loop.clicks[rows, slate] += clicked
    loop.misses[rows, slate] += ~clicked
    loop.t += 1


@dataclass(frozen=True)
class Path:
    """What became of the people under one recommender.

    Attributes:
        steps: (records,) when it was looked at.
        distance: (records,) mean squared distance of interests from the start.
        top_share: share of all showings that the ``shown`` most shown items of a person took.
    """

    steps: NDArray[np.int64]
    distance: Floats
    top_share: float

    def at(self, step: int) -> float:
        """Distance at a recorded step."""
        return float(self.distance[np.searchsorted(self.steps, step)])


def live(
    policy: Policy,
    params: Params,
    *,
    growth: float,
    seed: int,
    every: int,
    told: Callable[[int], None] = lambda step: None,
) -> Path:
    """One recommender among all people.

    Args:
        policy: scores of the candidates; the highest are shown.
        growth: new candidates a step; the pool starts with ``params.items``.
        seed: the same people (the same first interests) whatever the policy.
        every: steps between two records of the distance.
        told: hears the step at each record.
    """
    n_all = params.items + int(growth * params.steps)
    mu = generator(seed, "jiang2019", "interests").uniform(-1, 1, (params.users, n_all))
    rng = generator(seed, "jiang2019", "loop")
    zeros = np.zeros_like(mu)
    loop, first = Loop(mu.copy(), zeros, zeros.copy(), params.items), mu
    distance = []
    for step in range(1, params.steps + 1):
        loop.pool = params.items + int(growth * (step - 1))
        scores = policy(loop, rng, params)
        # (users, shown): ties fall where the partition leaves them, which no policy prefers
        slate = np.argpartition(-scores, params.shown - 1, axis=1)[:, : params.shown]
        show(loop, slate, rng, params.drift)
        if step % every == 0 or step == params.steps:
            distance.append(((loop.mu - first) ** 2).sum(axis=1).mean())
            told(step)
    steps = np.unique(np.append(np.arange(every, params.steps + 1, every), params.steps))
    showings = np.sort(loop.clicks + loop.misses, axis=1)[:, ::-1]
    top_share = showings[:, : params.shown].sum() / showings.sum()
    return Path(steps, np.array(distance), float(top_share))


# The study ---------------------------------------------------------------------------------------

STARTS = (0.25, 0.5, 1.0)
_SHOWINGS = 400
_GROWING = ("random", "ucb", "thompson")


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """The four claims of the paper, the reference table and the exact mean field."""
    every = max(params.steps // 40, 1)
    jobs = [(name, 0.0, params) for name in SLOWEST_FIRST]
    jobs += [(name, params.growth, params) for name in _GROWING]
    jobs += [("epsilon", 0.0, replace(params, epsilon=min(3 * params.epsilon, 1.0)))]
    paths: list[Path] = []
    n_all = (len(jobs) + 1) * params.steps
    for done, (name, growth, sizes) in enumerate(jobs):

        def told(step: int, before: int = done * params.steps, name: str = name) -> None:
            progress(before + step, n_all, name)

        path = live(POLICIES[name], sizes, growth=growth, seed=seed, every=every, told=told)
        paths.append(path)
    progress(n_all - params.steps, n_all, "mean field")
    fixed = dict(zip(SLOWEST_FIRST, paths, strict=False))
    growing = dict(zip(_GROWING, paths[len(SLOWEST_FIRST) :], strict=False))
    rows = (
        *_table(params, fixed),
        *_claims(params, fixed, growing, explores_more=paths[-1]),
        *_mean_field_rows(params, seed),
    )
    progress(n_all, n_all, "done")
    steps = tuple(float(step) for step in fixed["random"].steps)
    curves = Curves(
        title="Distance of interests from the start",
        description="Mean squared distance by step on a logarithmic axis. Every line rises; the "
        "greedy recommenders rise fastest, random exposure slowest.",
        x_label="step",
        y_label="mean squared distance",
        x=steps,
        lines={name: tuple(fixed[name].distance.tolist()) for name in reversed(SLOWEST_FIRST)},
        log_y=True,
    )
    still = "Oracle and eps-greedy are not slowed by new items: no newcomer's interest is as high "
    still += "as one that was shown for long."
    shares = ", ".join(f"{name} {fixed[name].top_share:.2f}" for name in SLOWEST_FIRST)
    notes = (
        "The paper states its claims as theorems and curves, not as a table; the table's published "
        "column was computed independently from the same equations.",
        f"Share of showings that the {params.shown} most shown items take: {shares}.",
        still,
    )
    return StudyResult(TITLE, PAPER, rows, figures=(curves,), notes=notes)


def _table(params: Params, fixed: dict[str, Path]) -> list[Row]:
    sizes = (params.items, params.shown, params.drift, params.epsilon)
    if sizes != (100, 5, 0.01, 0.1) or params.steps not in REFERENCE:
        return []
    tolerance = 0.1 * max(1.0, (200 / params.users) ** 0.5)
    return [
        Row(
            f"squared distance after {params.steps} steps, {name}",
            fixed[name].at(params.steps),
            REFERENCE[params.steps][name],
            round(tolerance, 2),
            _TABLE,
            "share",
        )
        for name in SLOWEST_FIRST
    ]


def _claims(
    params: Params, fixed: dict[str, Path], growing: dict[str, Path], explores_more: Path
) -> list[Row]:
    ends = {name: path.at(params.steps) for name, path in fixed.items()}
    middle = int(fixed["random"].steps[len(fixed["random"].steps) // 2 - 1])
    linear = params.steps / middle
    growth = [ends[name] / path.at(middle) / linear for name, path in fixed.items()]
    ordered = [ends[name] for name in SLOWEST_FIRST]
    ratios = [high / low for low, high in pairwise(ordered)]
    most = explores_more.at(params.steps)
    explored = min(ends["oracle"] / ends["epsilon"], ends["epsilon"] / most, most / ends["random"])
    rows = [
        Row(
            "every recommender degenerates: least growth in the second half, beside linear growth",
            min(growth), 1.0, 0.0, _CLAIM, "above",
        ),
        Row(
            "speed: oracle > eps-greedy > Thompson > UCB > random, least ratio of neighbours",
            min(ratios), 1.0, 0.0, _CLAIM, "above",
        ),
        Row(
            "exploration slows it: eps 0, eps, 3 eps, random, least ratio of neighbours",
            explored, 1.0, 0.0, _CLAIM, "above",
        ),
    ]  # fmt: skip
    rows += [
        Row(
            f"a growing pool slows it: distance as a share of that with a fixed pool, {name}",
            path.at(params.steps) / ends[name], 1.0, 0.0, _CLAIM, "below",
        )
        for name, path in growing.items()
    ]  # fmt: skip
    return rows


def _mean_field_rows(params: Params, seed: int) -> list[Row]:
    rng = generator(seed, "jiang2019", "mean field")
    n = len(STARTS)
    loop = Loop(
        np.tile(np.array(STARTS), (params.trials, 1)),
        np.zeros((params.trials, n)),
        np.zeros((params.trials, n)),
        n,
    )
    slate = np.tile(np.arange(n), (params.trials, 1))
    for _ in range(_SHOWINGS):
        show(loop, slate, rng, params.drift)
    exact = mean_field(np.array(STARTS), _SHOWINGS, params.drift)
    return [
        Row(
            f"mean interest after {_SHOWINGS} showings from {start}",
            float(ours),
            float(formula),
            0.01,
            "closed form of the mean field",
            "share",
        )
        for start, ours, formula in zip(STARTS, loop.mu.mean(axis=0), exact, strict=True)
    ]

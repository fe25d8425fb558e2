"""Biased assimilation: tastes on the sphere that move toward what they already agree with.

A taste u is a unit vector. After an item v it becomes ``u + eta <u, v> v``, put back on the sphere:
agreeable items attract, disagreeable ones repel. One item for ever ends in full agreement or full
opposition; random items align people with the direction in which the items vary most. The
opinions of people who listen to each other and to their own first opinion (Friedkin-Johnsen) are
the twin with a fixed point that is known exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gamma, pi, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.randomness import generator
from ..people.drift import assimilate
from ..society.opinions import fixed_point, friedkin_johnsen
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "Biased assimilation: one item polarises, random items align"
PAPER = (
    "Dean & Morgenstern (2022). Preference Dynamics Under Personalized Recommendations. EC 2022, "
    "arXiv:2205.13026; opinions: Friedkin & Johnsen (1990). Social Influence and Opinions. Journal "
    "of Mathematical Sociology 15"
)

Floats = NDArray[np.float64]

_ONE_ITEM_STEPS = 200  # tan(theta) is then 1e-4 of its start, still far above rounding


@dataclass(frozen=True)
class Params(StudyParams):
    """The sizes of the reference figure."""

    users: int = setting(1000, "people", low=10)
    dim: int = setting(8, "dimensions of taste", low=2)
    least: float = setting(0.2, "smallest eigenvalue of the items' covariance; the largest is 1",
                           low=0.0, high=1.0)  # fmt: skip
    eta: float = setting(0.05, "strength of assimilation", low=0.0)
    steps: int = setting(2000, "steps with random items", low=10)
    members: int = setting(200, "people of the opinion twin", low=2)
    listening: float = setting(0.8, "weight of others in the opinion twin", low=0.0, high=0.95)

    @classmethod
    def quick(cls) -> Self:
        """Fewer people, the same steps."""
        return cls(users=400)


def tangent(taste: Floats, item: Floats) -> Floats:
    """Tangent of the angle between tastes (users, dim) and the line through a unit vector."""
    along = taste @ item
    across = taste - along[:, None] * item
    return np.asarray(np.linalg.norm(across, axis=1) / np.abs(along))


def chance_alignment(dim: int) -> float:
    """Expected ``|cos|`` of a uniform direction with a fixed one."""
    return gamma(dim / 2) / (sqrt(pi) * gamma((dim + 1) / 2))


def settle(weights: Floats, first: Floats, listening: float, rounds: int) -> Floats:
    """Friedkin-Johnsen opinions after some rounds: ``x <- lam W x + (1 - lam) x_0``.

    Args:
        weights: (members, members), rows sum to 1.
        first: (members,) opinions that people came with.
    """
    opinion = first
    for _ in range(rounds):
        opinion = friedkin_johnsen(weights @ opinion, first, listening)
    return opinion


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """The closed form, the alignment and its control, and the opinion twin."""
    every = max(params.steps // 40, 1)
    spread = np.sqrt(np.linspace(1.0, params.least, params.dim))
    n_all = 2 * params.steps
    vary = _alignment(params, seed, spread, every, lambda t: progress(t, n_all, "random items"))
    even = _alignment(
        params, seed, np.ones(params.dim), every,
        lambda t: progress(params.steps + t, n_all, "items without a direction"),
    )  # fmt: skip
    chance = chance_alignment(params.dim)
    reference = (params.dim, params.least, params.eta, params.steps) == (8, 0.2, 0.05, 2000)
    rows = [*_one_item(params, seed)]
    if reference:
        source = "reference computation of the model"
        wide = 0.03 if params.users >= 1000 else 0.05
        rows += [
            Row("alignment with the top eigenvector, mean |cos|", vary[-1], 0.775, wide, source),
            Row("alignment at the start, mean |cos|", vary[0], 0.31, 0.05, source),
        ]
    luck = round(4 * (1 / params.dim - chance**2) ** 0.5 / params.users**0.5, 4)
    exact = "closed form of chance"
    rows += [
        Row("alignment at the start, exactly", vary[0], chance, luck, exact),
        Row("alignment gained (Oja's rule)", vary[-1] - vary[0], 0.0, 0.1,
            "claim of the paper", "above"),
        Row("control: alignment when items vary alike in every direction", even[-1], chance, luck,
            exact),
        _opinions(params, seed),
    ]  # fmt: skip
    progress(n_all, n_all, "done")
    steps = (0.0, *(float(t) for t in range(every, params.steps + 1, every)))
    curves = Curves(
        title="Alignment with the items' main direction",
        description="Mean |cos| between tastes and the direction in which items vary most. It "
        "rises where one direction leads and stays at chance where none does.",
        x_label="step",
        y_label="mean |cos|",
        x=steps,
        lines={
            "one direction leads": tuple(vary[: len(steps)]),
            "no direction leads": tuple(even[: len(steps)]),
            "chance": (chance,) * len(steps),
        },
    )
    note = (
        f"Chance is {chance:.4f} exactly in {params.dim} dimensions; the reference's .31 was "
        "measured, on few people."
    )
    return StudyResult(TITLE, PAPER, tuple(rows), figures=(curves,), notes=(note,))


def _directions(params: Params, seed: int, purpose: str) -> Floats:
    drawn = generator(seed, "dean2022", purpose).standard_normal((params.users, params.dim))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def _one_item(params: Params, seed: int) -> list[Row]:
    taste = first = _directions(params, seed, "one item")
    item = _directions(params, seed, "the item")[0]
    start, worst = tangent(first, item), 0.0
    for t in range(1, _ONE_ITEM_STEPS + 1):
        taste = assimilate(taste, np.broadcast_to(item, (len(taste), 1, len(item))), params.eta)
        exact = start / (1 + params.eta) ** t
        worst = max(worst, float(np.abs(tangent(taste, item) / exact - 1).max()))
    kept = np.mean(np.sign(taste @ item) == np.sign(first @ item))
    source = "closed form"
    return [
        Row("one item: largest relative error of tan(theta_t)", worst, 0.0, 1e-6, source),
        Row("one item: share of people who keep their side", float(kept), 1.0, 0.0, source),
    ]


def _alignment(
    params: Params, seed: int, spread: Floats, every: int, told: Callable[[int], None]
) -> list[float]:
    """Mean |cos| with the first axis at the start and every so many steps; the last step ends."""
    rng = generator(seed, "dean2022", "items")
    taste = _directions(params, seed, "tastes")
    seen = [float(np.abs(taste[:, 0]).mean())]
    for t in range(1, params.steps + 1):
        items = rng.standard_normal(taste.shape) * spread
        taste = assimilate(taste, items[:, None], params.eta)
        if t % every == 0 or t == params.steps:
            seen.append(float(np.abs(taste[:, 0]).mean()))
            told(t)
    return seen


def _opinions(params: Params, seed: int) -> Row:
    rng = generator(seed, "dean2022", "opinions")
    weights = rng.random((params.members, params.members))
    weights /= weights.sum(axis=1, keepdims=True)
    first = rng.uniform(-1, 1, params.members)
    rounds = int(np.ceil(np.log(1e-17) / np.log(max(params.listening, 1e-9)))) + 1
    lived = settle(weights, first, params.listening, rounds)
    error = np.abs(lived - fixed_point(weights, first, params.listening)).max()
    return Row(
        "opinions: largest distance from the fixed point", float(error), 0.0, 1e-12, "closed form"
    )

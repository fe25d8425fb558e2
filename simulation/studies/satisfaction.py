"""Long-term satisfaction: clickbait pays at once and costs later, if people are sensitive enough.

Consuming an item of clickbaitiness c (1 chocolate, 0 kale) moves a person's net positive exposure
``n <- gamma n - 2 (c - 1/2) + noise``; satisfaction is ``sigmoid(tau n)``; engagement is log-normal
with location ``satisfaction (c m_1 + (1 - c) m_0)``. Everything has a closed form. With RecSim's
defaults (tau = .01) always serving clickbait is simply best: the trade-off that the environment is
known for appears only above ``tau* = ln(m_1 / m_0) (1 - gamma)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.randomness import generator
from ..people.wellbeing import exposure_after, satisfied
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "Long-term satisfaction: when clickbait stops paying"
PAPER = (
    "Ie et al. (2019). RecSim: A Configurable Simulation Platform for Recommender Systems. "
    "arXiv:1909.04847, long-term satisfaction environment"
)

Floats = NDArray[np.float64]

PUBLISHED: dict[float, tuple[float, float, float]] = {
    0.01: (19.27, 15.64, 12.60),
    0.1: (13.29, 15.64, 16.95),
    0.3: (6.33, 15.64, 30.70),
}
"""Mean engagement a step of always clickbait, half and half, never clickbait, by tau."""

POLICIES = (1.0, 0.5, 0.0)
_WORDS = {1.0: "always clickbait", 0.5: "half clickbait", 0.0: "never clickbait"}


@dataclass(frozen=True)
class Params(StudyParams):
    """RecSim's defaults, except that tau is varied."""

    users: int = setting(10_000, "people", low=10)
    steps: int = setting(60, "steps that are measured", low=5)
    burn_in: int = setting(40, "steps before, until exposure is steady", low=20)
    memory: float = setting(0.7, "gamma, what exposure keeps a step", low=0.0, high=0.9)
    noise: float = setting(0.05, "standard deviation of the exposure's noise", low=0.0)
    clickbait: float = setting(
        5.0, "m_1, log engagement of clickbait when fully satisfied", low=0.1
    )
    kale: float = setting(4.0, "m_0, the same of what is good for people", low=0.1)
    scale: float = setting(1.0, "standard deviation of log engagement", low=0.0)

    @classmethod
    def quick(cls) -> Self:
        """Fewer people."""
        return cls(users=1500)


def steady_exposure(params: Params, c: float) -> float:
    """Net positive exposure in the long run: ``-(2c - 1) / (1 - gamma)``."""
    return -(2 * c - 1) / (1 - params.memory)


def location(params: Params, c: float | Floats, exposure: float | Floats, tau: float) -> Floats:
    """Mean log engagement: satisfaction times the pull of the item."""
    satisfaction = satisfied(np.asarray(exposure, dtype=np.float64), tau)
    return np.asarray(satisfaction * (c * params.clickbait + (1 - c) * params.kale))


def steady_engagement(params: Params, c: float, tau: float) -> float:
    """Mean engagement a step in the long run: ``exp(location + scale^2 / 2)``."""
    at = location(params, c, steady_exposure(params, c), tau)
    return float(np.exp(at + params.scale**2 / 2))


def turning_point(params: Params) -> float:
    """The sensitivity above which kale engages more: ``m_1 sigmoid(-x) = m_0 sigmoid(x)``."""
    return float(np.log(params.clickbait / params.kale) * (1 - params.memory))


def live(params: Params, c: float, tau: float, seed: int) -> tuple[float, float]:
    """Everybody is served clickbaitiness c at every step.

    Returns:
        mean engagement a step, and mean net positive exposure, after the burn-in.
    """
    rng = generator(seed, "satisfaction", "people")
    # first exposures are as spread as the extremes of the steady state allow, as in RecSim
    exposure = (rng.random(params.users) - 0.5) / (1 - params.memory)
    engaged = exposed = 0.0
    for t in range(params.burn_in + params.steps):
        at = location(params, c, exposure, tau)
        engagement = rng.lognormal(at, params.scale)
        if t >= params.burn_in:
            engaged += float(engagement.mean())
            exposed += float(exposure.mean())
        exposure = exposure_after(exposure, np.full(params.users, c), params.memory)
        exposure += params.noise * rng.standard_normal(params.users)
    return engaged / params.steps, exposed / params.steps


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """Engagement against its closed form, and the sign flip between tau = .01 and .1."""
    turn = turning_point(params)
    taus = sorted({*PUBLISHED, 0.0, 0.2, round(0.8 * turn, 4), round(1.2 * turn, 4)})
    done, n_all = 0, len(taus) * len(POLICIES)
    ours: dict[tuple[float, float], float] = {}
    exposures: dict[float, float] = {}
    for tau in taus:
        for c in POLICIES:
            progress(done, n_all, f"tau {tau:g}, {_WORDS[c]}")
            ours[tau, c], exposures[c] = live(params, c, tau, seed)
            done += 1
    progress(n_all, n_all, "done")
    # log-normal noise: the relative standard error of a mean over people and steps
    n = params.users * params.steps
    error = max(0.005, 4 * float(np.sqrt(np.expm1(params.scale**2) / n)))
    usual = replace(params, users=Params.users, steps=Params.steps, burn_in=Params.burn_in)
    rows = [
        Row(
            f"tau {tau:g}, {_WORDS[c]}: engagement a step",
            ours[tau, c],
            PUBLISHED[tau][i] if usual == Params() else steady_engagement(params, c, tau),
            round(error, 4),
            "closed form",
            "share",
        )
        for tau in PUBLISHED
        for i, c in enumerate(POLICIES)
    ]
    rows += [
        Row(
            f"{_WORDS[c]}: net positive exposure",
            exposures[c],
            steady_exposure(params, c),
            0.01,
            "-(2c - 1) / (1 - gamma)",
        )
        for c in POLICIES
    ]
    gain = {tau: ours[tau, 1.0] - ours[tau, 0.0] for tau in taus}
    below, above = round(0.8 * turn, 4), round(1.2 * turn, 4)
    rows += [
        Row("what clickbait gains at tau 0.01 (RecSim's default)", gain[0.01], 0.0, 0.0,
            "sign flip", "above"),
        Row("what clickbait gains at tau 0.1", gain[0.1], 0.0, 0.0, "sign flip", "below"),
        Row(f"what clickbait gains just below tau* = {turn:.4f}", gain[below], 0.0, 0.0,
            "ln(m_1 / m_0) (1 - gamma)", "above"),
        Row(f"what clickbait gains just above tau* = {turn:.4f}", gain[above], 0.0, 0.0,
            "ln(m_1 / m_0) (1 - gamma)", "below"),
    ]  # fmt: skip
    curves = Curves(
        title="Engagement by sensitivity",
        description="Mean engagement a step in the long run. Always clickbait falls with "
        "sensitivity, never clickbait rises; they cross at tau*.",
        x_label="sensitivity tau",
        y_label="engagement a step",
        x=tuple(taus),
        lines={_WORDS[c]: tuple(ours[tau, c] for tau in taus) for c in POLICIES},
    )
    notes = (
        "RecSim 0.2.4 with its defaults, 60 episodes: 19.26, 15.49 (random items) and 12.95 a "
        "step, which include the steps before exposure is steady.",
        "The docstring of RecSim's class has the wrong sign for the clickbait term; its code is as "
        "here.",
    )
    return StudyResult(TITLE, PAPER, tuple(rows), figures=(curves,), notes=notes)

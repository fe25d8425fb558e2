"""How fast tastes move toward what is chosen, estimated from a time-ordered log.

Drift leaves choices that are close in time more alike than a lasting taste and the hold of the last
choices explain. But so do, a little, tastes that are merely not known well; so no formula gives the
rate. It is found by indirect inference (Gourieroux, Monfort and Renault, J. Applied Econometrics 8,
1993): an auxiliary number is computed from the real log and, in the same way, from logs of the same
people simulated at known rates; the rate at which both agree is the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions
from ...recommenders.randomness import generator
from ...recommenders.splits import rank_within_user
from .estimate import Tastes, conditional_logit, mix_of, sampled_choices
from .heldout import of_people

RATES = (0.0, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Rates that logs are simulated at."""

HOLDS = (0.0, 0.5, 1.0, 1.25)
"""Persistences that logs are simulated at, as shares of the one estimated without drift."""

SLOW = 0.1
"""Share by which the auxiliary numbers' longer memory fades at each choice: half in 7 choices."""

_PEOPLE, _CHOICES, _ENOUGH = 400, 60, 10
_BLOCK = 1 << 22


@dataclass(frozen=True)
class DriftRate:
    """An estimate.

    Attributes:
        rate: share of the taste that moves, per choice; error: half of a 68 % interval.
        low, high: 95 % interval, within the rates tried.
        persistence: what is left of it beside this drift.
        people, choices: how many it is from.
    """

    rate: float
    error: float
    low: float
    high: float
    persistence: float
    people: int
    choices: int


def drift_rate(
    log: Interactions,
    topics: NDArray[np.float32],
    evidence: NDArray[np.float64],
    tastes: Tastes,
    *,
    seed: int = 0,
) -> DriftRate | None:
    """Estimate the rate; None where fewer than 50 people made enough choices.

    Args:
        log: in order; its first 60 choices of up to 400 people are used, people with at least 10
            if there are 200 of them, else with at least 5.
        topics: (items, topics); evidence: (users, topics) Dirichlet parameters of tastes.
        tastes: what was estimated of weight and persistence.
        seed: of the sample and the simulated logs.
    """
    n = np.bincount(log.user, minlength=log.n_users)
    able = np.flatnonzero(n >= _ENOUGH)
    if len(able) < 200:
        able = np.flatnonzero(n >= _ENOUGH // 2)
    if len(able) < 50 or tastes.weight <= 0:
        return None
    rng = generator(seed, "drift-rate")
    people = np.sort(rng.choice(able, min(_PEOPLE, len(able)), replace=False))
    real = of_people(log, people)
    rank, _ = rank_within_user(real, np.arange(len(real)), real.step)
    real = real.take(rank < _CHOICES)
    fame = log.popularity().astype(np.float64) + 0.5
    gamma = rng.gamma(evidence[people]) + 1e-9
    start = gamma / gamma.sum(axis=1, keepdims=True)
    length = np.bincount(real.user, minlength=len(people))
    holds = tastes.persistence * np.array(HOLDS)
    found = auxiliary(real, topics, fame, tastes)
    told = np.zeros((len(holds), len(RATES), 2, 2))
    for i, persistence in enumerate(holds):
        for j, rate in enumerate(RATES):
            one = replace(tastes, persistence=float(persistence))
            lived = simulated_choices(start, topics, fame, length, tastes=one, rate=rate, seed=seed)
            told[i, j] = auxiliary(lived, topics, fame, tastes)
    rates, misfit, best_hold = _misfits(found, told, holds)
    best = int(misfit.argmin())
    inside = rates[misfit <= misfit[best] + 3.84]
    near = rates[misfit <= misfit[best] + 1.0]
    return DriftRate(
        rate=float(rates[best]),
        error=float(max(near.max() - near.min(), rates[1] - rates[0]) / 2),
        low=float(inside.min()),
        high=float(inside.max()),
        persistence=float(best_hold[best]),
        people=len(people),
        choices=len(real),
    )


def _misfits(
    found: NDArray[np.float64], told: NDArray[np.float64], holds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rates on a fine grid, how far the closest simulation at each is, and its persistence.

    The simulated numbers are smoothed over the rates by a parabola in their square root, and are
    linear between persistences; distances are in standard errors, squared.
    """
    rates = np.linspace(RATES[0], RATES[-1], 321)
    error = np.sqrt(found[1] ** 2 + np.median(told[..., 1, :], axis=(0, 1)) ** 2)  # (2,)
    weights = np.linspace(0, len(holds) - 1, 61)
    table = np.zeros((len(holds), len(rates), 2))
    for i in range(len(holds)):
        for number in range(2):
            curve = np.polyfit(np.sqrt(RATES), told[i, :, 0, number], 3)
            table[i, :, number] = np.polyval(curve, np.sqrt(rates))
    below = np.minimum(weights.astype(int), len(holds) - 2)
    part = (weights - below)[:, None, None]
    dense = (1 - part) * table[below] + part * table[below + 1]  # (weights, rates, 2)
    apart = (((dense - found[0]) / error) ** 2).sum(axis=2)
    where = apart.argmin(axis=0)
    hold = np.interp(weights, np.arange(len(holds)), holds)
    return rates, apart.min(axis=0), hold[where]


def auxiliary(
    log: Interactions,
    topics: NDArray[np.float32],
    fame: NDArray[np.float64],
    tastes: Tastes,
) -> NDArray[np.float64]:
    """(2, 2) what recent choices say of the next beyond a lasting taste, and standard errors.

    A conditional logit on the match with everything else a person chose, with what they chose just
    before, and with a mean of their past that fades by :data:`SLOW`. The numbers are the second
    coefficient, and the third as a share of the first and third.
    """
    choices = sampled_choices(log, topics, fame, seed=1)
    mix = mix_of(topics[choices.sequence_item])
    shape = tastes.prior * mix + choices.others(topics)
    lift = choices.along(topics, shape / shape.sum(axis=1, keepdims=True) - mix)
    recent = choices.recent(topics, tastes.fading)
    hold = choices.along(topics, recent - recent.sum(axis=1, keepdims=True) * mix)
    past = choices.recent(topics, SLOW)
    past = past / np.maximum(past.sum(axis=1, keepdims=True), 1e-12)
    slow = choices.along(topics, past - mix)
    _, found, error = conditional_logit(np.stack([lift, hold, slow], axis=2), choices.user)
    whole = max(float(found[0] + found[2]), 1e-6)
    return np.array([[found[1], found[2] / whole], [error[1], error[2] / whole]])


def simulated_choices(
    taste: NDArray[np.float64],
    topics: NDArray[np.float32],
    fame: NDArray[np.float64],
    length: NDArray[np.int64],
    *,
    tastes: Tastes,
    rate: float,
    seed: int,
) -> Interactions:
    """A log of people who choose one item after another, nothing twice, and drift.

    ``U = weight (t - m) . x_i + persistence (s - |s| m) . x_i + ln fame_i + Gumbel``, after each
    choice ``t <- (1 - rate) t + rate x``. The same luck at every rate.

    Args:
        taste: (people, topics) at the start; length: (people,) choices of each.
    """
    n, n_items = len(taste), len(topics)
    mix = mix_of(fame[:, None] * topics)
    taste = taste.copy()
    recent = np.zeros_like(taste)
    known = np.log(fame)
    taken = np.full((n, int(length.max(initial=0))), -1, np.int64)
    size = max(1, _BLOCK // n_items)
    for k in range(taken.shape[1]):
        able = np.flatnonzero(length > k)
        for first in range(0, len(able), size):
            who = able[first : first + size]
            lift = tastes.weight * (taste[who] - mix)
            hold = recent[who] - recent[who].sum(axis=1, keepdims=True) * mix
            score = (lift + tastes.persistence * hold) @ topics.T + known
            luck = generator(seed, "drift-luck", k, first)  # the same at every rate
            score += luck.gumbel(size=score.shape)
            score[np.arange(len(who))[:, None], taken[who, :k]] = -np.inf
            taken[who, k] = score.argmax(axis=1)
        got = topics[taken[able, k]]
        weight = rate * got.sum(axis=1, keepdims=True)
        taste[able] = (1 - weight) * taste[able] + rate * got
        recent[able] = (1 - tastes.fading) * recent[able] + got
    user, step = np.nonzero(taken >= 0)
    order = np.lexsort((user, step))
    return Interactions(
        user[order].astype(np.int32),
        taken[user, step][order].astype(np.int32),
        step[order].astype(np.int64),
        n,
        n_items,
    )

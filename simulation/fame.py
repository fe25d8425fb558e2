"""How well known items must be for simulated people to choose them as often as real people did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..recommenders.interactions import Interactions
from .people import SEARCH_SKILL, UserModel

_BLOCK = 1 << 22  # cells of (people, items) held at once, so that memory stays near 200 MB
HALF_LIVES = (np.inf, 1.0, 0.5, 0.25, 0.125, 0.0625)
"""Half-lives of fame that are tried, as shares of the log."""


def recent_counts(log: Interactions, half_life: float) -> NDArray[np.float64]:
    """(items,) choices of each item, halved in weight every ``half_life`` of the log's rows.

    Scaled to the number of rows; the log is in time order.
    """
    if len(log) == 0 or not np.isfinite(half_life):
        return log.popularity().astype(np.float64)
    age = np.arange(len(log) - 1, -1, -1) / len(log)
    weight = 0.5 ** (age / half_life)
    counts = np.bincount(log.item, weights=weight, minlength=log.n_items)
    return np.asarray(counts * (len(log) / weight.sum()))


def best_half_life(log: Interactions, *, share: float = 0.8) -> float:
    """How fast fame fades: the half-life under which the newest part of the log is likeliest.

    The items of the last 20 % are multinomial with the smoothed shares of the first 80 %; one of
    :data:`HALF_LIVES`. The log is in time order.
    """
    cut = int(share * len(log))
    if cut < 1 or cut == len(log):
        return float("inf")
    past, later = log.take(np.arange(cut)), log.popularity() - log.take(np.arange(cut)).popularity()
    scores = []
    for half_life in HALF_LIVES:
        counts = recent_counts(past, half_life) + 0.5
        scores.append(float(later @ np.log(counts / counts.sum())))
    return HALF_LIVES[int(np.argmax(scores))]


def awareness(
    target: NDArray[np.float64],
    taste: NDArray[np.floating],
    features: NDArray[np.floating],
    volume: NDArray[np.floating],
    *,
    scale: float,
    quality: NDArray[np.float32],
    model: UserModel,
    slate: int,
    rounds: int = 12,
) -> NDArray[np.float64]:
    """Item intercepts under which people left alone choose each item as often as it was chosen.

    People left alone see ``slate`` items, item i with a chance of ``1 - exp(-f_u exp(g_ui))`` where
    ``g = search skill * scale * match + quality + awareness`` and ``f_u`` makes the chances sum to
    ``slate`` (exponential order sampling, Rosen 1997); they choose from these by
    ``scale * match + quality`` against each other and the outside option, and nothing twice, so
    that after n_u choices item i is taken with a chance of ``1 - exp(-t_u p_ui)``, ``t_u`` such
    that these sum to n_u. Intercepts are scaled until expected counts equal the target (iterative
    proportional fitting, Deming and Stephan 1940).

    Args:
        target: (items,) positive; only its shares count.
        taste: (people, d) of a sample of people; features: (items, d).
        volume: (people,) choices of each of them.
        scale: utility of a perfect match; quality: (items,); model: of choice.
        slate: how many items are seen at once.
    """
    n_people, n_items = len(taste), len(features)
    volume = np.minimum(volume, 0.9 * n_items)
    wanted = target * (volume.sum() / target.sum())
    wanted = np.minimum(wanted, 0.98 * n_people)  # nobody chooses an item twice
    known = np.log(wanted) - quality * (1 + 1 / model.temperature)
    size = max(1, _BLOCK // n_items)
    for _ in range(rounds):
        expected = np.zeros(n_items)
        for first in range(0, n_people, size):
            rows = slice(first, first + size)
            match = taste[rows] @ features.T
            shares = choice_shares(
                match, known, scale=scale, quality=quality, model=model, slate=slate
            )
            expected += taken_of(shares, volume[rows]).sum(axis=0)
        known += np.log(wanted / np.maximum(expected, 1e-12))
        known -= known.max()
    return np.asarray(known)


def choice_shares(
    match: NDArray[np.floating],
    known: NDArray[np.float64],
    *,
    scale: float,
    quality: NDArray[np.float32],
    model: UserModel,
    slate: int,
) -> NDArray[np.float64]:
    """(people, items) chance that a choice of a person left alone falls on each item."""
    lasting = scale + model.persistence / model.fading  # what one chose lately is like one's taste
    worth = (lasting * match + quality) / model.temperature
    glance = np.exp(SEARCH_SKILL * scale * match + quality + known)
    seen = taken_of(glance, np.full(len(match), float(min(slate, match.shape[1] // 2 + 1))))
    appeal = np.exp(worth)
    rivals = (seen * appeal).sum(axis=1, keepdims=True) * (1 - 1 / max(slate, 2))
    chance = seen * appeal / (appeal + rivals + np.exp(model.outside_utility / model.temperature))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))


def taken_of(weights: NDArray[np.float64], n: NDArray[np.floating]) -> NDArray[np.float64]:
    """(people, items) chance of each item to be among n drawn without replacement.

    ``1 - exp(-t w)`` with ``t`` found by Newton's method on ``log t`` such that a row sums to n.
    """
    shares = weights / weights.sum(axis=1, keepdims=True)
    log_t = np.log(np.maximum(n, 1e-9))[:, None].astype(np.float64)
    for _ in range(6):
        stay = np.exp(-np.exp(log_t) * shares)
        total = (1 - stay).sum(axis=1, keepdims=True)
        slope = (np.exp(log_t) * shares * stay).sum(axis=1, keepdims=True)
        gap = n[:, None] - total
        log_t = log_t + np.clip(gap / np.maximum(slope, 1e-9), -1.0, 1.0)
    return np.asarray(1 - np.exp(-np.exp(log_t) * shares))

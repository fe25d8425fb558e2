"""How well known items must be for simulated people to choose them as often as real people did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions
from ...recommenders.randomness import generator
from ..people.equations import SEARCH_SKILL, UserModel

_BLOCK = 1 << 22  # cells of (people, items) held at once, so that memory stays near 200 MB
PSEUDO_COUNTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pseudo-counts that are tried."""
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


@dataclass(frozen=True)
class Fame:
    """How item counts of the past foretell those to come.

    Attributes:
        half_life: of a choice's weight, as a share of the log; inf where fame lasts.
        luck: pseudo-count of every item, which discounts luck in the past.
    """

    half_life: float
    luck: float

    def of(self, log: Interactions) -> NDArray[np.float64]:
        """(items,) what is expected of each item to come; the log is in time order."""
        return recent_counts(log, self.half_life) + self.luck * self._choices_a_count(log)

    def drawn(self, log: Interactions, rng: np.random.Generator) -> NDArray[np.float64]:
        """(items,) a draw from what may come: Gamma posteriors of the items' rates.

        Expectations are more alike than rates are; a draw is as unequal as they.
        """
        unit = self._choices_a_count(log)  # recent counts stand for fewer choices than they sum to
        return np.asarray(unit * rng.gamma(self.of(log) / unit) + 1e-6)

    def _choices_a_count(self, log: Interactions) -> float:
        weight = 0.5 ** (np.arange(len(log)) / max(len(log), 1) / self.half_life)
        return float(len(log) * (weight**2).sum() / max(weight.sum(), 1e-12) ** 2) or 1.0


def fame_of(log: Interactions, *, share: float = 0.8) -> Fame:
    """The half-life under which the newest part of a log is likeliest, and the pseudo-count.

    Half-life: the items of the last 20 % are multinomial with the shares that the first 80 %
    foretell. Pseudo-count: the same for one half of the people, foretold by the other half, since
    what differs between them is luck. From :data:`HALF_LIVES` and :data:`PSEUDO_COUNTS`. The log is
    in time order.
    """
    cut = int(share * len(log))
    if cut < 1 or cut == len(log):
        return Fame(float("inf"), PSEUDO_COUNTS[0])
    past = log.take(np.arange(cut))
    later = log.popularity() - past.popularity()
    half_life = max(
        HALF_LIVES, key=lambda one: _likelihood(later, recent_counts(past, one) + PSEUDO_COUNTS[0])
    )
    half = generator(0, "fame").random(log.n_users)[log.user] < 0.5
    a, b = log.take(half).popularity(), log.take(~half).popularity()
    luck = max(PSEUDO_COUNTS, key=lambda one: _likelihood(b, a + one) + _likelihood(a, b + one))
    return Fame(half_life, luck)


def _likelihood(counts: NDArray[np.int64], weights: NDArray[np.floating]) -> float:
    return float(counts @ np.log(weights / weights.sum()))


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

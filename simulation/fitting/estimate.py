"""How people choose, estimated from what they chose next: taste, persistence, prior.

A conditional logit (McFadden 1974) on sampled alternatives (McFadden 1978): each choice is set
against items drawn in proportion to their fame, so that fame cancels and need not be estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions
from ...recommenders.randomness import generator

ALTERNATIVES = 20
MOST_CHOICES = 10_000
PRIORS = (2.0, 8.0, 32.0)
"""Weights of the population's topic mix that are tried, in interactions."""
FADINGS = (0.3, 0.5, 0.7, 1.0)
"""Shares of the last choices' hold that may fade at each choice; slower, it would be taste."""


@dataclass(frozen=True)
class Choices:
    """A sample of choices in context.

    Attributes:
        user: (n,) who.
        items: (n, 1 + alternatives) the chosen item, then others; -1 for no alternative.
        rows: (n,) where each choice stands in ``sequence``.
        sequence_user, sequence_item: (rows,) everybody's choices, person by person, in order.
    """

    user: NDArray[np.int32]
    items: NDArray[np.int64]
    rows: NDArray[np.int64]
    sequence_user: NDArray[np.int32]
    sequence_item: NDArray[np.int32]

    def others(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, d) sum of the features of everything else the person chose, before or later."""
        mine = features[self.sequence_item]
        n_users = int(self.sequence_user.max(initial=-1)) + 1
        whole = np.zeros((n_users, features.shape[1]))
        np.add.at(whole, self.sequence_user, mine)
        return np.asarray(whole[self.user] - mine[self.rows])

    def recent(self, topics: NDArray[np.float32], fading: float) -> NDArray[np.float32]:
        """(n, topics) what the person chose just before: ``s <- (1 - fading) s + topics``."""
        return before_each(self.sequence_user, topics[self.sequence_item], fading)[self.rows]

    def along(
        self, features: NDArray[np.floating], direction: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """(n, 1 + alternatives) inner products of (n, d) directions with items; NaN for none."""
        shown = features[np.maximum(self.items, 0)]  # (n, 1 + alternatives, d)
        product = np.einsum("njd,nd->nj", shown, direction)
        return np.where(self.items >= 0, product, np.nan)


@dataclass(frozen=True)
class Tastes:
    """Estimates.

    Attributes:
        prior: weight of the population's mix in a taste, in interactions.
        weight: logits of a perfect match; weight_error: its standard error, clustered by person.
        persistence: logits gained per recent choice of a topic (below 0: lost, as by satiation);
            persistence_error.
        fading: share of a recent choice's hold that fades at each further choice.
    """

    prior: float
    weight: float
    weight_error: float
    persistence: float
    persistence_error: float
    fading: float


def sampled_choices(
    log: Interactions, topics: NDArray[np.float32], fame: NDArray[np.float64], *, seed: int
) -> Choices:
    """Choices drawn at random from everybody's second onwards, each among sampled alternatives.

    Args:
        log: what was chosen; topics: (items, topics), items without a topic are left out.
        fame: (items,) positive weights that alternatives are drawn with.
    """
    rng = generator(seed, "choices")
    order = np.lexsort((np.arange(len(log)), log.step, log.user))
    user, item = log.user[order], log.item[order]
    rank = np.arange(len(log)) - np.searchsorted(user, user, side="left")
    able = np.flatnonzero((rank >= 1) & (topics[item].sum(axis=1) > 0))
    if len(able) > MOST_CHOICES:
        able = np.sort(rng.choice(able, MOST_CHOICES, replace=False))
    edges = np.cumsum(fame)
    luck = rng.random((len(able), ALTERNATIVES)) * edges[-1]
    drawn = np.minimum(np.searchsorted(edges, luck, side="right"), len(fame) - 1)
    drawn = np.where(_had(user, item, rank, able, drawn, log.n_items), -1, drawn)
    items = np.concatenate([item[able][:, None], drawn], axis=1)
    return Choices(user[able], items, able, user, item)


def _had(
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    rank: NDArray[np.int64],
    rows: NDArray[np.int64],
    drawn: NDArray[np.int64],
    n_items: int,
) -> NDArray[np.bool_]:
    """(rows, alternatives) whether the person had chosen the item by then, or chooses it now."""
    key = user.astype(np.int64) * n_items + item
    order = np.lexsort((rank, key))
    asked = user[rows, None].astype(np.int64) * n_items + drawn
    spot = np.minimum(np.searchsorted(key[order], asked), len(key) - 1)
    first = order[spot]
    return np.asarray((key[first] == asked) & (rank[first] <= rank[rows, None]))


def before_each(
    user: NDArray[np.integer], topics: NDArray[np.float32], fading: float
) -> NDArray[np.float32]:
    """(rows, topics) sum over the same person's earlier rows, fading by a share at each.

    ``s_k = sum_{j<k} (1 - fading)^{k-1-j} topics_j``; rows are grouped by person, in order. By
    doubling: log2(rows) whole-array steps instead of a loop over rows.
    """
    n = len(user)
    start = np.searchsorted(user, user, side="left")
    rank = np.arange(n) - start
    total = np.zeros_like(topics, dtype=np.float64)
    total[1:] = np.where((rank[1:] > 0)[:, None], topics[:-1], 0)
    span, keep = 1, 1.0 - fading
    longest = int(rank.max(initial=0))
    while span <= longest:  # total_k covers the last `span` rows before k; join two such spans
        back = total[:-span].copy()
        inside = rank[span:] > 0
        inside &= rank[span:] >= span
        total[span:] += np.where(inside[:, None], keep**span * back, 0)
        span *= 2
    return total.astype(np.float32)


def tastes_from(
    choices: Choices, topics: NDArray[np.float32], vectors: NDArray[np.float32] | None = None
) -> Tastes:
    """The prior, weight, persistence and fading under which the choices are likeliest.

    Utility is ``weight * (t - m) . x_i + persistence * (s - |s| m) . x_i``, with ``t`` the mean of
    a Dirichlet posterior of everything else the person chose, ``s`` what they chose just before and
    ``m`` the population's mix, whose appeal is part of the items' fame. With ``vectors``, ``t`` is
    the direction of the sum of the other items' vectors, and ``m`` that of all.

    Args:
        choices: from :func:`sampled_choices`; topics: (items, topics).
        vectors: (items, d) unit vectors that tastes are matched with, instead of topics.
    """
    mix = mix_of(topics[choices.sequence_item])
    lifts: list[tuple[float, NDArray[np.float64]]] = []
    if vectors is None:
        counts = choices.others(topics)
        for prior in PRIORS:
            shape = prior * mix + counts
            taste = shape / np.maximum(shape.sum(axis=1, keepdims=True), 1e-12)
            lifts.append((prior, choices.along(topics, taste - mix)))
    else:
        middle = unit(vectors[choices.sequence_item].sum(axis=0, keepdims=True, dtype=np.float64))
        lifts.append((0.0, choices.along(vectors, unit(choices.others(vectors)) - middle)))
    best: tuple[float, Tastes] | None = None
    for fading in FADINGS:
        recent = choices.recent(topics, fading)
        hold = choices.along(topics, recent - recent.sum(axis=1, keepdims=True) * mix)
        for prior, lift in lifts:
            features = np.stack([lift, hold], axis=2)
            likelihood, found, error = conditional_logit(features, choices.user)
            if best is None or likelihood > best[0]:
                figures = (found[0], error[0], found[1], error[1], fading)
                best = (likelihood, Tastes(prior, *map(float, figures)))
    assert best is not None
    return best[1]


def mix_of(topics: NDArray[np.floating]) -> NDArray[np.float64]:
    """(topics,) shares of all rows together."""
    mass = topics.sum(axis=0, dtype=np.float64)
    return np.asarray(mass / max(mass.sum(), 1e-12))


def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows brought to length 1; rows of zeros stay."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def conditional_logit(
    features: NDArray[np.floating],
    cluster: NDArray[np.integer],
    *,
    rounds: int = 12,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Maximum likelihood of ``P(first row) ~ exp(features . beta)``.

    Args:
        features: (n, rows, k); the first row of each was chosen; NaN rows are no alternatives.
        cluster: (n,) whose choice it is.

    Returns:
        Log-likelihood, (k,) estimates, (k,) standard errors clustered by person (Liang and Zeger
        1986).
    """
    x = np.asarray(features, np.float64)
    absent: NDArray[np.bool_] = np.asarray(np.isnan(x).any(axis=2))
    x = np.where(absent[:, :, None], 0.0, x)
    k = x.shape[2]
    beta = np.zeros(k)
    hessian = np.eye(k)
    likelihood = -np.inf
    for _ in range(rounds):
        score, bend, likelihood, _ = _slopes(x, absent, beta)
        hessian = bend + 1e-9 * np.eye(k)
        move = np.linalg.solve(hessian, score.sum(axis=0))
        beta = beta + np.clip(move, -5, 5)
        if np.abs(move).max() < 1e-6:
            break
    score, bend, likelihood, _ = _slopes(x, absent, beta)
    _, number = np.unique(cluster, return_inverse=True)
    people = np.stack(
        [np.bincount(number, weights=score[:, j]) for j in range(k)], axis=1
    )  # (people, k)
    inverse = np.linalg.inv(bend + 1e-9 * np.eye(k))
    error = np.sqrt(np.diag(inverse @ (people.T @ people) @ inverse))
    return likelihood, beta, error


def _slopes(
    x: NDArray[np.float64], absent: NDArray[np.bool_], beta: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64]]:
    utility = np.where(absent, -np.inf, x @ beta)
    top = utility.max(axis=1, keepdims=True)
    chance = np.exp(utility - top)
    total = chance.sum(axis=1, keepdims=True)
    chance /= total
    mean = np.einsum("nj,njk->nk", chance, x)
    score = x[:, 0] - mean
    spread = x - mean[:, None, :]
    bend = np.einsum("nj,njk,njl->kl", chance, spread, spread, optimize=True)
    each = utility[:, 0] - (top + np.log(total))[:, 0]
    return score, bend, float(each.sum()), each

"""The market of Chaney et al. (2018) and the six recommenders that its users live with.

Shared by the studies chaney2018 and lucherini2021. Every recommender scores all users at once;
the costly ones are batched exactly: non-negative least squares by block principal pivoting on one
shared Gram matrix, alternating least squares as stacked (factors x factors) systems.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..people.selecting import Ranked

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MODELS = ("popularity", "content", "social", "mf", "random")
"""The recommenders that are compared with the ideal one."""


# The people and the items ------------------------------------------------------------------------


def beta_around(luck: np.random.Generator, mean: Floats, sd: float) -> Floats:
    """Draws from Chaney's Beta'(mean, sd); means are clipped at 1e-9 (footnote 3 of the paper)."""
    mean = np.maximum(mean, 1e-9)
    alpha = ((1 - mean) / sd**2 - 1 / mean) * mean**2
    return np.asarray(luck.beta(alpha, alpha * (1 / mean - 1)), dtype=np.float64)


def utilities(luck: np.random.Generator, tastes: Floats, items: Floats) -> tuple[Floats, Floats]:
    """(users, items) true utility, and the share of it that users know before they choose."""
    true = beta_around(luck, tastes @ items.T, 1e-5)
    return true, true * beta_around(luck, np.full(true.shape, 0.98), 1e-5)


def people(luck: np.random.Generator, n_users: int, n_attributes: int) -> Floats:
    """(users, attributes) tastes ~ Dirichlet(10 g), g ~ Dirichlet(1)."""
    return luck.dirichlet(10 * luck.dirichlet(np.ones(n_attributes)), size=n_users)


def friends(tastes: Floats) -> Floats:
    """(users, users) 0/1 network of people whose tastes vary together.

    Two are linked if their covariance reaches the largest value that lies below the U largest
    entries and leaves nobody without a link (a link to oneself counts).
    """
    covariance = np.cov(tastes)
    ranked = np.sort(covariance, axis=None)[::-1]
    threshold = min(ranked[len(tastes)], covariance.max(axis=1).min())
    return np.asarray(covariance >= threshold, dtype=np.float64)


# What a slate does -------------------------------------------------------------------------------


def mixed_in(luck: np.random.Generator, n_users: int, n_new: int, n: int) -> tuple[Ints, Ints]:
    """Where the new items stand: uniformly random distinct places in slates of ``n``.

    Returns:
        (users, n_new) places in increasing order, and (users, n - n_new) places left for others.
    """
    places = np.empty((n_users, n_new), dtype=np.int64)
    for taken, top in enumerate(range(n - n_new, n)):  # Floyd's sampling, all users at once
        drawn = luck.integers(0, top + 1, size=n_users)
        again = (places[:, :taken] == drawn[:, None]).any(axis=1)
        places[:, taken] = np.where(again, top, drawn)
    places.sort(axis=1)
    before = places - np.arange(n_new)  # how many others stand before each new item
    others = np.zeros((n_users, n - n_new + 1), dtype=np.int64)
    np.add.at(others, (np.arange(n_users)[:, None], before), 1)
    return places, np.arange(n - n_new) + np.cumsum(others[:, :-1], axis=1)


def choose(
    luck: np.random.Generator,
    scores: Floats,
    known: Floats,
    free: NDArray[np.bool_],
    *,
    n_shown: int,
    n_new: int,
    law: Ranked,
) -> Ints:
    """(users,) the item each takes: by attention to ranks times known utility, never one again.

    Args:
        luck: order of the new items and their places, and ties of equal scores.
        scores: (users, trained) predicted scores of the items that were there at the training.
        known: (users, items) utility as the users know it; the last ``n_new`` items are new.
        free: (users, items) not taken before.
        n_shown: how many trained items are shown, best first.
        n_new: new items, put at random places among them.
        law: how attention falls with the rank.
    """
    n_users, n_items = known.shape
    worth = np.where(free, known, -1.0)
    user = np.arange(n_users)[:, None]
    new = worth[:, n_items - n_new :]
    # the new items are exchangeable: shuffling their places is shuffling their order
    new_order = np.argsort(luck.random(new.shape), axis=1)
    if scores.shape[1] == 0:
        best = law.best(new[user, new_order])
        return np.asarray(new_order[user[:, 0], best] + n_items - n_new)
    scale = 1e-12 * (np.abs(scores).max() + 1e-300)  # equal scores are put in random order
    order = np.argsort(scale * luck.random(scores.shape) - scores, axis=1)[:, :n_shown]
    places, others = mixed_in(luck, n_users, n_new, order.shape[1] + n_new)
    slate = np.empty((n_users, order.shape[1] + n_new), dtype=np.int64)
    slate[user, others] = order
    slate[user, places] = new_order + n_items - n_new
    best = law.best(worth[user, slate])
    return np.asarray(slate[user[:, 0], best], dtype=np.int64)


# Recommenders ------------------------------------------------------------------------------------


class Model(Protocol):
    """A recommender of the market.

    ``view`` is (users, any) what it holds about users: who is most similar is judged by it.
    """

    view: Floats

    def train(self, clicks: Floats, items: Floats) -> None:
        """Learn from (users, items) 0/1 clicks on (items, attributes)."""
        ...

    def score(self, n_items: int) -> Floats:
        """(users, up to n_items) scores of the items it knows."""
        ...


class Popularity:
    """Clicks of everybody; it sees no difference between users."""

    def __init__(self, n_users: int) -> None:
        self.view = np.ones((n_users, 1))
        self.counts = np.zeros(0)

    def train(self, clicks: Floats, items: Floats) -> None:
        """Count."""
        self.counts = clicks.sum(axis=0)

    def score(self, n_items: int) -> Floats:
        """The same scores for everybody."""
        return np.broadcast_to(self.counts, (len(self.view), len(self.counts)))


class Social:
    """Clicks of one's friends, oneself included."""

    def __init__(self, network: Floats) -> None:
        self.view = network
        self.counts = np.zeros((len(network), 0))

    def train(self, clicks: Floats, items: Floats) -> None:
        """Count among friends."""
        self.counts = self.view @ clicks

    def score(self, n_items: int) -> Floats:
        """(users, items) counts."""
        return self.counts


class Content:
    """Attributes of what one took: non-negative least squares of one's clicks on the items."""

    def __init__(self, n_users: int, n_attributes: int) -> None:
        self.view = np.zeros((n_users, n_attributes))
        self.items = np.zeros((0, n_attributes))

    def train(self, clicks: Floats, items: Floats) -> None:
        """Weights of the attributes, starting from the support found last time."""
        self.items = items
        self.view = batched_nnls(items.T @ items, clicks @ items, self.view > 0)

    def score(self, n_items: int) -> Floats:
        """(users, items) weights times attributes."""
        return self.view @ self.items.T


class ImplicitMF:
    """Weighted matrix factorisation of clicks (Hu, Koren & Volinsky, ICDM 2008) by ALS.

    Args:
        luck: start of the factors.
        n_users, n_factors: sizes.
        sweeps: of the first training.
        again: sweeps of every later one, which continues from the factors it has.
    """

    reg, weight = 0.1, 40.0

    def __init__(
        self, luck: np.random.Generator, n_users: int, n_factors: int, sweeps: int, again: int
    ) -> None:
        self.luck, self.sweeps, self.again = luck, sweeps, again
        self.view = np.zeros((n_users, n_factors))
        self.items = np.zeros((0, n_factors))

    def train(self, clicks: Floats, items: Floats) -> None:
        """Alternate; items that nobody took have factors of exactly zero."""
        taken = np.flatnonzero(clicks.any(axis=0))
        some = np.ascontiguousarray(clicks[:, taken])
        first = len(self.items) == 0 or self.again == 0
        sweeps = self.sweeps if first else self.again
        if first:
            shape = (len(taken), self.view.shape[1])
            factors = np.abs(self.luck.standard_normal(shape)) * 0.01
        else:
            factors = self._half(some.T, self.view)
        for _ in range(sweeps):
            self.view = self._half(some, factors)
            factors = self._half(some.T, self.view)
        self.items = np.zeros((clicks.shape[1], self.view.shape[1]))
        self.items[taken] = factors

    def _half(self, clicks: Floats, other: Floats) -> Floats:
        """(rows, factors) the best factors of the rows, given those of the columns."""
        k = other.shape[1]
        up, right = np.triu_indices(k)
        pairs = clicks @ (other[:, up] * other[:, right])  # (rows, k (k + 1) / 2)
        left = np.empty((len(clicks), k, k))
        left[:, up, right] = left[:, right, up] = self.weight * pairs
        left += other.T @ other + self.reg * np.eye(k)
        right_side = (self.weight + 1) * (clicks @ other)[:, :, None]
        return np.asarray(np.linalg.solve(left, right_side)[:, :, 0], dtype=np.float64)

    def score(self, n_items: int) -> Floats:
        """(users, items) products of factors."""
        return self.view @ self.items.T


class Random:
    """Fresh vectors for users and items at every step; items have a norm common to all users."""

    def __init__(self, luck: np.random.Generator, n_users: int, n_attributes: int) -> None:
        self.luck = luck
        self.view = np.zeros((n_users, n_attributes))

    def train(self, clicks: Floats, items: Floats) -> None:
        """Nothing is learnt."""

    def score(self, n_items: int) -> Floats:
        """(users, n_items) products of vectors drawn anew."""
        self.view = self.luck.random(self.view.shape)
        return self.view @ self.luck.random((n_items, self.view.shape[1])).T


class Ideal:
    """Knows the true utility of every item."""

    def __init__(self, true: Floats) -> None:
        self.true, self.trained = true, 0
        self.view = np.ones((len(true), 1))

    def train(self, clicks: Floats, items: Floats) -> None:
        """Items that are new since are scored from now on."""
        self.trained = len(items)

    def score(self, n_items: int) -> Floats:
        """(users, trained) true utility."""
        return self.true[:, : self.trained]


def new_model(
    name: str, tastes: Floats, true: Floats, luck: np.random.Generator, *, sweeps: tuple[int, int]
) -> Model:
    """A fresh recommender.

    Args:
        name: one of ``MODELS``, or "ideal".
        tastes: (users, attributes); MF has as many factors as there are attributes.
        true: (users, items) true utility, which the ideal one reads (and may be filled later).
        luck: of recommenders that draw.
        sweeps: of MF, at the first training and at each later one.
    """
    n_users, n_attributes = tastes.shape
    if name == "popularity":
        return Popularity(n_users)
    if name == "content":
        return Content(n_users, n_attributes)
    if name == "social":
        return Social(friends(tastes))
    if name == "mf":
        return ImplicitMF(luck, n_users, n_attributes, *sweeps)
    if name == "random":
        return Random(luck, n_users, n_attributes)
    return Ideal(true)


def batched_nnls(gram: Floats, targets: Floats, support: NDArray[np.bool_]) -> Floats:
    """(rows, k) argmin over x >= 0 of x'Gx - 2 b'x for every row b of ``targets``.

    Block principal pivoting (Kim & Park, SIAM J. Sci. Comput. 33(6), 2011) of all rows at once;
    the few rows that do not settle are solved one by one by the active-set method of SciPy.

    Args:
        gram: (k, k) shared matrix G.
        targets: (rows, k).
        support: (rows, k) which entries to try as positive first.
    """
    k = len(gram)
    gram = gram + 1e-10 * np.trace(gram) / k * np.eye(k)
    slack = 1e-10 * np.abs(targets).max()
    x = np.zeros_like(targets)
    support = support.copy()
    open_rows = np.arange(len(targets))
    for _ in range(12):
        on = support[open_rows]
        both = on[:, :, None] & on[:, None, :]
        left = np.where(both, gram, np.eye(k))
        right = np.where(on, targets[open_rows], 0.0)
        trial = np.linalg.solve(left, right[:, :, None])[:, :, 0]
        gradient = trial @ gram - targets[open_rows]
        wrong = np.where(on, trial < 0, gradient < -slack)
        x[open_rows] = trial
        bad = wrong.any(axis=1)
        support[open_rows] ^= wrong
        open_rows = open_rows[bad]
        if len(open_rows) == 0:
            return x
    from scipy.optimize import nnls

    root = np.linalg.cholesky(gram)  # |root.T x - root^-1 b|^2 is the same problem
    for row in open_rows:
        x[row] = nnls(root.T, np.linalg.solve(root, targets[row]))[0]
    return x


# Who resembles whom ------------------------------------------------------------------------------


def partners(luck: np.random.Generator, view: Floats) -> Ints:
    """(users,) the other user most similar to each by cosine; equals are drawn at random."""
    length = np.linalg.norm(view, axis=1, keepdims=True)
    unit = view / np.where(length > 0, length, 1.0)
    cosine = unit @ unit.T
    cosine += 1e-9 * luck.random(cosine.shape)
    np.fill_diagonal(cosine, -np.inf)
    return np.asarray(cosine.argmax(axis=1))


def jaccard(taken: NDArray[np.bool_], partner: Ints) -> float:
    """Mean over users of the Jaccard index of one's items and the partner's."""
    both = (taken & taken[partner]).sum(axis=1)
    either = (taken | taken[partner]).sum(axis=1)
    return float((both / np.maximum(either, 1)).mean())

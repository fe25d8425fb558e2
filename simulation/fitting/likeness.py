"""Properties of behaviour, and how far two groups of people are apart in each.

Every distance lies between 0 (alike) and 1. All are computed between groups of half the people, the
simulated as the real ones, so that a distance can be read against its floor: two random halves of
the real people, who differ by chance alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.catalog import Catalog
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import generator

EVENTS = 20
"""Events of each person that properties of single people look at, so that long logs do not look
steadier than short ones."""

SPLITS = 20
"""Random halvings that a distance and its floor are the mean of."""


@dataclass(frozen=True)
class Behaviour:
    """What people did in the time that is compared.

    Attributes:
        log: (users) what they chose; before: what the same people had chosen until then.
        catalog: the items; known: (items,) how often each had been chosen by anybody until then.
    """

    log: Interactions
    before: Interactions
    catalog: Catalog
    known: NDArray[np.int64]


@dataclass(frozen=True)
class Distance:
    """One property of two behaviours.

    Attributes:
        name: what is compared, in words; kind: the distance's name.
        distance: mean over :data:`SPLITS` halvings, None where too few people have the property.
        floor: the same between two halves of the real people; floor_high: what one halving in
            twenty exceeds.
        real, simulated: the property's mean over people (top tenth's share, effective number of
            topics, share of the catalog), for reading.
    """

    name: str
    kind: str
    distance: float | None
    floor: float | None
    floor_high: float | None
    real: float | None
    simulated: float | None


def distances(
    real: Behaviour, simulated: Behaviour, *, seed: int, timed: bool = True
) -> tuple[Distance, ...]:
    """Every property of :data:`PROPERTIES`.

    Args:
        real, simulated: of equally many people over the same catalog.
        seed: of the halvings.
        timed: whether the number of choices is a property; else activity is undefined.
    """
    n = real.log.n_users
    rng = generator(seed, "halves")
    halves = np.zeros((SPLITS, n), np.bool_)
    for half in halves:
        half[rng.permutation(n)[: n // 2]] = True
    found = (one.compare(real, simulated, halves) for one in PROPERTIES)
    return tuple(
        one if timed or one.name != ACTIVITY else Distance(one.name, one.kind, *[None] * 5)
        for one in found
    )


@dataclass(frozen=True)
class Property:
    """Something measured of each person; compared by the Kolmogorov-Smirnov distance.

    Attributes:
        name: in words.
        measure: (users,) values, NaN where a person has none.
    """

    name: str
    measure: Callable[[Behaviour], NDArray[np.float64]]

    def compare(self, real: Behaviour, simulated: Behaviour, halves: NDArray[np.bool_]) -> Distance:
        """Two-sample Kolmogorov-Smirnov statistics, mean over the halvings."""
        a, b = self.measure(real), self.measure(simulated)
        apart, floor = [], []
        for half in halves:
            apart.append(kolmogorov_smirnov(a[half], b[~half]))
            floor.append(kolmogorov_smirnov(a[half], a[~half]))
        return _distance(self.name, "Kolmogorov-Smirnov", apart, floor, _mean(a), _mean(b))


@dataclass(frozen=True)
class Whole:
    """Something measured of everybody together.

    Attributes:
        name, kind: in words.
        measure: a curve or shares; apart: distance of two of them; summary: one readable number.
    """

    name: str
    kind: str
    measure: Callable[[Interactions, Catalog], NDArray[np.float64]]
    apart: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    summary: Callable[[NDArray[np.float64]], float]

    def compare(self, real: Behaviour, simulated: Behaviour, halves: NDArray[np.bool_]) -> Distance:
        """The distance between halves, mean over the halvings."""

        def of(one: Behaviour, people: NDArray[np.bool_]) -> NDArray[np.float64]:
            return self.measure(one.log.take(people[one.log.user]), one.catalog)

        apart, floor = [], []
        for half in halves:
            a = of(real, half)
            apart.append(self.apart(a, of(simulated, ~half)))
            floor.append(self.apart(a, of(real, ~half)))
        whole = self.measure(real.log, real.catalog), self.measure(simulated.log, simulated.catalog)
        return _distance(self.name, self.kind, apart, floor, *map(self.summary, whole))


def kolmogorov_smirnov(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Largest gap between two empirical distribution functions; NaN values are left out.

    NaN where one side has fewer than two values.
    """
    a, b = np.sort(a[np.isfinite(a)]), np.sort(b[np.isfinite(b)])
    if min(len(a), len(b)) < 2:
        return float("nan")
    at = np.concatenate([a, b])
    gap = np.searchsorted(a, at, side="right") / len(a)
    gap -= np.searchsorted(b, at, side="right") / len(b)
    return float(np.abs(gap).max())


def _distance(
    name: str, kind: str, apart: list[float], floor: list[float], real: float, simulated: float
) -> Distance:
    sound = bool(np.isfinite(apart).all() and np.isfinite(floor).all())

    def known(value: float) -> float | None:
        return float(value) if sound and np.isfinite(value) else None

    return Distance(
        name,
        kind,
        known(float(np.mean(apart))),
        known(float(np.mean(floor))),
        known(float(np.quantile(floor, 0.95))) if sound else None,
        known(real),
        known(simulated),
    )


def _mean(values: NDArray[np.float64]) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


# -- of everybody together -----------------------------------------------------------------------


def _lorenz(log: Interactions, catalog: Catalog) -> NDArray[np.float64]:
    """(items,) share of consumption that falls on the most popular items, cumulated."""
    counts = np.sort(log.popularity())[::-1].astype(np.float64)
    return np.asarray(counts.cumsum() / max(counts.sum(), 1.0))


def _top_tenth(curve: NDArray[np.float64]) -> float:
    return float(curve[max(len(curve) // 10 - 1, 0)])


def _shares(log: Interactions, catalog: Catalog) -> NDArray[np.float64]:
    return log.popularity() / max(len(log), 1)


def _mix(log: Interactions, catalog: Catalog) -> NDArray[np.float64]:
    mass = catalog.topics[log.item].sum(axis=0, dtype=np.float64)
    return np.asarray(mass / max(mass.sum(), 1e-12))


def _effective(shares: NDArray[np.float64]) -> float:
    """2 to the entropy in bits: over how many equal parts the shares would be as spread."""
    p = shares[shares > 0]
    return float(2 ** -(p * np.log2(p)).sum())


def _covered(log: Interactions, catalog: Catalog) -> NDArray[np.float64]:
    return np.array([(log.popularity() > 0).mean()])


def _largest_gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.abs(a - b).max())


def _total_variation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(0.5 * np.abs(a - b).sum())


# -- of single people ----------------------------------------------------------------------------


def _activity(one: Behaviour) -> NDArray[np.float64]:
    counts = np.bincount(one.log.user, minlength=one.log.n_users).astype(np.float64)
    return np.asarray(counts / max(counts.mean(), 1e-12))


def _first(one: Behaviour) -> NDArray[np.int32]:
    """(users, EVENTS) the first items of each person in the time compared, -1 for none."""
    histories = one.log.histories()
    position = histories.offsets[:-1, None] + np.arange(EVENTS)
    there = position < histories.offsets[1:, None]
    if len(histories.values) == 0:
        return np.full(there.shape, -1, np.int32)
    found = histories.values[np.minimum(position, len(histories.values) - 1)]
    return np.where(there, found, np.int32(-1))


def _repeat(one: Behaviour) -> NDArray[np.float64]:
    """Share of a person's choices in the topic of the choice before; the last before counts."""
    sequence = np.concatenate([one.before.histories().last(1), _first(one)], axis=1)
    topic = np.where(sequence >= 0, one.catalog.main_topic[np.maximum(sequence, 0)], -1)
    pair = (topic[:, 1:] >= 0) & (topic[:, :-1] >= 0)
    same = pair & (topic[:, 1:] == topic[:, :-1])
    return _ratio(same.sum(axis=1), pair.sum(axis=1))


def _ratio(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.asarray(np.where(b > 0, a / np.maximum(b, 1), np.nan), np.float64)


def _profile(items: NDArray[np.int32], catalog: Catalog) -> NDArray[np.float64]:
    """(users, topics) mean topics of the items in each row; NaN without any."""
    there = items >= 0
    mass = np.where(there[..., None], catalog.topics[np.maximum(items, 0)], 0).sum(axis=1)
    total = mass.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(np.where(total > 0, mass / np.maximum(total, 1e-12), np.nan))


def _breadth(one: Behaviour) -> NDArray[np.float64]:
    """Effective number of topics of a person's first choices, by how many they are at most."""
    items = _first(one)
    profile = _profile(items, one.catalog)
    logs = np.log2(np.where(profile > 0, profile, 1.0))
    n = (items >= 0).sum(axis=1)
    return np.where(n >= 2, 2 ** -(profile * logs).sum(axis=1), np.nan)


def _drift(one: Behaviour) -> NDArray[np.float64]:
    """Total variation between a person's topics before and at the end of the time compared.

    Both sides hold the same number of choices, at most ten and at least three; who had not chosen
    enough before is compared with their own first choices.
    """
    most = EVENTS // 2
    past, log = one.before.histories(), one.log.histories()
    old, new = past.lengths, log.lengths
    n = np.minimum(np.minimum(old, new), most)  # (users,)
    own = np.minimum(new // 2, most)
    fresh = n < own
    n = np.where(fresh, own, n)
    before = np.where(fresh[:, None], _first(one)[:, :most], past.last(most)[:, ::-1])
    after = log.last(most)[:, ::-1]
    taken = np.arange(most) < n[:, None]
    a = _profile(np.where(taken, before, -1), one.catalog)
    b = _profile(np.where(taken, after, -1), one.catalog)
    return np.where(n >= 3, 0.5 * np.abs(a - b).sum(axis=1), np.nan)


def _mainstream(one: Behaviour) -> NDArray[np.float64]:
    """Mean rank of a person's first choices by earlier popularity, 1 for the best known."""
    known = one.known.astype(np.float64)
    below = np.searchsorted(np.sort(known), known, side="left")
    equal = np.searchsorted(np.sort(known), known, side="right")
    rank = (below + equal) / (2.0 * len(known))  # (items,) mid-ranks
    items = _first(one)
    there = items >= 0
    return _ratio_float(np.where(there, rank[np.maximum(items, 0)], 0).sum(axis=1), there)


def _ratio_float(total: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    n = there.sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _overlap(one: Behaviour) -> NDArray[np.float64]:
    """Mean share of a person's first choices that a random other person made among theirs.

    Over 25 others, the same in both behaviours; relative to the shorter of the two lists.
    """
    items = _first(one)
    n_users = len(items)
    others = generator(0, "overlap", n_users).integers(1, max(n_users, 2), size=25)
    length = (items >= 0).sum(axis=1)
    total, n = np.zeros(n_users), np.zeros(n_users, np.int64)
    for shift in others:  # a person's k-th other is the one ``shift`` places on
        theirs = np.roll(items, -int(shift), axis=0)
        common = ((items[:, :, None] == theirs[:, None, :]) & (items[:, :, None] >= 0)).sum((1, 2))
        shorter = np.minimum(length, np.roll(length, -int(shift)))
        total += np.where(shorter > 0, common / np.maximum(shorter, 1), 0.0)
        n += shorter > 0
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


ACTIVITY = "activity (choices a person, relative to the mean)"
PROPERTIES: tuple[Property | Whole, ...] = (
    Whole(
        "popularity curve (cumulative share of choices by item rank)",
        "largest gap",
        *(_lorenz, _largest_gap, _top_tenth),
    ),
    Whole(
        "popular items (which items the choices fall on)",
        "total variation",
        *(_shares, _total_variation, _effective),
    ),
    Whole(
        "coverage (share of the catalog chosen by somebody)",
        "difference",
        *(_covered, _largest_gap, lambda share: float(share[0])),
    ),
    Property(ACTIVITY, _activity),
    Whole("topic mix (of all choices)", "total variation", _mix, _total_variation, _effective),
    Property("breadth (effective number of topics of a person)", _breadth),
    Property("repeat (share of choices in the topic of the one before)", _repeat),
    Property("drift (total variation of a person's topics, earlier to later)", _drift),
    Property("mainstream (earlier popularity rank of what a person chooses)", _mainstream),
    Property("overlap (share of choices in common with another person)", _overlap),
)

"""What creators make: items near a profile, profiles that follow clicks, supply that follows fame.

Draws are functions of luck and coordinates, so that the same creator makes the same item in every
arm as long as its profile is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...recommenders.randomness import stream, uniform

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

FLOOR = 1e-4
"""Profiles never fall below: an attribute that low is practically never made."""


def dirichlet(concentrations: Floats, seed: int, purpose: str, *labels: ArrayLike) -> Floats:
    """Dirichlet draws that belong to their labels, for concentrations however small.

    ``x = g / sum g`` with ``g_j ~ Gamma(a_j)``, drawn as ``log g = log G(a + 1) + log(u) / a``
    (Marsaglia & Tsang 2000, section 6), so that nothing underflows in the corners of the simplex.

    Args:
        concentrations: (n, k) positive.
        seed, purpose: whose luck; labels: integers of shape (n,) that tell the draws apart.

    Returns:
        (n, k) rows that sum to 1.
    """
    from scipy.special import gammaincinv

    a = np.asarray(concentrations, np.float64)
    places = [np.asarray(label)[..., None] for label in labels]
    column = np.arange(a.shape[1])
    first = uniform(stream(seed, f"{purpose}/gamma"), *places, column)
    second = uniform(stream(seed, f"{purpose}/power"), *places, column)
    logs = np.log(gammaincinv(a + 1.0, first)) + np.log(second) / a
    logs -= logs.max(axis=1, keepdims=True)
    whole = np.exp(logs)
    return np.asarray(whole / whole.sum(axis=1, keepdims=True))


def normal(seed: int, purpose: str, *labels: ArrayLike) -> Floats:
    """Standard normal draws that belong to their labels, broadcast together."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniform(stream(seed, purpose), *labels)))


def follow(profiles: Floats, creator: Ints, items: Floats, rate: float) -> NDArray[np.float64]:
    """Profiles after clicks: each click pulls its item's creator towards the item.

    ``c <- normalise(c + rate sum x)``, floored at :data:`FLOOR`; Lucherini et al. (2021), T-RECS.

    Args:
        profiles: (creators, attributes), rows sum to 1.
        creator: (clicks,) who made what was clicked; items: (clicks, attributes) its attributes.
        rate: what a click weighs.
    """
    moved = profiles.copy()
    np.add.at(moved, creator, rate * items)
    moved /= moved.sum(axis=1, keepdims=True)
    return np.asarray(np.clip(moved, FLOOR, 1.0), np.float64)


def viability(clicks: Floats, alive: NDArray[np.bool_], *, weight: float = 2.0) -> Floats:
    """(creators,) share of what is made next: ``softmax(weight log(1 + discounted clicks))``.

    That is ``(1 + clicks)^weight`` over its sum; 0 for creators who left. Mladenov et al. (2021),
    RecSim NG, the viable corpus of its creator ecosystem (weight 2, clicks discounted by .96).
    """
    worth = np.where(alive, weight * np.log1p(clicks), -np.inf)
    share = np.exp(worth - worth.max())
    return np.asarray(share / share.sum())


def allotted(share: Floats, luck: Floats) -> NDArray[np.int64]:
    """(n,) whose each of n new items is: creator c with chance ``share[c]``.

    Args:
        share: (creators,) sums to 1; luck: (n,) uniform draws.
    """
    cumulative = share.cumsum()
    place = np.searchsorted(cumulative, luck * cumulative[-1], side="right")
    return np.asarray(np.minimum(place, np.flatnonzero(share > 0)[-1]), np.int64)


def nth_of_each(creator: Ints) -> NDArray[np.int64]:
    """(n,) the how-manieth item of its creator each is: 0, 1, ... in the order given."""
    order = np.argsort(creator, kind="stable")
    ordered = creator[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.concatenate([starts, [len(ordered)]]))
    nth = np.empty(len(creator), np.int64)
    nth[order] = np.arange(len(creator)) - np.repeat(starts, sizes)
    return nth


def one_of_own(maker: Ints, creator: Ints, luck: Floats) -> NDArray[np.int64]:
    """(n,) an earlier item of each creator, drawn uniformly; any item where there is none.

    Args:
        maker: (items,) who made the items there are, -1 unknown; creator: (n,); luck: (n,).
    """
    order = np.argsort(maker, kind="stable")
    first = np.searchsorted(maker[order], creator, side="left")
    size = np.searchsorted(maker[order], creator, side="right") - first
    first, size = np.where(size > 0, first, 0), np.where(size > 0, size, len(maker))
    place = first + np.minimum((luck * size).astype(np.int64), size - 1)
    return np.asarray(order[place])


def directions(topics: Floats, features: Floats) -> Floats:
    """(topics, d) unit vector of each topic: the mean of its items' features, by their shares."""
    centre = np.einsum("it,id->td", topics, features, dtype=np.float64)
    length = np.linalg.norm(centre, axis=1, keepdims=True)
    return np.asarray(centre / np.maximum(length, 1e-12))

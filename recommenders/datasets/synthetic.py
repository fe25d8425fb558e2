"""A synthetic market: people with tastes, items with topics, a long tail, and a past.

It needs no download and is the default everywhere. Everything is known: tastes, quality, harm
labels, groups; so an audit on it can be checked against the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..catalog import Catalog
from ..interactions import Interactions
from ..randomness import generator
from ..ranking import top_k_exact
from .dataset import UserTable

TASTE_SCALE = 8.0
"""Utility of a perfect match between a taste and an item, in logit units."""

_AWARENESS = 0.5  # exponent of the Zipf law by which people know of items before the loop
_GENDERS = (("M", 0.55), ("F", 0.45))
_AGES = (("18-29", 0.4), ("30-59", 0.4), ("60+", 0.2))


@dataclass(frozen=True)
class Market:
    """What a world starts from.

    Attributes:
        catalog: items with their true quality.
        users: ids and group labels.
        taste: (users, topics) float32, rows sum to 1; or (users, dim) unit vectors.
        activity: (users,) float32 probability to be active in a step.
        awareness: (items,) float32 log of how well known an item is without a recommender.
        log: what people consumed before the loop; steps are negative.
        taste_scale: utility of a perfect match between a taste and an item, in logits.
        learnt: constants of people's behaviour estimated from data, by name.
        features: (items, dim) float32 unit vectors that tastes are matched with; None where tastes
            are shares of topics and are matched with the catalog's.
    """

    catalog: Catalog
    users: UserTable
    taste: NDArray[np.float32]
    activity: NDArray[np.float32]
    awareness: NDArray[np.float32]
    log: Interactions
    taste_scale: float = TASTE_SCALE
    features: NDArray[np.float32] | None = None
    learnt: Mapping[str, float] = field(default_factory=dict)


def market(
    *,
    users: int,
    items: int,
    topics: int,
    history: float = 20.0,
    unequal_base_rates: bool = False,
    dim: int = 0,
    seed: int = 0,
) -> Market:
    """Draw a market.

    Args:
        users, items, topics: sizes.
        dim: 0 for tastes that are shares of topics; else tastes and items become unit vectors of
            this many dimensions, near the directions of their topics.
        history: mean number of items a person consumed before the loop.
        unequal_base_rates: women have broader tastes and are less active than men, so that every
            accurate recommender serves them less well without using the attribute: the trap a
            fairness audit must not fall into.
        seed: same seed, same market.
    """
    catalog, awareness = _catalog(items, topics, seed)
    people, taste, activity = _people(users, topics, unequal_base_rates, seed)
    log = organic_past(catalog, taste, activity, awareness, history, seed)
    if dim == 0:
        return Market(catalog, people, taste, activity, awareness, log)
    rng = generator(seed, "directions")
    directions = _unit(rng.standard_normal((topics, dim)))
    features = _unit(catalog.topics @ directions + _SCATTER * _unit_noise(rng, items, dim))
    vectors = np.empty((users, dim), np.float32)
    for rows in cut(users, _ROWS):  # so that a million people fit into memory
        scatter = _SCATTER * _unit_noise(rng, rows.stop - rows.start, dim)
        vectors[rows] = _unit(taste[rows] @ directions + scatter)
    return Market(catalog, people, vectors, activity, awareness, log, features=features)


_ROWS = 65_536  # people drawn at once
_CELLS = 4_000_000  # pairs of a person and an item weighed at once: 32 MB


def cut(n: int, size: int) -> list[slice]:
    """Slices of at most ``size`` rows that cover ``n``."""
    return [slice(at, min(at + size, n)) for at in range(0, n, size)]


_SCATTER = 0.3  # length of the noise added to a topic's direction


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / length, dtype=np.float32)


def _unit_noise(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    return _unit(rng.standard_normal((n, dim)))


def _catalog(items: int, topics: int, seed: int) -> tuple[Catalog, NDArray[np.float32]]:
    rng = generator(seed, "catalog")
    popular_topic = rng.dirichlet(np.full(topics, 4.0))
    main = rng.choice(topics, size=items, p=popular_topic)
    main[:topics] = np.arange(topics)[: len(main)]  # no topic without an item
    weights = rng.dirichlet(np.full(topics, 0.08), size=items)
    mix = 0.75 * np.eye(topics)[main] + 0.25 * weights  # (items, topics)
    n_providers = max(2, items // 20)
    provider = rng.zipf(1.6, size=items) % n_providers
    largest = np.argsort(-np.bincount(provider, minlength=n_providers), kind="stable")
    major = np.isin(provider, largest[: max(1, n_providers // 5)])
    awareness = -_AWARENESS * np.log(1.0 + rng.permutation(items))
    catalog = Catalog(
        ids=tuple(f"item-{i:05d}" for i in range(items)),
        titles=tuple(f"Item {i} (topic {t})" for i, t in enumerate(main)),
        topics=mix.astype(np.float32),
        topic_names=tuple(f"topic {t}" for t in range(topics)),
        provider=provider.astype(np.int32),
        provider_group=np.where(major, 0, 1).astype(np.int32),
        quality=(0.4 * rng.standard_normal(items)).astype(np.float32),
        stance=np.clip(rng.normal(0.0, 0.5, items), -1, 1).astype(np.float32),
        veracity=rng.beta(8, 2, items).astype(np.float32),
        harmful=rng.random(items) < 0.03,
        origin=np.zeros(items, np.int8),
    )
    return catalog, awareness.astype(np.float32)


def _people(
    users: int, topics: int, unequal: bool, seed: int
) -> tuple[UserTable, NDArray[np.float32], NDArray[np.float32]]:
    rng = generator(seed, "people")
    gender = rng.choice([g for g, _ in _GENDERS], size=users, p=[p for _, p in _GENDERS])
    age = rng.choice([a for a, _ in _AGES], size=users, p=[p for _, p in _AGES])
    woman = gender == "F"
    breadth = np.where(woman & unequal, 1.2, 0.35)
    gamma = rng.gamma(breadth[:, None], 1.0, size=(users, topics)) + 1e-6
    taste = gamma / gamma.sum(axis=1, keepdims=True)
    activity = rng.beta(6, 2, size=users) * np.where(woman & unequal, 0.6, 1.0)
    table = UserTable(
        ids=tuple(f"user-{u:05d}" for u in range(users)),
        attributes={"gender": gender.astype(str), "age": age.astype(str)},
    )
    return table, taste.astype(np.float32), np.clip(activity, 0.05, 1.0).astype(np.float32)


def organic_past(
    catalog: Catalog,
    taste: NDArray[np.float32],
    activity: NDArray[np.float32],
    awareness: NDArray[np.float32],
    history: float,
    seed: int,
) -> Interactions:
    """What people found by themselves: a draw without replacement from taste and awareness.

    Gumbel top-n sampling (Kool et al. 2019) of ``exp(scale * taste.topics + quality + awareness)``;
    the order of a person's past is the order of the draw, last first: one item a step, the newest
    in the step before the loop.
    """
    n_users, n_items = len(taste), len(catalog)
    rng = generator(seed, "past")
    mean = history * activity / activity.mean()
    length = np.clip(rng.poisson(mean), min(3, n_items), n_items // 2 or 1)
    quality = np.zeros(n_items, np.float32) if catalog.quality is None else catalog.quality
    fame = quality + awareness
    longest = int(length.max())
    item = np.empty(int(length.sum()), np.int32)
    at = 0
    for rows in cut(n_users, max(1, _CELLS // n_items)):
        keys = TASTE_SCALE * (taste[rows] @ catalog.topics.T) + fame  # (rows, items)
        keys = keys - np.log(-np.log(rng.random(keys.shape)))
        top = top_k_exact(keys, longest)  # (rows, longest)
        drawn = top[np.arange(longest) < length[rows, None]]
        item[at : at + len(drawn)] = drawn
        at += len(drawn)
    user = np.repeat(np.arange(n_users, dtype=np.int32), length)
    step = np.repeat(np.cumsum(length) - length, length) - np.arange(len(item)) - 1
    order = np.lexsort((user, step))
    past = user[order], item[order], step[order]
    return Interactions(*past, n_users, n_items, timed=True)

"""The profiles of poisoning attacks: what fake people consume so that an item is recommended.

The attacks were described for ratings; for consumption they lose the rating and keep the choice of
items. Lam & Riedl (2004), Shilling Recommender Systems for Fun and Profit (random, average); Burke,
Mobasher, Zabicki & Bhaumik (2005), Identifying Attack Models for Secure Recommendation (bandwagon,
segment); 36 fillers as in RecAD (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Ragged
from ...recommenders.randomness import gumbel, stream, uniform

Kind = Literal["random", "average", "bandwagon", "segment"]

_BLOCK = 1 << 21  # cells of (profiles, items) held at once


@dataclass(frozen=True)
class Attack:
    """What all profiles of an attack have in common.

    Attributes:
        kind: which attack.
        target: index of the item to push.
        topic: index of the segment's topic.
        selected: items that every profile of a bandwagon or segment attack holds.
        filler: further items of each profile.
    """

    kind: Kind
    target: int
    topic: int
    selected: int
    filler: int


def chosen(
    attack: Attack, popularity: NDArray[np.int64], topics: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The items that every profile holds beside the target.

    A bandwagon attack jumps on the most consumed items, a segment attack on the most consumed ones
    whose main topic is the segment's; the others have none.

    Args:
        popularity: (items,) consumptions, -1 for items that cannot be chosen; topics: (items,
            topics).
    """
    if attack.kind not in ("bandwagon", "segment"):
        return np.empty(0, np.int64)
    fits = popularity >= 0
    if attack.kind == "segment":
        fits &= (topics.argmax(axis=1) == attack.topic) & (topics.max(axis=1) > 0)
    fits[attack.target] = False
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    return np.asarray(order[fits[order]][: attack.selected], np.int64)


def fake_profiles(
    attack: Attack,
    n: int,
    *,
    popularity: NDArray[np.int64],
    topics: NDArray[np.float32],
    seed: int,
    step: int,
) -> Ragged:
    """n rows of items, each the target, what is chosen and fillers without repetition, in an order
    of its own.

    Fillers are drawn uniformly; by an average attack in proportion to ``popularity + 1``, so that
    a profile looks like a person's (Gumbel top-k, Kool et al. 2019).

    Args:
        n: profiles.
        popularity: (items,) consumptions, -1 for items that cannot be consumed.
        topics: (items, topics).
        seed: whose luck; step: of the attack.
    """
    n_items = len(popularity)
    fixed = np.concatenate([[attack.target], chosen(attack, popularity, topics)])
    weight = np.zeros(n_items)
    if attack.kind == "average":
        weight = np.log(np.maximum(popularity, 0) + 1.0)
    weight[popularity < 0] = -np.inf
    weight[fixed] = -np.inf
    filler = min(attack.filler, int(np.isfinite(weight).sum()))
    rows = np.empty((n, len(fixed) + filler), np.int64)
    rows[:, : len(fixed)] = fixed
    key, item = stream(seed, "filler"), np.arange(n_items)
    size = max(1, _BLOCK // n_items)
    for first in range(0, n if filler else 0, size):
        who = np.arange(first, min(first + size, n))
        noisy = weight + gumbel(key, step, who[:, None], item)
        best = np.argpartition(-noisy, filler - 1, axis=1)[:, :filler]
        rows[who, len(fixed) :] = np.sort(best, axis=1)
    luck = uniform(stream(seed, "order of a fake past"), step, np.arange(n)[:, None], rows)
    rows = np.take_along_axis(rows, np.argsort(luck, axis=1, kind="stable"), axis=1)
    offsets = np.arange(n + 1, dtype=np.int64) * rows.shape[1]
    return Ragged(rows.astype(np.int32).ravel(), offsets)


def ranks(
    scores: NDArray[np.float32], target: int, hidden: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The target's place, from 1, and its percentile among the items each person could be shown.

    Equal scores go by item index for the place, and count half for the percentile: the share of
    the other items that stand below the target, from 0 (last) to 1 (first).

    Args:
        scores: (n, items) of a recommender; target: the item's index.
        hidden: (n, items) what cannot be shown to each; never the target.
    """
    own = scores[:, target, None]
    above, equal = (scores > own) & ~hidden, (scores == own) & ~hidden
    before = equal[:, :target].sum(axis=1)
    place = 1 + above.sum(axis=1) + before
    others = np.maximum((~hidden).sum(axis=1) - 1, 1)
    ties = equal.sum(axis=1) - 1
    below = others - above.sum(axis=1) - ties
    return np.asarray(place), np.asarray((below + 0.5 * ties) / others)


def in_segment(mass: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(users,) the quarter of people whose past is most about a topic, of those who have one.

    Args:
        mass: (users,) share of each past that is about the topic, NaN without a past.
    """
    known = np.isfinite(mass)
    if not known.any():
        return np.asarray(known)
    edge = np.quantile(mass[known], 0.75)
    share = np.nan_to_num(mass, nan=-1.0)
    return np.asarray((share >= edge) & (share > 0))

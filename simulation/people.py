"""How simulated people choose and change: the equations, as whole-array functions.

A person has a taste on the topic simplex, a level of satiation per topic and a way of browsing.
Each law is a small pure function over a block of users, so that any blocking of the population
gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..recommenders.randomness import gumbel
from .study import PeopleSection

SEARCH_SKILL = 0.5
"""How much of an item's match a person can tell before it is in front of them, 0 to 1.

With 1, people left alone would find what they like as well as an all-knowing recommender, and
every real recommender would leave nearly everybody worse off.
"""

OUTSIDE = -1
"""The "item" of the outside option: leaving the slate without choosing."""


@dataclass(frozen=True)
class UserModel:
    """One set of behavioural constants.

    Attributes:
        drift: share of the taste that moves to a consumed item's topics, per consumption.
        exposure_drift: the same for topics merely shown (mere exposure), per step.
        satiation: utility lost per unit of accumulated consumption of an item's topics.
        recovery: share of satiation that fades in a step.
        position_bias: utility lost per unit of ``ln(1 + position)``, position from 0.
        outside_utility: utility of choosing nothing.
        temperature: scale of the choice noise; 1 is the plain multinomial logit.
    """

    drift: float
    exposure_drift: float
    satiation: float
    recovery: float
    position_bias: float
    outside_utility: float
    temperature: float


PRESETS: dict[str, UserModel] = {
    "habitual": UserModel(0.02, 0.0, 0.3, 0.2, 0.5, 2.5, 1.0),
    "curious": UserModel(0.01, 0.0, 0.8, 0.1, 0.3, 2.0, 1.3),
    "impressionable": UserModel(0.03, 0.01, 0.15, 0.3, 0.9, 2.0, 1.0),
}


def user_model(section: PeopleSection) -> UserModel:
    """The preset of the section with the numbers it overrides."""
    preset = PRESETS[section.model]
    return UserModel(
        **{
            name: given if (given := getattr(section, name)) is not None else default
            for name, default in vars(preset).items()
        }
    )


def affinity(
    taste: NDArray[np.float32], topics: NDArray[np.float32], items: NDArray[np.int32]
) -> NDArray[np.float32]:
    """How well each shown item meets each person's taste.

    Args:
        taste: (n, topics); topics: (items, topics) of the catalog; items: (n, k), -1 allowed.

    Returns:
        (n, k) float32 in [0, 1]; 0 for empty slots.
    """
    shown = topics[np.maximum(items, 0)]  # (n, k, topics)
    match = np.einsum("nkt,nt->nk", shown, taste)
    return np.where(items >= 0, match, np.float32(0.0)).astype(np.float32)


def choose(
    model: UserModel,
    *,
    taste: NDArray[np.float32],
    satiation: NDArray[np.float32],
    topics: NDArray[np.float32],
    quality: NDArray[np.float32],
    scale: float,
    items: NDArray[np.int32],
    users: NDArray[np.int32],
    step: int,
    key: np.uint64,
    ordered: bool = True,
) -> NDArray[np.int64]:
    """One multinomial-logit choice per person from a slate and the outside option.

    ``U_ui = scale * taste_u.topics_i + quality_i - satiation * s_u.topics_i
    - position_bias * ln(1 + position)``; the choice maximises ``U + temperature * Gumbel``
    (McFadden 1974). Noise belongs to (person, step, item), not to the slot, so that arms that show
    different slates stay coupled.

    Args:
        scale: utility of a perfect match, in logits.
        items: (n, k) slate, -1 for empty; users: (n,) indices.
        ordered: False switches position bias off (people who browse by themselves see no ranking).

    Returns:
        (n,) chosen position, or -1 for the outside option.
    """
    match = affinity(taste, topics, items)
    tired = affinity(satiation, topics, items)
    utility = scale * match.astype(np.float64) + quality[np.maximum(items, 0)]
    utility -= model.satiation * tired
    if ordered:
        utility -= model.position_bias * np.log1p(np.arange(items.shape[1]))
    utility += model.temperature * gumbel(key, step, users[:, None], items)
    utility[items < 0] = -np.inf
    outside = model.outside_utility + model.temperature * gumbel(key, step, users, OUTSIDE)
    best = utility.argmax(axis=1)
    return np.where(utility[np.arange(len(users)), best] > outside, best, -1)


def change_taste(
    model: UserModel,
    taste: NDArray[np.float32],
    consumed: NDArray[np.float32],
    shown: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Taste after a step: a convex move to what was consumed, and to what was merely shown.

    ``taste <- (1 - e) taste + e topics``, once with ``e = exposure_drift`` and the mean topics of
    the slate, once with ``e = drift`` and the topics of the consumed item. Rows of ``consumed`` or
    ``shown`` that are all zero (nothing consumed, no topic known) leave the taste where it is.

    Args:
        taste, consumed, shown: (n, topics), rows sum to 1 or to 0.
    """
    for rate, target in ((model.exposure_drift, shown), (model.drift, consumed)):
        weight = np.float32(rate) * target.sum(axis=1, keepdims=True)  # (n, 1)
        taste = (1 - weight) * taste + np.float32(rate) * target
    return taste.astype(np.float32)


def change_satiation(
    model: UserModel, satiation: NDArray[np.float32], consumed: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Satiation after a step: ``s <- (1 - recovery) s + topics``; (n, topics)."""
    return (np.float32(1 - model.recovery) * satiation + consumed).astype(np.float32)

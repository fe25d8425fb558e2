"""How simulated people weigh items and change: the equations, as whole-array functions.

A person has a taste (shares of topics, or a unit vector), a level of satiation per topic and a way
of browsing. Each law is a small pure function over a block of users, so that any blocking of the
population gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions
from ...recommenders.randomness import stream, uniform
from ..study import BehaviourSection, PeopleSection, UsersSection, WorldSection
from .choice import Chooses, Logit, LogPlace
from .critiques import Critiques
from .drift import Change, Space
from .feedback import Tells

SEARCH_SKILL = 0.5
"""How much of an item's match a person can tell before it is in front of them, 0 to 1.

With 1, people left alone would find what they like as well as an all-knowing recommender, and
every real recommender would leave nearly everybody worse off.
"""


@dataclass(frozen=True)
class UserModel:
    """One set of behavioural constants.

    Attributes:
        drift: share of the taste that moves to a consumed item's features, per consumption.
        exposure_drift: the same for features merely shown (mere exposure), per step.
        satiation: utility lost per unit of accumulated consumption of an item's topics.
        recovery: share of satiation that fades in a step.
        position_bias: utility lost per unit of ``ln(1 + position)``, position from 0.
        outside_utility: utility of choosing nothing.
        temperature: scale of the choice noise; 1 is the plain multinomial logit.
        persistence: utility gained per unit of an item's topics among the latest consumptions.
        fading: share of that hold lost at each further consumption.
    """

    drift: float
    exposure_drift: float
    satiation: float
    recovery: float
    position_bias: float
    outside_utility: float
    temperature: float
    persistence: float = 0.0
    fading: float = 1.0


PRESETS: dict[str, UserModel] = {
    "habitual": UserModel(0.02, 0.0, 0.3, 0.2, 0.5, 2.5, 1.0),
    "curious": UserModel(0.01, 0.0, 0.8, 0.1, 0.3, 2.0, 1.3),
    "impressionable": UserModel(0.03, 0.01, 0.15, 0.3, 0.9, 2.0, 1.0),
}


@dataclass(frozen=True)
class Segment:
    """People who behave by the same laws and constants.

    Attributes:
        name: how reports call them.
        constants: of their preset, with what the study overrides.
        choice: how they choose.
        change: laws of change beyond drift and satiation, in order.
        persons: "" for rows of a cohort; "scripted" or "chat" for one object each (person.py).
        feedback: what they tell beside taking, in order.
        says: how they put it into words, for recommenders that read it; None for not at all.
    """

    name: str
    constants: UserModel
    choice: Chooses
    change: tuple[Change, ...] = ()
    persons: str = ""
    feedback: tuple[Tells, ...] = ()
    says: Critiques | None = None

    @property
    def reports(self) -> frozenset[str]:
        """The optional columns of Feedback that these people fill in."""
        if self.persons == "chat":
            return frozenset({"rating"})
        return self.choice.reports.union(*(law.reports for law in self.feedback))

    @property
    def plain(self) -> bool:
        """Whether these people are rows of a cohort with only what every preset has: multinomial
        logit with a bias by log position, convex drift, satiation. A compiled kernel may then
        stand in for the laws."""
        logit = isinstance(self.choice, Logit) and isinstance(self.choice.position, LogPlace)
        more = self.change or self.feedback or self.persons or self.constants.persistence
        return logit and not more


def user_model(
    section: BehaviourSection, learnt: Mapping[str, float] = MappingProxyType({})
) -> UserModel:
    """The preset of the section, with what was learnt from data, with the numbers it overrides."""
    known = vars(PRESETS[section.model]) | dict(learnt)
    return UserModel(
        **{
            name: given if (given := getattr(section, name)) is not None else value
            for name, value in known.items()
        }
    )


def segments(
    people: PeopleSection,
    users: tuple[UsersSection, ...],
    learnt: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Segment, ...]:
    """The kinds of people of a study: those of [[users]], or one kind, that of [people].

    Args:
        learnt: constants estimated from data, in place of the presets'.
    """
    kinds: tuple[BehaviourSection, ...] = users or (people,)
    return tuple(
        Segment(
            getattr(kind, "label", "") or kind.model,
            user_model(kind, learnt),
            kind.choice,
            kind.change,
            getattr(kind, "persons", ""),
            kind.feedback,
            kind.says,
        )
        for kind in kinds
    )


def space_of(world: WorldSection) -> Space:
    """Where the people of a world have their tastes at the start."""
    return "topics" if world.dim == 0 else "vectors"


def segment_of(users: tuple[UsersSection, ...], n: int, *, seed: int) -> NDArray[np.int8]:
    """(n,) which segment each person belongs to: their luck against the cumulated shares."""
    if len(users) < 2:
        return np.zeros(n, np.int8)
    edges = np.cumsum([kind.share for kind in users])[:-1]
    draw = uniform(stream(seed, "segment"), np.arange(n))
    return np.searchsorted(edges, draw, side="right").astype(np.int8)


def affinity(
    taste: NDArray[np.float32], features: NDArray[np.float32], items: NDArray[np.int32]
) -> NDArray[np.float32]:
    """How well each shown item meets each person's taste.

    Args:
        taste: (n, d); features: (items, d) of the catalog; items: (n, k), -1 allowed.

    Returns:
        (n, k) float32, in [0, 1] for topic shares, [-1, 1] for unit vectors; 0 for empty slots.
    """
    shown = features[np.maximum(items, 0)]  # (n, k, d)
    match = np.einsum("nkt,nt->nk", shown, taste)
    return np.where(items >= 0, match, np.float32(0.0)).astype(np.float32)


def utility(
    model: UserModel,
    match: NDArray[np.float32],
    *,
    satiation: NDArray[np.float32],
    topics: NDArray[np.float32],
    quality: NDArray[np.float32],
    scale: float,
    items: NDArray[np.int32],
) -> NDArray[np.float64]:
    """What each shown item is worth to each person, before any effect of its place and any noise.

    ``U_ui = scale * match_ui + quality_i - satiation * s_u.topics_i``; -inf for empty slots.

    Args:
        match: (n, k) from :func:`affinity`; satiation: (n, topics); topics: (items, topics);
        quality: (items,); scale: utility of a perfect match, in logits; items: (n, k).
    """
    tired = affinity(satiation, topics, items)
    worth = scale * match.astype(np.float64) + quality[np.maximum(items, 0)]
    worth -= model.satiation * tired
    worth[items < 0] = -np.inf
    return np.asarray(worth, dtype=np.float64)


def change_taste(
    model: UserModel,
    taste: NDArray[np.float32],
    consumed: NDArray[np.float32],
    shown: NDArray[np.float32],
    *,
    n_consumed: NDArray[np.integer] | None = None,
    space: Space = "topics",
) -> NDArray[np.float32]:
    """Taste after a step: a convex move to what was consumed, and to what was merely shown.

    ``taste <- (1 - e) taste + e features``, once with ``e = exposure_drift`` and the mean features
    of the slate, once with ``e = drift`` and the features of the consumed item (their mean, with
    ``e = 1 - (1 - drift)^n``, where ``n`` items were consumed). Rows of ``consumed`` or ``shown``
    that are all zero (nothing consumed, no topic known) leave the taste where it is. Unit vectors
    are brought back to length 1; free ones are not.

    Args:
        taste, shown: (n, d); consumed: (n, d) sum over the items consumed.
        n_consumed: (n,) how many were consumed; at most one each when None.
        space: where tastes live.
    """
    drift = np.full((len(taste), 1), model.drift, np.float32)
    if n_consumed is not None and n_consumed.max(initial=0) > 1:
        n = np.maximum(n_consumed, 1)[:, None]
        drift = (1.0 - (1.0 - model.drift) ** n).astype(np.float32)
        consumed = (consumed / n).astype(np.float32)
    for rate, target in ((np.float32(model.exposure_drift), shown), (drift, consumed)):
        if space == "topics":
            weight = rate * target.sum(axis=1, keepdims=True)  # (n, 1)
        else:
            weight = rate * target.any(axis=1, keepdims=True)
        taste = (1 - weight) * taste + rate * target
    if space == "vectors":
        taste = taste / np.maximum(np.linalg.norm(taste, axis=1, keepdims=True), 1e-12)
    return taste.astype(np.float32)


def change_recent(
    model: UserModel, recent: NDArray[np.float32], consumed: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What was consumed just before: ``r <- (1 - fading) r + topics``, where something was.

    The clock is a person's own consumption, not the step: somebody who comes back goes on where
    they stopped. Successive choices in one topic beyond what taste explains are called state
    dependence (Heckman 1981).

    Args:
        recent, consumed: (n, topics); rows of ``consumed`` that are zero change nothing.
    """
    took = consumed.any(axis=1, keepdims=True)
    return np.where(took, np.float32(1 - model.fading) * recent + consumed, recent)


_REMEMBERED = 16  # choices back that can still hold somebody


def recent_of(
    kinds: tuple[Segment, ...],
    segment: NDArray[np.int8],
    past: Interactions,
    topics: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(n, topics) what each person consumed just before a world begins; see change_recent.

    Args:
        kinds, segment: what people are, and (n,) which kind each is; topics: (items, topics).
    """
    last = past.histories().last(_REMEMBERED)  # (n, remembered), newest last
    stay = np.array([1.0 - kind.constants.fading for kind in kinds])[segment]  # (n,)
    weight = stay[:, None] ** np.arange(_REMEMBERED - 1, -1, -1)
    weight = np.where(last >= 0, weight, 0.0).astype(np.float32)
    return np.asarray(np.einsum("nk,nkt->nt", weight, topics[np.maximum(last, 0)]), np.float32)


def change_satiation(
    model: UserModel, satiation: NDArray[np.float32], consumed: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Satiation after a step: ``s <- (1 - recovery) s + topics``; (n, topics)."""
    return (np.float32(1 - model.recovery) * satiation + consumed).astype(np.float32)


def taste_distance(
    start: NDArray[np.floating], end: NDArray[np.floating], *, space: Space = "topics"
) -> NDArray[np.float64]:
    """(n,) how far tastes moved, 0 to 1.

    Total variation distance for topic shares (the share of taste that moved); the angle as a share
    of half a turn for vectors, whatever their length.
    """
    if space == "topics":
        gap = np.abs(end.astype(np.float64) - start.astype(np.float64))
        return np.asarray(0.5 * gap.sum(axis=1))
    a, b = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        for rows in (start.astype(np.float64), end.astype(np.float64))
    )
    chord = np.linalg.norm(b - a, axis=1)
    return np.asarray(2.0 / np.pi * np.arcsin(np.clip(0.5 * chord, 0.0, 1.0)))

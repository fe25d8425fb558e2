"""How people change by what they meet: the contract, and laws that move tastes to or from items.

A law sees an :class:`Encounter` (who met what, what they took) and moves the columns of those who
were there. Laws are tables of study.toml (``[people] change = ["assimilation", ...]``) applied in
their order, after the convex drift and the satiation that every preset has (``drift = 0`` for
none). What a law remembers stands in ``Columns.traits``, so that checkpoints hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..section import Section
from .choice import Feedback, Visit

if TYPE_CHECKING:
    from .columns import Columns

Floats = NDArray[np.float64]

Space = Literal["topics", "vectors", "free"]
"""Where tastes live: shares of topics (rows sum to 1), unit vectors, or vectors of any length."""


@dataclass(frozen=True)
class Encounter:
    """What a block of people met in one step.

    Attributes:
        users: (n,) int32 indices, each once.
        items: (n, k) int32 shown, -1 for empty slots.
        match: (n, k) float32 how well each item met the taste it was chosen by.
        feedback: what they did with it.
        step: of the loop.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    match: NDArray[np.float32]
    feedback: Feedback
    step: int


class Change(Section):
    """What every law of change can do; what it does not say, it does not do."""

    vectors_only: ClassVar[bool] = False
    """Whether it makes sense only for tastes that are vectors ([world] dim above 0)."""
    frees_length: ClassVar[bool] = False
    """Whether it lets vectors grow: nobody's taste is brought back to length 1 then."""

    def traits(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """The columns of people that it remembers by, as they are at the start."""
        return {}

    def weigh(self, columns: Columns, visit: Visit) -> Visit:
        """What its memory does to a choice that is about to be made."""
        return visit

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """What an encounter does to people; writes only the rows of ``encounter.users``."""


# What laws are made of ---------------------------------------------------------------------------


def consumed(rows: NDArray[np.float32], encounter: Encounter) -> NDArray[np.float32]:
    """(n, d) sum of the rows (items, d) of what each person took; zeros where nothing was."""
    taken = encounter.feedback.taken
    if not taken.any():
        return np.zeros((len(taken), rows.shape[1]), np.float32)
    if taken.sum(axis=1).max() <= 1:  # one item at most: no need to gather the whole slate
        chosen = encounter.items[np.arange(len(taken)), taken.argmax(axis=1)]
        some: NDArray[np.bool_] = np.any(taken, axis=1, keepdims=True)
        return np.where(some, rows[chosen], np.float32(0))
    values = np.where(taken[..., None], rows[np.maximum(encounter.items, 0)], np.float32(0))
    return np.asarray(values.sum(axis=1), dtype=np.float32)


def mean_shown(rows: NDArray[np.float32], encounter: Encounter) -> NDArray[np.float32]:
    """(n, d) mean of the rows (items, d) of what each person was shown; zeros where nothing was."""
    real = encounter.items >= 0
    slots = np.maximum(real.sum(axis=1, keepdims=True), 1)
    values = np.where(real[..., None], rows[np.maximum(encounter.items, 0)], np.float32(0))
    return np.asarray(values.sum(axis=1) / slots, dtype=np.float32)


def weighted(rows: NDArray[np.floating], items: NDArray[np.int32], weight: Floats) -> Floats:
    """(n, d) sum over slots of ``weight`` (n, k) times the item's row of (items, d)."""
    met = rows[np.maximum(items, 0)]
    return np.asarray(np.einsum("nk,nkd->nd", np.where(items >= 0, weight, 0.0), met))


def average(values: NDArray[np.floating], where: NDArray[np.bool_]) -> Floats:
    """(n,) mean of (n, k) values where flagged; NaN where nothing is."""
    n = where.sum(axis=1)
    total = np.where(where, values, 0.0).sum(axis=1, dtype=np.float64)
    return np.asarray(np.where(n > 0, total / np.maximum(n, 1), np.nan))


def settled(taste: Floats, before: Floats, space: Space) -> Floats:
    """Moved tastes (n, d) put back to where tastes live.

    Shares of topics are cut off at 0 and made to sum to 1, unit vectors get length 1; a taste of
    which nothing is left stays what it was ``before``.
    """
    if space == "free":
        return taste
    if space == "topics":
        taste = np.maximum(taste, 0.0)
        size = taste.sum(axis=1, keepdims=True)
    else:
        size = np.linalg.norm(taste, axis=1, keepdims=True)
    return np.where(size > 1e-12, taste / np.maximum(size, 1e-12), before)


def moved(columns: Columns, encounter: Encounter, by: Floats) -> None:
    """Everybody's taste moved ``by`` (n, d); rows of zeros leave a taste exactly as it was."""
    users = encounter.users
    before = columns.taste[users].astype(np.float64)
    after = settled(before + by, before, columns.space)
    columns.taste[users] = np.where(by.any(axis=1, keepdims=True), after, before)


# Laws of drift -----------------------------------------------------------------------------------


def assimilate(taste: Floats, items: Floats, eta: float) -> Floats:
    """``u <- normalise(u + eta sum_v <u, v> v)`` over what was consumed.

    Args:
        taste: (n, d) of length 1; items: (n, m, d), zeros where fewer were consumed.
    """
    pull = np.einsum("nd,nmd->nm", taste, items)
    moved_to = taste + eta * np.einsum("nm,nmd->nd", pull, items)
    return np.asarray(moved_to / np.linalg.norm(moved_to, axis=1, keepdims=True))


class Assimilation(Change):
    """Biased assimilation: what agrees with a taste attracts it, what disagrees repels it.

    ``u <- (u + eta <u, v> v) / |u + eta <u, v> v|`` for what was consumed (several items add up).
    Met for ever, one item gives ``tan(theta_t) = tan(theta_0) / (1 + eta)^t``; random items align
    people with the direction in which items vary most. Needs vector tastes ([world] dim above 0).

    Source: Dean & Morgenstern (2022), Preference dynamics under personalized recommendations.
    """

    law: Literal["assimilation"] = "assimilation"
    eta: Annotated[float, Field(ge=0)] = Field(default=0.05, description="strength of the pull")
    vectors_only: ClassVar[bool] = True

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move the tastes of those who took something."""
        taken = encounter.feedback.taken
        rows = np.flatnonzero(taken.any(axis=1))
        users = encounter.users[rows]
        before = columns.taste[users].astype(np.float64)
        if taken.sum(axis=1).max(initial=0) <= 1:
            items = encounter.items[rows, taken[rows].argmax(axis=1)][:, None]
            vectors = columns.features[items].astype(np.float64)
        else:
            items = np.where(taken[rows], encounter.items[rows], 0)
            vectors = columns.features[items] * taken[rows][..., None].astype(np.float64)
        length = np.linalg.norm(before, axis=1, keepdims=True)
        after = assimilate(before, vectors, self.eta)
        columns.taste[users] = after * length if columns.space == "free" else after


class Slerp(Change):
    """Rotation: a taste turns towards what was consumed by a share of the angle between them.

    ``u <- |u| (sin((1 - share) theta) u' + sin(share theta) v') / sin(theta)`` with the directions
    u' and v' and the angle theta between them; v is the sum of what was consumed. After t times
    the same item the angle is ``theta_0 (1 - share)^t``. Needs vector tastes.

    Source: Shoemake (1985), Animating rotation with quaternion curves; T-RECS (Lucherini et al.
    2021), whose parameter ``drift`` is ``share``.
    """

    law: Literal["slerp"] = "slerp"
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.02, description="share of the angle that is turned"
    )
    vectors_only: ClassVar[bool] = True

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Turn the tastes of those who took something."""
        taken = encounter.feedback.taken.astype(np.float64)
        target = weighted(columns.features, encounter.items, taken)
        rows = np.flatnonzero(target.any(axis=1))
        users = encounter.users[rows]
        before = columns.taste[users].astype(np.float64)
        columns.taste[users] = turned(before, target[rows], self.share)


def turned(taste: Floats, target: Floats, share: float) -> Floats:
    """(n, d) tastes rotated towards targets by a share of the angle; their length stays."""
    length = np.linalg.norm(taste, axis=1, keepdims=True)
    u = taste / length
    v = target / np.linalg.norm(target, axis=1, keepdims=True)
    cosine = (u * v).sum(axis=1, keepdims=True)
    across = v - cosine * u  # what of v is at right angles to u
    sine = np.linalg.norm(across, axis=1, keepdims=True)
    angle = share * np.arctan2(sine, cosine)
    side = across / np.maximum(sine, 1e-300)  # zeros where they already agree
    return np.asarray(length * (np.cos(angle) * u + np.sin(angle) * side))


class Repulsion(Change):
    """Repulsion: a choice that disappoints moves the taste away from what was chosen.

    With the match ``m`` of what was taken, ``u <- u - rate * max(expectation - m, 0) v``, put back
    on the simplex or the sphere; summed over items. What was rated counts by its rating, stars as a
    share of the best: ``m = (rating - 1) / (stars - 1)``.

    Source: repulsive influence in opinion dynamics, Flache et al. (2017), Models of social
    influence; here between a person and an item.
    """

    law: Literal["repulsion"] = "repulsion"
    rate: Annotated[float, Field(ge=0)] = Field(default=0.1, description="strength of the push")
    expectation: float = Field(default=0.2, description="a match below this disappoints")
    stars: Annotated[int, Field(ge=2)] = Field(
        default=5, description="the best rating, where people rate"
    )

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move the tastes of those who were disappointed."""
        gap = np.maximum(self.expectation - reward(encounter, self.stars), 0.0)
        push = np.where(encounter.feedback.taken, gap, 0.0)
        moved(columns, encounter, -self.rate * weighted(columns.features, encounter.items, push))


def reward(encounter: Encounter, stars: int) -> Floats:
    """(n, k) how good each item turned out: its rating as a share of the best, else its match."""
    match = encounter.match.astype(np.float64)
    rating = encounter.feedback.rating
    if rating is None:
        return match
    return np.where(np.isfinite(rating), (rating - 1.0) / (stars - 1.0), match)

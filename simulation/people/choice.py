"""How people choose from what they are shown: one small law a way of browsing.

A law sees a :class:`Visit` (a block of people, each before a slate, with the utility each shown
item has for them) and returns :class:`Feedback` (what they took, rated, rejected). Laws are tables
of study.toml (``[people] choice = { law = "logit", ... }``), pure, whole-array, and take their
luck from :meth:`Visit.luck`, which belongs to (person, step, item): arms that show other slates
stay coupled, and any blocking of the population gives the same choices. ``reports`` names the
optional parts of Feedback that a law fills in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from ...recommenders.randomness import gumbel, uniform
from ..section import Section, named

OUTSIDE = -1
"""The "item" of the outside option: leaving the slate without choosing."""

OWN_ORDER = 9
"""The purpose of the luck that orders what people see without a ranking (Visit.luck)."""


@dataclass(frozen=True)
class Visit:
    """A block of people, each before a slate, in one step.

    Attributes:
        users: (n,) int32 indices.
        items: (n, k) int32 what is shown, best place first, -1 for an empty slot.
        utility: (n, k) float64 in logits: match, quality and satiation, without any effect of the
            place and without noise; -inf for empty slots.
        match: (n, k) float32 how well each item meets each person's taste; 0 for empty slots.
        outside: (n,) float64 utility of choosing nothing.
        temperature: scale of the choice noise; 1 is the plain multinomial logit.
        position_bias: the constant of the person's preset; what it means is the law's affair.
        ordered: False where people see no ranking (they browse by themselves): laws then let no
            place weigh.
        step: of the loop.
        key: of this world's choice luck.
        rows: how many rows the slots are arranged in, filled one after the other.
        features: (items, d) of the whole catalog, for laws that compare items; None where the
            law needs none.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    utility: NDArray[np.float64]
    match: NDArray[np.float32]
    outside: NDArray[np.float64]
    temperature: float
    position_bias: float
    ordered: bool
    step: int
    key: np.uint64
    rows: int = 1
    features: NDArray[np.float32] | None = None

    def gumbel(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard Gumbel noise of the shown items (n, k) and of the outside option (n,)."""
        return (
            gumbel(self.key, self.step, self.users[:, None], self.items),
            gumbel(self.key, self.step, self.users, OUTSIDE),
        )

    def luck(self, purpose: int) -> NDArray[np.float64]:
        """(n, k) uniform draws by (person, step, item) for a further use; purposes from 1."""
        return uniform(self.key, self.step, self.users[:, None], self.items, purpose)

    def attraction(self) -> NDArray[np.float64]:
        """(n, k) chance that an item, met alone, is preferred to nothing; 0 for empty slots.

        The logit of two: ``sigmoid((U_i - outside) / temperature)``.
        """
        return sigmoid((self.utility - self.outside[:, None]) / self.temperature)

    def reading_order(self) -> NDArray[np.float64]:
        """(n, k) when each slot is looked at, the smallest first: by place, or where people see
        no ranking in an order of their own, which belongs to (person, step, item)."""
        if self.ordered:
            k = self.items.shape[1]
            return np.broadcast_to(np.arange(k, dtype=np.float64), self.items.shape)
        return self.luck(OWN_ORDER)


@dataclass(frozen=True)
class Feedback:
    """What a block of people did with their slates.

    Attributes:
        taken: (n, k) bool, consumed.
        rejected: (n, k) bool "not interested", or None where nobody can say so.
        rating: (n, k) float32 of what was taken, NaN elsewhere, or None.
        dwell_seconds: (n, k) float32 attention to each slot, NaN where never looked at, or None.
    """

    taken: NDArray[np.bool_]
    rejected: NDArray[np.bool_] | None = None
    rating: NDArray[np.float32] | None = None
    dwell_seconds: NDArray[np.float32] | None = None


def only(position: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """(n, k) flags of the one chosen place of each row; -1 for none."""
    return np.asarray(np.arange(k) == position[:, None])


def first(event: NDArray[np.bool_], order: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) the earliest place of each row where something happens, -1 for nowhere.

    Args:
        event: (n, k); order: (n, k) when each place is looked at, see Visit.reading_order.
    """
    if event.shape[1] == 0:
        return np.full(len(event), -1)
    earliest = np.where(event, order, np.inf).argmin(axis=1)
    happened = event[np.arange(len(event)), earliest]
    return np.asarray(np.where(happened, earliest, -1))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 / (1 + exp(-x))`` without overflow; 0 at minus infinity."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


# What a place does -------------------------------------------------------------------------------


class LogPlace(Section):
    """A place weighs ``(1 + position)^-position_bias``: the constant of the preset, [people]."""

    form: Literal["log"] = "log"

    def log_weights(self, k: int, position_bias: float) -> NDArray[np.float64]:
        """(k,) logarithm of each place's weight."""
        return np.asarray(-position_bias * np.log1p(np.arange(k)))


class GeometricPlace(Section):
    """A place weighs ``gamma^position``, position from 0; SARDINE's is .85."""

    form: Literal["geometric"] = "geometric"
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.85, description="what each further place keeps"
    )

    def log_weights(self, k: int, position_bias: float) -> NDArray[np.float64]:
        """(k,) logarithm of each place's weight."""
        return np.asarray(np.log(self.gamma) * np.arange(k))


class TablePlace(Section):
    """A place weighs what the table says, as measured in some log; the last one holds below."""

    form: Literal["table"] = "table"
    propensities: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        min_length=1, description="chance that each place is looked at, best place first"
    )

    def log_weights(self, k: int, position_bias: float) -> NDArray[np.float64]:
        """(k,) logarithm of each place's weight."""
        known = np.log(self.propensities)
        return np.asarray(known[np.minimum(np.arange(k), len(known) - 1)])


Place = Annotated[
    LogPlace | GeometricPlace | TablePlace,
    Field(discriminator="form"),
    BeforeValidator(named("form")),
]
"""How much a place weighs, told apart by ``form``; a bare name stands for its defaults."""


def place_weights(place: Place, visit: Visit) -> NDArray[np.float64]:
    """(k,) logarithm of the weight of each place; zeros where people see no ranking."""
    k = visit.items.shape[1]
    return place.log_weights(k, visit.position_bias) if visit.ordered else np.zeros(k)


# The laws ----------------------------------------------------------------------------------------


class Chooses(Protocol):
    """What every law of choice can do.

    ``reports`` names the optional columns of Feedback that it fills in.
    """

    reports: ClassVar[frozenset[str]]

    def choose(self, visit: Visit) -> Feedback:
        """What people take of their slates."""
        ...


class Logit(Section):
    """Multinomial logit with an outside option and a weight of places.

    Takes the largest of ``U_i + ln w(position) + temperature * Gumbel`` and of the outside option's
    utility with noise of its own, so that at temperature 1
    ``P(i) = w_i exp(U_i) / (exp(outside) + sum_j w_j exp(U_j))``.

    Source: McFadden (1974), Conditional logit analysis of qualitative choice behavior.
    """

    law: Literal["logit"] = "logit"
    position: Place = Field(
        default=LogPlace(), description="what a place weighs: log | geometric | table"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def choose(self, visit: Visit) -> Feedback:
        """One item, or nothing."""
        utility = visit.utility + place_weights(self.position, visit)
        n, k = utility.shape
        if k == 0:
            return Feedback(np.zeros((n, 0), np.bool_))
        noise, outside_noise = visit.gumbel()
        utility += visit.temperature * noise
        outside = visit.outside + visit.temperature * outside_noise
        best = utility.argmax(axis=1)
        taken = utility[np.arange(n), best] > outside
        return Feedback(only(np.where(taken, best, -1), k))

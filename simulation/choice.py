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
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from ..recommenders.randomness import gumbel, uniform
from .section import Section, named_law

OUTSIDE = -1
"""The "item" of the outside option: leaving the slate without choosing."""


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

    def gumbel(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard Gumbel noise of the shown items (n, k) and of the outside option (n,)."""
        return (
            gumbel(self.key, self.step, self.users[:, None], self.items),
            gumbel(self.key, self.step, self.users, OUTSIDE),
        )

    def luck(self, purpose: int) -> NDArray[np.float64]:
        """(n, k) uniform draws by (person, step, item) for a further use; purposes from 1."""
        return uniform(self.key, self.step, self.users[:, None], self.items, purpose)


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


class Logit(Section):
    """Multinomial logit with an outside option and a cost of low places (McFadden 1974).

    Takes the largest of ``U_i - position_bias * ln(1 + position) + temperature * Gumbel`` and of
    the outside option's utility with noise of its own; position from 0.
    """

    law: Literal["logit"] = "logit"
    reports: ClassVar[frozenset[str]] = frozenset()

    def choose(self, visit: Visit) -> Feedback:
        """One item, or nothing."""
        utility = visit.utility.copy()
        n, k = utility.shape
        if visit.ordered:
            utility -= visit.position_bias * np.log1p(np.arange(k))
        noise, outside_noise = visit.gumbel()
        utility += visit.temperature * noise
        outside = visit.outside + visit.temperature * outside_noise
        best = utility.argmax(axis=1)
        taken = utility[np.arange(n), best] > outside
        return Feedback(only(np.where(taken, best, -1), k))


ChoiceLaw = Annotated[Logit, Field(), BeforeValidator(named_law)]
"""Any law of choice, told apart by ``law``; a bare name stands for its defaults."""

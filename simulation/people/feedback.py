"""What people tell beside taking: ratings, time spent, "not interested".

Laws of feedback follow any law of choice (``[people] feedback = ["rating", "dwell"]``): each sees
the visit and what was taken, and adds its column.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from ..section import Section
from .choice import Feedback, Visit

_RATE, _DWELL, _REJECT = 11, 12, 13  # purposes of luck


class Tells(Protocol):
    """What every law of feedback can do; ``reports`` names the column that it fills in."""

    reports: ClassVar[frozenset[str]]

    def tell(self, visit: Visit, feedback: Feedback) -> Feedback:
        """The feedback with one column more."""
        ...


class Rating(Section):
    """Ratings: stars for what was taken, an ordered logit of how much better it was than nothing.

    ``rating = 1 + #{j : theta_j < U_i - outside + noise}`` with logistic noise, so
    ``P(rating <= j) = sigmoid(theta_j - (U_i - outside))``. Recommenders that say that they learn
    from ratings (Capabilities.ratings) are taught them, and what people had before the loop rated
    in the same way, by the taste that they start with.

    Source: McCullagh (1980), Regression models for ordinal data.
    """

    law: Literal["rating"] = "rating"
    thresholds: tuple[float, ...] = Field(
        default=(-2.0, -0.5, 1.0, 2.5),
        min_length=1,
        description="where each further star begins, in logits above the outside option",
    )
    reports: ClassVar[frozenset[str]] = frozenset({"rating"})

    @field_validator("thresholds")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(value):
            raise ValueError(f"thresholds must rise, got {list(value)}")
        return value

    def tell(self, visit: Visit, feedback: Feedback) -> Feedback:
        """(n, k) ratings from 1 to the number of thresholds plus 1, NaN where nothing was taken."""
        luck = visit.luck(_RATE)
        liking = visit.utility - visit.outside[:, None] + np.log(luck) - np.log1p(-luck)
        stars = 1 + (np.array(self.thresholds) < liking[..., None]).sum(axis=-1)
        return replace(feedback, rating=_of_taken(stars, feedback))


class Dwell(Section):
    """Time spent with what was taken: log-normal, longer where it matches.

    ``ln seconds = location + slope * match_i + spread * N(0, 1)``: the mean time is
    ``exp(location + slope * match_i + spread^2 / 2)``.

    Source: log-normal as in Yi et al. (2014), Beyond clicks: dwell time for personalization, and
    in RecSim's engagement (Ie et al. 2019); the slope by match is LoopAudit's.
    """

    law: Literal["dwell"] = "dwell"
    location: float = Field(default=3.0, description="mean log seconds of no match at all")
    slope: float = Field(default=2.0, description="log seconds gained by a perfect match")
    spread: Annotated[float, Field(ge=0)] = Field(
        default=0.8, description="standard deviation of log seconds"
    )
    reports: ClassVar[frozenset[str]] = frozenset({"dwell_seconds"})

    def tell(self, visit: Visit, feedback: Feedback) -> Feedback:
        """(n, k) seconds, NaN where nothing was taken."""
        from scipy.special import ndtri

        noise = ndtri(visit.luck(_DWELL))
        seconds = np.exp(self.location + self.slope * visit.match + self.spread * noise)
        return replace(feedback, dwell_seconds=_of_taken(seconds, feedback))


class NotInterested(Section):
    """Not interested: people reject what they were shown and do not want, and it never comes back.

    A shown item that was not taken is rejected with ``rate * (1 - a_i)``, ``a_i`` its chance
    against the outside option. The platform never shows it to that person again, whoever
    recommends; the log marks it, and recommenders learn of it only if they say that they can
    (Capabilities.negatives).

    Source: the dismiss and "not interested" buttons of platforms; the equation is LoopAudit's.
    """

    law: Literal["not-interested"] = "not-interested"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="chance that a wholly unwanted item is rejected"
    )
    reports: ClassVar[frozenset[str]] = frozenset({"rejected"})

    def tell(self, visit: Visit, feedback: Feedback) -> Feedback:
        """(n, k) flags of what was rejected."""
        unwanted = visit.luck(_REJECT) < self.rate * (1.0 - visit.attraction())
        rejected = unwanted & (visit.items >= 0) & ~feedback.taken
        return replace(feedback, rejected=rejected)


def _of_taken(values: NDArray[np.generic], feedback: Feedback) -> NDArray[np.float32]:
    return np.where(feedback.taken, values, np.nan).astype(np.float32)

"""What was estimated of how people choose and change: for reading, and for a world's people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.datasets.dataset import Dataset
from ...recommenders.errors import UserError
from ...recommenders.interactions import Interactions
from ..study import WorldSection
from .drift_rate import DriftRate, drift_rate
from .estimate import Tastes
from .fame import Fame
from .position import PositionBias, position_bias


@dataclass(frozen=True)
class Learnt:
    """One number that was learnt from a log.

    Attributes:
        name, means: what it is; value; error: its standard error, None where there is none.
    """

    name: str
    value: float
    error: float | None
    means: str


@dataclass(frozen=True)
class Estimates:
    """What was estimated of how people choose and change."""

    section: WorldSection
    tastes: Tastes
    drift: DriftRate | None
    place: PositionBias | None

    def constants(self) -> dict[str, float]:
        """By name, for people.user_model: only what was asked for and could be estimated."""
        learn, tastes = self.section.learn, self.tastes
        found: dict[str, float] = {}
        if "persistence" in learn:
            hold = tastes.persistence if self.drift is None else self.drift.persistence
            found |= {"persistence": hold, "fading": tastes.fading, "satiation": 0.0}
        if "drift" in learn and self.drift is not None:
            found["drift"] = self.drift.rate
        if "position_bias" in learn and self.place is not None:
            found["position_bias"] = max(self.place.bias, 0.0)
        return found

    def told(self, fame: Fame) -> tuple[Learnt, ...]:
        """For reading."""
        tastes = self.tastes
        told = [
            Learnt("weight", tastes.weight, tastes.weight_error, "logits of a perfect match"),
            Learnt(
                "persistence",
                tastes.persistence,
                tastes.persistence_error,
                "logits gained on the topic of the choice before, tastes taken as lasting",
            ),
            Learnt("fading", tastes.fading, None, "share of that lost at each further choice"),
            Learnt(
                "half-life", fame.half_life, None, "of fame, as a share of the log; inf: it lasts"
            ),
            Learnt("luck", fame.luck, None, "choices added to every item's past ones"),
        ]
        if self.section.dim == 0:
            means = "interactions that the common taste counts for"
            told.append(Learnt("prior", tastes.prior, None, means))
        if self.drift is not None:
            one = self.drift
            means = (
                f"share of the taste that moves at each choice; 95 % interval {one.low:.3g} to "
                f"{one.high:.3g}, from {one.choices:,} choices of {one.people:,} people; "
                f"persistence beside it {one.persistence:.2f}"
            )
            told.append(Learnt("drift", one.rate, one.error, means))
        if self.place is not None:
            means = f"utility lost per log position, from {self.place.lists:,} lists"
            if self.place.confounded:
                means = (
                    f"utility lost per log position, from {self.place.lists:,} places of choices; "
                    "what a ranking put on top for good reason is in it"
                )
            told.append(Learnt("position_bias", self.place.bias, self.place.error, means))
        return tuple(told)


def behaviour_of(
    section: WorldSection,
    data: Dataset,
    log: Interactions,
    topics: NDArray[np.float32],
    evidence: NDArray[np.float64],
    tastes: Tastes,
) -> Estimates:
    """Estimate drift, where asked, and position bias, where the log tells places.

    Args:
        section: what is to be learnt; data, log: where from; topics: (items, topics).
        evidence: (users, topics) Dirichlet parameters of tastes; tastes: estimated before.

    Raises:
        UserError: position bias is asked for and the log tells no places.
    """
    drift = place = None
    if "drift" in section.learn:
        drift = drift_rate(log, topics, evidence, tastes)
    if data.lists is not None:
        place = position_bias(data.lists, evidence / evidence.sum(axis=1, keepdims=True), topics)
    if "position_bias" in section.learn and place is None:
        raise UserError(
            f"dataset {section.dataset!r} tells no places that items were chosen from, so "
            "world.learn cannot name position_bias; map a column to the role position "
            "(--column position=NAME), or leave it out"
        )
    return Estimates(section, tastes, drift, place)

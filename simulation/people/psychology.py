"""How people change by exposure, reward and habit: effects that psychology has names for.

After Curmei, Haupt, Hadfield-Menell & Recht (2022), Towards psychologically-grounded dynamic
preference models: mere exposure, operant conditioning and hedonic adaptation give much the same
engagement and quite different welfare. The effects and their signs are theirs; the equations below
are the simplest that have them, for topic shares as well as for vectors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .choice import Visit
from .drift import Change, Encounter, average, moved, reward, weighted

if TYPE_CHECKING:
    from .columns import Columns


class MereExposure(Change):
    """Mere exposure: what is shown and not taken still grows on people.

    ``u <- u + rate * (e - u)`` with the mean features e of what was shown and not taken, put back
    on the sphere where tastes are vectors. One item for ever: ``u_t = e + (1 - rate)^t (u_0 - e)``
    for topic shares.

    Source: Zajonc (1968), Attitudinal effects of mere exposure; Curmei et al. (2022).
    """

    law: Literal["mere-exposure"] = "mere-exposure"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="share of the taste that moves in a visit"
    )

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move the tastes of those who left something."""
        left = (encounter.items >= 0) & ~encounter.feedback.taken
        n_left = left.sum(axis=1)
        share = left / np.maximum(n_left, 1)[:, None]
        seen = weighted(columns.features, encounter.items, share)
        before = columns.taste[encounter.users].astype(np.float64)
        told = (n_left > 0) & seen.any(axis=1)  # an item without a known topic tells nothing
        moved(columns, encounter, self.rate * told[:, None] * (seen - before))


class Conditioning(Change):
    """Operant conditioning: what is better than expected is sought again, what is worse is avoided.

    With the mean reward r of what was taken (its match, or its rating as a share of the best) and
    the expectation x of this person, ``u <- u + rate * (r - x) v`` with the mean features v of what
    was taken, put back on the simplex or the sphere; then ``x <- memory * x + (1 - memory) * r``.
    The first reward sets the expectation. Under a constant reward surprise fades as ``memory^t``.

    Source: Skinner (1938), The behavior of organisms; Rescorla & Wagner (1972) for learning from
    surprise; Curmei et al. (2022).
    """

    law: Literal["conditioning"] = "conditioning"
    rate: Annotated[float, Field(ge=0)] = Field(default=0.1, description="strength of surprise")
    memory: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.8, description="what expectation keeps after a visit"
    )
    stars: Annotated[int, Field(ge=2)] = Field(
        default=5, description="the best rating, where people rate"
    )

    def traits(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """What reward each person expects; NaN before the first."""
        return {"expectation": np.full(len(columns.taste), np.nan)}

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move tastes by surprise, and expectations by reward."""
        taken = encounter.feedback.taken
        gained = average(reward(encounter, self.stars), taken)  # (n,) NaN where nothing was taken
        expected = columns.traits["expectation"][encounter.users]
        expected = np.where(np.isnan(expected), gained, expected)
        surprise = np.where(taken.any(axis=1), gained - expected, 0.0)
        share = taken / np.maximum(taken.sum(axis=1), 1)[:, None]
        target = weighted(columns.features, encounter.items, share)
        moved(columns, encounter, self.rate * surprise[:, None] * target)
        learnt = self.memory * expected + (1 - self.memory) * gained
        columns.traits["expectation"][encounter.users] = np.where(
            np.isnan(gained), expected, learnt
        )


class HedonicAdaptation(Change):
    """Hedonic adaptation: what is good becomes usual, and more is wanted than before.

    The level A a person is used to follows what they get, ``A <- A + rate * (r - A)`` with the mean
    match r of what was taken; it starts at the mean match of the whole catalog. The outside option
    is worth ``strength * (A - A_0)`` logits more: whom every day brings what they love is not moved
    by it any longer. Under a constant reward ``A_t = r + (1 - rate)^t (A_0 - r)``.

    Source: Helson (1964), Adaptation-level theory; Brickman & Campbell (1971); Curmei et al.
    (2022).
    """

    law: Literal["hedonic-adaptation"] = "hedonic-adaptation"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="how fast people get used to what they get"
    )
    strength: float = Field(
        default=3.0, description="logits the outside option gains for a match got used to"
    )

    def traits(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """The level each person is used to, and the one they started from."""
        usual = columns.features.mean(axis=0, dtype=np.float64)
        start = np.einsum("nd,d->n", columns.initial_taste.astype(np.float64), usual)
        return {"adaptation": start, "adaptation_start": start.copy()}

    def weigh(self, columns: Columns, visit: Visit) -> Visit:
        """Raise the outside option of those who are used to better."""
        used = columns.traits["adaptation"][visit.users]
        gain = used - columns.traits["adaptation_start"][visit.users]
        return replace(visit, outside=visit.outside + self.strength * gain)

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move the level of those who took something."""
        got = average(encounter.match, encounter.feedback.taken)
        level = columns.traits["adaptation"][encounter.users]
        columns.traits["adaptation"][encounter.users] = np.where(
            np.isnan(got), level, level + self.rate * (got - level)
        )


class SetPoint(Change):
    """Return: tastes are drawn back to what they were at the start.

    ``u <- u + rate * (u_0 - u)`` at each visit, put back on the sphere where tastes are vectors.
    Left alone a deviation of topic shares fades as ``(1 - rate)^t``; against a convex drift d to
    one item it settles where both balance, at ``d (1 - rate) / (1 - (1 - d) (1 - rate))`` of the
    way.

    Source: stubborn opinions, Friedkin & Johnsen (1990), Social influence and opinions; the set
    point of hedonic adaptation in Curmei et al. (2022).
    """

    law: Literal["set-point"] = "set-point"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="share of the way back in a visit"
    )

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move everybody a little back."""
        users = encounter.users
        back = columns.initial_taste[users].astype(np.float64) - columns.taste[users]
        moved(columns, encounter, self.rate * back)

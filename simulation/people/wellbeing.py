"""What consumption does to people beside their taste: boredom, satisfaction, amplification."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...recommenders.errors import UserError
from ...recommenders.randomness import stream, uniform
from .choice import Visit, sigmoid
from .drift import Change, Encounter, Floats, average

if TYPE_CHECKING:
    from .columns import Columns


class Boredom(Change):
    """Boredom: too much of one topic in a row, and it is not wanted for a while.

    When ``limit`` of the last ``memory`` things a person took had the same main topic, items of
    that topic are worth ``cost`` logits less to them for ``timeout`` steps.

    Source: RecLab (Krauth et al. 2020) for the count over the last items, SARDINE (Deffayet et al.
    2024) for the timeout.
    """

    law: Literal["boredom"] = "boredom"
    memory: Annotated[int, Field(ge=1, le=100)] = Field(
        default=6, description="how many of the last things taken are counted"
    )
    limit: Annotated[int, Field(ge=1)] = Field(
        default=4, description="as many of one topic among them bore"
    )
    timeout: Annotated[int, Field(ge=1)] = Field(default=5, description="steps that boredom lasts")
    cost: Annotated[float, Field(ge=0)] = Field(
        default=5.0, description="logits that items of the topic lose meanwhile"
    )

    def traits(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Main topics of the last things taken, newest last, and until when each topic bores."""
        n, topics = columns.satiation.shape
        return {
            self._last: np.full((n, self.memory), -1, np.int16),
            "bored_until": np.zeros((n, topics), np.int32),
        }

    @property
    def _last(self) -> str:
        return f"last_topics_{self.memory}"  # kinds of people may count over different lengths

    def weigh(self, columns: Columns, visit: Visit) -> Visit:
        """Lower the worth of what bores."""
        topic = main_topic(columns)[np.maximum(visit.items, 0)]
        until = columns.traits["bored_until"][visit.users[:, None], topic]
        cost = np.where(until > visit.step, self.cost, 0.0)
        return replace(visit, utility=visit.utility - cost)

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Remember what was taken, in the order of the slate, and be bored by too much of it."""
        last, until = columns.traits[self._last], columns.traits["bored_until"]
        taken = encounter.feedback.taken
        topic = main_topic(columns)[np.maximum(encounter.items, 0)]
        order = taken.cumsum(axis=1)
        for nth in range(1, int(order.max(initial=0)) + 1):
            row, column = np.nonzero(taken & (order == nth))
            users, mine = encounter.users[row], topic[row, column]
            last[users] = np.concatenate([last[users][:, 1:], mine[:, None]], axis=1)
            bored = (last[users] == mine[:, None]).sum(axis=1) >= self.limit
            until[users[bored], mine[bored]] = encounter.step + 1 + self.timeout


def main_topic(columns: Columns) -> NDArray[np.int16]:
    """(items,) the topic that most of an item is about."""
    return np.asarray(columns.topics.argmax(axis=1), dtype=np.int16)


# Long-term satisfaction --------------------------------------------------------------------------


def exposure_after(exposure: Floats, lure: Floats, memory: float) -> Floats:
    """Net positive exposure after an item: ``n <- memory n - 2 (c - 1/2)``, without noise."""
    return np.asarray(memory * exposure - 2.0 * (lure - 0.5))


def satisfied(exposure: Floats, tau: float) -> Floats:
    """Satisfaction of an exposure: ``sigmoid(tau n)``, 1/2 when neither good nor bad prevails."""
    return sigmoid(np.asarray(tau * exposure))


class Satisfaction(Change):
    """Long-term satisfaction: what lures pays at once and costs later, if people are sensitive.

    An item's lure c (1 clickbait, 0 wholesome) makes it worth ``pull * c`` logits more when it is
    shown; consuming it moves a person's net positive exposure, ``n <- memory n - 2 (c - 1/2) +
    noise``. Their satisfaction is ``sigmoid(tau n)`` (trait "satisfaction", 1/2 at the start), and
    the outside option is worth ``cost * (1 - 2 satisfaction)`` logits more. With ``[staying]``
    ``pleased_by = "satisfaction"`` it also decides how often people come, and whether they leave.
    Consumed for ever, an item of lure c gives ``n = -(2c - 1) / (1 - memory)``. What pays in the
    long run flips where the sensitivity tau grows: between .01 and .1 with RecSim's constants.

    Source: long-term satisfaction environment of RecSim, Ie et al. (2019), arXiv:1909.04847
    (its code; the docstring there has the sign of the clickbait term wrong).
    """

    law: Literal["satisfaction"] = "satisfaction"
    lure: Literal["veracity", "harmful", "quality"] = Field(
        default="veracity", description="c: 1 - veracity, harmful or not, or sigmoid(-quality)"
    )
    tau: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="sensitivity of satisfaction to exposure"
    )
    memory: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.7, description="what exposure keeps after a visit"
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        default=0.05, description="standard deviation of the exposure's noise"
    )
    pull: float = Field(default=1.0, description="logits that a wholly luring item gains")
    cost: float = Field(
        default=4.0, description="logits the outside option gains when nobody is satisfied"
    )

    def traits(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Net positive exposure, 0, and satisfaction, 1/2."""
        self.lures(columns)  # refuses a catalog without the trait before anything is lived
        n = len(columns.taste)
        return {"net_exposure": np.zeros(n), "satisfaction": np.full(n, 0.5)}

    def lures(self, columns: Columns) -> Floats:
        """(items,) c of each item."""
        if self.lure == "quality":
            return sigmoid(-columns.quality.astype(np.float64))
        column = getattr(columns.catalog, self.lure)
        if column is None:
            raise UserError(
                f"the law 'satisfaction' reads the items' {self.lure}, which this catalog does not "
                "have; set lure = 'quality' in its table"
            )
        known = np.nan_to_num(np.asarray(column, dtype=np.float64), nan=0.5)
        return np.asarray(1.0 - known if self.lure == "veracity" else known)

    def weigh(self, columns: Columns, visit: Visit) -> Visit:
        """Raise what lures, and the outside option of those who are not satisfied."""
        lure = self.lures(columns)[np.maximum(visit.items, 0)]
        content = columns.traits["satisfaction"][visit.users]
        return replace(
            visit,
            utility=visit.utility + self.pull * lure,
            outside=visit.outside + self.cost * (1.0 - 2.0 * content),
        )

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move exposure and satisfaction of those who took something."""
        from scipy.special import ndtri

        lure = self.lures(columns)[np.maximum(encounter.items, 0)]
        met = average(lure, encounter.feedback.taken)  # (n,) NaN where nothing was taken
        users = encounter.users
        before = columns.traits["net_exposure"][users]
        luck = uniform(stream(columns.seed, "satisfaction"), encounter.step, users)
        after = exposure_after(before, met, self.memory) + self.noise * ndtri(luck)
        now = np.where(np.isnan(met), before, after)
        columns.traits["net_exposure"][users] = now
        columns.traits["satisfaction"][users] = satisfied(now, self.tau)


# Preference amplification ------------------------------------------------------------------------

_PEAK = 2.33  # makes s exp(-s^2), whose maximum is at s = 1 / sqrt(2), peak at 1


def liking(s: Floats, gamma: float) -> Floats:
    """True probability of a like: ``p + gamma a(s) 2.33 s exp(-s^2)``, a probability again.

    ``p = sigmoid(s)``; ``a(s)`` is the room that is left, ``1 - p`` above zero and ``p`` below.
    """
    p = sigmoid(s)
    room = np.where(s >= 0, 1 - p, p)
    return np.asarray(p + gamma * room * _PEAK * s * np.exp(-(s**2)))


def amplified(taste: Floats, shown: Floats, eta: float, gamma: float) -> Floats:
    """One gradient step of the logistic loss, on feedback that has drifted.

    Args:
        taste: (n, d); shown: (n, m, d) what each was recommended, rows of zeros for empty slots.
    """
    s = np.einsum("nd,nmd->nm", taste, shown)
    surprise = liking(s, gamma) - sigmoid(s)  # (n, m), 0 for empty slots
    slots = np.maximum(shown.any(axis=2).sum(axis=1), 1)[:, None]
    return np.asarray(taste + eta * np.einsum("nm,nmd->nd", surprise, shown) / slots)


class Amplification(Change):
    """Preference amplification: what is recommended is liked a little more, what is not, less.

    Shown v, a person of taste u likes it with ``pi(s)``, ``s = u.v``, where ``sigmoid(s)``
    would be expected (``pi = p + gamma a(s) 2.33 s exp(-s^2)``, a(s) = 1 - p above zero and p
    below); their taste follows, ``u <- u + eta * mean over shown of (pi(s) - p(s)) v``, with no
    entry beyond ``bound``. Vectors grow: tastes become more extreme, not only different, and
    nobody's taste in that world is put back to length 1. One item for ever:
    ``s <- s + eta |v|^2 (pi(s) - p(s))``. Needs vector tastes.

    Source: Kalimeris et al. (2021), Preference amplification in recommender systems.
    """

    law: Literal["amplification"] = "amplification"
    gamma: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.4, description="strength of people's drift"
    )
    eta: Annotated[float, Field(ge=0)] = Field(default=0.1, description="step of the taste")
    bound: Annotated[float, Field(gt=0)] = Field(
        default=3.0, description="largest entry of a taste, by amount"
    )
    vectors_only: ClassVar[bool] = True
    frees_length: ClassVar[bool] = True

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move everybody by what they were shown."""
        real = (encounter.items >= 0)[..., None]
        shown = columns.features[np.maximum(encounter.items, 0)].astype(np.float64) * real
        before = columns.taste[encounter.users].astype(np.float64)
        after = amplified(before, shown, self.eta, self.gamma)
        columns.taste[encounter.users] = np.clip(after, -self.bound, self.bound)

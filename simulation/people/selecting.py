"""How people pick out of a whole slate: the best by rank, several at once, all or nothing."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...recommenders.randomness import bits, gumbel, stream
from ..section import Section
from .choice import Feedback, LogPlace, Place, Visit, only, place_weights

_SINGLE = 5  # purpose of luck
_SETS = stream(0, "sets of items")


class Ranked(Section):
    """Attention by rank: the largest ``rank^alpha match_i``, no noise and no outside option.

    ``match_i`` is how well the item meets the taste, and rank counts from 1 (all 1 where people see
    no ranking). Something is always taken from a slate that is not empty.

    Source: Chaney, Stewart & Engelhardt (2018), with alpha = -.8; T-RECS (Lucherini et al. 2021).
    """

    law: Literal["ranked"] = "ranked"
    alpha: Annotated[float, Field(le=0)] = Field(
        default=-0.8, description="how fast attention falls with the rank"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def attention(self, k: int) -> NDArray[np.float64]:
        """(k,) ``rank^alpha``, best place first."""
        return np.asarray(np.arange(1.0, k + 1) ** self.alpha)

    def best(self, score: NDArray[np.floating]) -> NDArray[np.int64]:
        """(n,) the place with the largest attention times score, of (n, k)."""
        return np.asarray((score * self.attention(score.shape[1])).argmax(axis=1))

    def choose(self, visit: Visit) -> Feedback:
        """One item, nothing only of an empty slate."""
        n, k = visit.items.shape
        if k == 0:
            return Feedback(np.zeros((n, 0), np.bool_))
        score = visit.match.astype(np.float64)
        if visit.ordered:
            score *= self.attention(k)
        score = np.where(visit.items >= 0, score, -np.inf)
        place = score.argmax(axis=1)
        return Feedback(only(np.where((visit.items >= 0).any(axis=1), place, -1), k))


class Several(Section):
    """Several items a visit: the ``most`` best that beat taking nothing.

    Items are worth ``v_i = U_i + ln w(position) + temperature * noise``. With ``how = "best"`` the
    noise is Gumbel and the outside option is met once: the items drawn one after the other without
    replacement by a multinomial logit, until the outside option comes up or ``most`` are taken.
    With ``how = "independent"`` each item is weighed by itself,
    ``P(i) = sigmoid((U_i + ln w - outside) / temperature)``, and the ``most`` best are kept.

    Source: Plackett (1975) and Luce (1959) for draws without replacement; the Gumbel top-k trick,
    Kool, van Hoof & Welling (2019).
    """

    law: Literal["several"] = "several"
    how: Literal["best", "independent"] = Field(
        default="best", description="one comparison of all, or each item by itself"
    )
    most: Annotated[int, Field(ge=1)] = Field(
        default=3, description="items taken in a visit at most"
    )
    position: Place = Field(
        default=LogPlace(), description="what a place weighs: log | geometric | table"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def choose(self, visit: Visit) -> Feedback:
        """Up to ``most`` items."""
        utility = visit.utility + place_weights(self.position, visit)
        outside = visit.outside[:, None]
        if self.how == "best":
            noise, outside_noise = visit.gumbel()
            outside = outside + visit.temperature * outside_noise[:, None]
        else:
            luck = visit.luck(_SINGLE)
            noise = np.log(luck) - np.log1p(-luck)  # logistic
        worth = utility + visit.temperature * noise
        rank = np.argsort(np.argsort(-worth, axis=1, kind="stable"), axis=1)
        return Feedback((worth > outside) & (rank < self.most))


class Bundle(Section):
    """All or nothing: the slate is one offer.

    ``U_S = sum_i U_i`` (or the mean) ``+ complement * (mean of v_i . v_j over pairs)`` with the
    features v that tastes are matched with: above 0 people want what belongs together, below 0
    variety. Everything is taken when ``U_S + temperature * Gumbel`` beats the outside option:
    ``P = sigmoid((U_S - outside) / temperature)``. The luck of an offer belongs to its set of
    items. What people put together by themselves (no recommender) is an offer like any other.

    Source: Benson, Kumar & Tomkins (2018), A discrete choice model for subset selection: the
    utility of a set is that of its items plus a correction of its own.
    """

    law: Literal["bundle"] = "bundle"
    worth: Literal["sum", "mean"] = Field(
        default="mean", description="how the items' utilities make that of the bundle"
    )
    complement: float = Field(
        default=0.0, description="logits gained where the items are all alike"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def utility(self, visit: Visit) -> NDArray[np.float64]:
        """(n,) ``U_S``; minus infinity for an empty slate."""
        real = visit.items >= 0
        n_items = real.sum(axis=1)
        total = np.where(real, visit.utility, 0.0).sum(axis=1)
        if self.worth == "mean":
            total = total / np.maximum(n_items, 1)
        if self.complement and visit.features is not None:
            vectors = visit.features[np.maximum(visit.items, 0)].astype(np.float64)
            vectors *= real[..., None]  # (n, k, d)
            whole = vectors.sum(axis=1)
            pairs = (whole**2).sum(axis=1) - (vectors**2).sum(axis=(1, 2))
            total = total + self.complement * pairs / np.maximum(n_items * (n_items - 1), 1)
        return np.asarray(np.where(n_items > 0, total, -np.inf))

    def choose(self, visit: Visit) -> Feedback:
        """Every item, or nothing."""
        real = visit.items >= 0
        names = np.where(real, bits(_SETS, visit.items), np.uint64(0))
        whole = names.sum(axis=1, dtype=np.uint64).view(np.int64)  # the same in any order
        noise = gumbel(visit.key, visit.step, visit.users, whole, _SINGLE)
        outside = visit.outside + visit.temperature * visit.gumbel()[1]
        taken = self.utility(visit) + visit.temperature * noise > outside
        return Feedback(np.asarray(taken[:, None] & real))

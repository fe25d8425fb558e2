"""How opinions move: people hear friends and meet stances; how far a society is divided.

Opinions lie in [-1, 1]. All of them move at once, from what everybody thought in the step before,
so that the order of people and their blocks do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from ...recommenders.randomness import uniform
from ..section import Section, named

Floats = NDArray[np.float64]

# Friends -----------------------------------------------------------------------------------------


def friedkin_johnsen(heard: Floats, first: Floats, listening: float) -> Floats:
    """``x <- lam (W x) + (1 - lam) x_0`` with ``heard = W x``.

    Source: Friedkin & Johnsen (1990), Social influence and opinions.
    """
    return listening * heard + (1 - listening) * first


def fixed_point(weights: Floats, first: Floats, listening: float) -> Floats:
    """Where Friedkin-Johnsen opinions settle: ``(I - lam W)^-1 (1 - lam) x_0``.

    Args:
        weights: (n, n), rows sum to 1; first: (n,); listening: lam, below 1.
    """
    whole = np.eye(len(first)) - listening * weights
    return np.asarray(np.linalg.solve(whole, (1 - listening) * first), dtype=np.float64)


@dataclass(frozen=True)
class Talk:
    """One round of talk.

    Attributes:
        graph: (n, n) row i: whom person i hears.
        opinion, first: (n,) now, and at the start.
        present: (n,) who is there to be heard.
        step, key: where the luck of meeting comes from.
    """

    graph: sp.csr_matrix
    opinion: Floats
    first: Floats
    present: NDArray[np.bool_]
    step: int
    key: np.uint64

    def heard(self) -> Floats:
        """(n,) mean opinion of those whom a person hears and who are there; else the own."""
        n_heard = self.graph @ self.present.astype(np.float64)
        total = self.graph @ np.where(self.present, self.opinion, 0.0)
        return np.where(n_heard > 0, total / np.maximum(n_heard, 1), self.opinion)

    def met(self) -> NDArray[np.int64]:
        """(n,) one person at random of those heard who are there; oneself where there is none."""
        graph = self.graph
        here = self.present[graph.indices].astype(np.int64)
        before = np.concatenate([[0], here.cumsum()])  # those there before each entry
        begin = before[graph.indptr[:-1]]
        n_heard = before[graph.indptr[1:]] - begin
        everyone = np.arange(len(self.opinion))
        nth = (uniform(self.key, self.step, everyone) * n_heard).astype(np.int64)
        entries = graph.indices[here.astype(np.bool_)]
        if len(entries) == 0:
            return everyone
        at = np.minimum(begin + nth, len(entries) - 1)
        return np.where(n_heard > 0, entries[at], everyone)


class Silence(Section):
    """Nobody's opinion moves anybody's."""

    law: Literal["none"] = "none"

    def listen(self, talk: Talk) -> Floats:
        """(n,) opinions after the round."""
        return talk.opinion


class FriedkinJohnsen(Section):
    """People weigh the mean of their friends with the opinion they came with.

    ``x_i <- lam mean_j x_j + (1 - lam) x_i(0)``; settles at :func:`fixed_point`.

    Source: Friedkin & Johnsen (1990), Social influence and opinions; DeGroot (1974) at lam = 1.
    """

    law: Literal["friedkin-johnsen"] = "friedkin-johnsen"
    listening: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.8, description="weight of friends; the rest is the start's"
    )

    def listen(self, talk: Talk) -> Floats:
        """(n,) opinions after the round."""
        return friedkin_johnsen(talk.heard(), talk.first, self.listening)


class HegselmannKrause(Section):
    """People take the mean of themselves and of all friends who are near enough.

    ``x_i <- mean of {x_j : |x_j - x_i| <= confidence}``. Where everybody knows everybody and
    opinions start anywhere in [-1, 1], a confidence of 1 or more ends in consensus.

    Source: Hegselmann & Krause (2002), Opinion dynamics and bounded confidence.
    """

    law: Literal["hegselmann-krause"] = "hegselmann-krause"
    confidence: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.4, description="how far an opinion may lie away and be heard"
    )

    def listen(self, talk: Talk) -> Floats:
        """(n,) opinions after the round."""
        graph, x = talk.graph, talk.opinion
        n = len(x)
        who = np.repeat(np.arange(n), np.diff(graph.indptr))
        theirs = x[graph.indices]
        near = (np.abs(theirs - x[who]) <= self.confidence) & talk.present[graph.indices]
        total = x + np.bincount(who[near], weights=theirs[near], minlength=n)
        return np.asarray(total / (1 + np.bincount(who[near], minlength=n)))


class Deffuant(Section):
    """People meet one friend a step and move towards them, if they are near enough.

    ``x_i <- x_i + rate (x_j - x_i)`` where ``|x_j - x_i| <= confidence``, j a friend at random.
    Where everybody knows everybody there are about ``1 / confidence`` clusters in the end (opinions
    span 2; on a span of 1 that is ``1 / (2 eps)``).

    Source: Deffuant et al. (2000), Mixing beliefs among interacting agents; here both ends of a
    meeting do not move at once, because everybody meets somebody in every step.
    """

    law: Literal["deffuant"] = "deffuant"
    confidence: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.4, description="how far an opinion may lie away and be heard"
    )
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.3, description="share of the way that is gone"
    )

    def listen(self, talk: Talk) -> Floats:
        """(n,) opinions after the round."""
        gap = talk.opinion[talk.met()] - talk.opinion
        return talk.opinion + self.rate * np.where(np.abs(gap) <= self.confidence, gap, 0.0)


Influence = Annotated[
    Silence | FriedkinJohnsen | HegselmannKrause | Deffuant,
    Field(discriminator="law"),
    BeforeValidator(named("law")),
]
"""What friends do to opinions, told apart by ``law``."""

# Items -------------------------------------------------------------------------------------------


def acceptance(distance: Floats, latitude: float, sharpness: float) -> Floats:
    """Chance, or strength, of taking up what lies so far away: ``L^k / (d^k + L^k)``.

    Source: the latitude of acceptance (Sherif & Hovland 1961) as in Geschke, Lorenz & Holtz (2019).
    """
    return 1 / (1 + (distance / latitude) ** sharpness)


class Unmoved(Section):
    """What is consumed moves no opinion."""

    law: Literal["none"] = "none"

    def meet(self, opinion: Floats, stance: Floats) -> Floats:
        """(n,) opinions after meeting these stances."""
        return opinion


class Attraction(Section):
    """What is consumed draws opinions to its stance: ``x <- x + rate (s - x)``.

    One stance for ever: ``x_t = s + (1 - rate)^t (x_0 - s)``. Source: the convex step of DeGroot
    (1974), with an item in the place of a friend.
    """

    law: Literal["attraction"] = "attraction"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="share of the way to the stance"
    )

    def meet(self, opinion: Floats, stance: Floats) -> Floats:
        """(n,) opinions after meeting these stances."""
        return opinion + self.rate * (stance - opinion)


class Bounded(Section):
    """What is consumed draws opinions to its stance, unless it is too far off.

    ``x <- x + rate (s - x)`` where ``|s - x| <= confidence``. Source: Deffuant et al. (2000), with
    an item in the place of the other person.
    """

    law: Literal["bounded"] = "bounded"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="share of the way to the stance"
    )
    confidence: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.6, description="how far a stance may lie away and still draw"
    )

    def meet(self, opinion: Floats, stance: Floats) -> Floats:
        """(n,) opinions after meeting these stances."""
        gap = stance - opinion
        return opinion + self.rate * np.where(np.abs(gap) <= self.confidence, gap, 0.0)


class Latitude(Section):
    """What is consumed draws opinions to its stance, the less the farther off it is.

    ``x <- x + rate a(|s - x|) (s - x)`` with :func:`acceptance` a.
    """

    law: Literal["latitude"] = "latitude"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="share of the way to the stance"
    )
    latitude: Annotated[float, Field(gt=0)] = Field(
        default=0.6, description="distance at which half of the pull is left"
    )
    sharpness: Annotated[float, Field(ge=0)] = Field(
        default=4.0, description="how sharply the pull falls there"
    )

    def meet(self, opinion: Floats, stance: Floats) -> Floats:
        """(n,) opinions after meeting these stances."""
        gap = stance - opinion
        taken_up = acceptance(np.abs(gap), self.latitude, self.sharpness)
        return opinion + self.rate * taken_up * gap


class Entrenchment(Section):
    """Biased assimilation: what agrees strengthens an opinion, and what disagrees does so too.

    ``x <- x + eta (x s) s``, at most 1 in size: ``x_t = x_0 (1 + eta s^2)^t`` until then. Source:
    Dean & Morgenstern (2022), here on a line instead of a sphere.
    """

    law: Literal["assimilation"] = "assimilation"
    eta: Annotated[float, Field(ge=0)] = Field(default=0.05, description="strength")

    def meet(self, opinion: Floats, stance: Floats) -> Floats:
        """(n,) opinions after meeting these stances."""
        return np.clip(opinion + self.eta * (opinion * stance) * stance, -1.0, 1.0)


Exposure = Annotated[
    Attraction | Bounded | Latitude | Entrenchment | Unmoved,
    Field(discriminator="law"),
    BeforeValidator(named("law")),
]
"""What consumed stances do to opinions, told apart by ``law``."""

# How divided -------------------------------------------------------------------------------------

_BINS, _ALPHA = 5, 1.0


def bimodality(opinion: Floats) -> float:
    """Sarle's coefficient ``(skewness^2 + 1) / kurtosis``: 1 for two points, 5/9 for a uniform
    spread, 1/3 for a normal one; NaN where all are of one opinion.

    Source: SAS Institute (1990); Pfister et al. (2013), Good things peak in pairs.
    """
    away = opinion - opinion.mean() if len(opinion) else opinion
    variance = float((away**2).mean()) if len(opinion) else 0.0
    if variance < 1e-24:
        return float("nan")
    skewness = float((away**3).mean()) / variance**1.5
    kurtosis = float((away**4).mean()) / variance**2
    return float((skewness**2 + 1) / kurtosis)


def polarisation(opinion: Floats) -> float:
    """Esteban-Ray polarisation, 0 where all are of one opinion, 1 for two equal camps at -1 and 1.

    ``P = 2^alpha sum_ij p_i^(1 + alpha) p_j |y_i - y_j|`` over five groups of like opinion, each
    two fifths wide, p their shares, y their means, alpha = 1; about a quarter where opinions lie
    anywhere; NaN without people.

    Source: Esteban & Ray (1994), On the measurement of polarization.
    """
    if len(opinion) == 0:
        return float("nan")
    group = np.clip(((opinion + 1) / 2 * _BINS).astype(np.int64), 0, _BINS - 1)
    size = np.bincount(group, minlength=_BINS)
    mean = np.bincount(group, weights=opinion, minlength=_BINS) / np.maximum(size, 1)
    share = size / len(opinion)
    gap = np.abs(mean[:, None] - mean)
    apart = (share[:, None] ** (1 + _ALPHA) * share * gap).sum()
    return float(2**_ALPHA * apart)

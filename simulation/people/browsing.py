"""How people look through a slate: top-down, by place, row by row, until something is good enough.

In these laws a choice is not a comparison of everything shown: what stands before an item decides
whether it is met at all. Whether a met item is taken is a matter between it and taking nothing
(``a_i``, see Visit.attraction), or of a threshold.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..section import Section
from .choice import (
    Feedback,
    GeometricPlace,
    Place,
    Visit,
    first,
    only,
    place_weights,
)

T = TypeVar("T", bound=np.generic)

_TAKE, _STOP, _LOOK, _SCROLL = 1, 2, 3, 4  # purposes of luck


class Cascade(Section):
    """Cascade: from the top down, the first item that appeals is taken, the rest never seen.

    An item that is reached is taken with ``c_i = attention * min(1, scaling * exp(U_i - outside))``
    (``appeal = "exponential"``, RecSim's formula with scores above the outside option), or with
    ``c_i = attention * a_i`` (``appeal = "logit"``, ``a_i = sigmoid(U_i - outside)``); after an
    item that is not taken, people give up with probability ``stop``. So
    ``P(i) = c_i prod_{j < i} (1 - c_j) (1 - stop)``.

    Source: Craswell et al. (2008), An experimental comparison of click position-bias models;
    Ie et al. (2019), RecSim, exponential cascade choice model (there ``stop = 0``).
    """

    law: Literal["cascade"] = "cascade"
    appeal: Literal["logit", "exponential"] = Field(
        default="logit", description="how utility becomes the chance of a met item"
    )
    attention: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="chance that an item that is reached is noticed"
    )
    scaling: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="factor of the exponential appeal"
    )
    stop: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="chance of giving up after an item that is not taken"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def chances(self, visit: Visit) -> NDArray[np.float64]:
        """(n, k) ``c_i``; 0 for empty slots."""
        if self.appeal == "logit":
            return self.attention * visit.attraction()
        above = (visit.utility - visit.outside[:, None]) / visit.temperature
        return np.asarray(
            self.attention * np.minimum(1.0, np.exp(np.minimum(np.log(self.scaling) + above, 0.0)))
        )

    def choose(self, visit: Visit) -> Feedback:
        """The first item that appeals, unless the person gave up before it."""
        take = visit.luck(_TAKE) < self.chances(visit)
        give_up = (visit.luck(_STOP) < self.stop) & (visit.items >= 0)
        end = first(take | give_up, visit.reading_order())
        return Feedback(only(_if_taken(take, end), take.shape[1]))


class PositionBased(Section):
    """Position-based clicks: a place is looked at by chance, what is looked at is taken by chance.

    Each slot by itself: ``P(i taken) = w(position) a_i``, so several items can be taken in a visit;
    with ``most`` the first ones in reading order.

    Source: Richardson et al. (2007), Predicting clicks; SARDINE (Deffayet et al. 2024) with
    ``w = .85^position``.
    """

    law: Literal["position-based"] = "position-based"
    position: Place = Field(
        default=GeometricPlace(),
        description="chance that a place is looked at: log | geometric | table",
    )
    most: Annotated[int, Field(ge=0)] = Field(
        default=0, description="items taken in a visit at most, 0 = any number"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def choose(self, visit: Visit) -> Feedback:
        """Any number of items."""
        seen = visit.luck(_LOOK) < np.exp(place_weights(self.position, visit))
        taken = seen & (visit.luck(_TAKE) < visit.attraction())
        return Feedback(earliest(taken, visit.reading_order(), self.most))


class Carousel(Section):
    """Carousels: rows from the top down; a row that attracts is looked through from the left.

    The slate is arranged in ``[people] rows`` rows. A row that is reached is looked into with
    ``A_r``, the mean attraction ``a_i`` of its items: its title promises what it holds. In it the
    first item that appeals (``a_i``) is taken; after one that is not, people swipe on with
    probability ``swipe``. After a row from which nothing was taken they scroll on with
    probability ``scroll``. With ``T_r = sum_c a_c prod_{c' < c} swipe (1 - a_c')`` in row r,
    ``P(c in r) = A_r a_c prod_{c' < c} swipe (1 - a_c') prod_{r' < r} scroll (1 - A_r' T_r')``.
    A single row has no title and is a cascade.

    Source: Rahdari, Kveton & Brusilovsky (2022), From ranked lists to carousels: a carousel click
    model, arXiv:2209.13426; leaving a row and going on to the next is added here.
    """

    law: Literal["carousel"] = "carousel"
    swipe: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.9, description="chance of going on in a row after an item that is not taken"
    )
    scroll: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.9, description="chance of going on to the next row"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def choose(self, visit: Visit) -> Feedback:
        """One item, or nothing."""
        n, k = visit.items.shape
        rows = min(visit.rows, k) if visit.ordered else 1  # people left alone see no rows
        real = visit.items >= 0
        appeal = visit.attraction()
        take = visit.luck(_TAKE) < appeal
        leave = (visit.luck(_STOP) < 1.0 - self.swipe) & real
        order = visit.reading_order()
        if rows < 2:
            end = first(take | leave, order)
            return Feedback(only(_if_taken(take, end), k))
        width = -(-k // rows)

        def page(flat: NDArray[T], empty: float) -> NDArray[T]:
            """(n * rows, width) the slots by row, the last row padded."""
            padding = np.full((n, rows * width - k), empty, flat.dtype)
            return np.concatenate([flat, padding], axis=1).reshape(n * rows, width)

        take, leave = page(take, 0), page(leave, 0)
        items = page(real, 0).sum(axis=1)
        title = page(appeal, 0).sum(axis=1) / np.maximum(items, 1)  # (n * rows,) A_r
        # a row's own luck belongs to the item that leads it
        look = page(visit.luck(_LOOK), 1)[:, 0] < title
        end = first(take | leave, np.broadcast_to(np.arange(float(width)), take.shape))
        inside = np.where(look, _if_taken(take, end), -1).reshape(n, rows)
        lost = (page(visit.luck(_SCROLL), 1)[:, 0] < 1.0 - self.scroll) & (items > 0)
        done = first(
            (inside >= 0) | lost.reshape(n, rows),
            np.broadcast_to(np.arange(float(rows)), inside.shape),
        )
        within = inside[np.arange(n), np.maximum(done, 0)]
        place = np.where((done >= 0) & (within >= 0), done * width + within, -1)
        return Feedback(only(place, k))


class Satisficing(Section):
    """Satisficing: from the top down, the first item that is good enough, not the best.

    Good enough is ``U_i + temperature * Gumbel >= outside + aspiration``, so an item that is
    reached is taken with ``g_i = 1 - exp(-exp((U_i - outside - aspiration) / temperature))``. Who
    finds nothing good enough leaves with nothing (``otherwise = "nothing"``), or goes back to the
    best seen if it beats the outside option (``"best"``).

    Source: Simon (1955), A behavioral model of rational choice; Caplin, Dean & Martin (2011),
    Search and satisficing.
    """

    law: Literal["satisficing"] = "satisficing"
    aspiration: float = Field(
        default=1.0, description="how far above the outside option is good enough, in logits"
    )
    otherwise: Literal["nothing", "best"] = Field(
        default="nothing", description="what is taken when nothing is good enough"
    )
    reports: ClassVar[frozenset[str]] = frozenset()

    def choose(self, visit: Visit) -> Feedback:
        """One item, or nothing."""
        n, k = visit.items.shape
        noise, outside_noise = visit.gumbel()
        worth = visit.utility + visit.temperature * noise
        enough = worth >= (visit.outside + self.aspiration)[:, None]
        place = first(enough, visit.reading_order())
        if self.otherwise == "best" and k:
            best = worth.argmax(axis=1)
            beaten = worth[np.arange(n), best] > visit.outside + visit.temperature * outside_noise
            place = np.where((place < 0) & beaten, best, place)
        return Feedback(only(place, k))


def earliest(taken: NDArray[np.bool_], order: NDArray[np.float64], most: int) -> NDArray[np.bool_]:
    """(n, k) the first ``most`` of what is taken in each row, everything with 0."""
    if most == 0 or taken.shape[1] <= most:
        return taken
    rank = np.argsort(np.argsort(np.where(taken, order, np.inf), axis=1, kind="stable"), axis=1)
    return np.asarray(taken & (rank < most))


def _if_taken(take: NDArray[np.bool_], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the place where looking ended if it ended by taking, else -1."""
    if take.shape[1] == 0:
        return end
    return np.asarray(np.where((end >= 0) & take[np.arange(len(end)), end], end, -1))

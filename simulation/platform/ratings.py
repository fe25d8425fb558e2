"""What people told of how much they liked things, for recommenders that learn from ratings.

Everybody's ratings in the loop come from the laws of feedback (feedback.py), or from the people
who are asked by chat. What they had before the loop they rate by the same laws, with the taste that
they start with and nothing that they are tired of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...recommenders.datasets.synthetic import Market
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import stream
from ..people.choice import Feedback, Visit
from ..people.equations import Segment, affinity, utility
from ..people.feedback import Rating

_BLOCK = 1 << 18  # rows of the past rated at once
_CHAT_STARS = 5


@dataclass(frozen=True)
class Rated:
    """The ratings of a world whose recommender learns from them.

    Attributes:
        highest: the most stars that anybody can give.
        of_past: computes (rows,) what people say of the past, see :func:`past_ratings`.
    """

    highest: float
    of_past: Callable[[], NDArray[np.float32]]

    @cached_property
    def past(self) -> NDArray[np.float32]:
        """(rows,) stars for each row of the past, NaN where the person never rates."""
        return self.of_past()


def highest_rating(kinds: tuple[Segment, ...]) -> float:
    """The most stars that anybody of these people can give; 0 where nobody rates."""
    laws = [law for kind in kinds for law in kind.feedback if isinstance(law, Rating)]
    chat = [_CHAT_STARS for kind in kinds if kind.persons == "chat"]
    return float(max([0, *chat, *(1 + len(law.thresholds) for law in laws)]))


def past_ratings(
    start: Market,
    log: Interactions,
    kinds: tuple[Segment, ...],
    segment: NDArray[np.int8],
    *,
    seed: int,
) -> NDArray[np.float32]:
    """(rows,) what people say of what they had before the loop, NaN where they never rate.

    Args:
        start: people and items as the world begins; log: the past.
        kinds: of people; segment: (users,) which kind each is.
        seed: of the world; the luck of a rating belongs to (person, item).
    """
    stars = np.full(len(log), np.nan, np.float32)
    for number, kind in enumerate(kinds):
        laws = [law for law in kind.feedback if isinstance(law, Rating)]
        rows = np.flatnonzero(segment[log.user] == number) if laws else np.empty(0, np.int64)
        for at in range(0, len(rows), _BLOCK):
            part = rows[at : at + _BLOCK]
            visit = _met_again(start, kind, log.user[part], log.item[part, None], seed)
            told = laws[0].tell(visit, Feedback(np.ones((len(part), 1), np.bool_)))
            assert told.rating is not None
            stars[part] = told.rating[:, 0]
    return stars


def _met_again(
    start: Market,
    kind: Segment,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    seed: int,
) -> Visit:
    """People before one item each that they once had: (n, 1)."""
    catalog = start.catalog
    features = catalog.topics if start.features is None else start.features
    nothing = np.zeros(len(catalog), np.float32)
    match = affinity(start.taste[users], features, items)
    worth = utility(
        kind.constants,
        match,
        satiation=np.zeros((len(users), catalog.topics.shape[1]), np.float32),
        topics=catalog.topics,
        quality=nothing if catalog.quality is None else catalog.quality,
        scale=start.taste_scale,
        items=items,
    )
    return Visit(
        users=users,
        items=items,
        utility=worth,
        match=match,
        outside=np.full(len(users), kind.constants.outside_utility),
        temperature=kind.constants.temperature,
        position_bias=kind.constants.position_bias,
        ordered=False,
        step=-1,
        key=stream(seed, "choice"),
    )

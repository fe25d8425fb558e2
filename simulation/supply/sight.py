"""What is seen of an attack's target: who was shown it, who took it, and how it ranks for people.

The ranks are asked of the recommender, person by person, in the blocks that people are served in:
so whoever holds the people, the answers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import LateColumns, Requests
from ...recommenders.faults import Faults
from ...recommenders.guard import Guard
from ...recommenders.randomness import child_seed
from ...recommenders.ranking import blocks
from .attacks import ranks

if TYPE_CHECKING:
    from ..experiment import Served
    from ..platform.shown import Shown
    from ..world import World

LONGEST = 50
"""Places that are told apart; all behind them are one."""


class Ranks(NamedTuple):
    """How the target ranks for people who have not met it.

    Attributes:
        users: (n,) int32 who they are.
        place: (n,) uint8 from 1, LONGEST + 1 for all behind.
        percentile: (n,) share of the other items below it, NaN where nobody can say.
    """

    users: NDArray[np.int32]
    place: NDArray[np.uint8]
    percentile: NDArray[np.float64]


@dataclass(frozen=True)
class Sight:
    """What was seen of a target in one step.

    Attributes:
        slates: how many were shown; holding: how many of them held the target.
        taken: things taken; target_taken: how many of them were the target.
        ranks: how it ranks, None where nobody looked.
    """

    slates: int
    holding: int
    taken: int
    target_taken: int
    ranks: Ranks | None

    @classmethod
    def of(cls, shown: Shown, target: int, ranks: Ranks | None) -> Sight:
        """From what a step showed."""
        holding = (shown.items == target).any(axis=1)
        taken = shown.items[shown.feedback.taken]
        return cls(
            len(shown.users), int(holding.sum()), len(taken), int((taken == target).sum()), ranks
        )


def together(parts: Sequence[Sight]) -> Sight:
    """What was seen of several people's parts of a step, in the order of the people."""
    looked = [part.ranks for part in parts if part.ranks is not None]
    return Sight(
        sum(part.slates for part in parts),
        sum(part.holding for part in parts),
        sum(part.taken for part in parts),
        sum(part.target_taken for part in parts),
        Ranks(*map(np.concatenate, zip(*looked, strict=True))) if looked else None,
    )


def ranks_of(world: World, target: int, *, seed: int) -> Ranks | None:
    """Ask the recommender about everybody who is in the world and has not met the target.

    Args:
        target: an item; seed: of what is asked.

    Returns:
        None where no recommender serves.
    """
    now, served = world.columns, world.platform.recommender
    if served is None:
        return None
    everybody = np.flatnonzero(now.present).astype(np.int32)
    history = world.platform.history.of(everybody)
    met = np.zeros(len(everybody), np.bool_)
    met[history.row_index[history.values == target]] = True
    users = everybody[~met]
    place = np.full(len(users), np.iinfo(np.int64).max)
    percentile = np.full(len(users), np.nan)
    with uncounted(served):
        for block in world.platform.blocks:
            first, last = np.searchsorted(users, block)
            for part in blocks(int(last - first), len(now.catalog)):
                rows = first + part
                place[rows], percentile[rows] = _places(world, served, target, users[rows], seed)
    return Ranks(users, np.minimum(place, LONGEST + 1).astype(np.uint8), percentile)


def _places(
    world: World, served: Served, target: int, users: NDArray[np.int32], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    now = world.columns
    history = world.platform.history.of(users)
    asked = Requests(
        users=users,
        history=history,
        k=min(LONGEST, len(now.catalog)),
        seed=child_seed(seed, "probe"),
        step=now.t,
        attributes=LateColumns(now.users.attributes, users),
        ago=world.platform.history.ago(users, now.t),
    )
    if isinstance(served, Guard) and served.can_score and not served.capabilities.stochastic:
        scores = served.score(asked)
        if scores is not None:
            hidden = np.tile(~now.available, (len(users), 1))
            hidden[history.row_index, history.values] = True
            hidden[:, target] = False
            if not now.available[target]:
                return np.full(len(users), len(now.catalog)), np.zeros(len(users))
            return ranks(scores, target, hidden)
    items = served.recommend(asked).items
    found = items == target
    place = np.where(found.any(axis=1), 1 + found.argmax(axis=1), len(now.catalog))
    return place, np.full(len(users), np.nan)


@contextmanager
def uncounted(served: Served) -> Iterator[None]:
    """What a recommender is asked by us, not by people, is not in its tally of faults."""
    guards = [served] if isinstance(served, Guard) else list(served.parts)
    held = [guard.faults for guard in guards]
    for guard, faults in zip(guards, held, strict=True):
        guard.faults = Faults(strikes=faults.strikes, off=faults.off)
    try:
        yield
    finally:
        for guard, faults in zip(guards, held, strict=True):
            guard.faults = faults

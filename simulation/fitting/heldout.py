"""What a fitted world may know of a log, and what is kept back to compare it with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...recommenders.datasets.dataset import Dataset
from ...recommenders.errors import UserError
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import generator
from ...recommenders.splits import rank_within_user

PAST_SHARE = 0.8
"""Share of the log, oldest first, that a world is fitted to when it is to be compared."""

MIN_PEOPLE = 20
"""Fewer people than this are not compared: two halves of them would say nothing."""


class TooFew(UserError):
    """A log that cannot be cut into a past and a future that say something."""


@dataclass(frozen=True)
class HeldOut:
    """A log cut in two.

    Attributes:
        past: what may be known, of everybody.
        future: what is kept back, of the people compared, numbered as in ``people``.
        people: (n,) who is compared, as row numbers of the dataset's people.
        how: the cut in words.
        timed: whether how much people chose after the cut says something of them; not where every
            person's own log was cut.
    """

    past: Interactions
    future: Interactions
    people: NDArray[np.int64]
    how: str
    timed: bool


def held_out(data: Dataset, *, users: int, seed: int, share: float = PAST_SHARE) -> HeldOut:
    """Cut a log at one moment for everybody or, where it holds no times, person by person.

    Compared are people who did something after the cut, known before or not.

    Args:
        data: the log and whether its times can be compared (``clock``).
        users: how many people are compared at most, drawn at random.
        seed: of the draw.
        share: of the choices that come before the cut.

    Raises:
        TooFew: fewer than :data:`MIN_PEOPLE` people chose something after the cut.
    """
    log = data.log
    if data.clock == "time":
        moment = np.quantile(log.step, share, method="lower") if len(log) else 0
        early = log.step <= moment
        how = f"the first {share:.0%} of time, everybody cut at one moment"
    else:
        rank, count = rank_within_user(log)
        early = rank < np.ceil(share * count)
        how = f"the first {share:.0%} of each person's choices (the log has an order, no times)"
    future = log.take(~early)
    present = np.unique(future.user)
    if len(present) < MIN_PEOPLE:
        raise TooFew(
            f"dataset {data.name!r}: {len(present)} people chose something in the last "
            f"{1 - share:.0%} of it, at least {MIN_PEOPLE} are needed to compare; use a larger log"
        )
    rng = generator(seed, "held-out")
    people = np.sort(rng.choice(present, size=min(users, len(present)), replace=False))
    timed = data.clock == "time"
    return HeldOut(log.take(early), of_people(future, people), people, how, timed)


def choices_after(log: Interactions, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many choices people made after a cut in time: who was known before it, and who was new.

    Both are counts of the people who chose something after the cut.
    """
    moment = np.quantile(log.step, share, method="lower")
    early = np.bincount(log.user[log.step <= moment], minlength=log.n_users)
    late = np.bincount(log.user[log.step > moment], minlength=log.n_users)
    return late[(late > 0) & (early > 0)], late[(late > 0) & (early == 0)]


def of_people(log: Interactions, people: NDArray[np.int64]) -> Interactions:
    """The rows of some people, who are numbered anew in the order given."""
    number = np.full(log.n_users, -1, np.int32)
    number[people] = np.arange(len(people), dtype=np.int32)
    kept = log.take(number[log.user] >= 0)
    return replace(kept, user=number[kept.user], n_users=len(people))

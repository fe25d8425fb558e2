"""Who is there: people arrive, come more or less often, run out of visits, leave and return.

Every decision is drawn from the luck of (purpose, step, person), so the same people arrive at the
same step in every arm, and an arm that pleases people better keeps some of the same people longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import mesa
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.datasets.synthetic import Market
from ...recommenders.randomness import stream, uniform
from ..people.choice import sigmoid
from ..people.columns import Columns
from ..people.drift import Floats, average

if TYPE_CHECKING:
    from ..platform.shown import Shown
    from ..process import Arrays
    from ..world import World
    from .settings import StayingSection

Flags = NDArray[np.bool_]

_SURE = 0.001
"""Chance to be there that satisfaction leaves at least, and takes away at most, as in KuaiSim."""


# Arrivals ----------------------------------------------------------------------------------------


def arrivals(section: StayingSection | None, n: int, *, seed: int) -> NDArray[np.int32]:
    """(n,) the step at which each person arrives; 0 for those who are there from the start.

    A share ``arrive`` of people comes later, each with chance ``arrive_rate`` in a step:
    ``P(arrives at t) = arrive * rate (1 - rate)^(t - 1)`` for t from 1.

    Args:
        n: people of the world; seed: of the world.
    """
    if section is None or section.arrive == 0:
        return np.zeros(n, np.int32)
    everyone = np.arange(n)
    late = uniform(stream(seed, "comes later"), everyone) < section.arrive
    luck = uniform(stream(seed, "arrival"), everyone)
    return np.where(late, waiting(luck, section.arrive_rate), 0).astype(np.int32)


def waiting(luck: Floats, rate: float) -> NDArray[np.int64]:
    """Geometric waiting times, at least 1: ``P(d) = rate (1 - rate)^(d - 1)``, mean ``1 / rate``.

    Args:
        luck: (n,) uniform draws in (0, 1); rate: in (0, 1].
    """
    if rate >= 1:
        return np.ones(luck.shape, np.int64)
    steps = np.ceil(np.log(luck) / np.log1p(-rate))
    return np.asarray(np.clip(steps, 1, 2**31 - 1), np.int64)


def beginning(start: Market, section: StayingSection | None, *, seed: int) -> Market:
    """What a world starts from: those who arrive later have no past that anybody could know.

    Args:
        start: everybody with their past; seed: of the world.
    """
    late = arrivals(section, len(start.users), seed=seed) > 0
    if not late.any():
        return start
    return replace(start, log=start.log.take(~late[start.log.user]))


def lived(columns: Columns) -> Flags | None:
    """(users,) who has been in the world so far; None: everybody."""
    arrives = columns.traits.get(_ARRIVES)
    return None if arrives is None else arrives <= columns.t


def only_lived(outcomes: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Outcomes after the last step, null for people who never arrived: nothing became of them."""
    arrives = columns.traits.get(_ARRIVES)
    if arrives is None or (arrives < columns.t).all():
        return outcomes
    here = pl.Series(arrives < columns.t)
    known = [pl.when(here).then(pl.col(c)).alias(c) for c in outcomes.columns if c != "user"]
    return outcomes.with_columns(known)


# Chances -----------------------------------------------------------------------------------------


def hazard(content: Floats, section: StayingSection) -> Floats:
    """Chance to leave after a visit: ``sigmoid(logit(leave) - slope * (content - expected))``.

    At a constant satisfaction s, ``(1 - hazard(s))^v`` are still there after v visits.
    """
    if section.leave == 0:
        return np.zeros(content.shape)
    at_expected = np.log(section.leave) - np.log1p(-section.leave)
    return sigmoid(at_expected - section.leave_slope * (content - section.expected))


def chance_to_come(usual: Floats, content: Floats, section: StayingSection, step: int) -> Floats:
    """Chance to be there in a step, before bursts and budgets.

    ``(P clamped to [.001, .999]) * week[t]``, at most 1, with ``P = usual + return_slope *
    (content - expected)``. Satisfaction changes at visits only, so the gap to the next visit is
    geometric, ``P(gap = d) = P (1 - P)^(d - 1)`` with mean 1 / P: the return day of KuaiSim
    (Zhao et al. 2023).

    Args:
        usual: (n,) activity of each person; content: (n,) their satisfaction.
    """
    chance = usual
    if section.return_slope:
        chance = usual + section.return_slope * (content - section.expected)
        chance = np.clip(chance, _SURE, 1 - _SURE)
    if section.week:
        chance = chance * section.week[step % len(section.week)]
    return np.minimum(chance, 1.0)


def in_bursts(chance: Floats, came: NDArray[np.int8], burst: float) -> Floats:
    """Chance given whether a person came in the step before: a two-state Markov chain.

    ``c + r (1 - c)`` after coming, ``c (1 - r)`` after not coming; then a constant c stays the
    share of steps with a visit, and visits d steps apart correlate by ``r^d``.

    Args:
        chance: (n,) c; came: (n,) 1 yes, 0 no, -1 there is no step before; burst: r.
    """
    after = np.where(came == 1, chance + burst * (1 - chance), chance * (1 - burst))
    return np.asarray(np.where(came < 0, chance, after))


# The process -------------------------------------------------------------------------------------

_ARRIVES = "arrives"
COUNTS = ("present", "arrived", "left", "active")


class Staying(mesa.Agent):
    """Arrivals, visits, leaving and return of everybody in one world.

    Traits: ``arrives`` (step), ``left``, ``content`` (satisfaction, averaged over visits),
    ``visits`` (in this period), ``came`` (in the step before).

    Args:
        world: with its columns in place; section: [staying].
    """

    key = "staying"

    def __init__(self, world: World, section: StayingSection) -> None:
        super().__init__(world)
        self.columns, self.section = world.columns, section
        now = self.columns
        n = len(now.activity)
        self.rows = slice(*(world.people or (0, n)))  # of a shard: its own people
        self._usual = now.activity.astype(np.float64)
        now.traits.update(
            {
                _ARRIVES: arrivals(section, n, seed=now.seed),
                "left": np.zeros(n, np.bool_),
                "content": np.full(n, section.expected),
                "visits": np.zeros(n, np.int32),
                "came": np.full(n, -1, np.int8),
            }
        )
        self._enter(now.traits[_ARRIVES] <= 0)
        self.counts = dict.fromkeys(COUNTS, float("nan"))

    def _enter(self, here: Flags) -> None:
        self.columns.there = here
        self.columns.present = np.zeros(len(here), np.bool_)
        self.columns.present[self.rows] = here[self.rows]

    def before(self, world: World) -> None:
        """Who is in the world, and how likely each is to come in this step."""
        now, section = self.columns, self.section
        traits, everyone = now.traits, np.arange(len(self._usual))
        if section.come_back:
            luck = uniform(stream(now.seed, "comes back"), now.t, everyone)
            traits["left"] &= luck >= section.come_back
        if section.period and now.t % section.period == 0:
            traits["visits"][:] = 0
        self._enter((traits[_ARRIVES] <= now.t) & ~traits["left"])
        chance = chance_to_come(self._usual, traits["content"], section, now.t)
        if section.burst:
            chance = in_bursts(chance, traits["came"], section.burst)
        if section.budget:
            chance = np.where(traits["visits"] < section.budget, chance, 0.0)
        now.activity = chance.astype(np.float32)
        self.counts["present"] = float(now.present.sum())
        arrived = traits[_ARRIVES][self.rows] == now.t
        self.counts["arrived"] = float(arrived.sum()) if now.t else 0.0

    def after(self, world: World, shown: Shown) -> None:
        """Who was there is more or less satisfied, and may leave."""
        now, section = self.columns, self.section
        traits, users = now.traits, shown.users
        traits["visits"][users] += 1
        traits["came"][now.present] = 0
        traits["came"][users] = 1
        taken = shown.feedback.taken
        worth = taken.any(axis=1).astype(np.float64)
        if section.pleased_by == "match":
            worth = np.nan_to_num(average(shown.match, taken))
        elif section.pleased_by == "satisfaction":
            worth = traits["satisfaction"][users]
        content = section.memory * traits["content"][users] + (1 - section.memory) * worth
        traits["content"][users] = content
        luck = uniform(stream(now.seed, "leaves"), now.t, users)
        leaves = users[luck < hazard(content, section)]
        traits["left"][leaves] = True
        traits["came"][leaves] = -1
        self.counts["left"] = float(len(leaves))
        self.counts["active"] = float(len(users))

    # -- what is seen and kept -----------------------------------------------------------------

    def series(self) -> Mapping[str, float]:
        """People present, arrived, left and active in the step; satisfaction of those present."""
        here = self.columns.present
        content = self.columns.traits["content"][here]
        mean = float(content.mean()) if len(content) else float("nan")
        return {**self.counts, "satisfaction": mean}

    def state(self) -> Arrays:
        """Nothing beside the traits, which are in every checkpoint."""
        return {}

    def load_state(self, state: Arrays) -> None:
        """See :meth:`state`."""

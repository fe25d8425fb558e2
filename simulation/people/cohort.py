"""A block of simulated people as one Mesa agent: columns, not objects."""

from __future__ import annotations

import mesa
import numpy as np
from numpy.typing import NDArray

from .choice import Feedback, Visit
from .columns import Columns
from .drift import Encounter, consumed, mean_shown
from .equations import Segment, affinity, change_recent, change_satiation, change_taste, utility


class Cohort(mesa.Agent):
    """People ``first .. last - 1`` of a world, lived as arrays.

    The arrays are views into the world's columns; a cohort only ever writes its own rows, so any
    number of cohorts, in any order, gives the same world.
    """

    def __init__(
        self,
        model: mesa.Model,
        columns: Columns,
        segments: tuple[Segment, ...],
        first: int,
        last: int,
    ) -> None:
        super().__init__(model)
        self.columns = columns
        self.segments = segments
        self.rows = slice(first, last)

    def mine(self, users: NDArray[np.int32]) -> slice:
        """Where this cohort's people stand in a sorted batch of users."""
        low, high = np.searchsorted(users, [self.rows.start, self.rows.stop])
        return slice(int(low), int(high))

    def choose(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        *,
        ordered: bool,
        match: NDArray[np.float32],
        feedback: Feedback,
    ) -> None:
        """What this cohort's part of the batch does with its slates.

        Args:
            users: (n,) of this cohort; items: (n, k) shown.
            ordered: whether people see a ranking.
            match: (n, k), filled in: how well each item meets each taste.
            feedback: (n, k) views, filled in.
        """
        for segment, rows in self._parts(users):
            if segment.persons:  # they choose for themselves
                continue
            visit = visit_of(self.columns, segment, users[rows], items[rows], ordered=ordered)
            match[rows] = visit.match
            fill(feedback, act(segment, visit), rows)

    def change(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        match: NDArray[np.float32],
        feedback: Feedback,
    ) -> None:
        """Move taste and satiation of the active people; the rest only recover.

        Args:
            users: (n,) active people of this cohort.
            items, match, feedback: (n, k) what they were shown and did with it.
        """
        now = self.columns
        eaten = np.zeros_like(now.satiation[self.rows])
        for segment, rows in self._parts(users):
            met = Encounter(users[rows], items[rows], match[rows], _rows_of(feedback, rows), now.t)
            self._drift(segment, met)
            eaten[met.users - self.rows.start] = took = consumed(now.topics, met)
            if segment.constants.persistence:
                recent = now.traits["recent"]
                recent[met.users] = change_recent(segment.constants, recent[met.users], took)
            for law in segment.change:
                law.change(now, met)
        kinds = now.segment[self.rows]
        for number, segment in enumerate(self.segments):
            whole = len(self.segments) == 1
            mine = slice(None) if whole else np.flatnonzero(kinds == number)
            before = now.satiation[self.rows][mine]
            now.satiation[self.rows][mine] = change_satiation(
                segment.constants, before, eaten[mine]
            )

    def _drift(self, segment: Segment, met: Encounter) -> None:
        now, constants = self.columns, segment.constants
        took = consumed(now.features, met)
        seen = np.zeros_like(took)
        if constants.exposure_drift > 0:
            seen = mean_shown(now.features, met)
        now.taste[met.users] = change_taste(
            constants,
            now.taste[met.users],
            took,
            seen,
            n_consumed=met.feedback.taken.sum(axis=1),
            space=now.space,
        )

    def _parts(self, users: NDArray[np.int32]) -> list[tuple[Segment, slice | NDArray[np.int64]]]:
        """Each segment with the rows of the batch that belong to it."""
        if len(self.segments) == 1:
            return [(self.segments[0], slice(None))]
        kinds = self.columns.segment[users]
        found = [(s, np.flatnonzero(kinds == i)) for i, s in enumerate(self.segments)]
        return [(segment, rows) for segment, rows in found if len(rows)]


def visit_of(
    now: Columns,
    segment: Segment,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    *,
    ordered: bool,
) -> Visit:
    """These people of one segment before their slates, with what each item is worth to them."""
    constants = segment.constants
    match = affinity(now.taste[users], now.features, items)
    worth = utility(
        constants,
        match,
        satiation=now.satiation[users],
        topics=now.topics,
        quality=now.quality,
        scale=now.taste_scale,
        items=items,
    )
    if constants.persistence:
        hold = affinity(now.traits["recent"][users], now.topics, items)
        worth += constants.persistence * hold
    visit = Visit(
        users=users,
        items=items,
        utility=worth,
        match=match,
        outside=np.full(len(users), constants.outside_utility),
        temperature=constants.temperature,
        position_bias=constants.position_bias,
        ordered=ordered,
        step=now.t,
        key=now.luck,
        rows=now.rows,
        features=now.features,
    )
    for law in segment.change:
        visit = law.weigh(now, visit)
    return visit


def act(segment: Segment, visit: Visit) -> Feedback:
    """What people do with their slates by their segment's laws of choice and of feedback."""
    told = segment.choice.choose(visit)
    for law in segment.feedback:
        told = law.tell(visit, told)
    return told


def prepare(columns: Columns, segments: tuple[Segment, ...]) -> None:
    """Give people the traits that their laws remember by, and tastes the room that they need."""
    for segment in segments:
        for law in segment.change:
            columns.traits.update(law.traits(columns))
            if law.frees_length:
                columns.space = "free"


_OPTIONAL = ("rejected", "rating", "dwell_seconds")


def blank(n: int, k: int, segments: tuple[Segment, ...]) -> Feedback:
    """Feedback of n people on k slots, nothing done yet, with the parts any segment reports."""
    told = frozenset().union(*(segment.reports for segment in segments))
    return Feedback(
        np.zeros((n, k), np.bool_),
        np.zeros((n, k), np.bool_) if "rejected" in told else None,
        np.full((n, k), np.nan, np.float32) if "rating" in told else None,
        np.full((n, k), np.nan, np.float32) if "dwell_seconds" in told else None,
    )


def _rows_of(feedback: Feedback, rows: slice | NDArray[np.int64]) -> Feedback:
    parts = {n: v if (v := getattr(feedback, n)) is None else v[rows] for n in _OPTIONAL}
    return Feedback(feedback.taken[rows], **parts)


def fill(whole: Feedback, part: Feedback, rows: slice | NDArray[np.int64]) -> None:
    """Write what some people did into the feedback of all."""
    whole.taken[rows] = part.taken
    for name in _OPTIONAL:
        value, place = getattr(part, name), getattr(whole, name)
        if value is not None and place is not None:
            place[rows] = value

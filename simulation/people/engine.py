"""Who computes a step: NumPy law by law, or one compiled pass where the laws are plain.

Both give the same world to rounding (a test says so). The compiled engine knows the multinomial
logit, drift, satiation and the measures of everybody; a world with any other law of choice or of
change, or with persons who choose for themselves, is computed law by law.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import Slates
from ...recommenders.errors import UserError
from ...recommenders.randomness import stream
from ..platform.shown import Shown
from .choice import Feedback
from .cohort import blank
from .equations import Segment

if TYPE_CHECKING:
    from ..world import World

Name = Literal["numpy", "compiled"]


class Engine(Protocol):
    """What moves people through a step."""

    name: Name

    def active(self) -> NDArray[np.int32]:
        """Who is there in this step: the same people in every arm."""
        ...

    def live(self, users: NDArray[np.int32], slates: Slates, *, ordered: bool) -> Shown:
        """People choose from their slates, are counted, and change.

        Args:
            users: (n,) active people, ascending; slates: what each is shown.
            ordered: whether people see a ranking.
        """
        ...

    def settle(self) -> None:
        """After everything that happens in a step, before its measures are taken."""
        ...


def engine_name(asked: str, segments: tuple[Segment, ...]) -> Name:
    """Which engine a world is computed by.

    Args:
        asked: [study] engine; segments: the kinds of people.

    Raises:
        UserError: "compiled" was asked for people it does not know.
    """
    odd = [segment.name for segment in segments if not segment.plain]
    if asked == "compiled" and odd:
        raise UserError(
            f'[study] engine = "compiled" knows choice = "logit" without further laws of change; '
            f'the people called {odd[0]!r} have others; set engine = "auto"'
        )
    return "numpy" if asked == "numpy" or odd else "compiled"


def engine_of(world: World) -> Engine:
    """The engine of a world whose other parts are made."""
    name = engine_name(world.study.study.engine, world.segments)
    return Compiled(world) if name == "compiled" else Composed(world)


class Composed:
    """Law by law, block by block, as whole-array NumPy expressions."""

    name: Name = "numpy"

    def __init__(self, world: World) -> None:
        self.world = world

    def active(self) -> NDArray[np.int32]:
        """See Columns.active."""
        return self.world.columns.active()

    def live(self, users: NDArray[np.int32], slates: Slates, *, ordered: bool) -> Shown:
        """Every cohort chooses, the measures look on, every cohort changes."""
        world, items = self.world, slates.items
        match = np.zeros(items.shape, np.float32)
        feedback = blank(len(items), items.shape[1], world.segments)
        shown = Shown(users, items, slates.scores, slates.propensities, match, feedback)
        parts = [(cohort, shown.part(cohort.mine(users))) for cohort in world.cohorts]
        for cohort, part in parts:
            cohort.choose(
                part.users, part.items, ordered=ordered, match=part.match, feedback=part.feedback
            )
        if world.persons is not None:
            world.persons.choose(shown, ordered=ordered)
        world.measures.before_change(shown.encounter(world.columns.t))
        for cohort, part in parts:
            cohort.change(part.users, part.items, part.match, part.feedback)
        return shown

    def settle(self) -> None:
        """Nothing: measures are taken from the columns."""


class Compiled:
    """Everybody in one pass over memory; see kernel.py."""

    name: Name = "compiled"

    def __init__(self, world: World) -> None:
        from . import kernel

        self.world, self._kernel = world, kernel
        now = world.columns
        rows = world.measures.rows
        n = rows.stop - rows.start
        self._constants = np.array(
            [[getattr(s.constants, c) for c in kernel.CONSTANTS] for s in world.segments]
        )
        self._activity = stream(now.seed, "activity")
        self._buffer = np.empty(n, np.int32)
        kept = world.measures.keep()
        kernel.entropies(world.measures.recent[rows], kept.click_entropy[rows])
        self._renew()

    def active(self) -> NDArray[np.int32]:
        """The same as Columns.active."""
        now = self.world.columns
        rows = self.world.measures.rows
        n = self._kernel.active(
            self._activity, now.t, rows.start, rows.stop, now.present, now.activity, self._buffer
        )
        return self._buffer[:n].copy()

    def live(self, users: NDArray[np.int32], slates: Slates, *, ordered: bool) -> Shown:
        """One call of the kernel, whose sums are the measures of the step."""
        kernel, now, measures = self._kernel, self.world.columns, self.world.measures
        items = np.ascontiguousarray(slates.items, np.int32)
        n, k = items.shape
        place = np.log1p(np.arange(k)) if ordered else np.zeros(k)
        luck = np.uint64(kernel.at_step(now.luck, now.t))
        done = kernel.Done(
            np.empty((n, k), np.float32),
            np.empty((n, k), np.bool_),
            np.empty(n, np.uint64),
            np.empty(n, np.int32),
            np.empty(n, np.int32),
            np.empty(6),
        )
        people = kernel.People(
            now.segment,
            now.taste,
            now.initial_taste,
            now.satiation,
            measures.recent,
            measures.clicks,
            measures.slots,
            measures.slate_match,
            measures.click_match,
            measures.click_match_initial,
            *measures.keep(),
        )
        catalog = kernel.Items(
            now.features, now.topics, now.quality, measures.percentile, measures.exposure
        )
        laws = kernel.Laws(
            self._constants, place, float(now.taste_scale), now.space == "vectors", luck
        )
        took = 0
        for block, (first, last) in enumerate(measures.blocks):
            before = took
            done.totals[:] = 0.0
            took = kernel.live(people, catalog, laws, first, last, users, items, done, took)
            here = int(np.diff(np.searchsorted(users, [first, last]))[0])
            measures.of_step(block, here, took - before, done.totals)
        return Shown(
            users,
            items,
            slates.scores,
            slates.propensities,
            done.match,
            Feedback(done.taken),
            (done.users[:took], done.items[:took]),
            done.bits,
        )

    def settle(self) -> None:
        """Processes may have moved tastes; what is kept of tastes is then computed anew."""
        if self.world.processes:
            self._renew()

    def _renew(self) -> None:
        now, kept = self.world.columns, self.world.measures.keep()
        rows, vectors = self.world.measures.rows, now.space == "vectors"
        start, taste = now.initial_taste[rows], now.taste[rows]
        self._kernel.distances(start, taste, vectors, kept.taste_shift[rows])
        if not vectors:
            self._kernel.entropies(taste, kept.taste_entropy[rows])

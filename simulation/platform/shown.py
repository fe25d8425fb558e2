"""What one step showed and what was done with it: the raw material of the event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..people.choice import Feedback
from ..people.drift import Encounter

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Shown:
    """What one step showed and what was done with it: the raw material of the event log.

    Attributes:
        users: (n,) int32 active people, ascending.
        items: (n, k) int32 shown, -1 for empty slots; scores, propensities: (n, k), or None.
        match: (n, k) float32 how well each item met each person's taste.
        feedback: (n, k) columns of what people did.
        took: who took something and what, where everybody takes one thing at most and that is
            known already; else None.
        taken_bits: (n,) what :meth:`bits` says, where it is known already; else None.
        from_friends: (n, k) which slots hold what friends shared, or None where nobody shares.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    scores: NDArray[np.float32] | None
    propensities: NDArray[np.float32] | None
    match: NDArray[np.float32]
    feedback: Feedback
    took: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
    taken_bits: NDArray[np.uint64] | None = None
    from_friends: NDArray[np.bool_] | None = None

    def bits(self) -> NDArray[np.uint64]:
        """(n,) the slots that were taken as bits of a mask, the first one lowest."""
        return bits(self.feedback.taken) if self.taken_bits is None else self.taken_bits

    @property
    def position(self) -> NDArray[np.int64]:
        """(n,) the first place from which something was taken, -1 for nothing."""
        taken = self.feedback.taken
        return np.asarray(np.where(taken.any(axis=1), taken.argmax(axis=1), -1))

    def part(self, rows: slice) -> Shown:
        """Views of some rows: what is written into them is written here."""

        def cut(column: NDArray[T] | None) -> NDArray[T] | None:
            return None if column is None else column[rows]

        told = self.feedback
        return Shown(
            self.users[rows],
            self.items[rows],
            cut(self.scores),
            cut(self.propensities),
            self.match[rows],
            Feedback(
                told.taken[rows], cut(told.rejected), cut(told.rating), cut(told.dwell_seconds)
            ),
        )

    def encounter(self, step: int) -> Encounter:
        """The same as the laws of change see it."""
        return Encounter(self.users, self.items, self.match, self.feedback, step)


def bits(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(n,) the k <= 64 flags of each row as bits, the first one lowest."""
    row, place = np.divmod(np.flatnonzero(flags), flags.shape[1])
    masks = np.zeros(len(flags), np.uint64)
    np.add.at(masks, row, np.uint64(1) << place.astype(np.uint64))  # a sum, as each bit comes once
    return masks

"""How people change by what they meet: laws beyond the plain drift and satiation of every person.

A law sees an :class:`Encounter` (who met what, what they took) and moves the columns it names.
Laws are tables of study.toml (``[[people.change]]``) and are applied in their order, after the
convex drift and the satiation that every preset has (set ``drift = 0`` for none).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from .choice import Feedback
from .section import Section, named_law

if TYPE_CHECKING:
    from .columns import Columns


@dataclass(frozen=True)
class Encounter:
    """What a block of people met in one step.

    Attributes:
        users: (n,) int32 indices, each once.
        items: (n, k) int32 shown, -1 for empty slots.
        match: (n, k) float32 how well each item met the taste it was chosen by.
        feedback: what they did with it.
        step: of the loop.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    match: NDArray[np.float32]
    feedback: Feedback
    step: int


def consumed(rows: NDArray[np.float32], encounter: Encounter) -> NDArray[np.float32]:
    """(n, d) sum of the rows (items, d) of what each person took; zeros where nothing was."""
    taken = encounter.feedback.taken
    if not taken.any():
        return np.zeros((len(taken), rows.shape[1]), np.float32)
    if taken.sum(axis=1).max() <= 1:  # one item at most: no need to gather the whole slate
        chosen = encounter.items[np.arange(len(taken)), taken.argmax(axis=1)]
        some: NDArray[np.bool_] = np.any(taken, axis=1, keepdims=True)
        return np.where(some, rows[chosen], np.float32(0))
    values = np.where(taken[..., None], rows[np.maximum(encounter.items, 0)], np.float32(0))
    return np.asarray(values.sum(axis=1), dtype=np.float32)


def mean_shown(rows: NDArray[np.float32], encounter: Encounter) -> NDArray[np.float32]:
    """(n, d) mean of the rows (items, d) of what each person was shown; zeros where nothing was."""
    real = encounter.items >= 0
    slots = np.maximum(real.sum(axis=1, keepdims=True), 1)
    values = np.where(real[..., None], rows[np.maximum(encounter.items, 0)], np.float32(0))
    return np.asarray(values.sum(axis=1) / slots, dtype=np.float32)


class Assimilation(Section):
    """Biased assimilation on the sphere (Dean & Morgenstern, EC 2022).

    ``u <- (u + eta <u, v> v) / |u + eta <u, v> v|`` for each consumed item ``v``: people move
    towards what they like and away from what they dislike; met for ever, one item gives
    ``tan(theta_t) = tan(theta_0) / (1 + eta)^t``. Needs vector tastes ([world] dim above 0).
    """

    law: Literal["assimilation"] = "assimilation"
    eta: Annotated[float, Field(ge=0)] = Field(default=0.05, description="strength of the pull")

    def change(self, columns: Columns, encounter: Encounter) -> None:
        """Move the tastes of those who took something."""
        v = consumed(columns.features, encounter)  # (n, dim)
        taste = columns.taste[encounter.users]
        pull = np.einsum("nd,nd->n", taste, v)[:, None]
        moved = taste + np.float32(self.eta) * pull * v
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        columns.taste[encounter.users] = moved.astype(np.float32)


ChangeLaw = Annotated[Assimilation, Field(), BeforeValidator(named_law)]
"""Any law of change, told apart by ``law``; a bare name stands for its defaults."""

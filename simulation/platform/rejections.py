"""What people are not interested in: never shown to them again, kept apart from clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import NOT_INTERESTED, Interactions, Ragged

if TYPE_CHECKING:
    from ..world import Shown

Arrays = dict[str, NDArray[Any]]


class Rejections:
    """Everybody's rejections in time order.

    Attributes:
        learnt: how many of them the recommender's last update could see.
    """

    def __init__(self, n_users: int) -> None:
        self.n_users = n_users
        self.learnt = 0
        self._rows: NDArray[np.int64] = np.empty((0, 3), np.int64)  # user, item, step
        self._of: Ragged | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, shown: Shown, step: int) -> None:
        """What was rejected in a step."""
        rejected = shown.feedback.rejected
        if rejected is None or not rejected.any():
            return
        row, column = np.nonzero(rejected)
        self.note(shown.users[row], shown.items[row, column], step)

    def note(self, users: NDArray[np.int32], items: NDArray[np.int32], step: int) -> None:
        """These people rejected these items in a step."""
        new = np.stack([users, items, np.full(len(users), step)], axis=1)
        self._rows, self._of = np.concatenate([self._rows, new]), None

    def since(self, step: int) -> NDArray[np.int64]:
        """(n, 2) user and item of what was rejected from a step on, by step, person and slot."""
        return self._rows[np.searchsorted(self._rows[:, 2], step) :, :2]

    def of(self, users: NDArray[np.int32], n_items: int) -> Ragged | None:
        """What these people never want to see again; None as long as nobody rejected anything."""
        if len(self) == 0:
            return None
        if self._of is None:
            self._of = self._log(n_items).histories()
        return self._of.take(users)

    def _log(self, n_items: int) -> Interactions:
        user, item, step = self._rows.T
        return Interactions(
            user.astype(np.int32), item.astype(np.int32), step, self.n_users, n_items
        )

    def among(self, log: Interactions, *, past: int, since: int) -> tuple[Interactions, int]:
        """The clicks with the rejections in their place in time, and where what is new begins.

        Args:
            log: clicks only, the first ``past`` of them from before the loop.
            since: which of the clicks are new.
        """
        if len(self) == 0:
            return log, since
        own = self._log(log.n_items)
        step = np.concatenate([log.step[past:], own.step])
        order = np.concatenate([np.arange(past), past + np.argsort(step, kind="stable")])
        kind = np.zeros(len(log) + len(own), np.int8)
        kind[len(log) :] = NOT_INTERESTED
        value = log.value
        if value is not None:
            value = np.concatenate([value, np.full(len(own), np.nan, np.float32)])[order]
        return Interactions(
            np.concatenate([log.user, own.user])[order],
            np.concatenate([log.item, own.item])[order],
            np.concatenate([log.step, own.step])[order],
            log.n_users,
            log.n_items,
            value,
            kind[order],
            log.timed,
        ), since + self.learnt

    def state(self) -> Arrays:
        """Its memory."""
        return {"rows": self._rows, "learnt": np.array(self.learnt)}

    def load_state(self, state: Arrays) -> None:
        """Its memory back."""
        self._rows, self._of = state["rows"], None
        self.learnt = int(state["learnt"])

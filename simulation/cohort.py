"""A block of simulated people as one Mesa agent: columns, not objects."""

from __future__ import annotations

import mesa
import numpy as np
from numpy.typing import NDArray

from .columns import Columns
from .people import UserModel, change_satiation, change_taste, choose


class Cohort(mesa.Agent):
    """People ``first .. last - 1`` of a world, lived as arrays.

    The arrays are views into the world's columns; a cohort only ever writes its own rows, so any
    number of cohorts, in any order, gives the same now.
    """

    def __init__(self, model: mesa.Model, columns: Columns, first: int, last: int) -> None:
        super().__init__(model)
        self.columns = columns
        self.rows = slice(first, last)

    def mine(self, users: NDArray[np.int32]) -> NDArray[np.int64]:
        """Positions in a sorted batch of users that belong to this cohort."""
        low, high = np.searchsorted(users, [self.rows.start, self.rows.stop])
        return np.arange(low, high)

    def choose(
        self,
        people: UserModel,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        *,
        ordered: bool,
    ) -> NDArray[np.int64]:
        """Chosen positions in this cohort's part of the batch, -1 for none; see people.choose."""
        now = self.columns
        return choose(
            people,
            taste=now.taste[users],
            satiation=now.satiation[users],
            topics=now.topics,
            quality=now.quality,
            scale=now.taste_scale,
            items=items,
            users=users,
            step=now.t,
            key=now.luck,
            ordered=ordered,
        )

    def change(
        self,
        people: UserModel,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        clicked: NDArray[np.int32],
    ) -> None:
        """Move taste and satiation of the active people; the rest only recover.

        Args:
            users: (n,) active people of this cohort.
            items: (n, k) what they were shown, -1 for empty.
            clicked: (n,) what they consumed, -1 for nothing.
        """
        now = self.columns
        topics = now.topics
        consumed = np.where(clicked[:, None] >= 0, topics[np.maximum(clicked, 0)], np.float32(0))
        mean_shown = np.zeros_like(consumed)  # (n, topics)
        if people.exposure_drift > 0:
            slots = np.maximum((items >= 0).sum(axis=1, keepdims=True), 1)
            shown = np.where(items[..., None] >= 0, topics[np.maximum(items, 0)], np.float32(0))
            mean_shown = (shown.sum(axis=1) / slots).astype(np.float32)
        now.taste[users] = change_taste(people, now.taste[users], consumed, mean_shown)
        everyone = np.zeros_like(now.satiation[self.rows])
        everyone[users - self.rows.start] = consumed
        now.satiation[self.rows] = change_satiation(people, now.satiation[self.rows], everyone)

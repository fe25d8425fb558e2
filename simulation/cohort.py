"""A block of simulated people as one Mesa agent: columns, not objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mesa
import numpy as np
from numpy.typing import NDArray

from .people import UserModel, change_satiation, change_taste, choose

if TYPE_CHECKING:
    from .world import World


class Cohort(mesa.Agent):
    """People ``first .. last - 1`` of a world, lived as arrays.

    The arrays are views into the world's columns; a cohort only ever writes its own rows, so any
    number of cohorts, in any order, gives the same world.
    """

    def __init__(self, model: World, first: int, last: int) -> None:
        super().__init__(model)
        self.world = model
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
        world = self.world
        return choose(
            people,
            taste=world.taste[users],
            satiation=world.satiation[users],
            topics=world.topics,
            quality=world.quality,
            scale=world.taste_scale,
            items=items,
            users=users,
            step=world.t,
            key=world.luck,
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
        world = self.world
        topics = world.topics
        consumed = np.where(clicked[:, None] >= 0, topics[np.maximum(clicked, 0)], np.float32(0))
        slots = np.maximum((items >= 0).sum(axis=1, keepdims=True), 1)
        shown = np.where(items[..., None] >= 0, topics[np.maximum(items, 0)], np.float32(0))
        mean_shown = (shown.sum(axis=1) / slots).astype(np.float32)  # (n, topics)
        world.taste[users] = change_taste(people, world.taste[users], consumed, mean_shown)
        everyone = np.zeros_like(world.satiation[self.rows])
        everyone[users - self.rows.start] = consumed
        world.satiation[self.rows] = change_satiation(people, world.satiation[self.rows], everyone)

"""What was consumed in the loop, in its order: what recommenders learn from beside the past."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions

Arrays = dict[str, NDArray[Any]]


class Clicks:
    """Consumptions call by call; the people of one call are distinct.

    Args:
        rated: whether to keep what people said of them.
    """

    def __init__(self, *, rated: bool = False) -> None:
        self.rated = rated
        self._user: list[NDArray[np.int32]] = []
        self._item: list[NDArray[np.int32]] = []
        self._step: list[NDArray[np.int64]] = []
        self._stars: list[NDArray[np.float32]] = []  # as long as the others, where rated

    def __len__(self) -> int:
        return sum(map(len, self._user))

    @property
    def calls(self) -> int:
        """How often something was added."""
        return len(self._user)

    def add(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        steps: NDArray[np.int64],
        stars: NDArray[np.float32] | None = None,
    ) -> None:
        """One consumption for each of these people.

        Args:
            users, items, steps: (n,).
            stars: (n,) what they say of it, NaN or None where nothing.
        """
        self._user.append(users)
        self._item.append(items)
        self._step.append(np.broadcast_to(steps, len(users)))
        if self.rated:
            unsaid = np.full(len(users), np.nan, np.float32)
            self._stars.append(unsaid if stars is None else stars.astype(np.float32))

    def after(
        self, past: Interactions, n_users: int, n_items: int, stars: NDArray[np.float32] | None
    ) -> Interactions:
        """The past and everything here, in time order.

        Args:
            past: before the loop; stars: what people said of it, where that is kept.
            n_users, n_items: sizes of the whole.
        """
        whole = Interactions(
            np.concatenate([past.user, *self._user]).astype(np.int32),
            np.concatenate([past.item, *self._item]).astype(np.int32),
            np.concatenate([past.step, *self._step]),
            n_users,
            n_items,
            timed=past.timed,
        )
        if stars is None:
            return whole
        return replace(whole, value=np.concatenate([stars, *self._stars]).astype(np.float32))

    def since(self, call: int) -> Arrays:
        """What was added from a call on: "user", "item", "turn" (the call, from 0), and "stars"
        where they are kept."""
        users, nobody = self._user[call:], np.empty(0, np.int32)
        told = {
            "user": np.concatenate([nobody, *users]),
            "item": np.concatenate([nobody, *self._item[call:]]),
            "turn": np.repeat(np.arange(len(users), dtype=np.int8), [len(u) for u in users]),
        }
        if self.rated:
            told["stars"] = np.concatenate([np.empty(0, np.float32), *self._stars[call:]])
        return told

    def state(self) -> Arrays:
        """Everything, for a checkpoint."""
        empty = np.empty(0, np.int64)
        held = {
            "user": np.concatenate([empty, *self._user]),
            "item": np.concatenate([empty, *self._item]),
            "step": np.concatenate([empty, *self._step]),
        }
        if self.rated:
            held["stars"] = np.concatenate([np.empty(0, np.float32), *self._stars])
        return held

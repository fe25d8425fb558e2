"""When a checkpoint is written: as asked, or as often as costs little beside the loop itself.

A checkpoint holds everything of an arm (people, lists being served, the recommender with its
optimiser, tallies, series); that of a large world is a hundred megabytes. What a stop loses is the
steps since the last one, never a part of the log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ...recommenders.unfinished import UnfinishedFit
from .store import Store

CHEAP_SECONDS = 1.0
"""A checkpoint that takes less is always written."""

SHARE = 0.1
"""Of the time lived so far, that dearer checkpoints may take all together."""

LONG_FIT_SECONDS = 20.0
"""A first fit that takes longer is kept while it is under way; a shorter one begins anew."""


def unfinished_in(store: Store, name: str) -> UnfinishedFit:
    """A fit under way, kept in a store under a name."""
    return UnfinishedFit(
        lambda: store.arrays(name) if store.exists(name) else None,
        lambda state: store.put_arrays(name, state),
        after_seconds=LONG_FIT_SECONDS,
    )


class CheckpointClock:
    """Says at the end of each part of the log whether a checkpoint is due.

    Which checkpoints there were depends on the machine; what a run ends with does not.

    Args:
        every: steps between checkpoints, kept at the first end of a part after them; 0 for every
            part, unless checkpoints so far took over a second each and a tenth of the time.

    Attributes:
        last: the step of the last checkpoint.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.last = 0
        self._began = time.monotonic()
        self._spent = 0.0
        self._n = 0

    def due(self, t: int) -> bool:
        """Whether to write one after ``t`` steps."""
        if self.every:
            return t - self.last >= self.every
        cheap = self._spent <= CHEAP_SECONDS * self._n
        return cheap or self._spent <= SHARE * (time.monotonic() - self._began)

    @contextmanager
    def saving(self, t: int) -> Iterator[None]:
        """Around the writing of the one after ``t`` steps."""
        start = time.monotonic()
        yield
        self._spent += time.monotonic() - start
        self._n, self.last = self._n + 1, t

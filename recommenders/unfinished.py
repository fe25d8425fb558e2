"""A fit under way, kept as its epochs end, so that one that was stopped goes on from there.

Whoever wants a long fit to survive sets ``recommender.unfinished`` around it (kept_fits.py does). A
model that trains in epochs tells it what it has learnt and where its luck stands, and hears that
again when the same fit begins anew; it then ends with the same bytes as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, process_time
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .border import State

_RARELY = 50.0
"""So many times as long as keeping took, nothing is kept again: it costs at most 2 % of a fit."""


@dataclass(frozen=True)
class Reached:
    """Where a training stood.

    Attributes:
        epochs: how many were done.
        luck: (bytes,) uint8 the state of its generator after them.
        learnt: what the model knew when the fit was stopped.
    """

    epochs: int
    luck: NDArray[np.uint8]
    learnt: State


class UnfinishedFit:
    """A fit is one training or several, one after the other, each of some epochs.

    Args:
        read: what was kept of the same fit when it was stopped, or None; called once.
        write: keeps it, whole or not at all.
        after_seconds: how long a fit must take before it is kept at all.
    """

    def __init__(
        self,
        read: Callable[[], State | None],
        write: Callable[[State], None],
        *,
        after_seconds: float = 0.0,
    ) -> None:
        self._write = write
        kept = read() or {}
        self._before = float(kept.pop("seconds", np.zeros(())))  # CPU seconds
        self._done = [int(epochs) for epochs in kept.pop("epochs", np.zeros(0))]
        self._luck = [kept.pop(f"luck/{n}").astype(np.uint8) for n in range(len(self._done))]
        self._learnt = {name.removeprefix("learnt/"): array for name, array in kept.items()}
        self._begun = 0
        self._started = process_time()
        self._not_before = monotonic() + after_seconds

    @property
    def seconds(self) -> float:
        """CPU seconds of the fit so far, those before it was stopped among them."""
        return self._before + process_time() - self._started

    def begin(self, luck: NDArray[np.uint8]) -> Reached | None:
        """A training begins: where it stood when the fit was stopped, None if it had not begun.

        Args:
            luck: the state of its generator as it begins.
        """
        at, self._begun = self._begun, self._begun + 1
        if at < len(self._done):
            return Reached(self._done[at], self._luck[at], self._learnt)
        self._done.append(0)
        self._luck.append(luck)
        return None

    def note(
        self, epochs: int, of: int, luck: NDArray[np.uint8], learnt: Callable[[], State]
    ) -> None:
        """An epoch of the training that began last has ended.

        Args:
            epochs: how many are done; of: how many it has. After its last one nothing is kept yet:
                a fit is about to be whole, or the next training to begin.
            luck: the state of its generator.
            learnt: gives what the model knows.
        """
        at = self._begun - 1
        self._done[at:], self._luck[at:] = [epochs], [luck]
        started = monotonic()
        if epochs == of or started < self._not_before:
            return
        state: State = {
            "seconds": np.array(self.seconds),
            "epochs": np.array(self._done),
            **{f"luck/{n}": bytes_ for n, bytes_ in enumerate(self._luck)},
            **{f"learnt/{name}": array for name, array in learnt().items()},
        }
        self._write(state)
        now = monotonic()
        self._not_before = now + _RARELY * (now - started)


@runtime_checkable
class GoesOn(Protocol):
    """A recommender whose fit can go on where it was stopped."""

    unfinished: UnfinishedFit | None


@contextmanager
def kept_under_way(recommender: object, fit: UnfinishedFit | None) -> Iterator[None]:
    """Within it, a fit of this recommender is kept as ``fit`` says, if it can go on with one."""
    if fit is None or not isinstance(recommender, GoesOn):
        yield
        return
    recommender.unfinished = fit
    try:
        yield
    finally:
        recommender.unfinished = None

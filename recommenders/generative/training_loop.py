"""How networks are trained: epochs of batches in random order, a falling rate, mean losses.

A model writes its loop with these parts, so that a network is read beside what it is trained on:

    for epoch in self._epochs(n_epochs, luck, progress, rate=falling(learning_rate)):
        for rows in epoch.shuffled(len(x), self.batch_size, luck):
            epoch.step(self.adam, self._loss(x[rows], luck), weight=len(rows))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..border import Progress, State
from ..unfinished import UnfinishedFit
from .networks import dump, luck_state, restore, set_luck

Batch = TypeVar("Batch")
Rate = Callable[[float], float]
"""The learning rate when so large a share of a training is done."""
Learner = tuple[nn.Module, torch.optim.Optimizer]
"""A network, and what trains it."""


def falling(learning_rate: float, warm_up: float = 0.0) -> Rate:
    """A rate that falls linearly to 0, after rising from 0 over the first ``warm_up`` share."""

    def rate(done: float) -> float:
        rising = (done + 1e-3) / warm_up if warm_up > 0 else 1.0
        return learning_rate * min(1.0, rising) * (1.0 - done)

    return rate


def random_batches(n: int, size: int, luck: torch.Generator) -> list[NDArray[np.int64]]:
    """The rows 0 ... n - 1 in random order, ``size`` at a time; the last batch may be shorter."""
    order = torch.randperm(n, generator=luck).numpy()
    return [order[at : at + size] for at in range(0, n, size)]


class Epoch:
    """One pass over what there is to learn.

    Args:
        number: of the pass, from 0; of: how many there are.
        rate: of learning; without one, that of the optimizer stays.

    Attributes:
        done: the share of the whole training that came before the batch at hand.
        through: the share that is done with it.
    """

    def __init__(self, number: int, of: int, rate: Rate | None = None) -> None:
        self.number = number
        self.of = of
        self.done = self.through = number / of
        self._rate = rate
        self._total, self._count = 0.0, 0

    @property
    def loss(self) -> float:
        """The mean loss so far, by weight; 0 where nothing was learnt."""
        return self._total / max(1, self._count)

    def batches(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """One after the other; each counts for as much of the epoch."""
        for number, batch in enumerate(batches):
            self._reach(number / len(batches), (number + 1) / len(batches))
            yield batch

    def shuffled(self, n: int, size: int, luck: torch.Generator) -> Iterator[NDArray[np.int64]]:
        """:func:`random_batches` of n rows; a short one counts for less of the epoch."""
        for number, rows in enumerate(random_batches(n, size, luck)):
            self._reach(number * size / n, (number * size + len(rows)) / n)
            yield rows

    def _reach(self, before: float, after: float) -> None:
        self.done = (self.number + before) / self.of
        self.through = (self.number + after) / self.of

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        loss: Tensor,
        *,
        weight: int = 1,
        scale: float = 1.0,
        clip: float | None = None,
    ) -> None:
        """Goes one step down a loss.

        Args:
            optimizer: takes the step, at the rate of the moment.
            loss: mean over a batch.
            weight: of the batch in the mean loss of the epoch: how much it is a mean over.
            scale: of its gradient.
            clip: the longest gradient let through; longer ones are cut to this length.
        """
        if self._rate is not None:
            optimizer.param_groups[0]["lr"] = self._rate(self.done)
        optimizer.zero_grad()
        (loss * scale).backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], clip)
        optimizer.step()
        self._total += float(loss.detach()) * weight
        self._count += weight


def passes(
    n: int,
    losses: list[float],
    progress: Progress | None = None,
    *,
    rate: Rate | None = None,
    done: int = 0,
    after: Callable[[int], None] | None = None,
) -> Iterator[Epoch]:
    """Passes number ``done`` to n; then the mean loss of each is added to ``losses``, ``after`` is
    called with how many are done, and ``progress`` hears of it."""
    for number in range(done, n):
        epoch = Epoch(number, n, rate)
        yield epoch
        losses.append(epoch.loss)
        if after is not None:
            after(number + 1)
        if progress is not None:
            progress(number + 1, n, losses[-1])


class TrainsInEpochs:
    """Base of models that are trained in epochs: their losses, and the memory of what is trained.

    Attributes:
        losses: mean loss of each epoch since the last fit, updates included.
        network, adam: what is trained, and what trains it; a model of several networks says so in
            :meth:`_learners`.
        unfinished: where a fit is kept while it is under way, set around a fit by who wants that.
    """

    losses: list[float]
    network: nn.Module
    adam: torch.optim.Optimizer
    unfinished: UnfinishedFit | None = None

    def _learners(self) -> dict[str, Learner]:
        """What is trained, by what its names in the state begin with."""
        return {"": (self.network, self.adam)}

    def _epochs(
        self,
        n: int,
        luck: torch.Generator | np.random.Generator,
        progress: Progress | None = None,
        *,
        rate: Rate | None = None,
        heard: bool = True,
    ) -> Iterator[Epoch]:
        """A training of n epochs, from where it stood if the fit was stopped in it.

        Args:
            luck: all that the epochs draw from.
            progress: hears of each; rate: of learning.
            heard: whether the losses are kept.
        """
        fit, done = self.unfinished, 0
        reached = None if fit is None else fit.begin(luck_state(luck))
        if reached is not None:
            done = reached.epochs
            set_luck(luck, reached.luck)
            self._go_on(reached.learnt)

        def keep(epochs: int) -> None:
            if fit is not None:
                fit.note(epochs, n, luck_state(luck), self._under_way)

        losses = self.losses if heard else []
        return passes(n, losses, progress, rate=rate, done=done, after=keep)

    def _learnt(self) -> State:
        """The losses, all weights, and Adam's moments, so that training continues exactly."""
        state: State = {"losses": np.array(self.losses, dtype=np.float64)}
        for prefix, (network, optimizer) in self._learners().items():
            state |= dump(network, optimizer, prefix=prefix)
        return state

    def _recall(self, state: State) -> None:
        """The inverse of :meth:`_learnt`, into networks of the same shape."""
        self.losses = state["losses"].tolist()
        for prefix, (network, optimizer) in self._learners().items():
            restore(network, optimizer, state, prefix=prefix)

    def _under_way(self) -> State:
        """What a training knows between two epochs: more than is learnt, where epochs share it."""
        return self._learnt()

    def _go_on(self, state: State) -> None:
        """The inverse of :meth:`_under_way`."""
        self._recall(state)


class OfItems(TrainsInEpochs, ABC):
    """Base of those whose networks are shaped by the number of items alone."""

    n_items: int

    @abstractmethod
    def _build(self, n_items: int, seed: int) -> None:
        """Fresh networks for so many items, and no losses."""

    def state(self) -> State:
        """Weights, Adam's moments, so that updates continue exactly, and the losses so far."""
        return {"n_items": np.array(self.n_items), **self._learnt()}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self._build(int(state["n_items"]), 0)
        self._recall(state)

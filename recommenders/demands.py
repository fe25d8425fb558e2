"""What the tests of the contract ask and demand: raw answers, saved states, a word when broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .border import Capabilities, Requests, Slates, State


def demand(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds (also under ``-O``)."""
    if not condition:
        raise AssertionError(message)


class ListsOnly:
    """A recommender without its scores, so that the guard asks it for lists."""

    def __init__(self, recommender: Any) -> None:
        self.name = recommender.name
        self.capabilities = replace(recommender.capabilities, scores="none")
        self.recommend: Callable[[Requests], Slates] = recommender.recommend


def declared(recommender: Any) -> Capabilities:
    """What it says it can do; the plainest where it says nothing."""
    says = recommender.capabilities
    return says if isinstance(says, Capabilities) else Capabilities()


def ask(recommender: Any, requests: Requests) -> Slates:
    """The raw answer, in batches no larger than it can take."""
    size = declared(recommender).max_batch or len(requests)
    parts: list[NDArray[np.integer]] = []
    named: tuple[tuple[str, ...], ...] = ()
    for at in range(0, len(requests), size):
        part = recommender.recommend(requests.take(np.arange(at, min(at + size, len(requests)))))
        demand(isinstance(part, Slates), f"recommend must return Slates, got {type(part).__name__}")
        items = np.asarray(part.items)
        shaped = items.ndim == 2 and items.dtype.kind in "iu"
        demand(shaped, f"items must be whole numbers (n, k), got {items.dtype} {items.shape}")
        parts.append(items)
        named += part.raw_names or ((),) * len(items)
    widest = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, 0), (0, widest - part.shape[1])), constant_values=-1) for part in parts
    ]
    return Slates(np.concatenate(padded), raw_names=tuple(named))


def rows_of(slates: Slates, rows: Any) -> Slates:
    """Items and scores of the chosen rows."""
    return Slates(slates.items[rows], None if slates.scores is None else slates.scores[rows])


def arrays_of(record: object) -> list[NDArray[np.generic]]:
    """The arrays that a log, a catalog or a batch is made of."""
    return [value for value in vars(record).values() if isinstance(value, np.ndarray)]


def saved_and_loaded(state: State) -> State:
    """The state after a trip through a file, without pickle."""
    for name, array in state.items():
        plain = isinstance(array, np.ndarray) and array.dtype.kind != "O"
        demand(plain, f"state {name!r} must be an array of numbers or texts, got {array!r:.60}")
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def demand_equal_states(one: State, two: State, when: str) -> None:
    """Raise AssertionError unless two states hold the same bytes under the same names."""
    demand(one.keys() == two.keys(), f"{when}: states have other names, {one.keys() ^ two.keys()}")
    for name in one:
        same = np.asarray(one[name]).tobytes() == np.asarray(two[name]).tobytes()
        demand(same, f"{when}: array {name!r} of the state differs")

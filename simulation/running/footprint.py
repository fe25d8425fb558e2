"""How much memory a person takes while a world is lived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..world import World

_OF_ITEMS = ("topics", "features", "quality", "awareness", "percentile", "exposure")


@dataclass(frozen=True)
class Footprint:
    """Bytes a person, of one world under one arm.

    Attributes:
        state: tastes now and at the start, satiation, recent consumption, tallies and traits.
        lists: what the platform serves from between refreshes.
        history: what a person consumed, before the loop and in it; grows with consumption.
    """

    state: float
    lists: float
    history: float


def footprint(world: World) -> Footprint:
    """What a world holds of its people; the recommender's own memory and the log are not in it."""
    n = len(world.columns.taste)
    kept = world.measures.keep() if world.engine.name == "compiled" else ()
    state = [
        *_rows(vars(world.columns), n),
        *_rows(world.columns.traits, n),
        *_rows(vars(world.measures), n),
        *kept,
    ]
    platform = world.platform
    lists = vars(platform.lists) if hasattr(platform, "lists") else {}
    numbers = lists.get("numbers", {})
    past = platform.history.past
    history = [*_rows(vars(platform.history), n), past.values, past.offsets]
    return Footprint(
        *(
            sum(one.nbytes for one in {id(part): part for part in parts}.values()) / n
            for parts in (state, [*_rows(lists, n), *_rows(numbers, n)], history)
        )
    )


def _rows(named: Mapping[str, Any], n: int) -> Iterator[NDArray[Any]]:
    """The arrays with one row a person."""
    for name, value in named.items():
        if isinstance(value, np.ndarray) and value.shape[:1] == (n,) and name not in _OF_ITEMS:
            yield value

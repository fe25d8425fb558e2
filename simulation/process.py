"""What else happens in a world: society, staying and leaving, supply, attacks.

A process is a Mesa agent of the world that acts before people are served (arrivals, new items,
injections) and after they chose (talk, creators' answers, churn). Its memory is named arrays, so a
checkpoint holds it without pickle; its series stand beside the world's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..recommenders.border import Slates
    from .platform.shown import Shown
    from .study import Study
    from .world import World

Arrays = dict[str, NDArray[Any]]


class Process(Protocol):
    """One thing that happens in every step besides serving and choosing."""

    key: str
    """Unique in a world; prefixes its arrays in a checkpoint."""

    def before(self, world: World) -> None:
        """At the start of a step, before it is known who is active."""
        ...

    def after(self, world: World, shown: Shown) -> None:
        """After people chose and changed, before the platform learns."""
        ...

    def series(self) -> Mapping[str, float]:
        """Per-step measures it adds, the same names in every step, NaN where undefined."""
        ...

    def state(self) -> Arrays:
        """Its memory."""
        ...

    def load_state(self, state: Arrays) -> None:
        """Its memory back."""
        ...


@runtime_checkable
class Interposes(Protocol):
    """A process that puts items into slates between the platform and the people."""

    def serve(
        self, world: World, users: NDArray[np.int32], slates: Slates
    ) -> tuple[Slates, NDArray[np.bool_]]:
        """The slates as people see them, and (n, k) which slots are not the platform's."""
        ...


@dataclass(frozen=True)
class Happened:
    """What a step did with the items, whoever did it.

    Attributes:
        taken: (takings,) int32 items, in the order of people and of slots.
        seen: (items,) how often each was shown.
    """

    taken: NDArray[np.int32]
    seen: NDArray[np.int64]

    @classmethod
    def of(cls, shown: Shown, n_items: int) -> Happened:
        """From what a step showed."""
        seen = np.bincount(shown.items[shown.items >= 0], minlength=n_items)
        return cls(shown.items[shown.feedback.taken], seen)


@runtime_checkable
class Supplies(Protocol):
    """A process that changes the catalog, and needs to know of people only what they did to items.

    So where people live in shards, it lives with their driver.
    """

    def before(self, world: World) -> None:
        """Items enter, leave and age."""
        ...

    def answer(self, world: World, happened: Happened) -> None:
        """Its answer to what people did."""
        ...


def processes(study: Study, world: World) -> tuple[Process, ...]:
    """The processes a study asks for, in the order in which they act."""
    found: list[Process] = []
    if study.staying is not None:
        from .society.staying import Staying

        found.append(Staying(world, study.staying))
    if study.society is not None:
        from .society.social import Society

        found.append(Society(world, study.society))
    if study.supply is not None:
        from .supply.creators import Creators

        found.append(Creators(world, study.supply))
    if study.generators is not None:
        from .supply.generators import Generators

        found.append(Generators(world, study.generators))
    if study.adversaries:
        from .supply.adversary import Adversary

        found.extend(Adversary(world, one) for one in study.adversaries)
    return tuple(found)


def series_of(several: tuple[Process, ...]) -> dict[str, float]:
    """All their measures of the step just lived."""
    found: dict[str, float] = {}
    for one in several:
        found.update({name: float(np.float64(value)) for name, value in one.series().items()})
    return found


def as_seen(
    several: tuple[Process, ...], world: World, users: NDArray[np.int32], slates: Slates
) -> tuple[Slates, NDArray[np.bool_] | None]:
    """The platform's slates as people see them, and which slots friends filled; None: none."""
    from_friends = None
    for one in several:
        if isinstance(one, Interposes):
            slates, placed = one.serve(world, users, slates)
            from_friends = placed if from_friends is None else from_friends | placed
    return slates, from_friends

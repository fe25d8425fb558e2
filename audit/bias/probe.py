"""Asking a recommender about everybody in a world, at the moment before the loop starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import Requests
from ...recommenders.randomness import generator
from ...simulation.run import Run

MIN_GROUP = 20
"""Groups of fewer people are suppressed."""

MAX_USERS = 2000
"""People asked about per world; larger worlds are sampled."""


@dataclass(frozen=True)
class Groups:
    """People of the groups that are large enough to be compared.

    Attributes:
        users: (n,) indices of people with a label of a large enough group.
        labels: (n,) their labels.
        names: the groups compared, the reference first, then by name.
        suppressed: labels of groups below 20 people.
    """

    users: NDArray[np.int32]
    labels: NDArray[np.str_]
    names: tuple[str, ...]
    suppressed: tuple[str, ...]

    @property
    def majority(self) -> str:
        """The largest group of the run: the reference of signed contrasts, fixed by headcount."""
        return self.names[0]

    @property
    def in_majority(self) -> NDArray[np.bool_]:
        """(n,) who belongs to the largest group."""
        return np.asarray(self.labels == self.majority)


def majority(run: Run, attribute: str) -> str:
    """The largest group over all worlds together (ties by name), "" when nobody has a label.

    One reference for all worlds: in a near-even population the larger group differs from world
    to world, and contrasts of changing sign would cancel.
    """
    labels = [
        run.users(world)[attribute].to_numpy().astype(str)
        for world in range(run.worlds)
        if attribute in run.attributes(world)
    ]
    known = np.concatenate(labels) if labels else np.empty(0, dtype=str)
    found, counts = np.unique(known[known != ""], return_counts=True)
    return str(found[counts.argmax()]) if len(found) else ""


def groups(run: Run, world: int, attribute: str, reference: str, *, seed: int) -> Groups | str:
    """The groups of one attribute, or the reason why there is nothing to compare.

    Args:
        reference: the group that signed contrasts refer to, from :func:`majority`.
        seed: draws the people asked when there are more than ``MAX_USERS``.
    """
    if attribute not in run.attributes(world):
        known = ", ".join(run.attributes(world)) or "none"
        cure = f"; --column user.{attribute}=COLUMN reads one from a file"
        told = cure if run.study.world.kind == "dataset" else ""
        return f"people have no attribute {attribute!r} (known: {known}){told}"
    labels = run.users(world)[attribute].to_numpy().astype(str)
    users = np.flatnonzero(labels != "")
    if len(users) > MAX_USERS:
        chosen = generator(seed, "people", world).permutation(len(users))[:MAX_USERS]
        users = users[np.sort(chosen)]
    found, counts = np.unique(labels[users], return_counts=True)
    names = [str(name) for name, n in zip(found, counts, strict=True) if n >= MIN_GROUP]
    small = tuple(str(name) for name, n in zip(found, counts, strict=True) if n < MIN_GROUP)
    if len(names) < 2 or reference not in names:
        sizes = ", ".join(f"{name} {n}" for name, n in zip(found, counts, strict=True)) or "none"
        return (
            f"attribute {attribute!r} needs its largest group and another of at least {MIN_GROUP} "
            f"people in every world; world {world} has: {sizes}"
        )
    names.sort(key=lambda name: (name != reference, name))
    kept = users[np.isin(labels[users], names)].astype(np.int32)
    return Groups(kept, labels[kept], tuple(names), small)


def ask(
    run: Run, world: int, users: NDArray[np.int32], *, seed: int, k: int, **attributes: object
) -> Requests:
    """One request for each of these people with their history before the loop.

    Args:
        attributes: columns (one value a person) that replace what the world says about them.
    """
    people = run.users(world)
    columns: dict[str, NDArray[np.generic]] = {
        name: people[name].to_numpy().astype(str)[users] for name in run.attributes(world)
    }
    columns.update({name: np.asarray(value) for name, value in attributes.items()})
    past = run.history(world)
    return Requests(
        users=users,
        history=past.histories().take(users),
        k=k,
        seed=seed,
        attributes=columns,
        ago=past.ago(users, 0),
    )


def pseudo_values(statistic: Callable[[NDArray[np.float64]], float], n: int) -> NDArray[np.float64]:
    """(n,) jackknife pseudo-values (Tukey 1958), so that a smooth statistic of one world's people
    gets a t interval with the person as the unit.

    Args:
        statistic: takes (n,) weights (all 1, or one of them 0) and returns the statistic.
    """
    whole = statistic(np.ones(n))
    values = np.empty(n)
    for i in range(n):
        weights = np.ones(n)
        weights[i] = 0.0
        values[i] = n * whole - (n - 1) * statistic(weights)
    return values


ONE_WORLD = "only one world: the unit of this interval is the person, conditional on this one fit"

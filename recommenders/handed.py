"""What a recommender is handed: copies of its own, and of a log only what it says it can read."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from .border import Capabilities, LateColumns, Requests
from .interactions import Interactions, LateRagged

D = TypeVar("D")


def heard(log: Interactions, says: Capabilities, since: int = 0) -> tuple[Interactions, int]:
    """The log as a recommender may see it, and where in it begins what is new.

    Args:
        log: everything so far; since: the first row that is new.
        says: what it declares: "not interested" is for those that tell that from a click.
    """
    if log.kind is None or says.negatives:
        return log, since
    kept = log.positive()
    return replace(log.take(kept), kind=None), int(kept[:since].sum())


def own(data: D) -> D:
    """A copy whose arrays a recommender may write to without harming the world's."""
    arrays = {
        f.name: value.copy()
        for f in fields(data)  # type: ignore[arg-type]
        if isinstance(value := getattr(data, f.name), np.ndarray)
    }
    return replace(data, **arrays)  # type: ignore[type-var]


def own_requests(requests: Requests) -> Requests:
    """What late parts hold is put together anew, if they are looked at."""
    given, known = requests.history, requests.attributes
    history = given.anew() if isinstance(given, LateRagged) else own(given)
    attributes = (
        known.anew()
        if isinstance(known, LateColumns)
        else {name: column.copy() for name, column in known.items()}
    )
    return replace(
        requests,
        users=requests.users.copy(),
        history=history,
        attributes=attributes,
        unwanted=None if requests.unwanted is None else own(requests.unwanted),
    )

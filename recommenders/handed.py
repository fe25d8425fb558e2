"""What a recommender is handed: copies of its own, and of a log only what it says it can read."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from .border import Capabilities, LateColumns, Requests
from .interactions import Interactions, LateRagged, Ragged

D = TypeVar("D")


def heard(
    log: Interactions, says: Capabilities, since: int = 0, *, in_loop: bool = False
) -> tuple[Interactions, int]:
    """The log as a recommender may see it, and where in it begins what is new.

    Args:
        log: everything so far; since: the first row that is new.
        says: what it declares: "not interested" is for those that tell that from a click.
        in_loop: whether ratings are only for those that declare that they learn from them. Where
            people rate some things, these get the rated rows alone.
    """
    kept = np.ones(len(log), np.bool_)
    if log.kind is not None and not says.negatives:
        kept = log.positive()
    if in_loop and log.value is not None and says.ratings:
        kept = kept & (np.isfinite(log.value) | ~log.positive())
    if not kept.all():
        log, since = log.take(kept), int(kept[:since].sum())
    if not says.negatives:
        log = replace(log, kind=None)
    if in_loop and not says.ratings:
        log = replace(log, value=None)
    return log, since


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
    known = requests.attributes
    attributes = (
        known.anew()
        if isinstance(known, LateColumns)
        else {name: column.copy() for name, column in known.items()}
    )
    return replace(
        requests,
        users=requests.users.copy(),
        history=_own_rows(requests.history),
        attributes=attributes,
        unwanted=None if requests.unwanted is None else _own_rows(requests.unwanted),
        ago=None if requests.ago is None else _own_rows(requests.ago),
    )


def _own_rows(rows: Ragged) -> Ragged:
    return rows.anew() if isinstance(rows, LateRagged) else own(rows)

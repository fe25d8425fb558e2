"""Slates put together and rearranged: their numbers and their words move with their items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import NOTHING, Named, Slates

_NUMBERS = ("scores", "propensities")

Words = tuple[tuple[str | None, ...], ...]


def joined(parts: Sequence[Slates]) -> Slates:
    """The slates of several batches as one; what some say and others do not is NaN or None there.

    Left out is what only a call has: raw names, errors, latency, usage.
    """
    if len(parts) == 1:
        return parts[0]
    numbers: dict[str, NDArray[np.float32] | None] = {}
    for name in _NUMBERS:
        given = [getattr(part, name) for part in parts]
        unsaid = [np.full(part.items.shape, np.nan, np.float32) for part in parts]
        filled = [u if g is None else g for g, u in zip(given, unsaid, strict=True)]
        numbers[name] = None if all(g is None for g in given) else np.concatenate(filled)
    items = np.concatenate([part.items for part in parts])
    pages = any(part.structure == "page" for part in parts)
    return Slates(
        items,
        numbers["scores"],
        numbers["propensities"],
        structure="page" if pages else parts[0].structure,
        text=_chained(parts, "text", (None,) * items.shape[1]),
        slate_text=_chained(parts, "slate_text", None),
        named=_counted(parts),
    )


def dealt(n: int, k: int, parts: Sequence[tuple[NDArray[np.integer], Slates]]) -> Slates:
    """(n, k) slates of which each part fills some rows; the others hold nothing.

    Args:
        parts: rows of the whole, and the slates that stand there.
    """
    rows = [rows for rows, _ in parts]
    missing = np.setdiff1d(np.arange(n), np.concatenate([np.empty(0, np.int64), *rows]))
    empty = Slates(np.full((len(missing), k), NOTHING, np.int32))
    whole = joined([*(slates for _, slates in parts), empty])
    return _rows(whole, np.argsort(np.concatenate([*rows, missing]), kind="stable"))


def rearranged(slates: Slates, order: NDArray[np.integer]) -> Slates:
    """The same lists with their places in another order, (places,) or (n, places).

    Explanations move with their items, titles of rows stay where they are.
    """
    order = np.broadcast_to(order, slates.items.shape)
    scores, chances, text = slates.scores, slates.propensities, slates.text
    if text is not None and slates.structure != "page":
        text = as_words(np.take_along_axis(as_table(text, slates.items.shape), order, axis=1))
    return replace(
        slates,
        items=np.take_along_axis(slates.items, order, axis=1),
        scores=None if scores is None else np.take_along_axis(scores, order, axis=1),
        propensities=None if chances is None else np.take_along_axis(chances, order, axis=1),
        text=text,
    )


def first_slots(slates: Slates, k: int) -> Slates:
    """The first k slots of lists that may be longer, items and numbers only."""
    if slates.items.shape[1] <= k:
        return slates
    scores, chances = slates.scores, slates.propensities
    return Slates(
        slates.items[:, :k],
        None if scores is None else scores[:, :k],
        None if chances is None else chances[:, :k],
    )


def as_table(text: Words, shape: tuple[int, ...]) -> NDArray[np.object_]:
    """(n, k) the texts of slots as an array."""
    table = np.empty(shape, object)
    if table.size:
        table[:] = text
    return table


def as_words(table: NDArray[np.object_]) -> Words:
    """The inverse of :func:`as_table`."""
    return tuple(map(tuple, table.tolist()))


def _chained(parts: Sequence[Slates], name: str, missing: Any) -> Any:
    given = [getattr(part, name) for part in parts]
    if all(one is None for one in given):
        return None
    filled = ((missing,) * len(p) if g is None else g for g, p in zip(given, parts, strict=True))
    return tuple(chain.from_iterable(filled))


def _counted(parts: Sequence[Slates]) -> Named | None:
    if all(part.named is None for part in parts):
        return None
    zeros = [np.zeros(len(part), np.int32) for part in parts]
    each = [
        Named(z, z, ((),) * len(part)) if part.named is None else part.named
        for part, z in zip(parts, zeros, strict=True)
    ]
    return Named(
        np.concatenate([one.names for one in each]),
        np.concatenate([one.made_up for one in each]),
        tuple(chain.from_iterable(one.texts for one in each)),
    )


def _rows(slates: Slates, rows: NDArray[np.integer]) -> Slates:
    """The chosen rows, of what :func:`joined` keeps."""
    chosen = rows.tolist()
    text, said, named = slates.text, slates.slate_text, slates.named
    if named is not None:
        texts = tuple(map(named.texts.__getitem__, chosen))
        named = Named(named.names[rows], named.made_up[rows], texts)
    return Slates(
        slates.items[rows],
        None if slates.scores is None else slates.scores[rows],
        None if slates.propensities is None else slates.propensities[rows],
        structure=slates.structure,
        text=None if text is None else tuple(map(text.__getitem__, chosen)),
        slate_text=None if said is None else tuple(map(said.__getitem__, chosen)),
        named=named,
    )

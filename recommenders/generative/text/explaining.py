"""Sentences about why a title was said: one that was checked, and one that was made up.

The first kind names the title of the history that mattered most by the only test that cannot lie:
it is left out, and the title is said with less conviction. The second kind is written by the model
itself, from the recommended title alone; it looks the same, and is nothing but talk. Audits of
explanations need both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...interactions import Ragged

if TYPE_CHECKING:
    from .speaking import Speaker

EXPLAINED = 10
"""Slots of a slate that are explained: the rest of a longer list is a reserve."""

TRIED = 8
"""Titles of a history, the latest ones, that are left out in turn."""

Sentences = list[tuple[str | None, ...]]


def evidence(speaker: Speaker, history: Ragged, items: NDArray[np.int32]) -> Sentences:
    """Of each slot the title of the history without which it would have been least likely.

    evidence(x for i) = log p(i | history) - log p(i | history without x), as free text; None where
    no title of the latest TRIED makes the recommended one likelier.

    Args:
        history: n rows of items; items: (n, slots) what was recommended.
    """
    n, slots = items.shape
    known = (items >= 0) & (items < speaker.n_items)
    asked = np.repeat(np.where(known, items, 0), TRIED + 1, axis=0)
    log_p = speaker.log_p_of(without_each(history), asked).reshape(n, TRIED + 1, slots)
    gain = log_p[:, :1] - log_p[:, 1:]  # (n, tried, slots)
    gain[np.arange(TRIED) >= history.lengths[:, None]] = -np.inf
    told = known & (gain.max(axis=1) > 0.0)
    place = history.offsets[1:, None] - 1 - gain.argmax(axis=1)  # (n, slots), of the history
    named = (
        [
            [speaker.pieces.said(speaker.pieces.codes.row(item)) for item in row]
            for row in history.values[np.maximum(np.where(told, place, 0), 0)].tolist()
        ]
        if len(history.values)
        else [[""] * slots] * n
    )
    return [
        tuple(name if tell else None for name, tell in zip(row, tells, strict=True))
        for row, tells in zip(named, told.tolist(), strict=True)
    ]


def without_each(history: Ragged) -> Ragged:
    """n (TRIED + 1) rows: each history whole, then without its last item, its last but one, ..."""
    copies = history.take(np.repeat(np.arange(len(history)), TRIED + 1))
    from_end = copies.offsets[1:][copies.row_index] - np.arange(len(copies.values))  # 1 is the last
    kept = from_end != copies.row_index % (TRIED + 1)
    lengths = np.bincount(copies.row_index, kept, minlength=len(copies)).astype(np.int64)
    return Ragged(copies.values[kept], np.concatenate([[0], lengths.cumsum()]))


def own_words(speaker: Speaker, items: NDArray[np.int32]) -> Sentences:
    """Of each slot the title that the model says when it has read nothing but the one recommended.

    Args:
        items: (n, slots) what was recommended.
    """
    known = (items >= 0) & (items < speaker.n_items)
    said = iter(speaker.said_after(items[known]))
    return [tuple(next(said) if tell else None for tell in row) for row in known.tolist()]

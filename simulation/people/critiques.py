"""What people say of what they were shown: critiques in words, made from what they did alone.

A law of speech (``[people] says = "critiques"``) sees a step as the platform sees it: what was
shown, and what was taken, rated and rejected. It never sees a taste, so a recommender that reads
the words learns nothing that clicks, ratings and rejections do not hold; only the form is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...recommenders.catalog import Catalog
from ...recommenders.faults import plain
from ..platform.shown import Shown
from ..section import Section

NOTHING = -1

_LONGEST_NAME = 80
_GOOD, _BAD = 4, 2  # stars from which on, and up to which, something was liked or disliked


class Critiques(Section):
    """Critiques: people ask for more like what they liked, and for less of what they left.

    Of a visit they say ``More like "i", please.`` of the first item that they took (or, where they
    rate and gave 3 stars, ``"i" was all right.``; 2 or fewer, ``I did not like "i".``), ``Not "j",
    please.`` of the first that they rejected, and where they took and rejected nothing ``Nothing
    for me; less t, please.`` with the topic that most of what was shown was about,
    ``t = argmax_t sum_i topics_it``. Only recommenders that read the conversation (``dialogue`` in
    Capabilities.inputs) are told. People with ``persons = "chat"`` say in their own words why they
    chose as they did.

    Source: unit critiques and "more like this" of critiquing-based recommenders, Chen and Pu
    (2012), Critiquing-based recommenders: survey and emerging trends; the wording is LoopAudit's.
    """

    law: Literal["critiques"] = "critiques"
    turns: Annotated[int, Field(ge=1, le=50)] = Field(
        default=8, description="latest turns of a conversation that a recommender is told"
    )


@dataclass(frozen=True)
class Said:
    """What people say of a step, as numbers; :func:`in_words` makes text of one of them.

    Attributes:
        item: (n,) int32 the first item taken, -1 for none; stars: (n,) int8 for it, 0 for none.
        rejected: (n,) int32 the first item rejected, -1 for none.
        topic: (n,) int16 what most of what was shown is about, where nothing was taken or rejected;
            -1 where there is no such topic or something was.
    """

    item: NDArray[np.int32]
    stars: NDArray[np.int8]
    rejected: NDArray[np.int32]
    topic: NDArray[np.int16]


def critiques_of(shown: Shown, topics: NDArray[np.float32]) -> Said:
    """What the people of a step say, by what they did.

    Args:
        shown: items, and what people did with them; nothing else of it is looked at.
        topics: (items, topics) of the catalog.
    """
    told, rows = shown.feedback, np.arange(len(shown.users))
    item, place = _first(shown.items, told.taken)
    stars = np.zeros(len(rows), np.int8)
    if told.rating is not None:
        given = told.rating[rows, place]
        stars = np.where((item >= 0) & np.isfinite(given), given, 0).astype(np.int8)
    rejected = np.full(len(rows), NOTHING, np.int32)
    if told.rejected is not None:
        rejected, _ = _first(shown.items, told.rejected)
    mass = np.zeros((len(rows), topics.shape[1]), np.float32)
    for items in shown.items.T:  # slot by slot: no table of (people, slots, topics)
        mass += np.where(items[:, None] >= 0, topics[np.maximum(items, 0)], np.float32(0))
    silent = (item < 0) & (rejected < 0) & (shown.items >= 0).any(axis=1)
    topic = np.full(len(rows), NOTHING, np.int16)
    if mass.shape[1]:
        topic = np.where(silent & (mass.max(axis=1) > 0), mass.argmax(axis=1), NOTHING)
    return Said(item, stars, rejected, topic.astype(np.int16))


def in_words(catalog: Catalog, item: int, stars: int, rejected: int, topic: int) -> str:
    """One person's critique, see :class:`Critiques`; "Nothing for me." where there is no topic.

    Args:
        item, stars, rejected, topic: one row of :class:`Said`.
    """
    parts = []
    if item >= 0:
        title = _named(catalog.titles[item])
        if 0 < stars <= _BAD:
            parts.append(f"I did not like {title}.")
        elif 0 < stars < _GOOD:
            parts.append(f"{title} was all right.")
        else:
            parts.append(f"More like {title}, please.")
    if rejected >= 0:
        parts.append(f"Not {_named(catalog.titles[rejected])}, please.")
    if not parts:
        less = f"; less {_named(catalog.topic_names[topic])}, please" if topic >= 0 else ""
        parts.append(f"Nothing for me{less}.")
    return " ".join(parts)


def _first(
    items: NDArray[np.int32], flags: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(n,) the first flagged item of each row, -1 for none, and its place."""
    place = flags.argmax(axis=1)
    found = items[np.arange(len(items)), place]
    return np.where(flags.any(axis=1), found, NOTHING).astype(np.int32), place


def _named(title: str) -> str:
    line = plain(title)
    short = line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"
    return f'"{short}"'

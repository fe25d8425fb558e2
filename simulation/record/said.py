"""The record of what recommenders say: names that do not exist, titles of rows, explanations.

Harms of a recommender that generates are also in its words. Lists and visits hold indices, so the
words are kept beside them, in ``said/``: of everybody how many, of some people each one. Those
people are drawn by luck, the same in every arm, so that a million users do not leave gigabytes of
text; the longest texts are cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.border import NOTHING, Slates
from ...recommenders.randomness import stream, uniform
from ..platform.slates import as_table
from .tables import Schema

if TYPE_CHECKING:
    from ..platform.platform import Platform

MADE_UP, ROW_TITLE, EXPLANATION, REPLY = "made-up name", "row title", "explanation", "reply"

KINDS = {
    MADE_UP: "a name that it gave and no catalog has",
    ROW_TITLE: "what a row of a page is called",
    EXPLANATION: "why an item stands in a list",
    REPLY: "what was said with a whole list",
}
"""What can be said, and what each kind means."""

LONGEST = 500
"""Characters that are kept of a text."""

WHOLE = -1
"""The place of what is said of no single item."""

SAID: Schema = {
    "step": pl.Int32,
    "user": pl.Int32,
    "place": pl.Int16,
    "kind": pl.String,
    "text": pl.String,
}
"""One row a text; see Run.said."""

COUNTS: Schema = {
    "step": pl.Int32,
    "lists": pl.Int64,
    "names": pl.Int64,
    "made_up": pl.Int64,
    "lists_with_made_up": pl.Int64,
    "row_titles": pl.Int64,
    "explanations": pl.Int64,
    "replies": pl.Int64,
}
"""One row a step in which something was said; see Run.said_counts."""


class SaidLog:
    """Collects what was said in the steps of one part of the log of one arm.

    Args:
        people: of how many people of the world the texts are kept; 0 keeps nothing at all.
    """

    def __init__(self, people: int) -> None:
        self.people = people
        self._kept: NDArray[np.bool_] | None = None  # (users,) whose texts are kept
        self._texts: list[tuple[int, int, int, str, str]] = []
        self._counts: list[tuple[int, ...]] = []

    def add(self, step: int, platform: Platform) -> None:
        """Note what was said with the lists that a step brought.

        Args:
            step: of the loop; platform: which served it.
        """
        served = platform.served
        if self.people == 0 or served is None or silent(served.lists):
            return
        if self._kept is None:
            now = platform.columns
            self._kept = listeners(len(now.users), self.people, seed=now.seed)
        lists = served.lists
        titles, explanations = slots_said(lists)
        self._count(step, lists, titles, explanations)
        for row in np.flatnonzero(self._kept[served.asked]).tolist():
            user = int(served.asked[row])
            said = row_said(lists, row, titles, explanations)
            self._texts += [(step, user, place, kind, cut(text)) for place, kind, text in said]

    def _count(
        self,
        step: int,
        lists: Slates,
        titles: NDArray[np.bool_],
        explanations: NDArray[np.bool_],
    ) -> None:
        names = made_up = with_made_up = 0
        if lists.named is not None:
            names, made_up = int(lists.named.names.sum()), int(lists.named.made_up.sum())
            with_made_up = int((lists.named.made_up > 0).sum())
        replies = sum(map(bool, lists.slate_text or ()))
        said = int(titles.sum()), int(explanations.sum()), replies
        self._counts.append((step, len(lists), names, made_up, with_made_up, *said))

    def frames(self) -> dict[str, pl.DataFrame]:
        """The tables of the part that hold something, by what their file is called; the record is
        empty afterwards."""
        texts = pl.DataFrame(self._texts, SAID, orient="row")
        counts = pl.DataFrame(self._counts, COUNTS, orient="row")
        self._texts, self._counts = [], []
        return {
            what: rows
            for what, rows in (("part", texts), ("counts", counts))
            if not rows.is_empty()
        }


def silent(lists: Slates) -> bool:
    """Whether nothing was said with these lists, and no name was counted."""
    said = (lists.text, lists.slate_text, lists.named)
    return len(lists) == 0 or all(one is None for one in said)


def listeners(n_users: int, people: int, *, seed: int) -> NDArray[np.bool_]:
    """(users,) of whom it is kept what they were told: so many, drawn by luck.

    Args:
        seed: of the world, so that they are the same in every arm and in every shard.
    """
    luck = uniform(stream(seed, "said"), np.arange(n_users))
    kept = np.zeros(n_users, np.bool_)
    kept[np.argsort(luck, kind="stable")[:people]] = True
    return kept


def slots_said(lists: Slates) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n, k) which slots begin a row of a page with a title, and which hold an explanation.

    A title is said once, where its row begins: rows are runs of the same title.
    """
    nothing = np.zeros(lists.items.shape, np.bool_)
    if lists.text is None:
        return nothing, nothing
    table = as_table(lists.text, lists.items.shape)
    said = (table != None) & (table != "") & (lists.items != NOTHING)  # noqa: E711
    if lists.structure != "page":
        return nothing, said
    said[:, 1:] &= table[:, 1:] != table[:, :-1]
    return said, nothing


def row_said(
    lists: Slates, row: int, titles: NDArray[np.bool_], explanations: NDArray[np.bool_]
) -> Iterator[tuple[int, str, str]]:
    """(place, kind, text) of everything that was said to one person.

    Args:
        titles, explanations: from :func:`slots_said`.
    """
    if lists.named is not None:
        yield from ((WHOLE, MADE_UP, name) for name in lists.named.texts[row])
    if lists.text is not None:
        for kind, said in ((ROW_TITLE, titles), (EXPLANATION, explanations)):
            for place in np.flatnonzero(said[row]).tolist():
                yield place, kind, str(lists.text[row][place])
    if lists.slate_text is not None and lists.slate_text[row]:
        yield WHOLE, REPLY, str(lists.slate_text[row])


def cut(text: str) -> str:
    """A text as it can be written: at most LONGEST characters, what is no character replaced."""
    whole = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return whole.encode("utf-8", "replace").decode("utf-8")

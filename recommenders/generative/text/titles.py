"""Titles as sequences of word pieces, and the tree of all titles that exist.

Pieces begin as words; the pair that stands side by side most often is merged, again and again
(R. Sennrich, B. Haddow & A. Birch, "Neural Machine Translation of Rare Words with Subword Units",
ACL 2016, with words for characters), so that what people read often is said in few steps. The last
piece of each title holds its end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...interactions import Ragged

END = "\n"
"""Ends a title; no word can hold it."""

_MOST_WORDS = 24
"""Longer titles are cut, as are generated ones that do not end by themselves."""


def spelt(title: str) -> str:
    """A title as it is compared: words with one space between them, no more than are read."""
    return " ".join(title.split()[:_MOST_WORDS])


def names(titles: Sequence[str]) -> list[str]:
    """A different name for each item: its title, with a number where another has the same.

    >>> names(["Heat  (1995)", "Heat (1995)", ""])
    ['Heat (1995)', 'Heat (1995) #2', '']
    """
    found: dict[str, None] = {}
    for title in titles:
        name, n = spelt(title), 1
        while name in found:
            n += 1
            name = f"{spelt(title)} #{n}".strip()
        found[name] = None
    return list(found)


@dataclass(frozen=True)
class Pieces:
    """The vocabulary of a catalog, and each item's name in it.

    Attributes:
        texts: the pieces; those that end a title end with END.
        codes: a row an item: its pieces, the last of which ends.
    """

    texts: tuple[str, ...]
    codes: Ragged

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ends(self) -> NDArray[np.bool_]:
        """(pieces,) which end a title."""
        return np.array([text.endswith(END) for text in self.texts])

    def said(self, codes: Sequence[int] | NDArray[np.integer]) -> str:
        """The text of some pieces, spelt as :func:`spelt` does, without its end."""
        return spelt(" ".join(self.texts[code] for code in codes))

    def items(self) -> dict[str, int]:
        """The item that each name means: exact, as generated titles are looked up."""
        return {self.said(self.codes.row(item)): item for item in range(len(self.codes))}

    def of(self, histories: Ragged) -> Ragged:
        """Histories of items as histories of pieces, title after title."""
        spoken = self.codes.take(histories.values)
        return Ragged(spoken.values, spoken.offsets[histories.offsets])


def pieces_of(titles: Sequence[str], weight: NDArray[np.floating], merges: int) -> Pieces:
    """The pieces of a catalog.

    Args:
        titles: (items,).
        weight: (items,) how often each is read, above 0.
        merges: how many pairs to merge at most; ties go to what came first.
    """
    texts: dict[str, int] = {}
    rows = [
        [texts.setdefault(word, len(texts)) for word in (*name.split(), END)]
        for name in names(titles)
    ]
    said, count = list(texts), defaultdict[tuple[int, int], float](float)
    where: dict[tuple[int, int], set[int]] = defaultdict(set)

    def tally(item: int, sign: float) -> None:
        row = rows[item]
        for pair in pairwise(row):
            count[pair] += sign * float(weight[item])
            where[pair].add(item)

    for item in range(len(rows)):
        tally(item, 1.0)
    for _ in range(merges):
        best = max(count, key=lambda pair: (count[pair], -pair[0], -pair[1]), default=None)
        if best is None or count[best] <= 0:
            break
        said.append(f"{said[best[0]]} {said[best[1]]}")
        for item in sorted(where.pop(best)):
            tally(item, -1.0)
            rows[item] = _joined(rows[item], best, len(said) - 1)
            tally(item, 1.0)
        del count[best]
    used = np.unique(np.concatenate([np.array(row) for row in rows]))
    place = np.full(len(said), -1)
    place[used] = np.arange(len(used))
    codes = Ragged.from_lists([place[row].tolist() for row in rows])
    return Pieces(tuple(said[piece] for piece in used), codes)


def _joined(row: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """The row with each such pair, from the left, replaced by one piece."""
    out: list[int] = []
    for piece in row:
        if out and (out[-1], piece) == pair:
            out[-1] = new
        else:
            out.append(piece)
    return out


@dataclass(frozen=True)
class Level:
    """What may be said next after each shared beginning of one length.

    Attributes:
        token: (children,) the next piece; those of one beginning stand together.
        owner: (children,) whose: index of the beginning.
        first: (beginnings,) where each one's children begin.
        item: (children,) the item that is then certain, -1 where several are left.
        inner: children that several items share: the beginnings of the next level, in order.
    """

    token: NDArray[np.int64]
    owner: NDArray[np.int64]
    first: NDArray[np.int64]
    item: NDArray[np.int64]
    inner: NDArray[np.int64]


def levels_of(codes: Ragged) -> list[Level]:
    """The tree of all titles, cut off where one item is left.

    Args:
        codes: a row an item, none of which is the beginning of another.
    """
    n, depth = len(codes), int(codes.lengths.max())
    table = np.full((n, depth), -1, np.int64)
    table[codes.row_index, np.arange(len(codes.values)) - codes.offsets[codes.row_index]] = (
        codes.values
    )
    order = np.lexsort(table.T[::-1])
    table = table[order]
    found: list[Level] = []
    low, size = np.zeros(1, np.int64), np.array([n], np.int64)  # of each beginning, in ``order``
    while len(low):
        owner = np.repeat(np.arange(len(low)), size)  # of each row below a beginning
        row = np.arange(len(owner)) - np.repeat(size.cumsum() - size, size) + low[owner]
        token = table[row][:, len(found)]
        new = np.ones(len(row), np.bool_)
        new[1:] = (token[1:] != token[:-1]) | (owner[1:] != owner[:-1])
        start = np.flatnonzero(new)
        length = np.diff(np.append(start, len(row)))
        item = np.where(length == 1, order[row[start]], -1)
        inner = np.flatnonzero(length > 1)
        first = np.searchsorted(owner[start], np.arange(len(low)))
        found.append(Level(token[start], owner[start], first, item, inner))
        low, size = row[start[inner]], length[inner]
    return found

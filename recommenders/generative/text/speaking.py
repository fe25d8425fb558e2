"""What a trained language model of titles can say: about the catalog, freely, and of a text.

Everything is computed for ROWS histories at a time, the last ones empty, so that a person's answer
does not depend on the batch it travels in (see networks.ROWS).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ...border import Requests
from ...interactions import Ragged
from ..beams import beams
from ..sequences.windows import latest, windows
from .reading import Network, Reading
from .titles import Level, Pieces

ROWS = 32
"""Histories of one call of the network."""


@dataclass(frozen=True)
class Speaker:
    """A network with the vocabulary that it was trained in.

    Attributes:
        pieces: the vocabulary, and each item's name in it.
        levels: the tree of all names.
        network: which says pieces.
        length: pieces that it looks at; the last ``longest`` of them are kept for what it says.
    """

    pieces: Pieces
    levels: list[Level]
    network: Network
    length: int

    @property
    def longest(self) -> int:
        """Pieces of the longest title."""
        return max(int(self.pieces.codes.lengths.max()), 2)

    @property
    def n_items(self) -> int:
        """Titles that it knows."""
        return len(self.pieces.codes)

    def _read(self, text: Ragged) -> Reading:
        """At most ROWS histories of pieces, read; always ROWS of them, the last ones empty."""
        filled = Ragged(text.values, np.pad(text.offsets, (0, ROWS - len(text)), mode="edge"))
        tokens, last = latest(filled, self.length - self.longest, start=len(self.pieces))
        return Reading(
            self.network, torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(last)
        )

    @torch.no_grad()
    def log_p(self, text: Ragged) -> NDArray[np.float64]:
        """(rows, items) log probability that each title is said next, of those in the catalog.

        At each piece, what the network holds likely is shared out among the pieces with which some
        title goes on. Computed level by level of the tree, for all beginnings at once.

        Args:
            text: at most ROWS rows of pieces.
        """
        reading = self._read(text)
        out = np.empty((ROWS, self.n_items))
        before = np.zeros((ROWS, 1))  # log probability of each beginning
        for level in self.levels:
            token, owner = torch.from_numpy(level.token), torch.from_numpy(level.owner)
            towards = self.network.pieces[token]  # (children, size)
            logits = (reading.x[:, owner] * towards).sum(2) + self.network.bias[token]
            given = _within(logits.double().numpy(), level.owner, level.first)  # (ROWS, children)
            log_p = before[:, level.owner] + given
            sure = level.item >= 0
            out[:, level.item[sure]] = log_p[:, sure]
            if len(level.inner):
                said = token[level.inner].expand(ROWS, -1)
                reading.step(said, owner[level.inner].expand(ROWS, -1))
                before = log_p[:, level.inner]
        return out[: len(text)]

    @torch.no_grad()
    def titles(
        self,
        text: Ragged,
        n: int,
        *,
        temperature: float = 1.0,
        luck: tuple[Requests, str] | None = None,
    ) -> list[dict[str, float]]:
        """Of each of at most ROWS texts the titles said next without the catalog, with their log p.

        Args:
            text: rows of pieces; n: beams a row; a title that was spelt in two ways counts once.
            temperature, luck: see beams.py.
        """
        found = beams(
            self.network,
            self._read(text),
            self.pieces.ends,
            n=n,
            longest=self.longest,
            temperature=temperature,
            luck=luck,
        )
        said: list[dict[str, float]] = [{} for _ in range(len(text))]
        for row, way in np.argwhere(found.log_p[: len(text)] > -np.inf).tolist():
            codes, log_p = found.codes[row, way], float(found.log_p[row, way])
            title = self.pieces.said(codes[codes >= 0])
            said[row][title] = float(np.logaddexp(log_p, said[row].get(title, -np.inf)))
        return said

    @torch.no_grad()
    def log_p_of(self, histories: Ragged, items: NDArray[np.int32]) -> NDArray[np.float64]:
        """(n, slots) log p of titles as free text after each history, their ends included.

        Args:
            histories: n rows of items; items: (n, slots).
        """
        text, codes = self.pieces.of(histories), self.pieces.codes
        lengths = codes.lengths[items]  # (n, slots)
        total = np.zeros(items.shape)
        for at in range(0, len(text), ROWS):
            rows = np.arange(at, min(at + ROWS, len(text)))
            reading = self._read(text.take(rows))
            asked, n_pieces = np.zeros((ROWS, items.shape[1]), np.int64), lengths[rows]
            asked[: len(rows)] = codes.offsets[items[rows]]
            parent = torch.zeros(asked.shape, dtype=torch.int64)
            for nth in range(int(n_pieces.max(initial=0))):
                place = np.minimum(asked + nth, len(codes.values) - 1)
                token = torch.from_numpy(codes.values[place].astype(np.int64))
                log_p = F.log_softmax(self.network.logits(reading.x), dim=2)
                log_p = log_p.expand(-1, token.shape[1], -1).gather(2, token[:, :, None])[:, :, 0]
                total[rows] += np.where(nth < n_pieces, log_p[: len(rows)].double().numpy(), 0.0)
                reading.step(token, parent)
                parent = torch.arange(token.shape[1]).expand(token.shape)
        return total

    def said_after(self, items: NDArray[np.int32]) -> list[str]:
        """What it says freely after each single title."""
        text = self.pieces.of(Ragged(items, np.arange(len(items) + 1)))
        said: list[str] = []
        for at in range(0, len(text), ROWS):
            part = text.take(np.arange(at, min(at + ROWS, len(text))))
            said += [next(iter(titles)) for titles in self.titles(part, 1)]
        return said

    @torch.no_grad()
    def log_likelihood(self, histories: Ragged) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """How well it foresees the text of whole histories; see TextLM.log_likelihood."""
        text = self.pieces.of(histories)
        whole, none = text.lengths, np.zeros(len(text), np.int64)
        tokens, targets = windows(text, whole, none, self.length, start=len(self.pieces))
        total = np.zeros(len(tokens))
        for at in range(0, len(tokens), ROWS):
            part = slice(at, at + ROWS)
            x = self.network(tokens[part], 0.0, None)  # (rows, length, size)
            log_p = F.log_softmax(self.network.logits(x), dim=2)
            asked = targets[part].clamp(min=0)[:, :, None]
            said = log_p.gather(2, asked)[:, :, 0] * (targets[part] >= 0)  # (rows, length)
            total[part] = said.double().sum(1).numpy()
        owner = np.repeat(np.arange(len(text)), -(-whole // self.length))
        sums = np.bincount(owner, total, minlength=len(text)).astype(np.float64)
        return sums, whole.astype(np.int64)


def _within(
    logits: NDArray[np.float64], owner: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(rows, children) log softmax among the children of each owner."""
    greatest = np.maximum.reduceat(logits, first, axis=1)  # (rows, owners)
    shifted = logits - greatest[:, owner]
    whole = np.add.reduceat(np.exp(shifted), first, axis=1)
    return np.asarray(shifted - np.log(whole)[:, owner])

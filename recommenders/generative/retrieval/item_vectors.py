"""Vectors that say what an item is about: from its words and topics, or from who took it.

Words are weighed by TF-IDF (K. Sparck Jones, J. Documentation 1972) and squeezed by a truncated
singular value decomposition, which is latent semantic analysis (S. Deerwester et al., JASIS 1990).
It needs no trained encoder and no download; a catalog that brings better vectors of its own
(``Catalog.vectors``) can use those instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...catalog import Catalog
from ...interactions import Interactions

_WORD = re.compile(r"\w+")
_EXTRA = 16  # directions tried beyond those wanted, so that those wanted are found well
_PASSES = 4  # over the matrix, each of which sharpens the directions


@dataclass(frozen=True)
class TextSpace:
    """A map from words and topics to vectors, learnt from one catalog, good for later items too.

    Attributes:
        words: (words,) the vocabulary, sorted: words that at least two items use.
        rarity: (words,) float32 inverse document frequency, ln((1 + items) / (1 + uses)) + 1.
        directions: (words + topics, dim) float32 orthonormal columns.
    """

    words: NDArray[np.str_]
    rarity: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, catalog: Catalog, dim: int, luck: np.random.Generator) -> TextSpace:
        """Learns the space; a catalog without shared words and topics gets one of 0 dimensions."""
        used = [sorted(set(words)) for words in _words(catalog, 0)]
        words, uses = np.unique([w for row in used for w in row] or [""], return_counts=True)
        shared = uses >= 2
        rarity = np.log((1 + len(catalog)) / (1 + uses[shared])) + 1.0
        bare = cls(words[shared], rarity.astype(np.float32), np.zeros((0, 0), np.float32))
        return cls(bare.words, bare.rarity, main_directions(bare._weights(catalog, 0), dim, luck))

    def vectors(self, catalog: Catalog, since: int = 0) -> NDArray[np.float32]:
        """(items from ``since`` on, dim) vectors; zero for an item of which nothing is known."""
        found = self._weights(catalog, since) @ self.directions
        return np.asarray(found, dtype=np.float32)

    def _weights(self, catalog: Catalog, since: int) -> sp.csr_matrix:
        """(items, words + topics) TF-IDF of the words beside the topics, each of length 1."""
        rows = _words(catalog, since)
        flat = np.array([word for row in rows for word in row], dtype=np.str_)
        row = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
        if len(self.words):
            place = np.minimum(np.searchsorted(self.words, flat), len(self.words) - 1)
            known = self.words[place] == flat
            place, row = place[known], row[known]
        else:
            place, row = np.zeros(0, np.int64), np.zeros(0, np.int64)
        shape = (len(rows), len(self.words))
        counts = sp.csr_matrix((np.ones(len(row), np.float32), (row, place)), shape=shape)
        counts.data = 1.0 + np.log(counts.data)
        parts = [_unit_rows(counts.multiply(self.rarity).tocsr())]
        parts.append(_unit_rows(sp.csr_matrix(catalog.topics[since:])))
        return sp.hstack(parts, format="csr")


def collaborative_vectors(
    log: Interactions, dim: int, luck: np.random.Generator
) -> NDArray[np.float32]:
    """(items, dim) vectors by which items lie close that the same people took.

    The columns of the person-item matrix, each of length 1 and projected to its main directions.
    """
    taken = _unit_rows(log.to_csr().T.tocsr())  # (items, people)
    return np.asarray(taken @ main_directions(taken, dim, luck), dtype=np.float32)


def main_directions(
    matrix: sp.csr_matrix, dim: int, luck: np.random.Generator
) -> NDArray[np.float32]:
    """(columns, at most dim) right singular vectors of the largest singular values.

    Randomised subspace iteration: N. Halko, P.-G. Martinsson & J. Tropp, SIAM Review 2011,
    algorithm 4.4; exact where the matrix has few rows or columns.
    """
    width = dim + _EXTRA
    if min(matrix.shape) <= width:
        _, size, right = np.linalg.svd(matrix.toarray().astype(np.float64), full_matrices=False)
    else:
        basis = np.linalg.qr(matrix @ luck.standard_normal((matrix.shape[1], width)))[0]
        for _ in range(_PASSES):
            basis = np.linalg.qr(matrix.T @ basis)[0]
            basis = np.linalg.qr(matrix @ basis)[0]  # (rows, width)
        _, size, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    real = size > 1e-6 * max(1.0, float(size.max(initial=0.0)))  # the rest is rounding
    return np.ascontiguousarray(right[real][:dim].T, dtype=np.float32)


def _words(catalog: Catalog, since: int) -> list[Sequence[str]]:
    """The words of each item's title and description, and the pairs of neighbours among them."""
    texts = catalog.titles if catalog.text is None else map(_joined, catalog.titles, catalog.text)
    rows: list[Sequence[str]] = []
    for text in list(texts)[since:]:
        words = _WORD.findall(text.lower())
        rows.append(words + [f"{a} {b}" for a, b in pairwise(words)])
    return rows


def _joined(title: str, text: str) -> str:
    return title if text == title else f"{title} {text}"


def _unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The rows at length 1; empty ones stay empty."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    return sp.diags(1.0 / np.where(length > 0, length, 1.0)).astype(np.float32) @ matrix

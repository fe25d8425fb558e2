"""Vectors that say what an item is about: from its words and topics, or from who took it.

TF-IDF weights squeezed by a truncated singular value decomposition, which is latent semantic
analysis (S. Deerwester et al., JASIS 1990). It needs no trained encoder and no download; a catalog
that brings better vectors of its own (``Catalog.vectors``) can use those instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...catalog import Catalog
from ...interactions import Interactions
from ...item_words import WordWeights, words_of

_EXTRA = 16  # directions tried beyond those wanted, so that those wanted are found well
_PASSES = 4  # over the matrix, each of which sharpens the directions


@dataclass(frozen=True)
class TextSpace:
    """A map from words and topics to vectors, learnt from one catalog, good for later items too.

    Attributes:
        weights: of words, and of pairs of neighbours, that at least two items use.
        directions: (words + topics, dim) float32 orthonormal columns.
    """

    weights: WordWeights
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, catalog: Catalog, dim: int, luck: np.random.Generator) -> TextSpace:
        """Learns the space; a catalog without shared words and topics gets one of 0 dimensions."""
        weights = WordWeights.of(_words_and_pairs(catalog, 0), at_least=2)
        return cls(weights, main_directions(_weighted(weights, catalog, 0), dim, luck))

    def vectors(self, catalog: Catalog, since: int = 0) -> NDArray[np.float32]:
        """(items from ``since`` on, dim) vectors; zero for an item of which nothing is known."""
        found = _weighted(self.weights, catalog, since) @ self.directions
        return np.asarray(found, dtype=np.float32)


def _weighted(weights: WordWeights, catalog: Catalog, since: int) -> sp.csr_matrix:
    """(items, words + topics) TF-IDF of the words beside the topics, each of length 1."""
    words = weights.vectors(_words_and_pairs(catalog, since)).astype(np.float32)
    topics = _unit_rows(sp.csr_matrix(catalog.topics[since:]))
    return sp.hstack([words, topics], format="csr")


def _words_and_pairs(catalog: Catalog, since: int) -> list[list[str]]:
    rows = words_of(catalog, since=since)
    return [words + [f"{a} {b}" for a, b in pairwise(words)] for words in rows]


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

    Randomised subspace iteration: N. Halko, P.-G. Martinsson & J. Tropp, SIAM Review 2011.
    """
    from sklearn.utils.extmath import randomized_svd

    dim = min(dim, *matrix.shape)
    if dim == 0:
        return np.zeros((matrix.shape[1], 0), np.float32)
    _, size, right = randomized_svd(
        matrix,
        dim,
        n_oversamples=_EXTRA,
        n_iter=_PASSES,
        random_state=int(luck.integers(2**32)),
    )
    real = size > 1e-6 * max(1.0, float(size.max()))  # the rest is rounding
    return np.ascontiguousarray(right[real].T, dtype=np.float32)


def _unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The rows at length 1; empty ones stay empty."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    return sp.diags(1.0 / np.where(length > 0, length, 1.0)).astype(np.float32) @ matrix

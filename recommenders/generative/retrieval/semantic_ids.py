"""Semantic ids: a few code words an item, chosen so that alike items share the first of them.

Residual quantisation: the nearest of K centres names the first code, the nearest centre to what is
left over the second, and so on (Y. Chen et al., Sensors 2010; the ids of S. Rajput et al., TIGER,
NeurIPS 2023, arXiv 2305.05065, with k-means in place of the RQ-VAE of rqvae.py). Items that share
all codes are told apart by one more, a running number, as there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
"""(items, levels + 1) codes from 0; the last column tells items apart that share the others."""

_CELLS = 4_000_000  # distances computed at once

OUT_OF_REACH = np.float32(1e6)
"""Every coordinate of a centre that names nothing."""


def residual_kmeans(
    vectors: NDArray[np.float32], levels: int, codes: int, luck: np.random.Generator
) -> NDArray[np.float32]:
    """(levels, codes, dim) codebooks, each fitted to what the levels before it left over."""
    rest = vectors.astype(np.float32)
    books = []
    for _ in range(levels):
        books.append(kmeans(rest, codes, luck))
        rest = rest - books[-1][nearest(rest, books[-1])]
    return np.stack(books)


def kmeans(
    points: NDArray[np.float32], k: int, luck: np.random.Generator, *, iterations: int = 25
) -> NDArray[np.float32]:
    """(k, dim) centres by Lloyd's iterations from a k-means++ start (Arthur & Vassilvitskii 2007).

    A centre that no point is nearest to moves to the point that is farthest from its own centre,
    so that no code is dead while there are as many distinct points as codes. One that is dead in
    the end is put out of reach of later points too: nothing is known of its code.
    """
    centres = _spread(points, k, luck)
    for _ in range(iterations):
        code = nearest(points, centres)
        size = np.bincount(code, minlength=k)
        order = np.argsort(code, kind="stable")
        full = np.flatnonzero(size)
        starts = (size.cumsum() - size)[full]
        moved = centres.copy()
        moved[full] = np.add.reduceat(points[order], starts, axis=0) / size[full, None]
        empty = np.flatnonzero(size == 0)
        if len(empty):
            far = np.argsort(-((points - moved[code]) ** 2).sum(axis=1), kind="stable")
            moved[empty[: len(far)]] = points[far[: len(empty)]]
        if np.array_equal(moved, centres):
            break
        centres = moved
    centres[np.bincount(nearest(points, centres), minlength=k) == 0] = OUT_OF_REACH
    return centres


def _spread(points: NDArray[np.float32], k: int, luck: np.random.Generator) -> NDArray[np.float32]:
    """k points, each drawn with odds by its squared distance from those drawn before."""
    chosen = [int(luck.integers(len(points)))]
    gap = ((points - points[chosen[0]]) ** 2).sum(axis=1).astype(np.float64)
    while len(chosen) < k:
        total = gap.cumsum()
        if total[-1] <= 0:  # fewer distinct points than centres
            chosen.append(chosen[0])
            continue
        chosen.append(min(int(np.searchsorted(total, luck.random() * total[-1])), len(gap) - 1))
        gap = np.minimum(gap, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen].copy()


def nearest(points: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """(points,) index of the nearest centre; of equally near ones the first."""
    length = (centres**2).sum(axis=1)
    size = max(1, _CELLS // len(centres))
    found = [
        (length - 2.0 * (points[at : at + size] @ centres.T)).argmin(axis=1)
        for at in range(0, len(points), size)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def quantise(vectors: NDArray[np.float32], books: NDArray[np.float32]) -> NDArray[np.int64]:
    """(items, levels) codes of vectors under given codebooks, level by level."""
    rest = vectors.astype(np.float32)
    codes = np.empty((len(vectors), len(books)), np.int64)
    for level, book in enumerate(books):
        codes[:, level] = nearest(rest, book)
        rest = rest - book[codes[:, level]]
    return codes


def without_dead_codes(
    vectors: NDArray[np.float32], books: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The codebooks with codes that name none of the vectors out of reach of later ones."""
    codes, live = quantise(vectors, books), books.copy()
    for book, column in zip(live, codes.T, strict=True):
        book[np.bincount(column, minlength=len(book)) == 0] = OUT_OF_REACH
    return live


def told_apart(codes: NDArray[np.int64], given: Ids | None = None) -> Ids:
    """Ids of items: their codes, then a running number among those who share them.

    Args:
        codes: (items, levels) of the items in question.
        given: ids that exist already; they are left as they are and come first.
    """
    known = np.zeros((0, codes.shape[1]), np.int64) if given is None else given[:, :-1]
    both = np.concatenate([known, codes])
    _, group = np.unique(both, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    size = np.bincount(group.ravel())
    number = np.empty(len(both), np.int64)
    number[order] = np.arange(len(both)) - np.repeat(size.cumsum() - size, size)
    ids = np.column_stack([both, number])
    if given is not None:
        ids[: len(given)] = given
    return ids[len(known) :]


@dataclass(frozen=True)
class CodeUse:
    """How well ids use their codebooks: what collapses when a quantiser fails.

    Attributes:
        used: by level, how many codes name at least one item.
        perplexity: by level, exp of the entropy of code use: how many codes are used in effect;
            1 when one code names everything.
        colliding: share of items that need the running number, because others share their codes.
        largest: most items that share all codes.
    """

    used: tuple[int, ...]
    perplexity: tuple[float, ...]
    colliding: float
    largest: int


def code_use(ids: Ids) -> CodeUse:
    """Measures ids of at least one item."""
    used, perplexity = [], []
    for column in ids[:, :-1].T:
        share = np.bincount(column) / len(column)
        share = share[share > 0]
        used.append(len(share))
        perplexity.append(float(np.exp(-(share * np.log(share)).sum())))
    _, size = np.unique(ids[:, :-1], axis=0, return_counts=True)
    colliding = float(size[size > 1].sum() / len(ids))
    return CodeUse(tuple(used), tuple(perplexity), colliding, int(size.max()))

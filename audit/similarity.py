"""How alike two ranked lists are, and how unequal such likenesses are between groups.

Every function states its range and what identical lists score: a similarity without that floor
cannot be read (identical lists score .2738 on SERP-MS as FaiRLLM computes it at K = 20).
Lists are rows of item ids, best first, padded with -1; rows are independent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Lists = NDArray[np.integer]


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Lists, Lists]:
    first, second = np.atleast_2d(np.asarray(a)), np.atleast_2d(np.asarray(b))
    if len(first) != len(second):
        raise ValueError(f"as many lists on both sides needed, got {len(first)} and {len(second)}")
    return first, second


def _ranks(a: Lists, b: Lists) -> NDArray[np.float64]:
    """(n, k) position in ``b`` of each item of ``a``, from 0; inf where absent or padding."""
    same = (a[:, :, None] == b[:, None, :]) & (a >= 0)[:, :, None]  # (n, k_a, k_b)
    place: NDArray[np.float64] = same.argmax(axis=2).astype(np.float64)
    place[~same.any(axis=2)] = np.inf
    return place


def jaccard(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """(n,) items in both lists over items in either; order does not count.

    Range 0 (nothing shared) to 1 (the same items). NaN where both lists are empty.
    """
    first, second = _pair(a, b)
    both = np.isfinite(_ranks(first, second)).sum(axis=1)
    either = (first >= 0).sum(axis=1) + (second >= 0).sum(axis=1) - both
    value: NDArray[np.float64] = np.full(len(first), np.nan)
    np.divide(both, either, out=value, where=either > 0)
    return value


def serp_ms_faithful(neutral: ArrayLike, sensitive: ArrayLike) -> NDArray[np.float64]:
    """(n,) SERP-MS as the code of FaiRLLM computes it; use :func:`serp_ms` to read it.

    Sum over items shared of ``(K - i + 1) / (2 K (K + 1))`` with i the position in the sensitive
    list from 0. Range 0 to ``(K + 3) / (4 (K + 1))``: identical lists do not score 1.

    Source: Zhang et al. 2023, FaiRLLM (after Tomlein et al. 2021).
    """
    first, second = _pair(neutral, sensitive)
    k = second.shape[1]
    shared = np.isfinite(_ranks(second, first))
    weight = (k - np.arange(k) + 1) / (2 * k * (k + 1))
    value: NDArray[np.float64] = (shared * weight).sum(axis=1)
    return value


def serp_ms_ceiling(k: int) -> float:
    """What identical lists of length k score on :func:`serp_ms_faithful`: .2738 at k = 20."""
    return (k + 3) / (4 * (k + 1))


def serp_ms(neutral: ArrayLike, sensitive: ArrayLike) -> NDArray[np.float64]:
    """(n,) SERP-MS divided by what identical lists score: range 0 to 1, identical is 1."""
    first, second = _pair(neutral, sensitive)
    value: NDArray[np.float64] = serp_ms_faithful(first, second)
    value /= serp_ms_ceiling(second.shape[1])
    return value


def prag(neutral: ArrayLike, sensitive: ArrayLike) -> NDArray[np.float64]:
    """(n,) share of ordered pairs of the sensitive list that the neutral list orders the same way.

    A pair counts when its first item is in the neutral list, ahead of the second one or with the
    second one absent. Range 0 (reversed, or nothing shared) to 1 (identical). NaN for lists of
    fewer than two items.

    Source: PRAG* of Zhang et al. 2023, FaiRLLM (after Beutel et al. 2019).
    """
    first, second = _pair(neutral, sensitive)
    ranks = _ranks(second, first)  # (n, k)
    valid = second >= 0
    k = second.shape[1]
    earlier = np.triu(np.ones((k, k), dtype=bool), 1)[None]
    pairs = earlier & valid[:, :, None] & valid[:, None, :]
    kept = pairs & (ranks[:, :, None] < ranks[:, None, :])
    total = pairs.sum(axis=(1, 2))
    value: NDArray[np.float64] = np.full(len(second), np.nan)
    np.divide(kept.sum(axis=(1, 2)), total, out=value, where=total > 0)
    return value


def rank_biased_overlap(a: ArrayLike, b: ArrayLike, *, p: float = 0.9) -> NDArray[np.float64]:
    """(n,) extrapolated rank-biased overlap of full lists of one length.

    ``p^k X_k / k + (1 - p) / p * sum_d p^d X_d / d`` with X_d the items shared in the first d.
    Range 0 (disjoint) to 1 (identical); the top weighs most, the more so the smaller p.

    Args:
        a, b: (n, k) lists without repeats.
        p: persistence, 0 < p < 1.

    Source: Webber, Moffat & Zobel 2010, equation 32.
    """
    first, second = _pair(a, b)
    if not 0 < p < 1:
        raise ValueError(f"p must lie between 0 and 1, got {p}")
    k = min(first.shape[1], second.shape[1])
    ranks = _ranks(first[:, :k], second[:, :k])
    # an item is in both prefixes of length d once d exceeds both of its positions
    depth = np.maximum(ranks, np.arange(k)[None, :])
    d = np.arange(1, k + 1)
    shared = (depth[:, :, None] < d).sum(axis=1)  # (n, k)
    series = (p**d * shared / d).sum(axis=1)
    value: NDArray[np.float64] = p**k * shared[:, -1] / k + (1 - p) / p * series
    return value


def snsr(values: ArrayLike) -> float:
    """Largest minus smallest mean similarity over the values of an attribute (SNSR).

    It cannot be negative, so it is above 0 without any difference in treatment: read it beside
    :func:`snsr_floor`. Source: Zhang et al. 2023, FaiRLLM.
    """
    means = np.asarray(values, dtype=np.float64)
    return float(means.max() - means.min())


def snsv(values: ArrayLike) -> float:
    """Population standard deviation of the mean similarities over an attribute's values (SNSV).

    With two values it is exactly half of SNSR. Source: Zhang et al. 2023, FaiRLLM.
    """
    return float(np.asarray(values, dtype=np.float64).std())


def snsr_floor(
    n_values: int, prompts: int, spread: float, *, rng: np.random.Generator, draws: int = 4000
) -> float:
    """Mean SNSR when every value of the attribute is treated alike.

    Args:
        n_values: values of the attribute (2 to 8 in FaiRLLM).
        prompts: prompts behind each mean.
        spread: standard deviation of the similarity between prompts.
        rng: source of the simulated means.
        draws: simulated attributes.
    """
    means = rng.normal(0.0, spread / np.sqrt(prompts), (draws, n_values))
    return float(np.ptp(means, axis=1).mean())

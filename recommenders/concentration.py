"""How concentrated a distribution is: entropy, Gini, coverage, each with its universe named.

One word hides several formulas: the same lists have a Gini of .994 over the catalog and of 0 over
the items that were recommended at all. So the universe is an argument here, never a default.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


def entropy_bits(
    counts: ArrayLike, *, correction: Literal["none", "miller-madow"] = "none"
) -> NDArray[np.float64]:
    """Shannon entropy in bits of the distributions in the last axis.

    Range 0 (one category) to log2 of the number of categories; higher is more diverse. The
    plug-in entropy of n draws is too small by about ``(m - 1) / (2 n ln 2)`` with m categories
    seen; "miller-madow" adds that, and may then exceed the range by a little.

    Args:
        counts: (..., categories) counts, or weights when there is no correction.
        correction: "miller-madow" needs counts of independent draws.

    Returns:
        (...) bits; NaN where a distribution is empty.

    Source: Shannon 1948; Miller 1955.
    """
    x = np.asarray(counts, dtype=np.float64)
    total = x.sum(axis=-1, keepdims=True)
    share = np.divide(x, total, out=np.zeros_like(x), where=total > 0)
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    value = -(share * logs).sum(axis=-1)
    n = total[..., 0]
    if correction == "miller-madow":
        seen = (x > 0).sum(axis=-1)
        extra = np.divide(seen - 1, 2 * n * np.log(2), out=np.zeros_like(n), where=n > 0)
        value = value + extra
    return np.where(n > 0, np.abs(value), np.nan)


def effective_number(counts: ArrayLike) -> NDArray[np.float64]:
    """Two to the power of the entropy: how many equally used categories would look the same.

    Range 1 to the number of categories; NaN where a distribution is empty.
    """
    value: NDArray[np.float64] = np.exp2(entropy_bits(counts))
    return value


def gini(counts: ArrayLike, *, universe: Literal["catalog", "seen"]) -> float | None:
    """Gini coefficient of how often items occur: ``sum_j (2 j - N - 1) x_j / (N sum x)``.

    x is sorted ascending and j counts from 1. Range 0 (all alike) to ``(N - 1) / N`` (one item
    takes all); higher is more concentrated. LensKit and RecBole use this formula over the catalog;
    Evidently uses it over the items seen; Elliot returns ``1 - G`` with N - 1 for N.

    Args:
        counts: (items,) how often each item of the catalog occurs.
        universe: "catalog" counts items that never occur, "seen" leaves them out.

    Returns:
        The coefficient, or None when nothing occurs.
    """
    x = np.sort(np.asarray(counts, dtype=np.float64).ravel())
    if universe == "seen":
        x = x[x > 0]
    n, total = len(x), x.sum()
    if total <= 0:
        return None
    return float(((2 * np.arange(1, n + 1) - n - 1) * x).sum() / (n * total))


def coverage(counts: ArrayLike) -> float | None:
    """Share of the catalog that occurs at least once; None for an empty catalog."""
    x = np.asarray(counts).ravel()
    return float((x > 0).mean()) if len(x) else None

"""Luck that belongs to a person, not to an order of calls: counter-based random numbers.

Every draw is a pure function of (seed, purpose, coordinates), so the same person meets the same
luck in every arm, whatever the recommender, the number of workers or the blocks of users
(common random numbers). A stateful generator cannot do this, and Philox with ``advance`` only
does it for contiguous ranges, while choice noise must be keyed by the pairs (user, item) that a
slate happens to hold.

The mixer is the finaliser of SplitMix64 (Steele, Lea & Flood 2014, variant 13 of Stafford),
applied once per absorbed coordinate; tests check uniformity, independence and known values.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def stream(seed: int, purpose: str) -> np.uint64:
    """The 64-bit key of one purpose under one seed; different purposes are independent streams."""
    digest = hashlib.blake2b(f"{int(seed)}/{purpose}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def child_seed(seed: int, *labels: int | str) -> int:
    """A seed in [0, 2**63) derived from a parent seed and labels: ``child_seed(7, "world", 3)``."""
    text = "/".join([str(int(seed)), *[str(label) for label in labels]])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *labels: int | str) -> np.random.Generator:
    """A NumPy generator for whole-array draws whose order is fixed (fitting, bootstraps)."""
    return np.random.default_rng(child_seed(seed, *labels))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


def bits(key: np.uint64, *coordinates: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits for each broadcast combination of integer coordinates.

    Args:
        key: from :func:`stream`.
        coordinates: integers or integer arrays, negative allowed, broadcast together.
    """
    with np.errstate(over="ignore"):
        state = np.asarray(key, dtype=np.uint64)
        for coordinate in coordinates:
            part = np.asarray(coordinate).astype(np.int64).view(np.uint64)
            state = _mix(state + _GOLDEN * (part + np.uint64(1)))
    return np.asarray(state, dtype=np.uint64)


def uniform(key: np.uint64, *coordinates: ArrayLike) -> NDArray[np.float64]:
    """Uniform draws in the open interval (0, 1), 53 bits each, one per coordinate combination."""
    top = bits(key, *coordinates) >> np.uint64(11)
    return (top.astype(np.float64) + 0.5) * 2.0**-53


def gumbel(key: np.uint64, *coordinates: ArrayLike) -> NDArray[np.float64]:
    """Standard Gumbel draws: the noise that turns utilities into multinomial-logit choices."""
    return -np.log(-np.log(uniform(key, *coordinates)))

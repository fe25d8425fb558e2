"""Compiled loops that squeeze columns of integers for parquet.py: codes into a dictionary, as bits.

Numba is loaded with them, so only a log that is large enough pays for it (see parquet.worth_it).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.compiling import compiler

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: multiplicative hashing


_compiled = compiler()


@_compiled
def survey(values: NDArray[np.integer]) -> tuple[int, int, int, int]:
    """The smallest value, the largest one, how many runs of equal values there are, and how many
    values are larger than the one before."""
    low = high = values[0]
    runs, rises = 1, 0
    for i in range(1, len(values)):
        v, before = values[i], values[i - 1]
        low = min(low, v)
        high = max(high, v)
        runs += v != before
        rises += v > before
    return low, high, runs, rises


@_compiled
def run_starts(values: NDArray[np.integer], starts: NDArray[np.int64]) -> None:
    """Where each run of equal values begins, and where the last ends, filled into ``starts``."""
    starts[0] = 0
    n = 1
    for i in range(1, len(values)):
        if values[i] != values[i - 1]:
            starts[n] = i
            n += 1
    starts[n] = len(values)


@_compiled
def numbered(
    values: NDArray[np.integer],
    table: NDArray[np.int32],
    found: NDArray[np.integer],
    codes: NDArray[np.unsignedinteger],
) -> int:
    """Number the distinct values as they first appear; how many, or -1 if there is no room.

    Args:
        values: (n,); codes: (n,), filled in: the number of each value.
        table: -1 everywhere, as long as a power of two: where numbers are looked up by hash.
        found: filled in: the distinct values; there is room for half as many as in ``table``.
    """
    bits = np.uint64(64)
    size = len(table)
    while size > 1:
        size >>= 1
        bits -= np.uint64(1)
    last = len(table) - 1
    n = 0
    for i in range(len(values)):
        v = values[i]
        at = np.int64((np.uint64(v) * _SPREAD) >> bits)
        while table[at] >= 0 and found[table[at]] != v:
            at = (at + 1) & last
        if table[at] < 0:
            if n == len(found):
                return -1
            found[n] = v
            table[at] = n
            n += 1
        codes[i] = table[at]
    return n


@_compiled
def pack(values: NDArray[np.integer], low: int, width: int, words: NDArray[np.uint64]) -> None:
    """How far each value is above ``low``, in ``width`` bits one after the other, the first one
    lowest, filled into ``words``, which have one word more than that takes."""
    word, filled, at = np.uint64(0), 0, 0
    for i in range(len(values)):
        code = np.uint64(np.int64(values[i]) - np.int64(low))
        word |= code << np.uint64(filled)
        filled += width
        if filled >= 64:
            words[at] = word
            at += 1
            filled -= 64
            word = (code >> np.uint64(1)) >> np.uint64(width - filled - 1)
    words[at] = word
    words[at + 1 :] = np.uint64(0)


DELTA_BLOCK, DELTA_MINIBLOCK = 128, 32  # values; what readers must expect, Encodings.md


@_compiled
def pack_deltas(values: NDArray[np.int32], out: NDArray[np.uint8]) -> int:
    """Blocks of DELTA_BINARY_PACKED, without their header; how many bytes.

    A block is its least difference (zigzag, seven bits a byte), a byte for the width of each
    miniblock, and how far each difference is above the least in so many bits.

    Args:
        values: (n,), less than 2^30 apart.
        out: filled in; there is room for five bytes a value and 16 a block.
    """
    at, n = 0, len(values) - 1
    above = np.empty(DELTA_BLOCK, np.uint64)
    for begin in range(0, n, DELTA_BLOCK):
        m = min(DELTA_BLOCK, n - begin)
        least = most = values[begin + 1] - values[begin]
        for i in range(begin, begin + m):
            least = min(least, values[i + 1] - values[i])
            most = max(most, values[i + 1] - values[i])
        if most == least:
            above[:] = np.uint64(0)
        else:
            for i in range(begin, begin + m):
                above[i - begin] = np.uint64(values[i + 1] - values[i] - least)
            above[m:] = np.uint64(0)
        rest = np.uint64(2 * least if least >= 0 else -2 * least - 1)
        while rest > np.uint64(0x7F):
            out[at] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
            rest >>= np.uint64(7)
            at += 1
        out[at] = np.uint8(rest)
        widths = at + 1
        at = widths + DELTA_BLOCK // DELTA_MINIBLOCK
        for mini in range(DELTA_BLOCK // DELTA_MINIBLOCK):
            first = mini * DELTA_MINIBLOCK
            any_bit = np.uint64(0)
            for i in range(first, first + DELTA_MINIBLOCK):
                any_bit |= above[i]
            width = 0
            while any_bit:
                any_bit >>= np.uint64(1)
                width += 1
            out[widths + mini] = width
            if width == 0:  # as where everybody is there
                continue
            held, bits = np.uint64(0), 0
            for i in range(first, first + DELTA_MINIBLOCK):
                held |= above[i] << np.uint64(bits)
                bits += width
                while bits >= 8:
                    out[at] = np.uint8(held & np.uint64(0xFF))
                    held >>= np.uint64(8)
                    bits -= 8
                    at += 1
    return at

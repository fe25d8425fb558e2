"""The compiled step: a block of people chooses, changes and is counted in one pass over memory.

The composed path (cohort.py, choice.Logit, equations.py, measures.py) says what happens law by law,
as NumPy expressions; this kernel does the same for people who choose by the plain logit and change
by drift and satiation alone, several times faster, because a person's row is read and written once
instead of once a law. A test holds the two equal to rounding. Numba is loaded with it, and
above with nothing, so only a world that is lived pays; what it compiles is cached on disk.

Luck is that of recommenders/randomness.py, bit for bit. Logarithms are computed here, because a
call to the C library keeps a loop from being vectorised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.compiling import compiler
from .kernel_columns import (
    CLICK_MATCH,
    DRIFT,
    ENTROPY,
    ENTROPY_ROWS,
    EXPOSURE_DRIFT,
    MATCH,
    OUTSIDE,
    PERCENTILE,
    POSITION_BIAS,
    RECOVERY,
    SATIATION,
    SLOTS,
    TEMPERATURE,
)
from .kernel_columns import CONSTANTS as CONSTANTS
from .kernel_columns import Done as Done
from .kernel_columns import Items as Items
from .kernel_columns import Laws as Laws
from .kernel_columns import People as People

_FAST = {"contract", "reassoc", "nsz"}  # sums may be reordered; NaN and infinity keep their sense
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LN_2 = 0.6931471805599453
_SQRT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)
_SQRT_HALF_BITS_32 = np.int32(0x3F3504F3)
_LANES = 4  # of double precision in a vector of 256 bits
_RECENT = np.float32(0.9)  # measures.py says what it is
_DUST = np.float32(1e-30)
"""What faded below this is nothing: numbers near the smallest float slow a processor down."""

_compiled = compiler(fastmath=_FAST)
_inlined = compiler(inline=True, fastmath=_FAST)


@_inlined
def _ln(x: float) -> float:
    """Natural logarithm of a positive normal number, to the last bit or two.

    ``x = 2^e m`` with m within [sqrt(1/2), sqrt(2)), and ``ln m = 2 artanh s`` with
    ``s = (m - 1) / (m + 1)``, |s| < 0.172: eleven terms of the series reach 1e-17.
    """
    bits = np.float64(x).view(np.int64)
    e = (bits - _SQRT_HALF_BITS) >> np.int64(52)
    m = np.int64(bits - (e << np.int64(52))).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    z_2 = z * z
    z_4 = z_2 * z_2  # pairs of terms, so that few wait for one another
    low = (1 / 3.0 + z * (1 / 5.0)) + z_2 * (1 / 7.0 + z * (1 / 9.0))
    middle = (1 / 11.0 + z * (1 / 13.0)) + z_2 * (1 / 15.0 + z * (1 / 17.0))
    high = (1 / 19.0 + z * (1 / 21.0)) + z_2 * (1 / 23.0)
    p = z * (low + z_4 * (middle + z_4 * high))
    return np.float64(e) * _LN_2 + (2.0 * s + 2.0 * s * p)


@_inlined
def _log_2(x: np.float32) -> np.float32:
    """Logarithm to base 2 of a positive normal number, to single precision; see :func:`_ln`."""
    bits = np.float32(x).view(np.int32)
    e = (bits - _SQRT_HALF_BITS_32) >> np.int32(23)
    m = np.int32(bits - (e << np.int32(23))).view(np.float32)
    s = (m - np.float32(1)) / (m + np.float32(1))
    z = s * s
    p = np.float32(1 / 5) + z * (np.float32(1 / 7) + z * np.float32(1 / 9))
    p = s + s * z * (np.float32(1 / 3) + z * p)
    return np.float32(e) + np.float32(2 / _LN_2) * p


@_inlined
def absorbed(state: np.uint64, coordinate: int) -> np.uint64:
    """A coordinate mixed into a random state, as randomness.bits does."""
    state = state + _GOLDEN * np.uint64(np.int64(coordinate) + np.int64(1))
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


@_inlined
def _unit(state: np.uint64) -> float:
    return (np.float64(state >> np.uint64(11)) + 0.5) * 2.0**-53


@_compiled
def active(
    luck: np.uint64,
    t: int,
    first: int,
    last: int,
    present: NDArray[np.bool_],
    activity: NDArray[np.float32],
    out: NDArray[np.int32],
) -> int:
    """Fill ``out`` with who of ``first .. last - 1`` is there in step ``t``; returns how many."""
    now = absorbed(luck, t)
    n = 0
    for u in range(first, last):
        out[n] = u
        n += present[u] and _unit(absorbed(now, u)) < activity[u]
    return n


@_compiled
def at_step(luck: np.uint64, t: int) -> np.uint64:
    """The random state of a step, for :attr:`Laws.luck`."""
    mixed: np.uint64 = absorbed(luck, t)
    return mixed


@_inlined
def _entropy(rows: NDArray[np.float32], u: int) -> np.float32:
    """Shannon entropy in bits of the weights in row ``u``; NaN where they sum to 0."""
    total = np.float32(0)
    inner = np.float32(0)
    for t in range(rows.shape[1]):
        x = rows[u, t]
        total += x
        inner += x * _log_2(x) if x > 0 else np.float32(0)
    return abs(_log_2(total) - inner / total) if total > 0 else np.float32(np.nan)


@_inlined
def _distance(start: NDArray[np.float32], end: NDArray[np.float32], u: int, vectors: bool) -> float:
    """How far taste ``u`` moved; see people.taste_distance."""
    moved = np.float32(0)
    if vectors:
        for d in range(end.shape[1]):
            moved += (end[u, d] - start[u, d]) * (end[u, d] - start[u, d])
        chord = np.sqrt(np.float64(moved))
        return float(2.0 / np.pi * np.arcsin(min(0.5 * chord, 1.0)))
    for d in range(end.shape[1]):
        moved += abs(end[u, d] - start[u, d])
    return 0.5 * float(moved)


@_compiled
def entropies(rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """(n,) entropy of each row, filled into ``out``."""
    for u in range(len(rows)):
        out[u] = _entropy(rows, u)


@_compiled
def distances(
    start: NDArray[np.float32], end: NDArray[np.float32], vectors: bool, out: NDArray[np.float32]
) -> None:
    """(n,) how far each taste moved, filled into ``out``."""
    for u in range(len(end)):
        out[u] = _distance(start, end, u, vectors)


@_inlined
def _move(
    taste: NDArray[np.float32],
    u: int,
    rate: np.float32,
    targets: NDArray[np.float32],
    i: int,
    vectors: bool,
) -> None:
    """``taste <- (1 - w) taste + rate target``, w = rate times the target's mass (0 or 1 for
    vectors); row ``u`` towards row ``i``; see people.change_taste."""
    mass = np.float32(0)
    for d in range(taste.shape[1]):
        mass += abs(targets[i, d]) if vectors else targets[i, d]
    if vectors and mass > 0:
        mass = np.float32(1)
    kept = np.float32(1) - rate * mass
    for d in range(taste.shape[1]):
        taste[u, d] = kept * taste[u, d] + rate * targets[i, d]


@_compiled
def live(
    people: People,
    items: Items,
    laws: Laws,
    first: int,
    last: int,
    users: NDArray[np.int32],
    shown: NDArray[np.int32],
    done: Done,
    filled: int,
) -> int:
    """One step of people ``first .. last - 1``; returns how many have taken something so far.

    Equation by equation: people.utility, choice.Logit, Measures.before_change,
    people.change_taste, people.change_satiation.

    Args:
        people, items, laws: the world; changed in place.
        first, last: the block; blocks in ascending order give what one block gives.
        users: (n,) active people, ascending, of all blocks; shown: (n, k) their slates.
        done: what is written; filled: rows of ``done.users`` that earlier blocks filled.
    """
    segment, taste, initial, satiation, recent = people[:5]
    clicks, slots, slate_match, click_match, click_match_initial = people[5:10]
    click_entropy, taste_shift, taste_entropy = people[10:]
    features, topics, quality, percentile, exposure = items
    constants, place, scale, vectors, luck = laws
    match, taken, taken_bits, taken_by, taken_items, totals = done
    k = shown.shape[1]
    n_topics, dim = topics.shape[1], features.shape[1]
    width = (k + _LANES) // _LANES * _LANES  # the slots and the outside option, in whole lanes
    ids = np.full(width, np.int64(-1))
    worth = np.full(width, -np.inf)
    noise = np.empty(width)
    mass = np.empty((1, n_topics), np.float32)
    seen = np.empty((1, dim), np.float32)
    at = np.searchsorted(users, first)
    for u in range(first, last):
        s = segment[u]
        outside, temperature = constants[s, OUTSIDE], constants[s, TEMPERATURE]
        chosen = -1
        moves = False
        here = at < len(users) and users[at] == u
        if here:
            mass[:] = 0
            n_shown = 0
            fits, popular = np.float64(0), np.float64(0)
            tired_of = np.float32(constants[s, SATIATION])
            for j in range(k):
                i = np.int64(shown[at, j])
                ids[j] = i
                fit = np.float32(0)
                worth[j] = -np.inf
                if i >= 0:
                    for d in range(dim):
                        fit += features[i, d] * taste[u, d]
                    tired = np.float32(0)
                    for t in range(n_topics):
                        tired += topics[i, t] * satiation[u, t]
                        mass[0, t] += topics[i, t]
                    value = scale * fit + quality[i] - np.float64(tired_of * tired)
                    worth[j] = value - constants[s, POSITION_BIAS] * place[j]
                    n_shown += 1
                    exposure[i] += 1
                    fits += fit
                    popular += percentile[i]
                match[at, j] = fit
                taken[at, j] = False
            worth[k] = outside
            mine = absorbed(luck, u)
            for j in range(width):
                noise[j] = -_ln(-_ln(_unit(absorbed(mine, ids[j]))))
            best = -np.inf
            for j in range(k):
                value = worth[j] + temperature * noise[j]
                if value > best:
                    best = value
                    chosen = j
            if not best > outside + temperature * noise[k]:
                chosen = -1
            taken_bits[at] = np.uint64(chosen >= 0) << np.uint64(max(chosen, 0))
            slots[u] += n_shown
            slate_match[u] += fits
            totals[MATCH] += fits
            totals[PERCENTILE] += popular
            totals[SLOTS] += n_shown
            bits = _entropy(mass, 0)
            if bits == bits:
                totals[ENTROPY] += bits
                totals[ENTROPY_ROWS] += 1
            if constants[s, EXPOSURE_DRIFT] > 0 and n_shown > 0:
                seen[:] = 0
                for j in range(k):
                    i = ids[j]
                    if i >= 0:
                        for d in range(dim):
                            seen[0, d] += features[i, d]
                for d in range(dim):
                    seen[0, d] = seen[0, d] / np.float32(n_shown)
                _move(taste, u, np.float32(constants[s, EXPOSURE_DRIFT]), seen, 0, vectors)
                moves = True
        kept = np.float32(1.0 - constants[s, RECOVERY])
        for t in range(n_topics):
            tired, fresh = kept * satiation[u, t], _RECENT * recent[u, t]
            satiation[u, t] = tired if tired > _DUST else np.float32(0)
            recent[u, t] = fresh if fresh > _DUST else np.float32(0)
        if chosen >= 0:
            i = ids[chosen]
            taken[at, chosen] = True
            taken_by[filled] = u
            taken_items[filled] = i
            filled += 1
            clicks[u] += 1
            totals[CLICK_MATCH] += match[at, chosen]
            click_match[u] += match[at, chosen]
            fit = np.float32(0)
            for d in range(dim):
                fit += features[i, d] * initial[u, d]
            click_match_initial[u] += fit
            for t in range(n_topics):
                satiation[u, t] += topics[i, t]
                recent[u, t] += topics[i, t]
            click_entropy[u] = _entropy(recent, u)
            if constants[s, DRIFT] > 0:
                _move(taste, u, np.float32(constants[s, DRIFT]), features, i, vectors)
                moves = True
        if moves:
            if vectors:
                square = np.float32(0)
                for d in range(dim):
                    square += taste[u, d] * taste[u, d]
                length = max(np.sqrt(square), np.float32(1e-12))
                for d in range(dim):
                    taste[u, d] = taste[u, d] / length
            else:
                taste_entropy[u] = _entropy(taste, u)
            taste_shift[u] = _distance(initial, taste, u, vectors)
        at += here
    return filled


@_compiled
def natural_log(x: float) -> float:
    """The logarithm that this module uses, for tests of it."""
    return _ln(x)

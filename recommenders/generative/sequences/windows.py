"""Histories as rows of tokens: windows to train on, and the latest items to predict from.

A token is an item's index, or the start token before a history. Rows are padded at the right with
the start token: attention looks back only, so padding is never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...interactions import Ragged


def windows(
    histories: Ragged,
    new: NDArray[np.int64],
    shift: NDArray[np.int64],
    length: int,
    *,
    start: int,
) -> tuple[Tensor, Tensor]:
    """Histories cut into windows: (windows, length) tokens, and the item after each token.

    Args:
        histories: n rows, oldest first.
        new: (n,) how many items at the end of each are new; windows without one are left out.
        shift: (n,) in [0, length): where the cuts stand, another place in every epoch, so that
            each item is seen in each position.
        length: tokens a window.
        start: the start token. Targets are padded with -1.
    """
    cut = _cut(histories, new, shift, length)
    before = np.concatenate([[start], histories.values[:-1]])[: len(cut.first)]
    before = np.where(cut.first, start, before)
    tokens = np.full((cut.rows, length), start, dtype=np.int64)
    targets = np.full(tokens.shape, -1, dtype=np.int64)
    inside, place = cut.inside, (cut.row[cut.inside], cut.column[cut.inside])
    tokens[place] = before[inside]
    targets[place] = histories.values[inside]
    return torch.from_numpy(tokens), torch.from_numpy(targets)


def moments(
    histories: Ragged,
    times: NDArray[np.int64],
    new: NDArray[np.int64],
    shift: NDArray[np.int64],
    length: int,
) -> Tensor:
    """(windows, length + 1) when the first token of each of :func:`windows` was met, then the
    target of each token, which is the token after it; 0 in the padding.

    The start token was met when the first item of the history was.

    Args:
        histories, new, shift, length: as there.
        times: (values,) when each item was met.
    """
    cut = _cut(histories, new, shift, length)
    before = np.concatenate([times[:1], times[:-1]])
    before = np.where(cut.first, times, before)
    met = np.zeros((cut.rows, length + 1), dtype=np.int64)
    inside, opens = cut.inside, cut.inside & (cut.column == 0)
    met[cut.row[opens], 0] = before[opens]
    met[cut.row[inside], cut.column[inside] + 1] = times[inside]
    return torch.from_numpy(met)


@dataclass(frozen=True)
class _Cut:
    """Where the items of histories stand as targets in windows: ``rows`` windows; of each item its
    row and column, whether it is inside a window at all, and whether it is a history's first."""

    rows: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    inside: NDArray[np.bool_]
    first: NDArray[np.bool_]


def _cut(histories: Ragged, new: NDArray[np.int64], shift: NDArray[np.int64], length: int) -> _Cut:
    owner = histories.row_index
    at = np.arange(len(owner)) - histories.offsets[owner]  # index of the target in its history
    cut = (at + shift[owner]) // length
    column = at - np.maximum(0, cut * length - shift[owner])
    fresh = at >= (histories.lengths - new)[owner]
    starts = np.flatnonzero(column == 0)
    row = np.cumsum(column == 0) - 1  # window of each target
    keep = np.add.reduceat(fresh, starts) > 0 if len(starts) else np.zeros(0, dtype=bool)
    place = (np.cumsum(keep) - 1)[row]  # row in the output
    return _Cut(int(keep.sum()), place, column, keep[row], at == 0)


def latest(
    histories: Ragged, length: int, *, start: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(n, length) tokens of the latest items of each history, and (n,) where each row ends.

    The start token comes first unless the row is full of items.
    """
    newest = histories.last(length, fill=start)  # (n, length), newest right
    full = histories.lengths >= length
    last = np.where(full, length - 1, np.minimum(histories.lengths, length - 1))
    column = np.arange(length)[None, :] + np.where(full, 0, length - 1 - last)[:, None]
    tokens = np.take_along_axis(newest, np.minimum(column, length - 1), axis=1)
    tokens[np.arange(length)[None, :] > np.where(full, length, last)[:, None]] = start
    return tokens, last


def latest_moments(ago: Ragged, length: int) -> NDArray[np.int64]:
    """(n, length + 1) when the tokens of :func:`latest` were met, and then now, which is 0.

    Args:
        ago: how long ago each item of the histories was met.
    """
    before, _ = latest(ago, length, start=0)  # (n, length)
    met = np.zeros((len(before), length + 1), dtype=np.int64)
    met[:, :length] = -before
    begins = ago.lengths < length  # with the start token
    met[begins, 0] = met[begins, 1]
    return met


def in_batches(
    lengths: NDArray[np.int64], size: int, luck: torch.Generator
) -> list[NDArray[np.int64]]:
    """Rows in random order, in batches of windows of like length that hold equally many targets.

    A batch is as wide as its longest window; where lengths are mixed, most of it is padding.
    Rows are drawn into groups of sixteen batches and sorted within, up and down in turn; batches
    come in random order.

    Args:
        lengths: (windows,) targets of each.
        size: windows a batch, on average over batches of equally many targets.
        luck: draws both orders.
    """
    order = torch.randperm(len(lengths), generator=luck).numpy()
    group = np.arange(len(order)) // (16 * size)
    upwards = np.where(group % 2 == 0, 1, -1)
    order = order[np.lexsort((lengths[order] * upwards, group))]
    ends = lengths[order].cumsum()
    n_batches = -(-len(order) // size)
    batch = (ends - 1) * n_batches // ends[-1] if len(order) else ends
    batches = np.split(order, np.flatnonzero(np.diff(batch)) + 1) if len(order) else []
    return [batches[i] for i in torch.randperm(len(batches), generator=luck).tolist()]

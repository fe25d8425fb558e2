"""Items that entered after a recommender learnt: it is asked and told only about what it knows.

Indices are never renumbered, so what it knows are the first ``known`` items.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .border import Requests
from .interactions import Interactions, Ragged


def known_requests(requests: Requests, known: int) -> Requests:
    """The requests without items from ``known`` on, in their order."""
    history, unwanted, ago = requests.history, requests.unwanted, requests.ago
    kept = history.values < known
    return replace(
        requests,
        history=_where(kept, history),
        unwanted=None if unwanted is None else _where(unwanted.values < known, unwanted),
        ago=None if ago is None else _where(kept, ago),
    )


def _where(kept: NDArray[np.bool_], rows: Ragged) -> Ragged:
    """The rows with the values that are kept."""
    if kept.all():
        return rows
    before = np.concatenate([[0], kept.cumsum()]).astype(np.int64)
    return Ragged(rows.values[kept], before[rows.offsets])


def known_log(log: Interactions, known: int, *, since: int = 0) -> tuple[Interactions, int]:
    """The log over the first ``known`` items, and where its rows from ``since`` begin."""
    kept = log.item < known
    return replace(log.take(kept), n_items=known), int(kept[:since].sum())


def widened(scores: NDArray[np.float32], n_items: int) -> NDArray[np.float32]:
    """(n, n_items) scores of the first items, -inf for those not known."""
    if scores.shape[1] == n_items:
        return scores
    wide = np.full((len(scores), n_items), -np.inf, np.float32)
    wide[:, : scores.shape[1]] = scores
    return wide

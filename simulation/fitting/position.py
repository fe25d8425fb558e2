"""How much the place in a list decides, estimated from a log that tells places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.datasets.dataset import Lists
from .estimate import conditional_logit

_MOST_LISTS = 20_000
_LONGEST = 100  # slots of a list that are looked at


@dataclass(frozen=True)
class PositionBias:
    """An estimate.

    Attributes:
        bias: utility lost per unit of ``ln(1 + position)``, position from 0; error: its standard
            error, clustered by person.
        lists: how many it is from.
        confounded: whether what a ranking put on top for good reason is in it: so where the log
            does not hold what was shown and not taken.
    """

    bias: float
    error: float
    lists: int
    confounded: bool


def position_bias(
    lists: Lists,
    taste: NDArray[np.floating],
    features: NDArray[np.floating],
) -> PositionBias | None:
    """Estimate the bias; None where all choices were made at one place.

    With whole lists: a conditional logit of what was taken among what was shown, on
    ``-ln(1 + position)``, the match with the person's taste, and the item's log rate of being taken
    when shown. With choices only: the maximum-likelihood exponent b of ``P(position) ~
    (1 + position)^-b`` over the places seen (Clauset, Shalizi and Newman 2009).

    Args:
        lists: from the dataset; taste: (users, d) shares of topics, or unit vectors; features:
            (items, d).
    """
    if not lists.complete:
        return _from_places(lists.position[lists.position < _LONGEST])
    slots = _slots(lists)
    if slots is None:
        return None
    users, items, position = slots  # (n,), (n, slots), chosen first
    here = items >= 0
    n_items = len(features)
    shown = np.bincount(lists.item, minlength=n_items)
    taken = np.bincount(lists.item[lists.chosen], minlength=n_items)
    rate = np.log((taken + taken.sum() / shown.sum() * 5) / (shown + 5))
    match = np.einsum("nkd,nd->nk", features[np.maximum(items, 0)], taste[users])
    columns = (-np.log1p(position), match, rate[np.maximum(items, 0)])
    stacked = np.stack([np.where(here, column, np.nan) for column in columns], axis=2)
    _, found, error = conditional_logit(stacked, users)
    return PositionBias(float(found[0]), float(error[0]), len(users), False)


def _slots(
    lists: Lists,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]] | None:
    """Each choice and its list: who, (n, slots) items and places, the chosen one first."""
    near = lists.position < _LONGEST
    user, item, list_id = lists.user[near], lists.item[near], lists.list_id[near]
    position, chosen = lists.position[near], lists.chosen[near]
    start = np.searchsorted(list_id, list_id, side="left")
    length = np.searchsorted(list_id, list_id, side="right") - start
    rows = np.flatnonzero(chosen & (length > 1))[:_MOST_LISTS]
    if len(rows) == 0 or len(np.unique(position[rows])) < 2:
        return None
    place = start[rows, None] + np.arange(int(length[rows].max()))
    inside = place < (start + length)[rows, None]
    place = np.where(inside, place, 0)
    other = inside & (place != rows[:, None]) & ~chosen[place]  # two taken items are no rivals
    items = np.where(other, item[place], -1)
    items = np.concatenate([item[rows, None], items], axis=1)
    places = np.concatenate([position[rows, None], position[place]], axis=1)
    return user[rows], items.astype(np.int64), places


def _from_places(position: NDArray[np.int64]) -> PositionBias | None:
    if len(position) == 0 or len(np.unique(position)) < 2:
        return None
    logs = np.log1p(np.arange(int(position.max()) + 1))
    mean = np.log1p(position).mean()
    bias = 0.0
    spread = 1.0
    for _ in range(50):  # Newton: the mean log place of the model meets that of the data
        p = np.exp(-bias * logs)
        p /= p.sum()
        expected = float(p @ logs)
        spread = max(float(p @ logs**2) - expected**2, 1e-12)
        bias += float(np.clip((expected - mean) / spread, -1, 1))
    return PositionBias(bias, float(1 / np.sqrt(spread * len(position))), len(position), True)

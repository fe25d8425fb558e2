"""Opinions at the moment of choice: people seek what agrees with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...recommenders.errors import UserError
from ...recommenders.interactions import Interactions
from .choice import Visit
from .drift import Change, Floats

if TYPE_CHECKING:
    from .columns import Columns


def stance_of_past(past: Interactions, stance: Floats) -> Floats:
    """(users,) mean stance of what each person consumed, 0 for nobody's past.

    Args:
        stance: (items,) in [-1, 1], NaN where unknown.
    """
    met = stance[past.item]
    known = np.isfinite(met)
    n = np.bincount(past.user[known], minlength=past.n_users)
    total = np.bincount(past.user[known], weights=met[known], minlength=past.n_users)
    return np.asarray(total / np.maximum(n, 1))


class Agreement(Change):
    """Selective exposure: items whose stance agrees with a person's opinion are worth more to them.

    An item of stance s is worth ``strength * x s`` logits more to a person of opinion x, so two
    items of opposite stance are chosen at odds of ``exp(2 strength x s)``. Opinions are those of
    [society]; without it, the mean stance of a person's past, which then does not move.

    Source: Sears & Freedman (1967), Selective exposure to information; the bilinear form is the
    matching of a latent trait model.
    """

    law: Literal["agreement"] = "agreement"
    strength: float = Field(
        default=1.0, description="logits gained by a stance of 1 at an opinion of 1"
    )

    def traits(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Opinions; a society's take their place."""
        return {"opinion": stance_of_past(columns.past, _stances(columns))}

    def weigh(self, columns: Columns, visit: Visit) -> Visit:
        """Raise what agrees, lower what does not."""
        stance = np.nan_to_num(_stances(columns))[np.maximum(visit.items, 0)]
        opinion = columns.traits["opinion"][visit.users, None]
        return replace(visit, utility=visit.utility + self.strength * opinion * stance)


def _stances(columns: Columns) -> Floats:
    stance = columns.catalog.stance
    if stance is None:
        raise UserError(
            "the law 'agreement' reads the items' stance, which this catalog does not have; take "
            "the law out"
        )
    return np.asarray(stance, dtype=np.float64)

"""Names things that do not exist: hallucination of known dose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import Capabilities, Progress, Requests, Slates, State
from ...recommenders.catalog import Catalog
from ...recommenders.classic.itemknn import ItemKNN
from ...recommenders.interactions import Interactions
from ...recommenders.plugins.vocabulary import UNKNOWN
from ...recommenders.ranking import recommend_best


class TitleInventor:
    """A clean item-kNN, but a place of a list names something made up with probability ``share``.

    Places are drawn by the luck of (person, step, place); with ``share = 0`` it could name what
    does not exist, and never does.

    Args:
        share: the dose.
    """

    name = "title-inventor"
    capabilities = Capabilities(
        history="any", stochastic=True, closed_catalog=False, update="refit"
    )

    def __init__(self, *, share: float = 0.02) -> None:
        self.base = ItemKNN()
        self.share = share
        self.n_items = 0

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Fits the clean recommender."""
        self.n_items = len(catalog)
        self.base.fit(log, catalog, seed=seed, progress=progress)

    def recommend(self, requests: Requests) -> Slates:
        """The clean list with made-up names in some of its places."""
        clean = recommend_best(self.base.score, requests, self.n_items).items
        where = (requests.uniform("invent", requests.k) < self.share) & (clean >= 0)
        return Slates(
            np.where(where, np.int32(UNKNOWN), clean),
            raw_names=tuple(map(_names, clean, where)),
        )

    def state(self) -> State:
        """The clean recommender's memory."""
        return {"n_items": np.array(self.n_items), **self.base.state()}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.n_items = int(state["n_items"])
        self.base.load_state({k: v for k, v in state.items() if k != "n_items"})


def _names(items: NDArray[np.int32], made_up: NDArray[np.bool_]) -> tuple[str, ...]:
    """One name a place: of a made-up one a name that resembles an item's."""
    listed = zip(items.tolist(), made_up.tolist(), strict=True)
    return tuple(f"Item {item}, the sequel" if new else f"Item {item}" for item, new in listed)

"""From a catalog to semantic ids, for its first items and for those that enter later.

What is learnt (the space of words, the codebooks) is kept, so a later item gets the codes of what
it resembles and can be generated before anybody took it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...border import State
from ...catalog import Catalog
from ...errors import unknown_name
from ...interactions import Interactions
from ...item_words import WordWeights
from ...randomness import generator
from ..networks import seeded
from .item_vectors import TextSpace, collaborative_vectors
from .rqvae import RQVAE
from .semantic_ids import Ids, quantise, residual_kmeans, told_apart

TEXT, TAKEN = "text", "collaborative"
QUANTISERS = ("kmeans", "rqvae")
_HIDDEN, _LATENT = 128, 32  # widths of the RQ-VAE
_ITEMS_A_CODE = 4  # at least so many items for each code of a level, so that codes are shared


class ItemTokenizer:
    """Gives items ids.

    Args:
        source: "text" for titles, descriptions and topics, where a catalog has no two items with a
            word or topic in common: "collaborative", for who took what in the log of the fit (later
            items then have no likeness to anything); or the name of one of ``Catalog.vectors``.
        levels: codes an item, the running number not counted.
        codes: most codes a level; fewer in a catalog of less than four times as many items.
        quantiser: "kmeans" for residual k-means on the vectors as they are, "rqvae" to squeeze them
            by an autoencoder first.
        dim: of vectors from text or from the log.
    """

    def __init__(
        self, source: str, *, levels: int, codes: int, quantiser: str = "kmeans", dim: int = 128
    ) -> None:
        if quantiser not in QUANTISERS:
            raise unknown_name("quantiser", quantiser, QUANTISERS)
        self.source, self.levels, self.codes, self.dim = source, levels, codes, dim
        self.quantiser = quantiser
        self.used = source  # what vectors came from in the end
        self.space: TextSpace | None = None
        self.rqvae: RQVAE | None = None
        self.books = np.zeros((levels, 1, 0), np.float32)

    def fit(self, log: Interactions, catalog: Catalog, seed: int) -> Ids:
        """(items, levels + 1) ids of the catalog.

        Raises:
            UserError: the catalog has no vectors of the name asked for.
        """
        luck = generator(seed, "genret", "ids")
        vectors = self._first_vectors(log, catalog, luck)
        k = min(self.codes, max(2, len(catalog) // _ITEMS_A_CODE))
        self.rqvae = None
        if self.quantiser == "rqvae" and vectors.shape[1] > 0:
            dim = vectors.shape[1]
            network = RQVAE(dim, _HIDDEN, _LATENT, seeded(seed, "genret", "rqvae"))
            shuffle = seeded(seed, "genret", "rqvae", "fit")
            network.learn(vectors, self.levels, k, seed_of_codes=luck, luck=shuffle)
            self.rqvae, self.books = network, network.books
        else:
            self.books = residual_kmeans(vectors, self.levels, k, luck)
        return told_apart(self._codes(vectors))

    def later(self, catalog: Catalog, ids: Ids) -> Ids:
        """Ids of the items that entered a catalog after those that have ids."""
        since = len(ids)
        if self.used == TAKEN:
            vectors = np.zeros((len(catalog) - since, self.width), np.float32)
        elif self.space is not None:
            vectors = _unit(self.space.vectors(catalog, since))
        else:
            vectors = _unit(_named(catalog, self.used)[since:])
        return told_apart(self._codes(vectors), ids)

    def _codes(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """(items, levels) codes under the codebooks that were learnt."""
        latents = vectors if self.rqvae is None else self.rqvae.latents(vectors)
        return quantise(latents, self.books)

    @property
    def width(self) -> int:
        """Dimensions of the vectors that ids are made from."""
        return self.books.shape[2] if self.rqvae is None else self.rqvae.into.in_features

    def _first_vectors(
        self, log: Interactions, catalog: Catalog, luck: np.random.Generator
    ) -> NDArray[np.float32]:
        self.used, self.space = self.source, None
        if self.source == TEXT:
            space = TextSpace.of(catalog, self.dim, luck)
            if space.directions.shape[1] > 0:
                self.space = space
                return _unit(space.vectors(catalog))
            self.used = TAKEN
        if self.used == TAKEN:
            return _unit(collaborative_vectors(log, self.dim, luck))
        return _unit(_named(catalog, self.source))

    def state(self) -> State:
        """What was learnt."""
        state: State = {"ids/used": np.array(self.used), "ids/books": self.books}
        if self.space is not None:
            state["ids/words"] = self.space.weights.words
            state["ids/rarity"] = self.space.weights.rarity
            state["ids/directions"] = self.space.directions
        return state if self.rqvae is None else {**state, **self.rqvae.state()}

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.used, self.books = str(state["ids/used"]), np.asarray(state["ids/books"], np.float32)
        self.rqvae = RQVAE.of_state(state) if "rqvae/into.weight" in state else None
        self.space = None
        if "ids/words" in state:
            words = np.asarray(state["ids/words"], np.str_)
            weights = WordWeights(words, np.asarray(state["ids/rarity"], np.float64))
            directions = np.asarray(state["ids/directions"], np.float32)
            self.space = TextSpace(weights, directions)


def _named(catalog: Catalog, name: str) -> NDArray[np.float32]:
    if name not in catalog.vectors:
        raise unknown_name("item vectors", name, (TEXT, TAKEN, *catalog.vectors))
    return catalog.vectors[name]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows at length 1, so that nearness is the angle; a zero stays."""
    length = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return np.asarray(vectors / np.where(length > 0, length, 1.0), dtype=np.float32)

"""Items whose words are those of the history: titles, topics and descriptions as TF-IDF vectors.

Nothing is learned from people, so an item that nobody met is found as well as any, and what is
popular gains nothing.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..interactions import Interactions
from ..item_words import WordWeights, words_of
from ..ranking import top_k


class TfIdf:
    """Cosine of the TF-IDF weights of an item's words with the mean of the history's.

    Args:
        topic_weight: how often each of an item's topics counts as a word.
    """

    name = "tfidf"
    capabilities = Capabilities(
        history="any", scores="ordinal", inputs=frozenset({"history", "text"})
    )

    def __init__(self, *, topic_weight: int = 1) -> None:
        self.topic_weight = topic_weight
        self._texts: list[list[str]] = []
        self._vectors = sparse.csr_matrix((0, 0), dtype=np.float64)  # (items, words)

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Reads the catalog; the log says nothing here."""
        self._read(words_of(catalog, topic_weight=self.topic_weight))

    def add_items(self, catalog: Catalog) -> None:
        """Reads the catalog again; words that became common weigh less."""
        self._read(words_of(catalog, topic_weight=self.topic_weight))

    def _read(self, texts: list[list[str]]) -> None:
        self._texts = texts
        self._vectors = WordWeights.of(texts).vectors(texts)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) cosine with the mean of the history; 0 without a history."""
        n, items = len(requests), self._vectors.shape[0]
        history = requests.history
        met = sparse.csr_matrix(
            (np.ones(len(history.values)), history.values, history.offsets), shape=(n, items)
        )
        mean = met @ self._vectors  # (n, words)
        norm = np.sqrt(np.asarray(mean.multiply(mean).sum(axis=1)).ravel())
        scores = np.asarray((mean @ self._vectors.T).todense())
        found: NDArray[np.float32] = (scores / np.maximum(norm, 1e-12)[:, None]).astype(np.float32)
        return found

    def recommend(self, requests: Requests) -> Slates:
        """The items most like the history, best first."""
        scores = self.score(requests)
        items = top_k(scores, requests.k)
        return Slates(items, np.take_along_axis(scores, np.maximum(items, 0), axis=1))

    def state(self) -> State:
        """The items' words, as the bytes of a JSON text."""
        return {"words": np.frombuffer(json.dumps(self._texts).encode(), np.uint8)}

    def load_state(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        self._read(json.loads(np.asarray(state["words"], np.uint8).tobytes()))

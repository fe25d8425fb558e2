"""Pages: rows with titles, generated from what a history says of topics and of items.

A page is built as a tree: what the rows are about, then what stands in them. Mult-VAE (Liang et
al., WWW 2018) gives p(item | history); summed over a topic's items it says how much of the next
choice is about that topic, so the rows after the first are the topics that hold most of what the
rows above have not shown, and a row's items are the most probable of its topic. What the page looks
like to people who browse it row by row is the carousel law's (``[people] choice = "carousel"``).

Rows over rows of a flat ranking are how carousels are built in practice: N. Felicioni, M. Ferrari
Dacrema & P. Cremonesi, "A Methodology for the Offline Evaluation of Recommender Systems in a User
Interface with Multiple Carousels", UMAP 2021.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...border import NOTHING, Progress, Requests, Slates
from ...catalog import Catalog
from ...interactions import Interactions
from ...ranking import blocks, top_k
from ..profiles.multvae import MultVAE
from .composed import left_aligned

FIRST = "For you"
"""Title of the row that is about no topic."""


class Pages(MultVAE):
    """Generates whole pages: a first row of the best items, then rows of one topic each.

    How many rows there are, and how many items each holds, is what the request says
    (``[people] slate`` and ``rows``): one row is a plain list of the best items. A topic heads one
    row of a page at most; where topics are not known, or used up, rows go on with the best items.
    A list longer than a page holds page after page.

    Args:
        titles: whether each slot says what its row is called (``Slates.text``).
        hidden_size, latent_size, dropout, beta, anneal, learning_rate, weight_decay, batch_size,
            epochs, update_epochs, seed: see :class:`~.multvae.MultVAE`.
    """

    name = "pages"
    capabilities = replace(
        MultVAE.capabilities,
        scores="none",
        outputs=frozenset({"items", "slate", "text"}),
        unseen=True,
    )

    def __init__(
        self,
        *,
        titles: bool = True,
        hidden_size: int = 600,
        latent_size: int = 200,
        dropout: float = 0.5,
        beta: float = 0.2,
        anneal: float = 0.5,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.7,
        batch_size: int = 64,
        epochs: int = 30,
        update_epochs: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(
            hidden_size=hidden_size,
            latent_size=latent_size,
            dropout=dropout,
            beta=beta,
            anneal=anneal,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            epochs=epochs,
            update_epochs=update_epochs,
            seed=seed,
        )
        self.titles = titles
        self.topics: NDArray[np.float32] = np.zeros((1, 0), np.float32)
        self.topic_names: tuple[str, ...] = ()

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch, and takes the topics that rows can be about."""
        self.topics, self.topic_names = catalog.topics, catalog.topic_names
        super().fit(log, catalog, seed=seed, progress=progress)

    def recommend(self, requests: Requests) -> Slates:
        """Pages, one after the other where k holds several; ``text`` is each slot's row title."""
        items = np.full((len(requests), requests.k), NOTHING, np.int32)
        topic = np.full((len(requests), requests.k), -1, np.int64)
        for rows in blocks(len(requests), self.n_items):
            items[rows], topic[rows] = self._pages(requests.take(rows))
        order = np.argsort(items == NOTHING, axis=1, kind="stable")  # as left_aligned does
        topic = np.take_along_axis(topic, order, axis=1)
        items = left_aligned(items)
        text = None
        if self.titles:
            names = np.array([*self.topic_names, FIRST], dtype=object)  # -1 is the last
            said = names[topic]
            said[items == NOTHING] = None
            text = tuple(map(tuple, said.tolist()))
        return Slates(items, structure="page", text=text)

    def _pages(self, requests: Requests) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(n, k) items, and the topic of each one's row, -1 for none."""
        n, k = len(requests), requests.k
        chance = np.exp(self.score(requests))  # (n, items) p(item | history)
        gone = np.zeros(self.n_items, np.bool_)
        gone[self._gone[self._gone < self.n_items]] = True
        chance[requests.forbidden(self.n_items, gone)] = -1.0  # never
        slate = min(requests.slate or k, k)
        width = -(-slate // min(max(1, requests.rows), max(1, slate)))
        parts, topics = [np.empty((n, 0), np.int32)], [np.empty((n, 0), np.int64)]
        used = np.zeros((n, self.topics.shape[1]), np.bool_)
        for start in range(0, k, max(1, slate)):
            page_end, at = min(start + slate, k), start
            used[:] = False
            while at < page_end:
                size = min(width, page_end - at)
                about = np.full(n, -1) if at == start else self._next_topic(chance, used, size)
                row = self._row(chance, about, size)
                person, slot = np.nonzero(row >= 0)
                chance[person, row[person, slot]] = -1.0
                used[np.flatnonzero(about >= 0), about[about >= 0]] = True
                parts.append(row)
                topics.append(np.repeat(about[:, None], size, axis=1))
                at += size
        return np.concatenate(parts, axis=1), np.concatenate(topics, axis=1)

    def _next_topic(
        self, chance: NDArray[np.float32], used: NDArray[np.bool_], size: int
    ) -> NDArray[np.int64]:
        """(n,) the topic that holds most of what is left and can fill a row; -1 for none."""
        n = len(chance)
        if used.shape[1] == 0:
            return np.full(n, -1)
        left = np.maximum(chance, 0.0)
        # einsum: a BLAS product may round differently for different batch sizes
        mass = np.einsum("ni,it->nt", left, self.topics)  # (n, topics)
        room = (chance >= 0).astype(np.float32) @ (self.topics > 0).astype(np.float32)  # counts
        mass[used | (room < size)] = -1.0
        best = mass.argmax(axis=1)
        return np.where(mass[np.arange(n), best] > 0, best, -1)

    def _row(
        self, chance: NDArray[np.float32], about: NDArray[np.int64], size: int
    ) -> NDArray[np.int32]:
        """(n, size) the most probable items, weighted by their share of the row's topic."""
        weight = np.ones_like(chance)
        told = about >= 0
        weight[told] = self.topics[:, about[told]].T
        scores = np.where((chance >= 0) & (weight > 0), chance * weight, -np.inf)
        return top_k(scores.astype(np.float32), size)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Mult-VAE's, with the topics."""
        names = np.array(self.topic_names, dtype=np.str_)
        return {**super().state(), "topics": self.topics, "topic_names": names}

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Continues from :meth:`state`."""
        rest = {n: a for n, a in state.items() if n not in ("topics", "topic_names")}
        super().load_state(rest)
        self.topics = np.asarray(state["topics"], np.float32)
        self.topic_names = tuple(str(name) for name in state["topic_names"])

"""Generative retrieval: items have ids of a few meaningful codes, and the model spells an id.

S. Rajput et al., "Recommender Systems with Generative Retrieval" (TIGER), NeurIPS 2023 (arXiv
2305.05065). Alike items share the first codes of their ids (semantic_ids.py), so what is learnt of
one goes over to the others, and an item that entered a minute ago can be generated. A prefix tree
keeps the generator to ids that exist; without it the model can name items that do not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...border import NOTHING, Capabilities, Progress, Requests, Slates, State
from ...catalog import Catalog
from ...errors import UserError
from ...interactions import Interactions, Ragged
from ...plugins.vocabulary import UNKNOWN
from ..attention import check_heads
from ..networks import ROWS, seeded
from ..sequences.windows import latest, windows
from ..training_loop import TrainsInEpochs, falling
from .id_growth import carry_over
from .id_network import IdNetwork
from .item_tokenizer import ItemTokenizer
from .semantic_ids import CodeUse, Ids, code_use, told_apart
from .trie import NOWHERE, Trie


class GenerativeRetrieval(TrainsInEpochs):
    """Generates the ids of the items most likely to come next, by beam search.

    Any history folds in: it is the input. When constrained, :meth:`score` gives the exact log
    probability of every item, which beam search approaches from below as beams grow.

    Args:
        vectors: what ids are made from: "text" (titles, descriptions, topics), "collaborative"
            (who took what), or one of the catalog's own vectors, by name.
        levels: codes an item; one more, a running number, tells apart items with equal codes.
        codes: most codes a level.
        quantiser: "kmeans" (residual k-means), or "rqvae", TIGER's autoencoder with codebooks.
        constrained: False lets it spell any id, so that it can name items that do not exist.
        beams: prefixes kept at each code; never fewer than the items asked for.
        embedding_size: width of the network.
        blocks, heads: depth, and attention heads a block.
        max_length: how many of the latest items (the start token included) it looks at.
        dropout: on embeddings, attention weights and both branches of a block.
        learning_rate: of Adam at the start; it falls linearly to 0 over the epochs.
        batch_size: histories a step.
        epochs: passes over the log when fitting.
        update_epochs: passes over the histories with new items when updating, warm-started, from
            a quarter of the learning rate.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.

    Attributes:
        ids: (items, levels + 1) codes.
        losses: mean loss (nats an item) of each epoch since the last fit, updates included.
    """

    name = "genret"
    network: IdNetwork

    def __init__(
        self,
        *,
        vectors: str = "text",
        levels: int = 3,
        codes: int = 256,
        quantiser: str = "kmeans",
        constrained: bool = True,
        beams: int = 50,
        embedding_size: int = 64,
        blocks: int = 1,
        heads: int = 2,
        max_length: int = 20,
        dropout: float = 0.4,
        learning_rate: float = 3e-3,
        batch_size: int = 128,
        epochs: int = 16,
        update_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        check_heads(embedding_size, heads)
        for what, value in {"levels": levels, "beams": beams}.items():
            if value < 1:
                raise UserError(f"{what} must be at least 1, got {value}")
        if codes < 2:
            raise UserError(f"codes must be at least 2, got {codes}")
        self.capabilities = Capabilities(
            history="any",
            scores="log_prob" if constrained else "none",
            closed_catalog=constrained,
            inputs=frozenset({"history", "text"}),
            update="incremental",
        )
        self.constrained = constrained
        self.beams = beams
        self.embedding_size = embedding_size
        self.blocks = blocks
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.update_epochs = update_epochs
        self.seed = seed
        self.tokenizer = ItemTokenizer(vectors, levels=levels, codes=codes, quantiser=quantiser)
        self._build(told_apart(np.zeros((1, levels), np.int64)), np.ones(levels + 1, np.int64), 0)

    def _build(self, ids: Ids, sizes: NDArray[np.int64], seed: int) -> None:
        self.ids, self.sizes, self.losses = ids, sizes, []
        self.trie = Trie(ids)
        self.network = IdNetwork(
            self.trie,
            sizes.tolist(),
            length=self.max_length,
            size=self.embedding_size,
            blocks=self.blocks,
            heads=self.heads,
            constrained=self.constrained,
            luck=seeded(seed, "genret", "weights", self.seed),
        )
        self.adam = torch.optim.Adam(self.network.parameters(), fused=True)

    @property
    def n_items(self) -> int:
        """Items that have an id."""
        return len(self.ids)

    @property
    def code_use(self) -> CodeUse:
        """How well the ids use their codebooks."""
        return code_use(self.ids)

    # -- learning ------------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Gives items ids and trains from scratch; ``progress`` hears the mean loss (nats)."""
        ids = self.tokenizer.fit(log, catalog, seed)
        sizes = np.append(np.full(self.tokenizer.levels, self.tokenizer.books.shape[1]), 0)
        sizes[-1] = ids[:, -1].max() + 1
        self._build(ids, sizes, seed)
        luck = seeded(seed, "genret", "fit", self.seed)
        histories = log.histories()
        rate = self.learning_rate
        self._train(histories, histories.lengths, self.epochs, rate, luck, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains on, over the histories that hold an interaction from ``since`` on; ids stay."""
        luck = seeded(seed, "genret", "update", self.seed, len(log))
        new = np.bincount(log.user[since:], minlength=log.n_users).astype(np.int64)
        rate = self.learning_rate / 4
        self._train(log.histories(), new, self.update_epochs, rate, luck, None)

    def add_items(self, catalog: Catalog) -> None:
        """New items get the codes of what they resemble, and can be generated at once."""
        ids = np.concatenate([self.ids, self.tokenizer.later(catalog, self.ids)])
        old, adam, losses = self.network, self.adam, self.losses
        self._build(ids, np.maximum(self.sizes, ids.max(axis=0) + 1), 0)
        self.losses = losses
        carry_over(old, adam, self.network, self.adam)

    def _train(
        self,
        histories: Ragged,
        new: NDArray[np.int64],
        epochs: int,
        learning_rate: float,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        for epoch in self._epochs(epochs, luck, progress, rate=falling(learning_rate)):
            shift = torch.randint(0, self.max_length, (len(histories),), generator=luck).numpy()
            shift[histories.lengths <= self.max_length] = 0  # short histories stay whole
            tokens, targets = windows(histories, new, shift, self.max_length, start=self.n_items)
            n_targets = (targets >= 0).sum(dim=1)
            # Rows of like length go together: most of a batch of mixed ones would be padding.
            order = torch.argsort(n_targets + torch.rand(len(tokens), generator=luck))
            batches = torch.split(order, self.batch_size) if len(order) else ()
            mixed = torch.randperm(len(batches), generator=luck).tolist()
            for rows in epoch.batches([batches[batch] for batch in mixed]):
                longest = int(n_targets[rows].max())
                wanted = targets[rows, :longest]  # (batch, length)
                real = wanted >= 0
                h = self.network(tokens[rows, :longest], self.dropout, luck)[real]  # (real, size)
                epoch.step(self.adam, self.network.loss(h, wanted[real]), weight=len(h))

    # -- serving -------------------------------------------------------------------------------

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) log probability of each item's id after the histories given.

        When unconstrained, what exp of a row sums to below 1 is the chance that one id drawn from
        the model is no item's.
        """
        out = np.empty((len(requests), self.n_items), np.float32)
        with torch.no_grad():
            for rows, h in self._read(requests):
                out[rows] = self.network.log_probabilities(h)[: rows.stop - rows.start].numpy()
        return out

    def recommend(self, requests: Requests) -> Slates:
        """The k most probable ids that beam search finds.

        When unconstrained, an id of no item keeps its slot, under an item index that does not
        exist; ``raw_names`` spells all ids, and ``usage`` counts them.
        """
        n, k = len(requests), requests.k
        ids = np.zeros((n, k, self.ids.shape[1]), np.int64)
        scores = np.full((n, k), -np.inf, np.float32)
        with torch.no_grad():
            for rows, h in self._read(requests):
                found, log_p = self.network.beams(h, max(self.beams, k))
                ids[rows] = found[: rows.stop - rows.start, :k]
                scores[rows] = log_p[: rows.stop - rows.start, :k]
        said, item = scores > -np.inf, self.trie.find(ids)
        item = np.where(item == NOWHERE, UNKNOWN, item)
        items = np.where(said, item, NOTHING).astype(np.int32)
        if self.constrained:
            return Slates(items, scores)
        n_said, no_item = said.sum(axis=1).tolist(), (items == UNKNOWN).sum(axis=1).tolist()
        names = spelled(ids).tolist()
        return Slates(
            items,
            scores,
            raw_names=tuple(tuple(row[:ends]) for row, ends in zip(names, n_said, strict=True)),
            usage=tuple(
                {"ids": float(all_of_them), "ids_of_no_item": float(made_up)}
                for all_of_them, made_up in zip(n_said, no_item, strict=True)
            ),
        )

    def _read(self, requests: Requests) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of requests, and (ROWS, size) vectors of their histories, the last ones padded."""
        tokens, last = latest(requests.history, self.max_length, start=self.n_items)
        for at in range(0, len(tokens), ROWS):
            rows = slice(at, min(at + ROWS, len(tokens)))
            block = np.full((ROWS, self.max_length), self.n_items, np.int64)
            ends = np.zeros(ROWS, np.int64)
            block[: rows.stop - at], ends[: rows.stop - at] = tokens[rows], last[rows]
            x = self.network(torch.from_numpy(block), 0.0, None)  # (ROWS, length, size)
            yield rows, x[torch.arange(ROWS), torch.from_numpy(ends)]

    # -- memory --------------------------------------------------------------------------------

    def state(self) -> State:
        """Weights and Adam's moments, so that updates continue exactly, and all that ids need."""
        return {
            "ids": self.ids,
            "sizes": self.sizes,
            **self.tokenizer.state(),
            **self._learnt(),
        }

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        self.tokenizer.load_state(state)
        self._build(np.asarray(state["ids"], np.int64), np.asarray(state["sizes"], np.int64), 0)
        self._recall(state)


def spelled(ids: Ids) -> NDArray[np.str_]:
    """(...,) ids (..., depths) as texts.

    >>> spelled(np.array([[12, 200, 3, 0]])).tolist()
    ['<a12><b200><c3><d0>']
    """
    text = np.full(ids.shape[:-1], "", np.str_)
    for depth in range(ids.shape[-1]):
        text = np.char.add(text, np.char.mod(f"<{chr(ord('a') + depth)}%d>", ids[..., depth]))
    return text

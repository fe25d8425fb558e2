"""Images and texts of items in one space, so that an item nobody met is recommended by its image.

A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (CLIP),
ICML 2021 (arXiv 2103.00020): an encoder of images is trained until each image is nearer to its own
text than to the others of the batch, and each text to its image (InfoNCE, A. van den Oord et al.,
arXiv 1807.03748). Texts stay where they are, as in X. Zhai et al., "LiT", CVPR 2022 with the roles
exchanged: hashed words weighted by TF-IDF and reduced by a singular value decomposition, less what
all items share. Nothing is downloaded and a catalog has a few thousand images at most, so the
encoder is one linear layer on descriptions of fixed form (descriptors.py); convolutions learn such
a catalog by heart (docs/images.md). A person is the mean of the items in their history.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import Capabilities, Progress, Requests, Slates, State
from ...catalog import Catalog
from ...errors import UserError
from ...interactions import Interactions
from ...item_words import words_of
from ...ranking import recommend_best
from ..networks import by_rows, dropout, dump, linear, restore, seeded
from ..training_loop import Learner, TrainsInEpochs, falling
from .descriptors import PARTS, described

_BUCKETS = 4096  # words share one by the hash of their letters, so a new word has one too
_FLOOR = 0.05  # least spread of a number about images, as a share of the usual one of its part


class _Network(nn.Module):
    """Descriptions of images to unit vectors in the space of the texts."""

    def __init__(self, size: int, luck: torch.Generator) -> None:
        super().__init__()
        self.image = linear(sum(PARTS), size, luck)
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(10.0))))

    def forward(self, x: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        """(batch, size) from (batch, sum of PARTS), a share of the numbers dropped."""
        return F.normalize(self.image(dropout(x, share, luck)), dim=1)


class Contrastive(TrainsInEpochs):
    """Recommends items whose image and words are near those of the history; nothing is learned
    from people.

    Where the catalog has no images, words alone are compared. Items that enter are placed at once
    by what they look like and are called. Scores are cosines with the mean of the history.

    Args:
        by: "both", or "image" or "text" alone: what an item's vector is made of. An item without
            an image is placed by its words.
        text_size: of the reduced word vectors, which is that of the common space.
        dropout: share of the numbers about an image dropped in training.
        learning_rate, batch_size, epochs: of the training of the encoder by AdamW.
        weight_decay: of AdamW.
        seed: mixed into the seed of ``fit``.

    Attributes:
        losses: mean InfoNCE (nats) of each epoch of the last fit; empty without images.
    """

    name = "contrastive"
    network: _Network
    capabilities = Capabilities(
        history="any", scores="ordinal", inputs=frozenset({"history", "text", "image"})
    )

    def __init__(
        self,
        *,
        by: Literal["both", "image", "text"] = "both",
        text_size: int = 128,
        dropout: float = 0.5,
        learning_rate: float = 1e-3,
        weight_decay: float = 1.0,
        batch_size: int = 512,
        epochs: int = 60,
        seed: int = 0,
    ) -> None:
        if by not in ("both", "image", "text"):
            raise UserError(f'by must be "both", "image" or "text", got {by!r}')
        self.by = by
        self.text_size = text_size
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.words = np.zeros(_BUCKETS)  # weight of each bucket of words
        self.basis = np.zeros((_BUCKETS, text_size), np.float32)
        self.common = np.zeros(text_size)  # what the texts of all items share
        self.centre = np.zeros(sum(PARTS), np.float32)  # of the numbers about images
        self.spread = np.ones(sum(PARTS), np.float32)
        self.vectors = np.zeros((1, text_size), np.float32)  # (items, text_size)
        self._build((1, 1), 0)

    def _build(self, shape: tuple[int, int], seed: int) -> None:
        self.shape = shape
        luck = seeded(seed, self.name, "weights", self.seed)
        self.network = _Network(self.text_size, luck)
        self.adam = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.weight_decay, fused=True
        )
        self.losses = []

    def _learners(self) -> dict[str, Learner]:
        return {"network/": (self.network, self.adam)}

    # -- learning ------------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains the encoder on the catalog's images and words; the log says nothing here."""
        self._read_words(catalog)
        shape = (1, 1) if catalog.images is None else catalog.images.shape[1:3]
        self._build((int(shape[0]), int(shape[1])), seed)
        if catalog.images is not None:
            luck = seeded(seed, self.name, "fit", self.seed)
            self._train(catalog.images, self.text_vectors(catalog), luck, progress)
        self.vectors = self.encoded(catalog)

    def add_items(self, catalog: Catalog) -> None:
        """Places the items that entered beside the old ones, which stay where they are."""
        self.vectors = np.concatenate([self.vectors, self.encoded(catalog)[len(self.vectors) :]])

    def _train(
        self,
        images: NDArray[np.uint8],
        texts: NDArray[np.float32],
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        """InfoNCE over batches of items that have an image, in both directions."""
        rows = np.flatnonzero(images.any(axis=(1, 2, 3)))
        plain = by_rows(described, images[rows], sum(PARTS))  # (with images, numbers)
        self.centre = plain.mean(axis=0)
        self.spread = plain.std(axis=0)
        for part in np.split(self.spread, np.cumsum(PARTS)[:-1]):
            part += np.float32(_FLOOR * part.mean() + 1e-6)
        x = torch.from_numpy((plain - self.centre) / self.spread)
        y = torch.from_numpy(texts[rows])
        for epoch in self._epochs(self.epochs, luck, progress, rate=falling(self.learning_rate)):
            for batch in epoch.shuffled(len(rows), self.batch_size, luck):
                if len(batch) < 2:
                    continue  # nothing to tell it from
                seen = self.network(x[batch], self.dropout, luck)  # (batch, size)
                logits = self.network.log_scale.clamp(max=4.6).exp() * seen @ y[batch].T
                own = torch.arange(len(batch))
                loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
                epoch.step(self.adam, loss, weight=len(batch))

    # -- words ---------------------------------------------------------------------------------

    def _read_words(self, catalog: Catalog) -> None:
        """TF-IDF weights of hashed words, and the directions in which items differ most."""
        from scipy.sparse.linalg import svds

        counts = _counted(catalog)
        found_in = np.bincount(counts.indices, minlength=_BUCKETS)
        self.words = np.log((1.0 + counts.shape[0]) / (1.0 + found_in))
        matrix = _weighted(counts, self.words)
        rank = min(self.text_size, min(matrix.shape) - 1)
        start = np.cos(np.arange(min(matrix.shape)))  # any fixed vector: the same basis each time
        _, _, rows = svds(matrix, k=rank, v0=start)
        sign = np.sign(rows[np.arange(rank), np.abs(rows).argmax(axis=1)])
        self.basis = np.zeros((_BUCKETS, self.text_size), np.float32)
        self.basis[:, :rank] = (rows * sign[:, None])[::-1].T  # the largest direction first
        self.common = self._reduced(catalog).mean(axis=0)

    def text_vectors(self, catalog: Catalog) -> NDArray[np.float32]:
        """(items, text_size) unit vectors of titles, texts and topics, less what all items share;
        zeros for an item without words."""
        rows = self._reduced(catalog)
        rows = np.where(rows.any(axis=1, keepdims=True), rows - self.common, 0.0)
        return np.asarray(_unit(rows), np.float32)

    def _reduced(self, catalog: Catalog) -> NDArray[np.float64]:
        """(items, text_size) unit vectors of the words."""
        return _unit(_weighted(_counted(catalog), self.words) @ self.basis.astype(np.float64))

    # -- vectors and answers -------------------------------------------------------------------

    def encoded(self, catalog: Catalog) -> NDArray[np.float32]:
        """(items, text_size) vectors of a catalog's items, by what ``by`` says."""
        said = self.text_vectors(catalog)
        if catalog.images is None or self.by == "text" or not self.losses:
            return said
        seen = self.image_vectors(catalog.images)
        blank = np.asarray(~catalog.images.any(axis=(1, 2, 3)))
        whole = seen if self.by == "image" else (seen + said) / 2.0
        return np.where(blank[:, None], said, whole).astype(np.float32)

    def image_vectors(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(items, text_size) unit vectors of images of the size that was learned from."""
        if images.shape[1:3] != self.shape:
            raise UserError(f"images must be {self.shape} high and wide, got {images.shape[1:3]}")

        def encode(rows: Tensor) -> Tensor:
            x = (described(rows) - torch.from_numpy(self.centre)) / torch.from_numpy(self.spread)
            out: Tensor = self.network(x, 0.0, None)
            return out

        return by_rows(encode, images, self.text_size)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) cosine with the mean of the history; 0 without a history."""
        n_items = len(self.vectors)
        unit = self.vectors / np.maximum(
            np.linalg.norm(self.vectors, axis=1, keepdims=True), np.float32(1e-12)
        )
        person = requests.history.to_csr(n_items) @ unit  # (n, size)
        person = person / np.maximum(np.linalg.norm(person, axis=1, keepdims=True), 1e-12)

        def match(rows: Tensor) -> Tensor:
            return rows @ torch.from_numpy(unit).T

        return by_rows(match, np.asarray(person, np.float32), n_items)

    def recommend(self, requests: Requests) -> Slates:
        """The items nearest to the history, best first."""
        return recommend_best(self.score, requests, len(self.vectors))

    def state(self) -> State:
        """The encoder, the words, the items' vectors and the losses."""
        return dump(self.network, prefix="network/") | {
            "shape": np.array(self.shape),
            "words": self.words,
            "basis": self.basis,
            "common": self.common,
            "centre": self.centre,
            "spread": self.spread,
            "vectors": self.vectors,
            "losses": np.array(self.losses, dtype=np.float64),
        }

    def load_state(self, state: State) -> None:
        """Answers, and places new items, as the one did whose :meth:`state` it is."""
        self._build((int(state["shape"][0]), int(state["shape"][1])), 0)
        self.words = np.asarray(state["words"], np.float64)
        self.basis = np.asarray(state["basis"], np.float32)
        self.common = np.asarray(state["common"], np.float64)
        self.centre = np.asarray(state["centre"], np.float32)
        self.spread = np.asarray(state["spread"], np.float32)
        self.vectors = np.asarray(state["vectors"], np.float32)
        self.losses = state["losses"].tolist()
        restore(self.network, None, state, prefix="network/")


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _counted(catalog: Catalog) -> sp.csr_matrix:
    """(items, buckets) how often each item holds a word of each bucket."""
    texts = words_of(catalog, topic_weight=1)
    bucket = {
        word: int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) % _BUCKETS
        for word in {word for text in texts for word in text}
    }
    lengths = np.array([len(text) for text in texts], np.int64)
    column = np.array([bucket[word] for text in texts for word in text], np.int64)
    row = np.repeat(np.arange(len(texts)), lengths)
    shape = (len(texts), _BUCKETS)
    counts = sp.csr_matrix((np.ones(len(row)), (row, column)), shape=shape)
    counts.sum_duplicates()
    return counts


def _weighted(counts: sp.csr_matrix, weight: NDArray[np.float64]) -> sp.csr_matrix:
    """(items, buckets) unit rows of (1 + ln count) times the bucket's weight."""
    matrix = counts.copy()
    matrix.data = (1.0 + np.log(matrix.data)) * weight[matrix.indices]
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags_array(1.0 / np.maximum(norm, 1e-12)) @ matrix)

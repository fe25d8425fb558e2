"""Images and texts of items in one space, so that an item nobody met is recommended by its image.

A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (CLIP),
ICML 2021 (arXiv 2103.00020): an image encoder and a text encoder are trained until each image is
nearer to its own text than to the others of the batch, and each text to its image (InfoNCE, A. van
den Oord et al., arXiv 1807.03748). Small, since nothing is downloaded: the images are thumbnails
read by four convolutions, the texts are hashed words weighted by TF-IDF and reduced by a singular
value decomposition. A person is the mean of the items in their history.
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
from ..networks import by_rows, dump, linear, restore, seeded
from ..training_loop import Learner, TrainsInEpochs, falling

_BUCKETS = 4096  # words share one by the hash of their letters, so a new word has one too
_CHANNELS = (16, 32, 64, 64)


class _Network(nn.Module):
    """Thumbnails and text vectors to unit vectors of one space."""

    def __init__(
        self, height: int, width: int, text_size: int, size: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        inputs = (3, *_CHANNELS[:-1])
        self.convolutions = nn.ParameterList()
        for before, after in zip(inputs, _CHANNELS, strict=True):
            scale = (2.0 / (9 * before)) ** 0.5  # He et al., ICCV 2015
            weight = torch.randn(after, before, 3, 3, generator=luck) * scale
            self.convolutions.append(nn.Parameter(weight))
            height, width = -(-height // 2), -(-width // 2)
        self.image = linear(_CHANNELS[-1] * height * width, size, luck)
        self.text = linear(text_size, size, luck)
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(10.0))))

    def images(self, pixels: Tensor) -> Tensor:
        """(batch, size) from (batch, 3, height, width) in -1 to 1."""
        x = pixels
        for weight in self.convolutions:
            x = F.relu(F.conv2d(x, weight, stride=2, padding=1))  # (batch, channels, h / 2, w / 2)
            x = F.layer_norm(x, x.shape[1:])
        return F.normalize(self.image(x.flatten(1)), dim=1)

    def texts(self, vectors: Tensor) -> Tensor:
        """(batch, size) from (batch, text_size)."""
        return F.normalize(self.text(vectors), dim=1)


class Contrastive(TrainsInEpochs):
    """Recommends items whose image and words are near those of the history; nothing is learned
    from people.

    Where the catalog has no images, words alone are compared. Items that enter are placed at once
    by what they look like and are called. Scores are cosines with the mean of the history.

    Args:
        by: "both", or "image" or "text" alone: what an item's vector is made of. An item without
            an image is placed by its words.
        embedding_size: of the common space; text_size: of the reduced word vectors.
        learning_rate, batch_size, epochs: of the training of both encoders by AdamW.
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
        embedding_size: int = 64,
        text_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        batch_size: int = 128,
        epochs: int = 15,
        seed: int = 0,
    ) -> None:
        if by not in ("both", "image", "text"):
            raise UserError(f'by must be "both", "image" or "text", got {by!r}')
        self.by = by
        self.embedding_size = embedding_size
        self.text_size = text_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.words = np.zeros(_BUCKETS)  # weight of each bucket of words
        self.basis = np.zeros((_BUCKETS, text_size), np.float32)
        self.vectors = np.zeros((1, embedding_size), np.float32)  # (items, size), unit rows
        self._build((1, 1), 0)

    def _build(self, shape: tuple[int, int], seed: int) -> None:
        self.shape = shape
        luck = seeded(seed, self.name, "weights", self.seed)
        self.network = _Network(*shape, self.text_size, self.embedding_size, luck)
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
        """Trains both encoders on the catalog's images and words; the log says nothing here."""
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
        for epoch in self._epochs(self.epochs, luck, progress, rate=falling(self.learning_rate)):
            for chosen in epoch.shuffled(len(rows), self.batch_size, luck):
                batch = rows[chosen]
                if len(batch) < 2:
                    continue  # nothing to tell it from
                pixels = _pixels(torch.from_numpy(images[batch]))
                flipped = torch.rand(len(batch), 1, 1, 1, generator=luck) < 0.5
                pixels = torch.where(flipped, pixels.flip(3), pixels)
                seen = self.network.images(pixels)  # (batch, size)
                said = self.network.texts(torch.from_numpy(texts[batch]))  # (batch, size)
                logits = self.network.log_scale.clamp(max=4.6).exp() * seen @ said.T
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

    def text_vectors(self, catalog: Catalog) -> NDArray[np.float32]:
        """(items, text_size) unit vectors of titles, texts and topics."""
        rows = _weighted(_counted(catalog), self.words) @ self.basis.astype(np.float64)
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(norm, 1e-12), np.float32)

    # -- vectors and answers -------------------------------------------------------------------

    def encoded(self, catalog: Catalog) -> NDArray[np.float32]:
        """(items, embedding_size) vectors of a catalog's items, by what ``by`` says."""
        texts = self.text_vectors(catalog)
        said = by_rows(self.network.texts, texts, self.embedding_size)
        if catalog.images is None or self.by == "text" or not self.losses:
            return said
        seen = self.image_vectors(catalog.images)
        blank = np.asarray(~catalog.images.any(axis=(1, 2, 3)))
        whole = seen if self.by == "image" else (seen + said) / 2.0
        return np.where(blank[:, None], said, whole).astype(np.float32)

    def image_vectors(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(items, embedding_size) unit vectors of images of the size that was learned from."""
        if images.shape[1:3] != self.shape:
            raise UserError(f"images must be {self.shape} high and wide, got {images.shape[1:3]}")

        def encode(rows: Tensor) -> Tensor:
            out: Tensor = self.network.images(_pixels(rows))
            return out

        return by_rows(encode, images, self.embedding_size)

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
        """Both encoders, the words, the items' vectors and the losses."""
        return dump(self.network, prefix="network/") | {
            "shape": np.array(self.shape),
            "words": self.words,
            "basis": self.basis,
            "vectors": self.vectors,
            "losses": np.array(self.losses, dtype=np.float64),
        }

    def load_state(self, state: State) -> None:
        """Answers, and places new items, as the one did whose :meth:`state` it is."""
        self._build((int(state["shape"][0]), int(state["shape"][1])), 0)
        self.words = np.asarray(state["words"], np.float64)
        self.basis = np.asarray(state["basis"], np.float32)
        self.vectors = np.asarray(state["vectors"], np.float32)
        self.losses = state["losses"].tolist()
        restore(self.network, None, state, prefix="network/")


def _pixels(images: Tensor) -> Tensor:
    """(n, 3, height, width) float32 in -1 to 1 from (n, height, width, 3) bytes."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


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

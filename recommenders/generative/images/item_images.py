"""Draws small pictures of items for a topic and a popularity, as machines do that flood a shop.

A conditional variational autoencoder (D. P. Kingma & M. Welling, ICLR 2014; K. Sohn, H. Lee &
X. Yan, NeurIPS 2015) of thumbnails with a handful of convolutions and a squared error: what it
draws is blurred, has the colours and the layout of its models, and no detail. That is enough to ask
what a recommender that looks at pictures does with machine-made ones, and no more.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import Progress
from ...errors import UserError
from ..networks import by_rows, linear, seeded
from ..training_loop import falling, passes

_CHANNELS = (24, 48, 64)  # each after halving height and width


def _kernel(into: int, outof: int, luck: torch.Generator) -> nn.Parameter:
    """(outof, into, 3, 3) weights of a convolution (He et al., ICCV 2015)."""
    scale = (2.0 / (9 * into)) ** 0.5
    return nn.Parameter(torch.randn(outof, into, 3, 3, generator=luck) * scale)


class _Network(nn.Module):
    """Encoder q(z | picture, condition) and decoder of pictures from z and the condition."""

    def __init__(
        self, height: int, width: int, told: int, latent: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.sizes = [(height, width)]
        for _ in _CHANNELS:
            height, width = -(-height // 2), -(-width // 2)
            self.sizes.append((height, width))
        flat = _CHANNELS[-1] * height * width
        ends = (3, *_CHANNELS)
        pairs = list(pairwise(ends))
        self.down = nn.ParameterList([_kernel(a, b, luck) for a, b in pairs])
        self.posterior = linear(flat + told, 2 * latent, luck)
        self.spread = linear(latent + told, flat, luck)
        self.up = nn.ParameterList([_kernel(b, a, luck) for a, b in reversed(pairs)])
        self.shade = nn.Parameter(torch.zeros(3, 1, 1))

    def encode(self, pixels: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        x = pixels  # (batch, 3, height, width)
        for weight in self.down:
            x = F.leaky_relu(F.conv2d(x, weight, stride=2, padding=1), 0.2)
        mu, log_var = self.posterior(torch.cat([x.flatten(1), told], dim=1)).chunk(2, dim=1)
        return mu, log_var  # (batch, latent) each

    def decode(self, z: Tensor, told: Tensor) -> Tensor:
        """(batch, 3, height, width) in -1 to 1."""
        x = F.leaky_relu(self.spread(torch.cat([z, told], dim=1)), 0.2)
        x = x.view(len(z), _CHANNELS[-1], *self.sizes[-1])
        for place, weight in enumerate(self.up):
            size = self.sizes[len(_CHANNELS) - 1 - place]
            x = F.conv2d(F.interpolate(x, size=size, mode="nearest"), weight, padding=1)
            x = F.leaky_relu(x, 0.2) if place < len(self.up) - 1 else torch.tanh(x + self.shade)
        return x


class ItemImages:
    """Learns a catalog's pictures, and draws new ones near old ones or from nothing.

    Args:
        latent_size: numbers a picture is drawn from.
        beta: weight of the KL term, in squared pixels summed over the picture.
        learning_rate: of Adam at the start; it falls linearly to 0 over the epochs.
        batch_size, epochs: of training.

    Attributes:
        losses: mean loss of a picture in each epoch.
    """

    def __init__(
        self,
        *,
        latent_size: int = 32,
        beta: float = 2.0,
        learning_rate: float = 2e-3,
        batch_size: int = 64,
        epochs: int = 12,
    ) -> None:
        if latent_size < 1 or epochs < 1:
            raise UserError(
                f"latent_size and epochs must be at least 1, got {latent_size} and {epochs}"
            )
        self.latent_size = latent_size
        self.beta = beta
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.losses: list[float] = []
        self.network: _Network | None = None

    def fit(
        self,
        images: NDArray[np.uint8],
        told: NDArray[np.floating],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch on the pictures that are there.

        Args:
            images: (items, height, width, 3) uint8, zeros where there is none.
            told: (items, c) what a picture is drawn for, see :func:`conditions`.

        Raises:
            UserError: no item has a picture.
        """
        rows = np.flatnonzero(images.any(axis=(1, 2, 3)))
        if len(rows) == 0:
            raise UserError("no item of the catalog has an image to learn from")
        height, width = images.shape[1:3]
        weights = seeded(seed, "item images", "weights")
        network = _Network(height, width, told.shape[1], self.latent_size, weights)
        adam = torch.optim.Adam(network.parameters(), fused=True)
        luck, self.losses = seeded(seed, "item images", "fit"), []
        rate = falling(self.learning_rate)
        for epoch in passes(self.epochs, self.losses, progress, rate=rate):
            for chosen in epoch.shuffled(len(rows), self.batch_size, luck):
                batch = rows[chosen]
                x = _pixels(torch.from_numpy(images[batch]))  # (batch, 3, height, width)
                c = torch.from_numpy(told[batch].astype(np.float32))  # (batch, c)
                mu, log_var = network.encode(x, c)
                noise = torch.randn(mu.shape, generator=luck)  # (batch, latent)
                made = network.decode(mu + torch.exp(0.5 * log_var) * noise, c)
                error = (made - x).square().sum(dim=(1, 2, 3))  # (batch,)
                kl = 0.5 * (mu**2 + log_var.exp() - 1.0 - log_var).sum(dim=1)  # (batch,)
                epoch.step(adam, (error + self.beta * kl).mean(), weight=len(batch))
        self.network = network

    def drawn(self, told: NDArray[np.floating], normal: NDArray[np.floating]) -> NDArray[np.uint8]:
        """(n, height, width, 3) pictures from nothing: z is ``normal`` (n, latent_size)."""
        return self._decoded(np.asarray(normal, np.float32), told)

    def varied(
        self,
        images: NDArray[np.uint8],
        told: NDArray[np.floating],
        normal: NDArray[np.floating],
        *,
        noise: float = 1.0,
    ) -> NDArray[np.uint8]:
        """(n, height, width, 3) pictures near those given.

        z is the mean of q(z | picture) plus ``noise * normal``; ``normal`` (n, latent_size).
        """
        network = self._learnt()
        n, width = len(images), told.shape[1]
        inputs = np.hstack([images.reshape(n, -1).astype(np.float32), told.astype(np.float32)])

        def encode(rows: Tensor) -> Tensor:
            pixels = rows[:, : rows.shape[1] - width].view(len(rows), *images.shape[1:])
            return network.encode(_pixels(pixels), rows[:, rows.shape[1] - width :])[0]

        z = by_rows(encode, inputs, self.latent_size)
        return self._decoded((z + noise * normal).astype(np.float32), told)

    def _decoded(self, z: NDArray[np.float32], told: NDArray[np.floating]) -> NDArray[np.uint8]:
        network = self._learnt()
        height, width = network.sizes[0]

        def decode(rows: Tensor) -> Tensor:
            made = network.decode(rows[:, : self.latent_size], rows[:, self.latent_size :])
            return made.permute(0, 2, 3, 1).flatten(1)

        flat = by_rows(decode, np.hstack([z, told.astype(np.float32)]), height * width * 3)
        shades = np.clip(np.rint((flat + 1.0) * 127.5), 1, 255)  # 0 throughout means no image
        return np.asarray(shades.reshape(len(z), height, width, 3), np.uint8)

    def _learnt(self) -> _Network:
        if self.network is None:
            raise UserError("ItemImages draws nothing before it is fitted")
        return self.network


def conditions(
    topics: NDArray[np.floating], popularity: NDArray[np.floating]
) -> NDArray[np.float32]:
    """(items, topics + 1) what pictures are drawn for: topics, and how popular the item is.

    Popularity is the item's rank among all, from 0 (least) to 1, so that growth moves nothing.
    """
    rank = np.argsort(np.argsort(popularity, kind="stable"), kind="stable")
    share = rank / max(1, len(popularity) - 1)
    return np.column_stack([topics, share]).astype(np.float32)


def _pixels(images: Tensor) -> Tensor:
    """(n, 3, height, width) float32 in -1 to 1 from (n, height, width, 3)."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0

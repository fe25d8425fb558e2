"""RecVAE: Mult-VAE with a deeper encoder, a composite prior, and turns taken in training.

I. Shenbin, A. Alekseev, E. Tutubalina, V. Malykh & S. Nikolenko, "RecVAE: a New Variational
Autoencoder for Top-N Recommendations with Implicit Feedback", WSDM 2020 (arXiv 1912.11160):
densely connected encoder layers with swish and layer normalisation, a linear decoder, a prior that
holds the posterior near the one of the turn before, a KL weight in proportion to the length of a
history, and encoder and decoder trained in turns, the decoder without dropout. Falling learning
rate and decoupled weight decay as in multvae.py.
"""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import Capabilities, State
from ...errors import UserError
from ..networks import dropout, dump, entered, linear, restore
from .autoencoder import Autoencoder

_PRIOR = (3 / 20, 3 / 4, 1 / 10)
"""Shares of the prior: N(0, I), the posterior before this turn, and N(0, e^10 I): the paper's."""
_WIDE = 10.0
"""Log variance of the third."""


def _log_normal(z: Tensor, mu: Tensor | float, log_var: Tensor) -> Tensor:
    """Log density of N(mu, exp(log_var)), entry by entry."""
    return -0.5 * (log_var + math.log(2 * math.pi) + (z - mu) ** 2 / log_var.exp())


class _Encoder(nn.Module):
    """q(z | x) = N(mu, sigma^2); each layer sees the sum of all layers before it."""

    def __init__(
        self, n_items: int, hidden: int, latent: int, layers: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            linear(n_items if layer == 0 else hidden, hidden, luck) for layer in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=0.1) for _ in range(layers))
        self.posterior = linear(hidden, 2 * latent, luck)

    def forward(
        self, x: Tensor, share: float, luck: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        x = dropout(F.normalize(x, dim=1), share, luck)  # (batch, items), rows of length 1
        return self.above(self.layers[0](x))

    @property
    def first(self) -> nn.Linear:
        layer: nn.Linear = self.layers[0]  # type: ignore[assignment]
        return layer

    def above(self, first: Tensor) -> tuple[Tensor, Tensor]:
        h = self.norms[0](F.silu(first))  # (batch, hidden)
        before = h  # (batch, hidden), sum of the layers so far
        for layer, norm in zip(self.layers[1:], self.norms[1:], strict=True):
            h = norm(F.silu(layer(h) + before))  # (batch, hidden)
            before = before + h
        mu, log_var = self.posterior(h).chunk(2, dim=1)  # (batch, latent) each
        return mu, log_var


class _Network(nn.Module):
    """The encoder, and a decoder of one layer: p(item | z) = softmax(W z + b)."""

    def __init__(
        self, n_items: int, hidden: int, latent: int, layers: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.encoder = _Encoder(n_items, hidden, latent, layers, luck)
        self.decoder = linear(latent, n_items, luck)

    def decode(self, z: Tensor) -> Tensor:
        return F.log_softmax(self.decoder(z), dim=1)  # (batch, items)


class RecVAE(Autoencoder):
    """Generates a distribution over the catalog from a person's whole history.

    Any history folds in; scores are log probabilities of the next item at the posterior mean.

    Args:
        hidden_size, latent_size: widths of the encoder's layers and of z.
        layers: of the encoder.
        dropout: share of the input entries dropped while the encoder is trained.
        gamma: KL weight per item of the history.
        encoder_epochs: passes that train the encoder before each pass that trains the decoder.
        epochs, update_epochs: passes of both kinds together.
        learning_rate, weight_decay, batch_size, seed: see :class:`~.autoencoder.Autoencoder`.
    """

    name = "recvae"
    capabilities = Capabilities(history="any", scores="log_prob", update="incremental")
    network: _Network

    def __init__(
        self,
        *,
        hidden_size: int = 600,
        latent_size: int = 200,
        layers: int = 5,
        dropout: float = 0.5,
        gamma: float = 0.005,
        encoder_epochs: int = 3,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.5,
        batch_size: int = 64,
        epochs: int = 60,
        update_epochs: int = 8,
        seed: int = 0,
    ) -> None:
        if layers < 1 or encoder_epochs < 1:
            raise UserError(
                f"layers and encoder_epochs must be at least 1, got {layers} and {encoder_epochs}"
            )
        self.hidden_size = hidden_size
        self.latent_size = latent_size
        self.layers = layers
        self.dropout = dropout
        self.gamma = gamma
        self.encoder_epochs = encoder_epochs
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            epochs=epochs,
            update_epochs=update_epochs,
            seed=seed,
        )

    def _network(self, n_items: int, luck: torch.Generator) -> nn.Module:
        return _Network(n_items, self.hidden_size, self.latent_size, self.layers, luck)

    def _epoch(self, epoch: int) -> None:
        """Whose turn it is; for all passes of its turn an encoder is held near what it was before,
        as in the authors' code."""
        turn = epoch % (self.encoder_epochs + 1)
        self._decodes = turn == self.encoder_epochs
        self.network.encoder.requires_grad_(not self._decodes)
        self.network.decoder.requires_grad_(self._decodes)
        if turn == 0:
            self._before = deepcopy(self.network.encoder).requires_grad_(False)

    def _under_way(self) -> State:
        """With the encoder as it was before its turn, which all passes of the turn are held to."""
        return {**super()._under_way(), **dump(self._before, prefix="before/")}

    def _go_on(self, state: State) -> None:
        super()._go_on(state)
        self._before = deepcopy(self.network.encoder).requires_grad_(False)
        restore(self._before, None, state, prefix="before/")

    def _loss(self, x: Tensor, done: float, luck: torch.Generator) -> Tensor:
        """Negative ELBO with the composite prior, one draw of z; the decoder's turn has no KL."""
        share = 0.0 if self._decodes else self.dropout
        mu, log_var = self.network.encoder(x, share, luck)  # (batch, latent) each
        z = mu + torch.exp(0.5 * log_var) * torch.randn(mu.shape, generator=luck)  # (batch, latent)
        loss = -(self.network.decode(z) * x).sum(dim=1)  # (batch,)
        if not self._decodes:
            kl = (_log_normal(z, mu, log_var) - self._log_prior(z, x)).sum(dim=1)  # (batch,)
            loss = loss + self.gamma * x.sum(dim=1) * kl
        return loss.mean()

    def _log_prior(self, z: Tensor, x: Tensor) -> Tensor:
        """(batch, latent) log density of the mixture, entry by entry."""
        mu, log_var = self._before(x, 0.0, None)  # (batch, latent) each
        parts = (
            _log_normal(z, 0.0, torch.zeros(())),
            _log_normal(z, mu, log_var),
            _log_normal(z, 0.0, torch.full((), _WIDE)),
        )
        weighted = [part + math.log(share) for part, share in zip(parts, _PRIOR, strict=True)]
        return torch.logsumexp(torch.stack(weighted), dim=0)

    def _entered(self, x: sp.csr_matrix) -> NDArray[np.float32]:
        return entered(self.network.encoder.first, x)  # (n, hidden)

    def _rebuild(self, x: Tensor) -> Tensor:
        return self.network.decode(self.network.encoder.above(x)[0])

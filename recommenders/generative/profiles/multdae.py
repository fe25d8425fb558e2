"""Mult-DAE: a denoising autoencoder over whole histories with a multinomial likelihood.

D. Liang, R. Krishnan, M. Hoffman & T. Jebara, "Variational Autoencoders for Collaborative
Filtering", WWW 2018 (arXiv 1802.05814), section 2.3: Mult-VAE without its posterior, a point in
place of a distribution, items-latent-items. Trained on the schedule of multvae.py.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import Capabilities
from ..networks import dropout, entered, linear
from .autoencoder import Autoencoder


class _Network(nn.Module):
    """Encoder z = tanh(W x), decoder p(item | z) = softmax."""

    def __init__(self, n_items: int, latent: int, luck: torch.Generator) -> None:
        super().__init__()
        self.into = linear(n_items, latent, luck)
        self.outof = linear(latent, n_items, luck)

    def forward(self, x: Tensor, share: float, luck: torch.Generator) -> Tensor:
        x = dropout(F.normalize(x, dim=1), share, luck)  # (batch, items), rows of length 1
        return self.decode(self.into(x))

    def decode(self, h: Tensor) -> Tensor:
        z = torch.tanh(h)  # (batch, latent)
        return F.log_softmax(self.outof(z), dim=1)  # (batch, items)


class MultDAE(Autoencoder):
    """Generates a distribution over the catalog from a person's whole history.

    Any history folds in; scores are log probabilities of the next item.

    Args:
        latent_size: width of the one layer between items and items.
        dropout: share of the input entries dropped in training.
        learning_rate, weight_decay, batch_size, epochs, update_epochs, seed: see
            :class:`~.autoencoder.Autoencoder`.
    """

    name = "multdae"
    capabilities = Capabilities(history="any", scores="log_prob", update="incremental")
    network: _Network

    def __init__(
        self,
        *,
        latent_size: int = 200,
        dropout: float = 0.5,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.7,
        batch_size: int = 64,
        epochs: int = 30,
        update_epochs: int = 5,
        seed: int = 0,
    ) -> None:
        self.latent_size = latent_size
        self.dropout = dropout
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            epochs=epochs,
            update_epochs=update_epochs,
            seed=seed,
        )

    def _network(self, n_items: int, luck: torch.Generator) -> nn.Module:
        return _Network(n_items, self.latent_size, luck)

    def _loss(self, x: Tensor, done: float, luck: torch.Generator) -> Tensor:
        log_p = self.network(x, self.dropout, luck)  # (batch, items)
        loss: Tensor = -(log_p * x).sum(dim=1).mean()
        return loss

    def _entered(self, x: sp.csr_matrix) -> NDArray[np.float32]:
        return entered(self.network.into, x)  # (n, latent)

    def _rebuild(self, x: Tensor) -> Tensor:
        log_p: Tensor = self.network.decode(x)
        return log_p

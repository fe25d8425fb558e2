"""L-DiffRec: DiffRec in the latent space of a variational autoencoder, for large catalogs.

W. Wang, Y. Xu, F. Feng, X. Lin, X. He & T.-S. Chua, "Diffusion Recommender Model", SIGIR 2023
(arXiv 2304.04971), section 3.4, with one cluster of items: a history is encoded as in Mult-VAE,
noise is added to and removed from its code, and the clean code is decoded to a distribution over
the catalog. A step of the diffusion costs as much as the code is long, not as the catalog is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...border import Capabilities
from ..networks import dropout, linear
from .diffrec import Denoiser, DiffRec


class _Network(nn.Module):
    """Encoder q(z | x), denoiser of z, decoder p(item | z) = softmax."""

    def __init__(
        self, n_items: int, hidden: int, latent: int, time: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.posterior = linear(n_items, 2 * latent, luck)
        self.denoiser = Denoiser(latent, hidden, 0, time, luck)
        self.logits = linear(latent, n_items, luck)

    def encode(
        self, x: Tensor, share: float, luck: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        x = dropout(F.normalize(x, dim=1), share, luck)  # (batch, items), rows of length 1
        mu, log_var = self.posterior(x).chunk(2, dim=1)  # (batch, latent) each
        return mu, log_var

    def decode(self, z: Tensor) -> Tensor:
        return F.log_softmax(self.logits(torch.tanh(z)), dim=1)  # (batch, items)


class LDiffRec(DiffRec):
    """Generates a distribution over the catalog by removing noise from the code of a history.

    Any history folds in; scores are log probabilities of the next item.

    Args:
        hidden_size: width of the denoiser.
        latent_size: length of the code.
        beta: weight of the KL term of the autoencoder.
        diffusion: weight of the squared error of the predicted code.
        time_size, steps, noise_scale, noise_min, noise_max, sampling_steps, dropout: as in
            :class:`~.diffrec.DiffRec`; the dropout is the encoder's.
        reweight: as there, but not by default: weights in the hundreds reach the encoder too, and
            the cheapest code is then the same for everybody.
        learning_rate, weight_decay, batch_size, epochs, update_epochs, seed: see
            :class:`~.autoencoder.Autoencoder`.
    """

    name = "ldiffrec"
    capabilities = Capabilities(history="any", scores="log_prob", update="incremental")
    network: _Network  # type: ignore[assignment]

    def __init__(
        self,
        *,
        hidden_size: int = 300,
        latent_size: int = 200,
        beta: float = 0.2,
        diffusion: float = 1.0,
        time_size: int = 10,
        steps: int = 5,
        noise_scale: float = 1.0,
        noise_min: float = 0.0005,
        noise_max: float = 0.02,
        sampling_steps: int = 0,
        reweight: bool = False,
        dropout: float = 0.5,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.7,
        batch_size: int = 64,
        epochs: int = 30,
        update_epochs: int = 5,
        seed: int = 0,
    ) -> None:
        self.latent_size = latent_size
        self.beta = beta
        self.diffusion = diffusion
        super().__init__(
            hidden_size=hidden_size,
            time_size=time_size,
            steps=steps,
            noise_scale=noise_scale,
            noise_min=noise_min,
            noise_max=noise_max,
            sampling_steps=sampling_steps,
            reweight=reweight,
            dropout=dropout,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            epochs=epochs,
            update_epochs=update_epochs,
            seed=seed,
        )

    def _network(self, n_items: int, luck: torch.Generator) -> nn.Module:
        return _Network(n_items, self.hidden_size, self.latent_size, self.time_size, luck)

    def _loss(self, x: Tensor, done: float, luck: torch.Generator) -> Tensor:
        """Diffusion loss of the code, and the negative ELBO decoded from the predicted code."""
        mu, log_var = self.network.encode(x, self.dropout, luck)  # (batch, latent) each
        z = mu + torch.exp(0.5 * log_var) * torch.randn(mu.shape, generator=luck)  # (batch, latent)
        t, times = self._draw_steps(len(x), luck)  # (batch,) each
        clean = self.network.denoiser(self._noised(z, t, luck), t, 0.0, None)  # (batch, latent)
        error = self._weighted(((clean - z) ** 2).mean(dim=1), t)  # (batch,)
        likelihood = (self.network.decode(clean) * x).sum(dim=1)  # (batch,)
        kl = 0.5 * (mu**2 + log_var.exp() - 1.0 - log_var).sum(dim=1)  # (batch,)
        beta = self.beta * min(1.0, 2.0 * done)
        loss: Tensor = (self.diffusion * error / times + beta * kl - likelihood).mean()
        return loss

    def _step_back(self, z: Tensor, t: Tensor) -> Tensor:
        return self.network.denoiser(z, t, 0.0, None)  # type: ignore[no-any-return]

    def _rebuild(self, x: Tensor) -> Tensor:
        return self.network.decode(self._denoised(self.network.encode(x, 0.0, None)[0]))

"""RQ-VAE: item vectors squeezed by an autoencoder whose middle is rounded to sums of code vectors.

N. Zeghidour et al., "SoundStream", IEEE/ACM TASLP 2021, as TIGER uses it for ids (S. Rajput et al.,
NeurIPS 2023). A vector x has the latent z = encode(x), which is rounded level by level to the sum q
of code vectors q_l; its loss is

    |x - decode(q)|^2 + beta * sum over l of |r_l - q_l|^2,   r_l = z - q_1 - ... - q_(l-1)

The gradient of decode passes to z as if nothing had been rounded. Codebooks follow the moving mean
of what is rounded to them, and start as residual k-means finds them (A. van den Oord et al.,
"Neural Discrete Representation Learning", NeurIPS 2017, appendix A.1). A code that is hardly used
any more moves to a latent of the batch: without that, codebooks collapse to a few codes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...border import State
from ..networks import linear
from ..training_loop import passes, random_batches
from .semantic_ids import OUT_OF_REACH, residual_kmeans, without_dead_codes

_KEPT = 0.99  # of the moving means, each step
_DEAD = 0.1  # a code with less than this share of an even share of the batch is moved


class RQVAE(nn.Module):
    """The encoder and decoder; codebooks stand beside them, because gradients do not reach them.

    Args:
        dim: of the item vectors.
        hidden, latent: widths.
        luck: draws the weights.

    Attributes:
        books: (levels, codes, latent) float32, after :meth:`learn`.
        losses: mean loss of each epoch.
    """

    def __init__(self, dim: int, hidden: int, latent: int, luck: torch.Generator) -> None:
        super().__init__()
        self.into = linear(dim, hidden, luck)
        self.to_latent = linear(hidden, latent, luck)
        self.from_latent = linear(latent, hidden, luck)
        self.out = linear(hidden, dim, luck)
        self.books = np.zeros((0, 0, latent), np.float32)
        self.losses: list[float] = []

    def encode(self, x: Tensor) -> Tensor:
        """(rows, latent) of (rows, dim)."""
        return self.to_latent(torch.relu(self.into(x)))  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        """(rows, dim) of (rows, latent)."""
        return self.out(torch.relu(self.from_latent(z)))  # type: ignore[no-any-return]

    def latents(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(items, latent) of (items, dim): what ids are the residual codes of."""
        with torch.no_grad():
            return self.encode(torch.from_numpy(vectors)).numpy()

    def learn(
        self,
        vectors: NDArray[np.float32],
        levels: int,
        codes: int,
        *,
        seed_of_codes: np.random.Generator,
        luck: torch.Generator,
        epochs: int = 100,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        beta: float = 0.25,
    ) -> None:
        """Fits all of it to (items, dim) vectors.

        Args:
            vectors: what is to be told apart.
            levels, codes: of the codebooks.
            seed_of_codes: starts the k-means of the codebooks.
            luck: orders items, and moves dead codes.
            epochs, batch_size, learning_rate: of Adam.
            beta: how firmly latents are held to their codes.
        """
        x = torch.from_numpy(vectors)
        first = residual_kmeans(self.latents(vectors), levels, codes, seed_of_codes)
        books = torch.from_numpy(np.where(first == OUT_OF_REACH, np.float32(0.0), first))
        size = torch.full((levels, codes), min(batch_size, len(x)) / codes)
        total = books * size[:, :, None]
        adam = torch.optim.Adam(self.parameters(), lr=learning_rate, fused=True)
        for epoch in passes(epochs, self.losses):
            for rows in random_batches(len(x), batch_size, luck):
                z = self.encode(x[rows])  # (rows, latent)
                rounded, held = torch.zeros_like(z), z.new_zeros(())
                with torch.no_grad():
                    steps = self._round(z, books, size, total, luck)
                for step in steps:
                    held = held + (z - rounded - step).pow(2).sum(dim=1).mean()
                    rounded = rounded + step
                back = self.decode(z + (rounded - z).detach())
                loss = (back - x[rows]).pow(2).sum(dim=1).mean() + beta * held
                epoch.step(adam, loss, weight=len(rows))
        self.books = without_dead_codes(self.latents(vectors), books.numpy())

    def _round(
        self, z: Tensor, books: Tensor, size: Tensor, total: Tensor, luck: torch.Generator
    ) -> list[Tensor]:
        """(rows, latent) code vectors of each level; the codebooks move on in place."""
        rest, steps = z.clone(), []
        for book, n, mass in zip(books, size, total, strict=True):
            code = torch.cdist(rest, book).argmin(dim=1)
            steps.append(book[code])
            met = torch.bincount(code, minlength=len(book)).to(z.dtype)
            n.mul_(_KEPT).add_(met, alpha=1.0 - _KEPT)
            mass.mul_(_KEPT).index_add_(0, code, rest, alpha=1.0 - _KEPT)
            even = len(rest) / len(book)
            dead = torch.nonzero(n < _DEAD * even)[:, 0]
            if len(dead):
                picked = torch.randint(0, len(rest), (len(dead),), generator=luck)
                n[dead] = even
                mass[dead] = rest[picked] * even
            rest = rest - steps[-1]
            book.copy_(mass / n[:, None])
        return steps

    def state(self) -> State:
        """The encoder: later items need no decoder."""
        parts = (("into", self.into), ("to_latent", self.to_latent))
        return {
            f"rqvae/{name}.{which}": value.detach().numpy().copy()
            for name, layer in parts
            for which, value in layer.named_parameters()
        }

    @classmethod
    def of_state(cls, state: State) -> RQVAE:
        """An encoder from :meth:`state`."""
        hidden, dim = state["rqvae/into.weight"].shape
        latent = len(state["rqvae/to_latent.bias"])
        made = cls(dim, hidden, latent, torch.Generator().manual_seed(0))
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if f"rqvae/{name}" in state:
                    parameter.copy_(torch.tensor(state[f"rqvae/{name}"]))
        return made

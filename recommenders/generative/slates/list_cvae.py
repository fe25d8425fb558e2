"""List-CVAE: draws a whole slate at once, for the answer that is wished for.

R. Jiang, S. Gowal, T. Mann & D. Rezende, "Beyond Greedy Ranking: Slate Optimization via
List-CVAE", ICLR 2019 (arXiv 1803.01682): a conditional variational autoencoder over slates. The
condition is how much of a slate was taken, and the history it answers; asked for the answer 1 it
draws slates like those that were taken whole, so what two items are worth together is learnt where
a ranking by single items cannot see it.

Where nobody logged slates, they are made of consecutive consumption (``composed.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from ...border import NOTHING, Capabilities, Progress, Requests, Slates
from ...catalog import Catalog
from ...errors import UserError
from ...interactions import Interactions
from ...ranking import blocks
from ..networks import by_rows, embedding, linear, seeded
from ..training_loop import OfItems, falling
from .composed import Consumption, ShownSlates, left_aligned, slate_after_slate


class _Network(nn.Module):
    """Encoder q(z | s, c), prior p(z | c), decoder p(s | z, c): slates s under conditions c."""

    def __init__(
        self, n_items: int, slots: int, size: int, hidden: int, latent: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.slots = slots
        self.items = embedding(n_items + 1, size, luck, std=size**-0.5)  # the last row is "nothing"
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.encode_in = linear(slots * size + size + 1, hidden, luck)
        self.encode_out = linear(hidden, 2 * latent, luck)
        self.prior_in = linear(size + 1, hidden, luck)
        self.prior_out = linear(hidden, 2 * latent, luck)
        self.decode_in = linear(latent + size + 1, hidden, luck)
        self.decode_out = linear(hidden, slots * size, luck)

    def condition(self, before: Tensor, answer: Tensor) -> Tensor:
        """(batch, size + 1) the mean of the history's items, and the answer from -1 to 1."""
        real = (before < len(self.bias)).to(self.items.dtype)[:, :, None]  # (batch, context, 1)
        past = (F.embedding(before, self.items) * real).sum(dim=1)  # (batch, size)
        past = past / real.sum(dim=1).clamp(min=1.0)
        return torch.cat([past, 2.0 * answer[:, None] - 1.0], dim=1)

    def prior(self, c: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.prior_out(torch.relu(self.prior_in(c))).chunk(2, dim=1)
        return mu, log_var  # (batch, latent) each

    def encode(self, slate: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        s = F.embedding(slate, self.items).flatten(1)  # (batch, slots * size)
        hidden = torch.relu(self.encode_in(torch.cat([s, c], dim=1)))  # (batch, hidden)
        mu, log_var = self.encode_out(hidden).chunk(2, dim=1)
        return mu, log_var  # (batch, latent) each

    def decode(self, z: Tensor, c: Tensor) -> Tensor:
        """(batch, slots, items) log probabilities, slot by slot."""
        hidden = torch.relu(self.decode_in(torch.cat([z, c], dim=1)))  # (batch, hidden)
        wanted = self.decode_out(hidden).view(len(z), self.slots, -1)  # (batch, slots, size)
        wanted = wanted + c[:, None, :-1]  # what is like the history is near at hand
        return F.log_softmax(wanted @ self.items[:-1].T + self.bias, dim=2)


class ListCVAE(OfItems):
    """Generates slates, each as a whole, like those that were answered as asked.

    A slate is drawn by z from p(z | history, response); each slot in turn takes the most probable
    item that is new to the person and to the slate. Any history folds in. Scores are log
    probabilities that a slot of the slate holds the item, at the prior's mean.

    Args:
        slate_size: slots of a slate; who asks for more gets slate after slate, each with its own z.
        context: how many of the latest items of a history it looks at.
        response: share of the slate that should be taken, which the slate is drawn for; 1 asks for
            the best it knows, 0 for slates that nobody wants (to audit with).
        structure: "list", or "bundle" where the slate is one offer.
        embedding_size, hidden_size, latent_size: widths of the network.
        beta: weight of the KL term; below 1 slates hide in z, and what the prior draws is not what
            was answered as asked.
        learning_rate: of Adam at the start; it falls linearly to 0 over the epochs.
        batch_size: slates a step.
        epochs, update_epochs: passes over the log when fitting, and over what is new when updating
            (from half the learning rate).
        seed: mixed into the seeds of ``fit``, ``update`` and the requests.

    Attributes:
        losses: mean negative ELBO of a slate (nats) in each epoch since the last fit.
    """

    name = "list-cvae"
    network: _Network
    capabilities = Capabilities(
        history="any",
        scores="log_prob",
        stochastic=True,
        outputs=frozenset({"items", "slate"}),
        update="incremental",
        negatives=True,
        unseen=True,
    )

    def __init__(
        self,
        *,
        slate_size: int = 10,
        context: int = 50,
        response: float = 1.0,
        structure: Literal["list", "bundle"] = "list",
        embedding_size: int = 64,
        hidden_size: int = 256,
        latent_size: int = 16,
        beta: float = 1.0,
        learning_rate: float = 3e-3,
        batch_size: int = 128,
        epochs: int = 12,
        update_epochs: int = 3,
        seed: int = 0,
    ) -> None:
        if slate_size < 1 or context < 1:
            raise UserError(
                f"slate_size and context must be at least 1, got {slate_size} and {context}"
            )
        if not 0.0 <= response <= 1.0:
            raise UserError(f"response is a share of the slate, from 0 to 1, got {response}")
        if structure not in ("list", "bundle"):
            raise UserError(f'structure must be "list" or "bundle", got {structure!r}')
        self.slate_size = slate_size
        self.context = context
        self.response = response
        self.structure: Literal["list", "bundle"] = structure
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.latent_size = latent_size
        self.beta = beta
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.update_epochs = update_epochs
        self.seed = seed
        self._gone: NDArray[np.bool_] | None = None
        self._build(1, 0)

    def _build(self, n_items: int, seed: int) -> None:
        self.n_items = n_items
        widths = (self.embedding_size, self.hidden_size, self.latent_size)
        luck = seeded(seed, self.name, "weights", self.seed)
        self.network = _Network(n_items, self.slate_size, *widths, luck)
        self.adam = torch.optim.Adam(self.network.parameters(), fused=True)
        self.losses = []

    # -- learning ------------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch on slates made of consecutive consumption, drawn anew each epoch;
        ``progress`` hears the mean loss of each epoch."""
        self._build(len(catalog), seed)
        luck = seeded(seed, self.name, "fit", self.seed)
        slates = self._consumption(log, 0)
        self._train(lambda: slates.mixed(luck), self.epochs, self.learning_rate, luck, progress)

    def fit_slates(
        self,
        slates: ShownSlates,
        n_items: int,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch on slates that were really shown, with what was taken of each.

        Args:
            slates: (slates, slate_size) items, -1 nowhere; ``n_items`` for an empty slot.
            n_items: size of the catalog.
        """
        if slates.items.shape[1] != self.slate_size:
            raise UserError(
                f"slates must have slate_size = {self.slate_size} slots, "
                f"got {slates.items.shape[1]}"
            )
        self._build(n_items, seed)
        luck = seeded(seed, self.name, "fit", self.seed)
        self._train(lambda: slates, self.epochs, self.learning_rate, luck, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains on, over slates that end with what is new."""
        luck = seeded(seed, self.name, "update", self.seed, len(log))
        slates = self._consumption(log, since)
        rate = self.learning_rate / 2
        self._train(lambda: slates.mixed(luck), self.update_epochs, rate, luck, None)

    def _consumption(self, log: Interactions, since: int) -> Consumption:
        shape = {"slots": self.slate_size, "context": self.context}
        return Consumption(log, self.n_items, since=since, **shape)

    def _train(
        self,
        draw: Callable[[], ShownSlates],
        epochs: int,
        learning_rate: float,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        for epoch in self._epochs(epochs, luck, progress, rate=falling(learning_rate)):
            slates = draw()
            for rows in epoch.shuffled(len(slates), self.batch_size, luck):
                epoch.step(self.adam, self._loss(slates.take(rows), luck), weight=len(rows))

    def _loss(self, batch: ShownSlates, luck: torch.Generator) -> Tensor:
        """Negative ELBO, one draw of z: beta KL(q(z | s, c) || p(z | c)) - E_q log p(s | z, c)."""
        slate = torch.from_numpy(batch.items)  # (batch, slots)
        real = slate < self.n_items
        share = batch.taken.sum(axis=1) / np.maximum(real.sum(dim=1).numpy(), 1)
        answer = torch.from_numpy(share.astype(np.float32))
        c = self.network.condition(torch.from_numpy(batch.before), answer)  # (batch, size + 1)
        mu, log_var = self.network.encode(slate, c)
        mu_0, log_var_0 = self.network.prior(c)
        noise = torch.randn(mu.shape, generator=luck)  # (batch, latent)
        log_p = self.network.decode(mu + torch.exp(0.5 * log_var) * noise, c)
        held = log_p.gather(2, torch.where(real, slate, 0)[:, :, None])[:, :, 0]  # (batch, slots)
        apart = (log_var - log_var_0).exp() + (mu - mu_0) ** 2 / log_var_0.exp()
        kl = 0.5 * (log_var_0 - log_var + apart - 1.0).sum(dim=1)  # (batch,)
        return (self.beta * kl - (held * real).sum(dim=1)).mean()

    # -- answers -------------------------------------------------------------------------------

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """From now on these items only."""
        self._gone = None if available.all() else ~available

    def recommend(self, requests: Requests) -> Slates:
        """Slates drawn for the response wished for."""
        parts = [np.empty((0, requests.k), np.int32)]
        for rows in blocks(len(requests), self.n_items * self.slate_size):
            part = requests.take(rows)
            shut = part.forbidden(self.n_items, self._gone)
            parts.append(slate_after_slate(self._slate, part, shut, self.slate_size))
        return Slates(left_aligned(np.concatenate(parts)), structure=self.structure)

    def _slate(self, requests: Requests, shut: NDArray[np.bool_], nth: int) -> NDArray[np.int32]:
        """(n, slots) one slate of everybody; ``shut`` (n, items) may not stand in it."""
        luck = requests.uniform(f"{self.name}/{self.seed}/{nth}", self.latent_size)
        log_p = self._decoded(requests, ndtri(luck))  # (n, slots, items)
        free, person = ~shut, np.arange(len(requests))
        items = np.full((len(requests), self.slate_size), NOTHING, np.int32)
        for slot in range(self.slate_size):
            scores = np.where(free, log_p[:, slot], -np.inf)  # (n, items)
            best = scores.argmax(axis=1)
            found = free[person, best]
            items[found, slot] = best[found]
            free[person[found], best[found]] = False
        return items

    def _decoded(self, requests: Requests, noise: NDArray[np.float64]) -> NDArray[np.float32]:
        """(n, slots, items) log probabilities at prior mean plus noise (n, latent) deviations."""
        before = requests.history.last(self.context, fill=self.n_items)

        def decoded(rows: Tensor) -> Tensor:
            past, z = rows[:, : self.context].long(), rows[:, self.context :].float()
            c = self.network.condition(past, torch.full((len(rows),), self.response))
            mu, log_var = self.network.prior(c)
            log_p: Tensor = self.network.decode(mu + torch.exp(0.5 * log_var) * z, c)
            return log_p.flatten(1)  # (rows, slots * items)

        flat = by_rows(decoded, np.hstack([before, noise]), self.slate_size * self.n_items)
        return flat.reshape(len(requests), self.slate_size, self.n_items)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) log of the mean over slots of the probability that the slot holds the item."""
        parts = [np.empty((0, self.n_items), np.float32)]
        for rows in blocks(len(requests), self.n_items * self.slate_size):
            log_p = self._decoded(requests.take(rows), np.zeros((len(rows), self.latent_size)))
            parts.append(np.log(np.exp(log_p).mean(axis=1) + np.float32(1e-30)))
        return np.concatenate(parts)

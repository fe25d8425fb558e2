"""CFGAN: a generator of purchase vectors, trained against a discriminator.

D.-K. Chae, J.-S. Kang, S.-W. Kim & J.-T. Lee, "CFGAN: A Generic Collaborative Filtering Framework
based on Generative Adversarial Networks", CIKM 2018, with zero reconstruction and partial masking
(their CFGAN-ZP), and as their published code has it: sigmoid hidden layers, a generator whose
output is linear, a pull to zero that is summed over what it is drawn for, and L2 in the generator's
loss alone. Its generator sees no noise, so that it is an autoencoder with a learned loss
(F. B. Perez Maurera, M. Ferrari Dacrema & P. Cremonesi, ECIR 2022, arXiv 2201.01815); here noise
can be given to it, and then it generates. Whether its modes collapse shows in the coverage and the
Gini coefficient of its lists (``loopaudit evaluate``), beside those of EASE.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from ...border import Capabilities, Progress, Requests, Slates, State
from ...catalog import Catalog
from ...errors import UserError
from ...interactions import Interactions
from ...randomness import stream, uniform
from ...ranking import recommend_best
from ..networks import by_rows, dump, linear, restore, seeded
from ..training_loop import Learner, TrainsInEpochs, falling, random_batches


class _Generator(nn.Module):
    """(condition, noise) to a vector of interactions."""

    def __init__(self, width: int, noise: int, hidden: int, luck: torch.Generator) -> None:
        super().__init__()
        self.into = linear(width + noise, hidden, luck)
        self.outof = linear(hidden, width, luck)

    def forward(self, c: Tensor) -> Tensor:
        return self.outof(torch.sigmoid(self.into(c)))  # type: ignore[no-any-return]  # (batch, width)


class _Discriminator(nn.Module):
    """(vector, condition) to the logit that the vector is real."""

    def __init__(self, width: int, hidden: int, luck: torch.Generator) -> None:
        super().__init__()
        self.into = linear(2 * width, hidden, luck)
        self.outof = linear(hidden, 1, luck)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = torch.sigmoid(self.into(torch.cat([x, c], dim=1)))  # (batch, hidden)
        return self.outof(h)[:, 0]  # type: ignore[no-any-return]  # (batch,)


class CFGAN(TrainsInEpochs):
    """Scores items by a generated purchase vector.

    By items (the better one in the paper) a row is an item's buyers, and only people who were
    there at the fit are answered for themselves, others with the mean over all people. By users a
    row is a history, and any history folds in. Scores are generated interactions, near 0 and 1.

    Args:
        based: "item" or "user": what a row is.
        hidden_size, discriminator_size: widths of the two networks.
        noise_size: length of the normal noise the generator is given; with 0 it is deterministic.
        mask_share: share of what was not bought that the discriminator sees too (partial masking).
        zero_share: share of what was not bought that is pulled to 0 (zero reconstruction).
        zero_weight: weight of that pull: the sum of squares over those entries.
        reg: weight of half the squared length of the generator's parameters in its loss.
        learning_rate: of both; it falls linearly to 0 over the epochs.
        generator_steps, discriminator_steps: passes of each in an epoch.
        batch_size: rows per step.
        epochs: when fitting; updates fit again.
        seed: mixed into the seeds of ``fit``, ``update`` and the requests.

    Attributes:
        losses: mean loss of the generator in each epoch of the last fit; a game has no loss that
            must fall.
    """

    name = "cfgan"
    capabilities = Capabilities(history="any", scores="ordinal", update="refit")

    def __init__(
        self,
        *,
        based: str = "item",
        hidden_size: int = 400,
        discriminator_size: int = 125,
        noise_size: int = 8,
        mask_share: float = 0.7,
        zero_share: float = 0.7,
        zero_weight: float = 0.03,
        reg: float = 1e-3,
        learning_rate: float = 1e-3,
        generator_steps: int = 2,
        discriminator_steps: int = 1,
        batch_size: int = 64,
        epochs: int = 50,
        seed: int = 0,
    ) -> None:
        if based not in ("item", "user"):
            raise UserError(f'based must be "item" or "user", got {based!r}')
        if noise_size < 0 or not (0.0 <= mask_share <= 1.0 and 0.0 <= zero_share <= 1.0):
            raise UserError(
                "noise_size must be at least 0, mask_share and zero_share between 0 and 1, got "
                f"{noise_size}, {mask_share} and {zero_share}"
            )
        self.based = based
        self.hidden_size = hidden_size
        self.discriminator_size = discriminator_size
        self.noise_size = noise_size
        self.mask_share = mask_share
        self.zero_share = zero_share
        self.zero_weight = zero_weight
        self.reg = reg
        self.learning_rate = learning_rate
        self.generator_steps = generator_steps
        self.discriminator_steps = discriminator_steps
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.capabilities = replace(
            self.capabilities,
            history="any" if based == "user" else "trained_users_only",
            inputs=frozenset({"history"} if based == "user" else {"user_id"}),
            stochastic=noise_size > 0,
        )
        self.n_items = 1
        self.taken = sp.csr_matrix((0, 1), dtype=np.float32)  # (users, items) at the fit
        self._build(0)

    def _build(self, seed: int) -> None:
        luck = seeded(seed, "cfgan", "weights", self.seed)
        width = self.n_items if self.based == "user" else max(1, self.taken.shape[0])
        self.generator = _Generator(width, self.noise_size, self.hidden_size, luck)
        self.discriminator = _Discriminator(width, self.discriminator_size, luck)
        of_both = self.generator.parameters(), self.discriminator.parameters()
        self.adam = torch.optim.Adam(of_both[0], weight_decay=self.reg, fused=True)
        self.adam_of_discriminator = torch.optim.Adam(of_both[1], fused=True)
        self.losses = []

    def _learners(self) -> dict[str, Learner]:
        return {
            "generator/": (self.generator, self.adam),
            "discriminator/": (self.discriminator, self.adam_of_discriminator),
        }

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains from scratch; ``progress`` hears the generator's mean loss of each epoch."""
        self.n_items = len(catalog)
        self._train(log, seed, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains again from scratch on the whole log."""
        self._train(log, seed, None)

    def _train(self, log: Interactions, seed: int, progress: Progress | None) -> None:
        self.taken = log.histories().to_csr(self.n_items)  # (users, items)
        self._build(seed)
        luck = seeded(seed, "cfgan", "fit", self.seed)
        rows = self.taken if self.based == "user" else self.taken.T.tocsr()
        rows = rows[np.flatnonzero(np.diff(rows.indptr))]  # (rows with an interaction, width)
        turns = ["D"] * self.discriminator_steps + ["G"] * self.generator_steps
        for epoch in self._epochs(self.epochs, luck, progress, rate=falling(self.learning_rate)):
            for turn in turns:  # all of an epoch at the rate of its beginning
                for batch in random_batches(rows.shape[0], self.batch_size, luck):
                    c = torch.from_numpy(rows[batch].toarray())  # (batch, width)
                    if turn == "G":
                        epoch.step(self.adam, self._loss_of_generator(c, luck), weight=len(c))
                        continue
                    loss = self._loss_of_discriminator(c, luck)
                    epoch.step(self.adam_of_discriminator, loss, weight=0)

    def _generated(self, c: Tensor, luck: torch.Generator) -> Tensor:
        """(batch, width) from (batch, width) conditions, with fresh noise."""
        noise = torch.randn(len(c), self.noise_size, generator=luck)  # (batch, noise)
        x: Tensor = self.generator(torch.cat([c, noise], dim=1))
        return x

    def _some(self, c: Tensor, share: float, luck: torch.Generator) -> Tensor:
        """(batch, width) flags of a random share of what was not bought."""
        return (1.0 - c) * (torch.rand(c.shape, generator=luck) < share)

    def _seen(self, x: Tensor, c: Tensor, luck: torch.Generator) -> Tensor:
        """What the discriminator is shown of a generated vector: bought, and partial masking."""
        return x * (c + self._some(c, self.mask_share, luck))

    def _loss_of_discriminator(self, c: Tensor, luck: torch.Generator) -> Tensor:
        """- log D(real | c) - log(1 - D(generated | c)), mean over the batch."""
        with torch.no_grad():
            made = self._seen(self._generated(c, luck), c, luck)  # (batch, width)
        real, fake = self.discriminator(c, c), self.discriminator(made, c)  # (batch,) each
        return (F.softplus(-real) + F.softplus(fake)).mean()

    def _loss_of_generator(self, c: Tensor, luck: torch.Generator) -> Tensor:
        """- log D(generated | c) (the form that does not saturate, I. Goodfellow et al. 2014),
        and the squares of what should be zero."""
        x = self._generated(c, luck)  # (batch, width)
        fooled = F.softplus(-self.discriminator(self._seen(x, c, luck), c))  # (batch,)
        zero = self._some(c, self.zero_share, luck)  # (batch, width)
        pull = (zero * x**2).sum(dim=1)  # (batch,)
        return (fooled + self.zero_weight * pull).mean()

    # -- answers -------------------------------------------------------------------------------

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) generated interactions, with the luck of the requests where there is noise."""
        if self.based == "user":
            x = requests.history.to_csr(self.n_items).toarray()  # (n, items)
            luck = requests.uniform(f"cfgan/{self.seed}", self.noise_size)
            return self._answers(x, luck)
        items = np.arange(self.n_items)
        key = stream(requests.seed, f"cfgan/{self.seed}")
        columns = np.arange(self.noise_size)
        luck = uniform(key, requests.step, items[:, None], columns[None, :])  # (items, noise)
        if self.taken.shape[0] == 0:
            return np.zeros((len(requests), self.n_items), dtype=np.float32)
        people = self._answers(self.taken.T.toarray(), luck).T  # (users, items)
        known = (requests.users >= 0) & (requests.users < len(people))
        scores = people[np.where(known, requests.users, 0)]  # (n, items)
        scores[~known] = people.mean(axis=0)
        return np.ascontiguousarray(scores, dtype=np.float32)

    def _answers(self, c: NDArray[np.float32], luck: NDArray[np.float64]) -> NDArray[np.float32]:
        """(rows, width) generated from conditions and uniform draws (rows, noise)."""
        inputs = np.concatenate([c, ndtri(luck)], axis=1).astype(np.float32)
        return by_rows(self.generator, inputs, c.shape[1])

    def recommend(self, requests: Requests) -> Slates:
        """The k items with the highest generated interactions."""
        return recommend_best(self.score, requests, self.n_items)

    def state(self) -> State:
        """The generator's weights, what it was conditioned on (by items), and the losses."""
        state = dump(self.generator, prefix="generator/")
        user, item = self.taken.nonzero() if self.based == "item" else (np.zeros(0, int),) * 2
        return state | {
            "shape": np.array(self.taken.shape),
            "user": user.astype(np.int32),
            "item": item.astype(np.int32),
            "losses": np.array(self.losses, dtype=np.float64),
        }

    def load_state(self, state: State) -> None:
        """Answers as the one did whose :meth:`state` it is."""
        n_users, self.n_items = (int(size) for size in state["shape"])
        ones = np.ones(len(state["user"]), dtype=np.float32)
        at = (state["user"], state["item"])
        self.taken = sp.csr_matrix((ones, at), shape=(n_users, self.n_items))
        self._build(0)
        self.losses = state["losses"].tolist()
        restore(self.generator, None, state, prefix="generator/")

"""DiffRec: a diffusion model of histories; noise is added to a history and learned to be removed.

W. Wang, Y. Xu, F. Feng, X. Lin, X. He & T.-S. Chua, "Diffusion Recommender Model", SIGIR 2023
(arXiv 2304.04971): Gaussian noise with a linear variance schedule, a network that predicts the
clean history from the noisy one and the step, importance-sampled steps, and an inference that
starts from the history as it is. As in multvae.py, small batches with a falling learning rate and
decoupled weight decay take the place of many passes.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from ...border import Capabilities, Requests, State
from ...errors import UserError
from ..networks import by_rows, dropout, linear
from .autoencoder import Autoencoder

_REMEMBERED = 10
"""Losses remembered of each step for importance sampling (the paper's number)."""
_EXPLORED = 0.001
"""Share of the steps drawn uniformly, so that none is forgotten."""


class Schedule:
    """q(x_t | x_0) = N(sqrt(signal_t) x_0, (1 - signal_t) I), with steps t = 1 ... T.

    1 - signal_t = scale (low + (t - 1) / (T - 1) (high - low)): the paper's eq. 4.

    Attributes:
        signal: (T + 1,) float64; signal[0] = 1 is no noise.
        weight: (T + 1,) float64 of the squared error at t: half the loss in signal-to-noise ratio
            from t - 1 to t, and 1 at t = 1 (eq. 11); weight[0] is never used.
    """

    def __init__(self, steps: int, scale: float, low: float, high: float) -> None:
        noise = scale * np.linspace(low, high, steps)  # (T,)
        self.steps = steps
        self.signal = np.concatenate([[1.0], 1.0 - noise])
        ratio = self.signal[1:] / (1.0 - self.signal[1:])  # (T,)
        self.weight = np.concatenate([[0.0, 1.0], (ratio[:-1] - ratio[1:]) / 2.0])

    def backwards(self, n: int) -> list[tuple[int, int]]:
        """(from, to) of n evenly spaced jumps from T to 0."""
        at = np.rint(np.linspace(self.steps, 0, n + 1)).astype(int).tolist()
        return list(pairwise(at))

    def towards(self, t: int, s: int) -> tuple[float, float]:
        """Weights of (predicted x_0, x_t) in the mean of q(x_s | x_t, x_0), s < t.

        Bayes' rule for two Gaussians; the paper's eq. 9 where s = t - 1.
        """
        now, then = self.signal[t], self.signal[s]
        clean = np.sqrt(then) * (1.0 - now / then) / (1.0 - now)
        noisy = np.sqrt(now / then) * (1.0 - then) / (1.0 - now)
        return float(clean), float(noisy)


class Denoiser(nn.Module):
    """(noisy vector, step) to the clean vector, a history or a code.

    width-hidden-width, or, with a middle, width-hidden-middle-hidden-width.
    """

    def __init__(
        self, width: int, hidden: int, middle: int, time: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.time_size = time
        self.time = linear(time, time, luck)
        self.into = linear(width + time, hidden, luck)
        between = [(hidden, middle), (middle, hidden)] if middle else []
        self.between = nn.ModuleList(linear(*sizes, luck) for sizes in between)
        self.outof = linear(hidden, width, luck)

    def forward(self, x: Tensor, t: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        half = self.time_size // 2
        rate = torch.exp(-np.log(10_000.0) * torch.arange(half) / half)  # (half,)
        angle = t[:, None] * rate  # (batch, half)
        waves = torch.cat([angle.cos(), angle.sin()], dim=1)  # (batch, time)
        x = dropout(x, share, luck)  # (batch, width)
        hidden = torch.tanh(self.into(torch.cat([x, self.time(waves)], dim=1)))  # (batch, hidden)
        for layer in self.between:
            hidden = torch.tanh(layer(hidden))  # (batch, middle), then (batch, hidden)
        return self.outof(hidden)  # type: ignore[no-any-return]  # (batch, width)


class DiffRec(Autoencoder):
    """Generates a person's future history by removing noise from the past one, step by step.

    Any history folds in. Scores are predicted interactions, not probabilities.

    Args:
        hidden_size: width of the denoiser.
        middle_size: width of its middle layer, between two hidden ones, as in the authors' code
            for MovieLens 1M; 0 for a single hidden layer, as there for the larger catalogs.
        time_size: length of the step's embedding, even.
        steps: T, of the noise.
        noise_scale, noise_min, noise_max: of its schedule.
        sampling_steps: jumps from T back to 0 when recommending, evenly spaced, at most ``steps``:
            each costs one pass of the network; 0 for all.
        corrupt_steps: 0 starts from the history as it is, the paper's choice; t > 0 first adds the
            noise of step t, and makes the recommender stochastic.
        reweight: whether errors at a step count by the paper's eq. 11, or all the same.
        dropout: share of the noisy history dropped in training.
        learning_rate, weight_decay, batch_size, epochs, update_epochs, seed: see
            :class:`~.autoencoder.Autoencoder`.
    """

    name = "diffrec"
    capabilities = Capabilities(history="any", scores="ordinal", update="incremental")
    network: Denoiser

    def __init__(
        self,
        *,
        hidden_size: int = 600,
        middle_size: int = 0,
        time_size: int = 10,
        steps: int = 5,
        noise_scale: float = 1.0,
        noise_min: float = 0.0005,
        noise_max: float = 0.02,
        sampling_steps: int = 0,
        corrupt_steps: int = 0,
        reweight: bool = True,
        dropout: float = 0.5,
        learning_rate: float = 2e-3,
        weight_decay: float = 1.0,
        batch_size: int = 64,
        epochs: int = 30,
        update_epochs: int = 5,
        seed: int = 0,
    ) -> None:
        if time_size < 2 or time_size % 2:
            raise UserError(f"time_size must be an even number from 2, got {time_size}")
        if not (noise_scale > 0.0 and 0.0 < noise_min <= noise_max and noise_scale * noise_max < 1):
            raise UserError(
                "noise_scale, noise_min and noise_max must be above 0, noise_min at most noise_max "
                f"and noise_scale * noise_max below 1, got {noise_scale}, {noise_min}, {noise_max}"
            )
        for name, value, least in (
            ("steps", steps, 1),
            ("sampling_steps", sampling_steps, 0),
            ("corrupt_steps", corrupt_steps, 0),
        ):
            if value < least or (value > steps and least == 0):
                most = "" if least else f" and at most steps = {steps}"
                raise UserError(f"{name} must be at least {least}{most}, got {value}")
        self.hidden_size = hidden_size
        self.middle_size = middle_size
        self.time_size = time_size
        self.schedule = Schedule(steps, noise_scale, noise_min, noise_max)
        self.sampling_steps = sampling_steps or steps
        self.corrupt_steps = corrupt_steps
        self.reweight = reweight
        self.dropout = dropout
        self.capabilities = replace(self.capabilities, stochastic=corrupt_steps > 0)
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            epochs=epochs,
            update_epochs=update_epochs,
            seed=seed,
        )

    def _build(self, n_items: int, seed: int) -> None:
        super()._build(n_items, seed)
        self.met = np.zeros((self.schedule.steps, _REMEMBERED))  # last losses of each step
        self.n_met = np.zeros(self.schedule.steps, dtype=np.int64)

    def _network(self, n_items: int, luck: torch.Generator) -> nn.Module:
        return Denoiser(n_items, self.hidden_size, self.middle_size, self.time_size, luck)

    def _loss(self, x: Tensor, done: float, luck: torch.Generator) -> Tensor:
        t, times = self._draw_steps(len(x), luck)  # (batch,) each
        clean = self.network(self._noised(x, t, luck), t, self.dropout, luck)  # (batch, items)
        error = self._weighted(((clean - x) ** 2).mean(dim=1), t)  # (batch,)
        loss: Tensor = (error / times).mean()
        return loss

    def _noised(self, x: Tensor, t: Tensor, luck: torch.Generator) -> Tensor:
        """(batch, width) draws of q(x_t | x_0)."""
        signal = torch.from_numpy(self.schedule.signal).float()[t, None]  # (batch, 1)
        noise = torch.randn(x.shape, generator=luck)  # (batch, width)
        return signal.sqrt() * x + (1.0 - signal).sqrt() * noise

    def _weighted(self, error: Tensor, t: Tensor) -> Tensor:
        """(batch,) losses from squared errors at steps t, remembered for importance sampling."""
        if self.reweight:
            error = error * torch.from_numpy(self.schedule.weight).float()[t]
        self._remember(t.numpy() - 1, error.detach().double().numpy())
        return error

    def _draw_steps(self, n: int, luck: torch.Generator) -> tuple[Tensor, Tensor]:
        """n steps from 1 to T, and how many times likelier than by uniform luck each was.

        Once all steps have been met often enough: in proportion to the root of the mean squared
        loss (A. Nichol & P. Dhariwal, ICML 2021, section 3.3).
        """
        steps = self.schedule.steps
        share = np.full(steps, 1.0 / steps)
        if (self.n_met >= _REMEMBERED).all():
            size = np.sqrt((self.met**2).mean(axis=1))
            share = (1.0 - _EXPLORED) * size / size.sum() + _EXPLORED / steps
        chance = torch.from_numpy(share)
        drawn = torch.multinomial(chance, n, replacement=True, generator=luck)  # (n,)
        return drawn + 1, (chance[drawn] * steps).float()

    def _remember(self, step: NDArray[np.int64], loss: NDArray[np.float64]) -> None:
        """Keeps the latest losses of each step, the oldest overwritten."""
        order = np.argsort(step, kind="stable")
        step, loss = step[order], loss[order]
        count = np.bincount(step, minlength=self.schedule.steps)
        nth = np.arange(len(step)) - np.repeat(np.cumsum(count) - count, count)
        self.met[step, (self.n_met[step] + nth) % _REMEMBERED] = loss
        self.n_met += count

    def _step_back(self, x: Tensor, t: Tensor) -> Tensor:
        """(batch, width) predicted without noise."""
        return self.network(x, t, 0.0, None)  # type: ignore[no-any-return]

    def _denoised(self, x: Tensor) -> Tensor:
        """(batch, width) after all jumps back."""
        for t, s in self.schedule.backwards(self.sampling_steps):
            clean = self._step_back(x, torch.full((len(x),), t))  # (batch, width)
            of_clean, of_noisy = self.schedule.towards(t, s)
            x = of_clean * clean + of_noisy * x  # (batch, width)
        return x

    def _rebuild(self, x: Tensor) -> Tensor:
        return self._denoised(x)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) predicted interactions; with the luck of the requests where it corrupts."""
        x = requests.history.to_csr(self.n_items)
        if not self.corrupt_steps:
            return by_rows(self._rebuild, x, self.n_items)
        signal = self.schedule.signal[self.corrupt_steps]
        noise = ndtri(requests.uniform(f"{self.name}/{self.seed}", self.n_items))  # (n, items)
        noisy = np.sqrt(signal) * x.toarray() + np.sqrt(1.0 - signal) * noise
        return by_rows(self._rebuild, noisy.astype(np.float32), self.n_items)

    def _learnt(self) -> State:
        """As the other autoencoders', and the losses remembered of each step."""
        return {**super()._learnt(), "met": self.met.copy(), "n_met": self.n_met.copy()}

    def _recall(self, state: State) -> None:
        super()._recall(state)
        self.met = np.array(state["met"], dtype=np.float64)
        self.n_met = np.array(state["n_met"], dtype=np.int64)

"""Beam search without a catalog: the most probable continuations of a text, or a draw of them.

Drawn beams are stochastic (W. Kool, H. van Hoof & M. Welling, "Stochastic Beams and Where to Find
Them", ICML 2019): noise is put on log probabilities from the top down, so that the beams are a
sample without replacement of whole continuations, each with its log probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..border import Requests
from ..randomness import gumbel, stream
from ..ranking import top_k_exact
from .text.reading import Reading


class Speaker(Protocol):
    """What turns the vectors of a reading into logits."""

    def logits(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Beams:
    """What was generated for each row, the best (or first drawn) continuation first.

    Attributes:
        codes: (rows, beams, pieces) what was said, -1 after its end.
        log_p: (rows, beams) its log probability at the temperature; -inf where there is none.
    """

    codes: NDArray[np.int64]
    log_p: NDArray[np.float64]


def beams(
    network: Speaker,
    reading: Reading,
    ends: NDArray[np.bool_],
    *,
    n: int,
    longest: int,
    temperature: float = 1.0,
    luck: tuple[Requests, str] | None = None,
) -> Beams:
    """Continue every row of a reading until a piece that ends, or for as many pieces as may be.

    Args:
        network, reading: what speaks, and what it has read.
        ends: (pieces,) which pieces end a continuation.
        n: beams a row: always as many, so that the first ones do not depend on how many are wanted.
        longest: pieces after which a continuation is broken off.
        temperature: logits are divided by it.
        luck: requests (no more than there are rows) and a purpose, to draw; None for the best.
    """
    rows = reading.x.shape[0]
    log_p, key = np.zeros((rows, 1)), np.zeros((rows, 1))
    done = np.zeros((rows, 1), np.bool_)
    said = np.zeros((rows, 1, 0), np.int64)
    place = np.zeros((rows, 1), np.int64)  # a number that belongs to what was said
    for length in range(longest):
        logits = network.logits(reading.x).double() / temperature  # (rows, ways, pieces)
        given = F.log_softmax(logits, dim=2).numpy()
        n_pieces = given.shape[2]
        longer = log_p[:, :, None] + given
        keys = longer if luck is None else _perturbed(longer, key, place, *luck)
        keys = np.where(done[:, :, None], -np.inf, keys)
        keys[:, :, 0] = np.where(done, key, keys[:, :, 0])  # what has ended stays as it is
        best = top_k_exact(keys.reshape(rows, -1), n).astype(np.int64)  # (rows, n)
        alive = best >= 0
        parent, token = np.divmod(np.maximum(best, 0), n_pieces)
        stays = np.take_along_axis(done, parent, axis=1)
        taken = np.take_along_axis(longer.reshape(rows, -1), np.maximum(best, 0), axis=1)
        log_p = np.where(stays, np.take_along_axis(log_p, parent, axis=1), taken)
        log_p = np.where(alive, log_p, -np.inf)
        key = np.take_along_axis(keys.reshape(rows, -1), np.maximum(best, 0), axis=1)
        key = np.where(alive, key, -np.inf)
        place = np.take_along_axis(place, parent, axis=1) * 1_000_003 + token + 1
        said = np.take_along_axis(said, parent[:, :, None], axis=1)
        said = np.concatenate([said, np.where(stays, -1, token)[:, :, None]], axis=2)
        done = stays | ends[token] | ~alive
        if done.all() or length == longest - 1:
            break
        reading.step(torch.from_numpy(token), torch.from_numpy(parent))
    return Beams(said, log_p)


def _perturbed(
    longer: NDArray[np.float64],
    key: NDArray[np.float64],
    place: NDArray[np.int64],
    requests: Requests,
    purpose: str,
) -> NDArray[np.float64]:
    """(rows, ways, pieces) Gumbel noise on log probabilities, given that the greatest of each way
    is its key: the truncated Gumbel of the paper's appendix B, in its stable form."""
    users = np.full(len(longer), -1, np.int64)
    users[: len(requests)] = requests.users
    labels = place[:, :, None], np.arange(longer.shape[2])
    noise = gumbel(stream(requests.seed, purpose), requests.step, users[:, None, None], *labels)
    free = longer + noise
    greatest = free.max(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # the greatest itself; ways without any
        v = key[:, :, None] - free + np.log1p(-np.exp(free - greatest))
    return np.asarray(key[:, :, None] - np.maximum(0.0, v) - np.log1p(np.exp(-np.abs(v))))

"""Parts of networks whose randomness comes from a generator handed in, and their memory as arrays.

``torch.nn.Linear`` and ``torch.nn.functional.dropout`` draw from the process-wide generator; a run
that must be the same byte for byte, whatever else the process does, cannot use them.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..border import State
from ..randomness import child_seed

ROWS = 128
"""Rows of one inference call. Matrix products of different heights round differently; padding
every call to one height makes a person's scores independent of the batch they travel in."""


def seeded(seed: int, *labels: int | str) -> torch.Generator:
    """A torch generator that belongs to (seed, labels)."""
    return torch.Generator().manual_seed(child_seed(seed, *labels))


def luck_state(luck: torch.Generator | np.random.Generator) -> NDArray[np.uint8]:
    """(bytes,) where a generator stands."""
    if isinstance(luck, torch.Generator):
        return luck.get_state().numpy().copy()
    return np.frombuffer(json.dumps(luck.bit_generator.state).encode(), np.uint8)


def set_luck(luck: torch.Generator | np.random.Generator, state: NDArray[np.uint8]) -> None:
    """Moves a generator of the same kind to where :func:`luck_state` found one."""
    if isinstance(luck, torch.Generator):
        luck.set_state(torch.from_numpy(state))
    else:
        luck.bit_generator.state = json.loads(state.tobytes())


def linear(inputs: int, outputs: int, luck: torch.Generator) -> nn.Linear:
    """A linear layer, Glorot-uniform weights, zero bias."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    nn.init.xavier_uniform_(layer.weight, generator=luck)
    nn.init.zeros_(layer.bias)
    return layer


def embedding(rows: int, size: int, luck: torch.Generator, std: float = 0.02) -> nn.Parameter:
    """A (rows, size) table of normal draws."""
    return nn.Parameter(torch.randn(rows, size, generator=luck) * std)


def dropout(x: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
    """Zeroes a share of the entries and rescales the rest; the identity without a generator."""
    if luck is None or share == 0.0:
        return x
    keep = torch.rand(x.shape, generator=luck) >= share
    return x * keep / (1.0 - share)


def entered(layer: nn.Linear, x: sp.csr_matrix) -> NDArray[np.float32]:
    """(n, outputs) what a linear layer makes of sparse rows scaled to length 1.

    A history holds a small part of the catalog, so summing that part of the weights costs a
    fraction of the product with a dense block; each row is summed by itself, in the order of its
    entries, and needs no padding.

    Args:
        layer: of as many inputs as x has columns.
        x: (n, inputs) float32; rows without entries give the bias.
    """
    length = np.sqrt(np.asarray(x.multiply(x).sum(axis=1))[:, 0])  # (n,)
    scaled = x.data / np.repeat(length, np.diff(x.indptr))
    with torch.no_grad():
        sums = F.embedding_bag(  # (n, outputs)
            torch.from_numpy(x.indices.astype(np.int64)),
            layer.weight.t().contiguous(),
            torch.from_numpy(x.indptr.astype(np.int64)),
            mode="sum",
            include_last_offset=True,
            per_sample_weights=torch.from_numpy(scaled.astype(np.float32)),
        )
        out: NDArray[np.float32] = sums.add_(layer.bias).numpy()
    return out


def by_rows(
    compute: Callable[[Tensor], Tensor], inputs: NDArray[np.generic] | sp.csr_matrix, width: int
) -> NDArray[np.float32]:
    """(n, width) outputs of a network, computed ``ROWS`` rows at a time, the last ones padded.

    Args:
        compute: maps a (ROWS, ...) tensor to (ROWS, width).
        inputs: (n, ...) array, or a sparse matrix made dense a block at a time.
        width: columns of the output.
    """
    out = np.empty((inputs.shape[0], width), dtype=np.float32)
    with torch.no_grad():
        for at in range(0, inputs.shape[0], ROWS):
            rows = inputs[at : at + ROWS]
            block = rows.toarray() if isinstance(rows, sp.csr_matrix) else rows.copy()
            n = len(block)
            if n < ROWS:
                block = np.concatenate([block, np.zeros((ROWS - n, *block.shape[1:]), block.dtype)])
            out[at : at + n] = compute(torch.from_numpy(block))[:n].numpy()
    return out


def dump(
    network: nn.Module, optimizer: torch.optim.Optimizer | None = None, *, prefix: str = ""
) -> State:
    """All parameters, and Adam's two moments and step count of each, as named arrays."""
    moments = {} if optimizer is None else optimizer.state
    state: State = {}
    for name, parameter in network.named_parameters():
        state[prefix + name] = parameter.detach().numpy().copy()
        for moment, value in moments.get(parameter, {}).items():
            state[f"{prefix}adam/{moment}/{name}"] = value.detach().numpy().copy()
    return state


def restore(
    network: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: State,
    *,
    prefix: str = "",
) -> None:
    """The inverse of :func:`dump`, into a network and optimizer of the same shape."""
    moments: dict[str, dict[str, Tensor]] = {}
    for key in state:
        if key.startswith(f"{prefix}adam/"):
            moment, name = key.removeprefix(f"{prefix}adam/").split("/", 1)
            moments.setdefault(name, {})[moment] = torch.tensor(state[key])
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.tensor(state[prefix + name]))
            if optimizer is not None and name in moments:
                optimizer.state[parameter] = moments[name]

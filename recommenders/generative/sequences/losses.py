"""What models of the next item are trained on: cross-entropy over the catalog or a sample of it.

Scores of items j after a position are z_j = x . e_j + b_j. Most of the time of training a small
network goes into the (positions, items) table of z, so the whole-catalog loss writes its own
gradient in blocks that stay in the cache, and the other two look at a sample of items.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_POSITIONS = 512
"""Positions of one block: 512 x 3,400 scores take 7 MB."""


class _CrossEntropy(torch.autograd.Function):
    """Mean of log sum_j exp(z_j) - z_target; d loss / d z_j = softmax(z)_j - [j = target]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, items: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        by_x, by_items = torch.empty_like(x), torch.zeros_like(items)
        by_bias, total = torch.zeros_like(bias), torch.zeros((), dtype=torch.float64)
        for at in range(0, len(x), _POSITIONS):
            part, target = x[at : at + _POSITIONS], targets[at : at + _POSITIONS, None]
            z = torch.addmm(bias, part, items.T)  # (positions, items)
            most = z.amax(dim=1, keepdim=True)
            z_target = z.gather(1, target)
            z.sub_(most).exp_()
            mass = z.sum(dim=1, keepdim=True)
            total += (mass.log() + most - z_target).sum(dtype=torch.float64)
            z.div_(mass * len(x))
            z.scatter_add_(1, target, torch.full_like(mass, -1.0 / len(x)))
            by_x[at : at + _POSITIONS] = z @ items
            by_items.addmm_(z.T, part)
            by_bias += z.sum(dim=0)
        ctx.save_for_backward(by_x, by_items, by_bias)
        return (total / len(x)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        by_x, by_items, by_bias = ctx.saved_tensors
        return by_x * grad, by_items * grad, by_bias * grad, None


def full_cross_entropy(x: Tensor, items: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of the target among all items.

    Args:
        x: (positions, size) what the network made of each position.
        items: (items, size) vectors; bias: (items,).
        targets: (positions,) the item that came next.
    """
    loss: Tensor = _CrossEntropy.apply(x, items, bias, targets)  # type: ignore[no-untyped-call]
    return loss


def sampled_softmax(
    x: Tensor,
    items: Tensor,
    bias: Tensor,
    targets: Tensor,
    *,
    negatives: Tensor,
    log_expected: Tensor,
) -> Tensor:
    """Mean cross-entropy of the target among itself and drawn items, shared by all positions.

    Each drawn item stands for 1 / E[times drawn] items like it (log-Q correction: Y. Bengio &
    J.-S. Senecal, IEEE Transactions on Neural Networks 2008), so the sum over the sample expects
    the sum over the catalog; with every item drawn once, the loss is the full one. Draws of a
    position's own target do not count.

    Args:
        x, items, bias, targets: as in :func:`full_cross_entropy`.
        negatives: (drawn,) items.
        log_expected: (drawn,) log of how often each was expected in the sample.
    """
    z = torch.addmm(bias[negatives] - log_expected, x, items[negatives].T)  # (positions, drawn)
    z = z.masked_fill(negatives[None, :] == targets[:, None], float("-inf"))
    z_target = (x * items[targets]).sum(dim=1) + bias[targets]  # (positions,)
    return (torch.logaddexp(z.logsumexp(dim=1), z_target) - z_target).mean()


def binary_cross_entropy(
    x: Tensor,
    items: Tensor,
    bias: Tensor,
    targets: Tensor,
    *,
    negatives: Tensor,
    calibration: float = 0.0,
) -> Tensor:
    """Mean over 1 + k yes-or-no questions a position: the target is, k drawn items are not next.

    SASRec's own loss with k = 1. Few negatives make every score too high; with calibration t the
    answer to the target is raised to beta = a (t (1 - 1/a) + 1/a), a = k / (items - 1), which at
    t = 1 gives the scores of the full softmax again (gBCE: A. Petrov & C. Macdonald, gSASRec,
    RecSys 2023, arXiv 2308.07192). Draws of a position's own target do not count.

    Args:
        x, items, bias, targets: as in :func:`full_cross_entropy`.
        negatives: (positions, k) items.
        calibration: t in [0, 1].
    """
    k = negatives.shape[1]
    share = k / max(1, len(items) - 1)
    beta = share * (calibration * (1.0 - 1.0 / share) + 1.0 / share)
    z_target = (x * items[targets]).sum(dim=1) + bias[targets]  # (positions,)
    z = torch.einsum("ps,pks->pk", x, F.embedding(negatives, items)) + bias[negatives]
    z = z.masked_fill(negatives == targets[:, None], float("-inf"))
    return (F.softplus(-z_target) * beta + F.softplus(z).sum(dim=1)).mean() / (k + 1)

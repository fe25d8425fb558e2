"""What a network of ids knows is carried over to a larger tree, when items enter the catalog."""

from __future__ import annotations

import torch
from torch import Tensor

from .id_network import IdNetwork


def carry_over(
    old: IdNetwork, old_adam: torch.optim.Optimizer, new: IdNetwork, new_adam: torch.optim.Optimizer
) -> None:
    """Weights and Adam's moments of old prefixes go to where these stand now.

    A branch that is new begins as the mean of its old siblings, so that it is as likely as they
    are on average; without siblings it has the vector of its code alone.

    Args:
        old, old_adam: a network, and what trained it.
        new, new_adam: of a tree that holds every id of the old one, overwritten.
    """
    ids = torch.stack([code[node] for code, node in zip(old.code_of, old.path.T, strict=True)])
    place = torch.from_numpy(new.trie.walk(ids.T.numpy()))  # (old items, depths) nodes now

    def moved(name: str, was: Tensor, now: Tensor) -> Tensor:
        table, _, depth = name.partition(".")
        if table not in ("codes", "prefixes", "bias"):
            return was.clone()
        wide = torch.zeros_like(now)
        if table == "codes":  # more running numbers, perhaps
            wide[: len(was)] = was
        else:
            wide[place[:, int(depth)]] = was[old.path[:, int(depth)]]
        return wide

    with torch.no_grad():
        for (name, was), now in zip(old.named_parameters(), new.parameters(), strict=True):
            now.copy_(moved(name, was, now))
            new_adam.state[now] = {
                key: value.clone() if value.dim() == 0 else moved(name, value, now)
                for key, value in old_adam.state.get(was, {}).items()
            }
        for depth, vectors in enumerate(new.vectors()):
            _begin_as_siblings(new, depth, vectors, place[:, depth])


def _begin_as_siblings(new: IdNetwork, depth: int, vectors: Tensor, known: Tensor) -> None:
    parent, n_parents = new.parent_of[depth], len(new.first_of[depth]) - 1
    old = torch.zeros(len(parent))
    old[known] = 1.0
    siblings = torch.zeros(n_parents).index_add_(0, parent, old)
    share = (old / siblings[parent].clamp(min=1.0))[:, None]  # of an old node in its family's mean
    both = torch.cat([vectors, new.bias[depth][:, None]], dim=1)  # (nodes, size + 1)
    mean = torch.zeros(n_parents, both.shape[1]).index_add_(0, parent, both * share)
    fresh = torch.nonzero((old == 0.0) & (siblings[parent] > 0))[:, 0]
    begun = mean[parent[fresh]]
    new.prefixes[depth][fresh] = begun[:, :-1] - new.codes[depth][new.code_of[depth][fresh]]
    new.bias[depth][fresh] = begun[:, -1]

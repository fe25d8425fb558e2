"""Titles out of a causal language model: the best ones that exist, or whatever it says.

Constrained decoding walks the tree of all titles that exist, token by token, and keeps the most
probable beginnings (N. De Cao, G. Izacard, S. Riedel & F. Petroni, "Autoregressive Entity
Retrieval", ICLR 2021): nothing else can be said, and a title's score is its log probability as free
text. Free decoding draws token by token; what that names need not exist.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Network = Any
"""A transformers causal model: called with ``input_ids``, gives ``logits`` and a cache."""


@dataclass
class _Node:
    """A beginning that some titles share.

    Attributes:
        item: the title that ends here, -1 for none.
        below: the nodes one token further, by token.
    """

    item: int = -1
    below: dict[int, _Node] = field(default_factory=dict)


class TitleTree:
    """All titles of a catalog as sequences of tokens.

    Args:
        titles: a row an item; no two are the same, and each ends with a token that ends titles.

    Attributes:
        depth: tokens of the longest title.
    """

    def __init__(self, titles: Sequence[Sequence[int]]) -> None:
        self.root = _Node()
        self.depth = max(map(len, titles), default=0)
        for item, tokens in enumerate(titles):
            node = self.root
            for token in tokens:
                node = node.below.setdefault(token, _Node())
            node.item = item


@dataclass
class _Way:
    """A beginning on the way to a title."""

    node: _Node
    log_p: float


class _Reading:
    """A prompt that was read once, and the ways in which it is continued.

    Args:
        network: what reads.
        prompt: tokens, at least one.

    Attributes:
        log_p: (ways, vocabulary) of the next token.
    """

    def __init__(self, network: Network, prompt: Sequence[int]) -> None:
        self._network = network
        base = network.get_base_model() if hasattr(network, "get_base_model") else network
        given = inspect.signature(base.forward).parameters
        # what the argument is called changed within transformers 5
        self._name = "cache" if "cache" in given else "past_key_values"
        said = network(input_ids=torch.tensor([list(prompt)]), use_cache=True)
        self._cache = getattr(said, self._name)
        self.log_p = _log_p(said.logits)

    def step(self, parents: Sequence[int], tokens: Sequence[int]) -> None:
        """Every new way is an old one (``parents``) and one more token."""
        self._cache.reorder_cache(torch.tensor(parents))
        asked = torch.tensor(tokens)[:, None]  # (ways, 1)
        said = self._network(input_ids=asked, use_cache=True, **{self._name: self._cache})
        self._cache = getattr(said, self._name)
        self.log_p = _log_p(said.logits)


def _log_p(logits: Tensor) -> NDArray[np.float64]:
    """(ways, length, vocabulary) logits as the (ways, vocabulary) log p after the last token."""
    given: NDArray[np.float64] = torch.log_softmax(logits[:, -1].double(), dim=-1).numpy()
    return given


@torch.no_grad()
def best_titles(
    network: Network, prompt: Sequence[int], tree: TitleTree, beams: int
) -> list[tuple[int, float]]:
    """At most ``beams`` items and the log probability of each one's title, the best first."""
    reading = _Reading(network, prompt)
    ways, found = [_Way(tree.root, 0.0)], list[tuple[int, float]]()
    for _ in range(tree.depth):
        longer = [
            (way.log_p + float(reading.log_p[at, token]), at, token, node)
            for at, way in enumerate(ways)
            for token, node in way.node.below.items()
        ]
        longer.sort(key=lambda one: (-one[0], one[1], one[2]))
        kept = longer[:beams]
        found += [(node.item, log_p) for log_p, _, _, node in kept if node.item >= 0]
        found.sort(key=lambda one: (-one[1], one[0]))
        worst = found[beams - 1][1] if len(found) >= beams else -np.inf
        kept = [one for one in kept if one[3].below and one[0] > worst]
        if not kept:
            break
        ways = [_Way(node, log_p) for log_p, _, _, node in kept]
        reading.step([at for _, at, _, _ in kept], [token for _, _, token, _ in kept])
    return found[:beams]


@torch.no_grad()
def drawn_titles(
    network: Network,
    prompt: Sequence[int],
    luck: NDArray[np.float64],
    *,
    end: int,
    temperature: float,
) -> list[list[int]]:
    """Tokens of titles drawn one by one, without their ends.

    Args:
        network, prompt: what speaks, and after what.
        luck: (titles, tokens) uniform draws; titles are broken off after as many tokens.
        end: the token that ends a title.
        temperature: of the draws; 0 for the most probable token.
    """
    n, longest = luck.shape
    reading = _Reading(network, prompt)
    said: list[list[int]] = [[] for _ in range(n)]
    open_, parents = list(range(n)), [0] * n  # titles that go on, and the way each stands on
    for step in range(longest):
        log_p = reading.log_p[parents]
        if temperature > 0.0:
            scaled = np.exp((log_p - log_p.max(axis=1, keepdims=True)) / temperature)
            mass = scaled.cumsum(axis=1)
            reached = mass >= luck[open_, step][:, None] * mass[:, -1:]
            tokens = reached.argmax(axis=1)
        else:
            tokens = log_p.argmax(axis=1)
        goes_on = [at for at, token in enumerate(tokens.tolist()) if token != end]
        for at in goes_on:
            said[open_[at]].append(int(tokens[at]))
        if not goes_on or step == longest - 1:
            break
        reading.step([parents[at] for at in goes_on], [int(tokens[at]) for at in goes_on])
        open_, parents = [open_[at] for at in goes_on], list(range(len(goes_on)))
    return said

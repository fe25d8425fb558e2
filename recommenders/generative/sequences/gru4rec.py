"""GRU4Rec: a recurrent network that carries what a person did in one vector, item by item.

B. Hidasi, A. Karatzoglou, L. Baltrunas & D. Tikk, "Session-based Recommendations with Recurrent
Neural Networks", ICLR 2016 (arXiv 1511.06939), trained here on windows of whole histories with
cross-entropy over the catalog, and with one item table for input and output, so that it differs
from the transformer in the network alone. That loss and tuning, not the network, make the
difference between published GRU4Rec figures: A. Petrov & C. Macdonald, RecSys 2022
(arXiv 2207.02000).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks import dropout, linear
from .next_item import NextItem, NextItemNetwork


class _Network(NextItemNetwork):
    """Item tokens in, one after the other; the state after each points at the next item."""

    def __init__(
        self, n_items: int, size: int, hidden: int, layers: int, luck: torch.Generator
    ) -> None:
        super().__init__(n_items, n_items + 1, size, luck)  # the last token is the start
        self.cells = nn.ModuleList(
            _recurrent(size if layer == 0 else hidden, hidden, luck) for layer in range(layers)
        )
        self.point = linear(hidden, size, luck)

    def forward(self, tokens: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        x = dropout(self.embedded(tokens), share, luck)  # (batch, length, size)
        for cells in self.cells:
            x = dropout(cells(x)[0], share, luck)  # (batch, length, hidden)
        return self.point(x)  # type: ignore[no-any-return]


def _recurrent(inputs: int, hidden: int, luck: torch.Generator) -> nn.GRU:
    """One layer; orthogonal where the state meets itself, so that gradients reach far back."""
    # Made without memory first: the constructor would draw from the process-wide generator.
    cells = nn.GRU(inputs, hidden, batch_first=True, device="meta").to_empty(device="cpu")
    for name, weight in cells.named_parameters():
        if "bias" in name:
            nn.init.zeros_(weight)
        for gate in weight.chunk(3) if "weight" in name else ():  # reset, update, new
            if "hh" in name:
                nn.init.orthogonal_(gate, generator=luck)
            else:
                nn.init.xavier_uniform_(gate, generator=luck)
    return cells


class GRU4Rec(NextItem):
    """Scores items by the probability that they come next, given the latest ``max_length`` items.

    Any history folds in: it is the input. Scores are log probabilities.

    Args:
        embedding_size: width of the item table.
        hidden_size: width of the state.
        layers: recurrent layers.
        max_length: how many of the latest items (the start token included) it looks at.
        dropout: on embeddings and states.
        learning_rate: of Adam at its highest; it falls linearly to 0 over the epochs.
        warm_up: share of the steps over which it rises to that.
        batch_size: windows of ``max_length`` items a step.
        epochs: passes over the log when fitting.
        update_epochs: passes over the windows with new items when updating, warm-started, from
            a quarter of the learning rate.
        loss: "cross_entropy" over the whole catalog; "sampled" softmax over ``negatives`` items
            drawn by popularity for each step, or uniformly ("sampled_uniform"); "bce"
            against ``negatives`` items drawn uniformly for each position.
        negatives: items drawn; without meaning for "cross_entropy".
        calibration: of "bce", 0 to 1: t of gSASRec.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.
    """

    name = "gru4rec"

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        hidden_size: int = 128,
        layers: int = 1,
        max_length: int = 50,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        warm_up: float = 0.0,
        batch_size: int = 64,
        epochs: int = 20,
        update_epochs: int = 1,
        loss: str = "cross_entropy",
        negatives: int = 256,
        calibration: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.layers = layers
        super().__init__(
            max_length=max_length,
            dropout=dropout,
            learning_rate=learning_rate,
            warm_up=warm_up,
            batch_size=batch_size,
            epochs=epochs,
            update_epochs=update_epochs,
            loss=loss,
            negatives=negatives,
            calibration=calibration,
            seed=seed,
        )

    def _network(self, n_items: int, luck: torch.Generator) -> NextItemNetwork:
        return _Network(n_items, self.embedding_size, self.hidden_size, self.layers, luck)

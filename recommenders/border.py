"""The border: the only thing LoopAudit and a recommender have to agree on.

One batch of Requests goes in, one batch of Slates comes out, both as columns. Inside, users and
items are indices; string ids live at the outer border, in the plug-ins and the datasets.
The harness (``guard.py``), not the model, filters history, removes duplicates and unknown items,
pads, and contains faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .catalog import Catalog
from .interactions import Interactions, Ragged
from .randomness import stream, uniform

NOTHING = -1
"""The item index that means "no item in this slot"."""

State = dict[str, NDArray[np.generic]]
"""A recommender's memory as named arrays: saved with ``numpy.savez``, never with pickle."""

Progress = Callable[[int, int, float | None], None]
"""Called as ``progress(done, total, loss)`` by models that train in epochs."""


@dataclass(frozen=True)
class Capabilities:
    """What a recommender says it can do; contract tests verify it, nobody trusts it.

    Attributes:
        history: "any" (recommends for a history it never saw), "trained_users_only", or "none".
        scores: "none", "ordinal" or "log_prob": what ``score`` and ``Slates.scores`` mean.
        stochastic: two calls with different seeds may differ.
        seedable: two calls with the same seed are equal.
        closed_catalog: False when it may name items that do not exist.
        outputs: subset of {"items", "slate", "text", "explanations", "dialogue"}.
        inputs: subset of {"history", "times", "user_id", "attributes", "text", "image",
            "dialogue"}; only who reads "times" is told ``Requests.ago``.
        update: "none", "refit" or "incremental".
        max_batch: largest batch one call may hold, None for any.
        metered: calls report usage (tokens, cost).
        negatives: reads Interactions.kind, so that rows of kind 2 ("not interested") teach it
            what not to recommend; the logs of others hold no such rows.
        ratings: learns from Interactions.value. In a loop in which people rate it is then handed
            what they rated, with the stars, and nothing else; others are handed what was taken,
            without them.
        unseen: lists nothing that stands in the history, is unwanted or was withdrawn, so that
            it is asked for exactly k items: what it composes is shown as composed. Others are
            asked for more, and the harness takes out what must not be shown.
    """

    history: Literal["any", "trained_users_only", "none"] = "any"
    scores: Literal["none", "ordinal", "log_prob"] = "none"
    stochastic: bool = False
    seedable: bool = True
    closed_catalog: bool = True
    outputs: frozenset[str] = frozenset({"items"})
    inputs: frozenset[str] = frozenset({"history"})
    update: Literal["none", "refit", "incremental"] = "none"
    max_batch: int | None = None
    metered: bool = False
    negatives: bool = False
    ratings: bool = False
    unseen: bool = False


class LateColumns(Mapping[str, NDArray[np.generic]]):
    """Columns of some people, cut out of everybody's when they are looked at.

    Args:
        whole: columns of everybody; rows: whose values these are.
    """

    def __init__(self, whole: Mapping[str, NDArray[np.generic]], rows: NDArray[np.integer]) -> None:
        self._whole, self._rows = whole, rows
        self._cut: dict[str, NDArray[np.generic]] = {}

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        if name not in self._cut:
            self._cut[name] = self._whole[name][self._rows]
        return self._cut[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)

    def take(self, rows: NDArray[np.integer]) -> LateColumns:
        """The chosen rows of these."""
        return LateColumns(self._whole, self._rows[rows])

    def anew(self) -> LateColumns:
        """The same, sharing nothing that was already cut out."""
        return LateColumns(self._whole, self._rows)


@dataclass(frozen=True)
class Turn:
    """One thing said in a conversation: by the "user" or by the "system", and what."""

    speaker: Literal["user", "system"]
    text: str


@dataclass(frozen=True)
class Requests:
    """One batch: who asks, what they did before, how many items they want.

    Attributes:
        users: (n,) int32 user indices; -1 for somebody unknown.
        history: n rows of item indices, oldest first.
        k: slate length asked for.
        seed: the only source of randomness a recommender may use, see :meth:`uniform`.
        step: simulation step, or 0.
        attributes: named (n,) arrays, e.g. ``{"gender": array(["F", "M", ...])}``.
        unwanted: n rows of items that a person rejected, which the harness never lets through;
            None where nobody rejected anything.
        dialogue: n conversations so far, oldest turn first; None where nobody talks.
        slate: how many of the k items people see at once, 0 for all of them.
        rows: how many rows those are arranged in, filled one after the other; the last may be
            shorter.
        ago: how long ago each item of the history was met, in the unit of the log's ``step``; None
            where only their order is known, and for recommenders that do not read times.
    """

    users: NDArray[np.int32]
    history: Ragged
    k: int
    seed: int = 0
    step: int = 0
    attributes: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    unwanted: Ragged | None = None
    dialogue: tuple[tuple[Turn, ...], ...] | None = None
    slate: int = 0
    rows: int = 1
    ago: Ragged | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.integer]) -> Requests:
        """The chosen rows as a batch of their own."""
        rows, known = np.asarray(rows, dtype=np.int64), self.attributes
        return Requests(
            self.users[rows],
            self.history.take(rows),
            self.k,
            self.seed,
            self.step,
            known.take(rows)
            if isinstance(known, LateColumns)
            else {name: column[rows] for name, column in known.items()},
            None if self.unwanted is None else self.unwanted.take(rows),
            None if self.dialogue is None else tuple(self.dialogue[row] for row in rows.tolist()),
            self.slate,
            self.rows,
            None if self.ago is None else self.ago.take(rows),
        )

    def forbidden(self, n_items: int, gone: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """(n, n_items) what each row must not be shown: history, unwanted and withdrawn items.

        Args:
            n_items: width of the table.
            gone: (items,) which were withdrawn, maybe of fewer items; None for none.
        """
        table = np.zeros((len(self), n_items), dtype=np.bool_)
        for shut in (self.history, self.unwanted):
            if shut is not None:
                table[shut.row_index, shut.values] = True
        if gone is not None:
            table[:, : len(gone)] |= gone[:n_items]
        return table

    def uniform(self, purpose: str, columns: int | NDArray[np.integer]) -> NDArray[np.float64]:
        """(n, columns) uniform draws that belong to (seed, step, user, column).

        A stochastic recommender that draws only from here gives the same slate to the same person
        whatever batch the request travels in.

        Args:
            purpose: a name for this use, so that two uses do not share luck.
            columns: how many draws per row, or the integer labels of the columns (item ids, say).
        """
        labels = np.arange(columns) if isinstance(columns, int) else columns
        key = stream(self.seed, purpose)
        return uniform(key, self.step, self.users[:, None], labels[None, :])


@dataclass(frozen=True)
class Named:
    """How many of the names that a recommender put into its lists exist; counted by the guard.

    Looked at are the first k places of each answer, k being the length of the list that was asked
    for: the list as the recommender meant it, before anything was taken out.

    Attributes:
        names: (n,) int32 places that hold a name or an item.
        made_up: (n,) int32 of these, in no catalog.
        texts: per row those names, where the recommender says what it generated (raw_names).
    """

    names: NDArray[np.int32]
    made_up: NDArray[np.int32]
    texts: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Slates:
    """What was recommended: row r answers request r.

    Attributes:
        items: (n, k) int32 item indices, best first, -1 for "nothing".
        scores: (n, k) float32, or None.
        propensities: (n, k) float32 probability that the policy puts this item there, or None.
        structure: how the k slots are arranged.
        text: per slot generated text, or None: the title of its row in a "page", else why the
            item stands there; slate_text: per slate what is said to the person, or None.
        raw_names: per row the names as generated, slot by slot, before matching to the catalog, or
            None.
        errors: per row what went wrong, or None; the whole field is None when nothing did.
        latency_seconds: (n,) float64, or None.
        usage: per row what was consumed (tokens, cost), or None.
        named: of open catalogs, and of others that named something unknown, what the guard counted;
            None from a recommender.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32] | None = None
    propensities: NDArray[np.float32] | None = None
    structure: Literal["list", "bundle", "page"] = "list"
    text: tuple[tuple[str | None, ...], ...] | None = None
    slate_text: tuple[str | None, ...] | None = None
    raw_names: tuple[tuple[str, ...], ...] | None = None
    errors: tuple[str | None, ...] | None = None
    latency_seconds: NDArray[np.float64] | None = None
    usage: tuple[Mapping[str, float], ...] | None = None
    named: Named | None = None

    def __len__(self) -> int:
        return len(self.items)


@runtime_checkable
class Recommender(Protocol):
    """The one method a recommender must have."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def recommend(self, requests: Requests) -> Slates: ...


@runtime_checkable
class Fits(Protocol):
    """Learns from a log; called once before the loop, and again at each refit."""

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None: ...


@runtime_checkable
class Updates(Protocol):
    """Learns on from where it stood; ``log`` is everything so far, rows from ``since`` are new."""

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None: ...


@runtime_checkable
class Scores(Protocol):
    """Scores the whole catalog: (n, n_items) float32, higher is better, -inf for "never"."""

    def score(self, requests: Requests) -> NDArray[np.float32]: ...


@runtime_checkable
class AddsItems(Protocol):
    """Takes items that entered the catalog after the last fit."""

    def add_items(self, catalog: Catalog) -> None: ...


@runtime_checkable
class Withdraws(Protocol):
    """Is told which items may be shown; the guard filters the others from whatever it answers."""

    def withdraw(self, available: NDArray[np.bool_]) -> None: ...


@runtime_checkable
class Remembers(Protocol):
    """Can be saved and loaded: named arrays only, so no pickle is ever needed."""

    def state(self) -> State: ...

    def load_state(self, state: State) -> None: ...

"""Any plain function ``f(history, k) -> ids`` as a recommender."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from ..border import NOTHING, Capabilities, Progress, Requests, Slates
from ..catalog import Catalog
from ..errors import UserError
from ..faults import described
from ..interactions import Interactions
from ..randomness import bits, stream
from .vocabulary import UNKNOWN, Vocabulary

OPTIONAL = ("user", "seed", "attributes", "ago")
"""Keyword parameters a function gets when it has them: user index, a seed of the request's own, a
dict of the person's attributes, and how long ago each item of the history was met."""


class FunctionRecommender:
    """Calls a function once a request.

    The function gets the history, oldest first, and how many items are wanted. Integers it returns
    are item indices, strings are catalog ids. It gets indices, unless the annotation of its first
    parameter mentions ``str`` (``history: list[str]``): then it gets ids.
    A request for which it raises, or returns something else, fails alone.

    Args:
        function: ``f(history, k)``, with any of the keywords ``user``, ``seed``, ``attributes``
            and ``ago``: how long ago each item of the history was met, None where unknown.
        settings: further keyword arguments for every call.
    """

    def __init__(
        self, function: Callable[..., object], settings: Mapping[str, object] | None = None
    ) -> None:
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._settings = dict(settings or {})
        parameters = list(inspect.signature(function).parameters.values())
        named = {p.name for p in parameters[2:]}
        self._passes = [x for x in OPTIONAL if x in named and x not in self._settings]
        first = parameters[0] if parameters else None
        self._wants_ids = first is not None and "str" in str(first.annotation)
        self._vocabulary: Vocabulary | None = None
        meaning = {"user": "user_id", "attributes": "attributes", "ago": "times"}
        inputs = {"history"} | {meaning[x] for x in self._passes if x in meaning}
        self.capabilities = Capabilities(
            stochastic="seed" in self._passes, inputs=frozenset(inputs)
        )

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Learns the catalog's ids; a function has nothing to train."""
        self._vocabulary = Vocabulary(catalog.ids)

    def add_items(self, catalog: Catalog) -> None:
        """Learns the ids of the items that entered."""
        self._vocabulary = Vocabulary(catalog.ids)

    def recommend(self, requests: Requests) -> Slates:
        """One call of the function for each request."""
        items = np.full((len(requests), requests.k), NOTHING, np.int32)
        errors: list[str | None] = [None] * len(requests)
        seeds = bits(stream(requests.seed, self.name), requests.step, requests.users) >> np.uint64(
            1
        )
        for row in range(len(requests)):
            history: list[Any] = requests.history.row(row).tolist()
            if self._wants_ids and self._vocabulary is not None:
                history = self._vocabulary.ids(history)
            offered = {
                "user": int(requests.users[row]),
                "seed": int(seeds[row]),
                "attributes": {k: v[row].item() for k, v in requests.attributes.items()},
                "ago": None if requests.ago is None else requests.ago.row(row).tolist(),
            }
            keywords = {name: offered[name] for name in self._passes} | self._settings
            try:
                given = self._function(history, requests.k, **keywords)
                found = self._indices(given, requests.k)
                items[row, : len(found)] = found
            except Exception as error:  # a plug-in's mistake: this request fails, the others go on
                errors[row] = described(error)
        return Slates(items, errors=tuple(errors) if any(errors) else None)

    def _indices(self, given: object, k: int) -> list[int]:
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise TypeError(f"{self.name} must return item ids, got {type(given).__name__}")
        found: list[int] = []
        for value in islice(given, k):  # never more, even from an endless generator
            if isinstance(value, str):
                if self._vocabulary is None:
                    raise UserError("string ids need a catalog: call fit first")
                found.extend(self._vocabulary.indices([value]))
            elif isinstance(value, int | np.integer) and not isinstance(value, bool):
                found.append(int(value) if NOTHING <= value < UNKNOWN else UNKNOWN)
            else:
                raise TypeError(f"{self.name} returned {type(value).__name__} among its item ids")
        return found

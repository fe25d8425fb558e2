"""The JSON that recommenders in another process or on another machine speak.

One object goes out for a batch, one comes back::

    {"requests": [{"user": "17", "history": ["i3", "i9"], "k": 10,
                   "attributes": {"gender": "F"}, "seed": 8314}, ...], "step": 4}
    {"results": [{"items": ["i5", "i1"], "scores": [0.9, 0.2]}, {"error": "..."}, ...]}

``user`` is null for somebody unknown; histories are oldest first. ``seed`` belongs to (seed, step,
user): a recommender that draws only from it is repeatable. Where times are known and it declares
that it reads them (``"inputs": ["history", "times"]``), ``ago`` stands beside ``history``: how many
steps, or seconds, before the request each item was met. Where people talk, ``dialogue`` holds
``{"speaker": "user", "text": "..."}`` for each turn. Of a result only ``items`` is needed. Beside
it may stand ``scores``, ``propensities`` and ``text`` (an explanation or null), one an item;
``raw``, names as generated before matching; ``said``, one text for the whole list; ``usage``,
numbers by name (tokens, cost); ``error``, that this request failed. What comes back is read as data
and never executed.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..border import NOTHING, Capabilities, Requests, Slates
from ..faults import plain
from ..randomness import bits, stream
from .vocabulary import UNKNOWN, Vocabulary

MAX_BYTES = 64 * 2**20
"""Longest answer that is read."""
_MAX_PARTS = 2_000_000
"""Objects and lists in one answer: a short text of empty lists takes twenty times its length."""
_NUMBERS = ("scores", "propensities")
_WORDS = {
    "inputs": {"history", "times", "user_id", "attributes", "text", "image", "dialogue"},
    "outputs": {"items", "slate", "text", "explanations", "dialogue"},
}


class WireError(Exception):
    """The other side broke the protocol."""


def request_of(requests: Requests, vocabulary: Vocabulary) -> bytes:
    """One line of JSON for a batch."""
    seeds = bits(stream(requests.seed, "wire"), requests.step, requests.users) >> np.uint64(33)
    rows = [
        {
            "user": None if user < 0 else str(user),
            "history": vocabulary.ids(requests.history.row(row)),
            "k": requests.k,
            "attributes": {k: v[row].item() for k, v in requests.attributes.items()},
            "seed": seed,
            **({} if requests.ago is None else {"ago": requests.ago.row(row).tolist()}),
            **_dialogue_of(requests, row),
        }
        for row, (user, seed) in enumerate(
            zip(requests.users.tolist(), seeds.tolist(), strict=True)
        )
    ]
    return json.dumps({"requests": rows, "step": requests.step}).encode() + b"\n"


def _dialogue_of(requests: Requests, row: int) -> dict[str, Any]:
    if requests.dialogue is None:
        return {}
    turns = requests.dialogue[row]
    return {"dialogue": [{"speaker": turn.speaker, "text": turn.text} for turn in turns]}


def object_of(text: bytes) -> dict[str, Any]:
    """The JSON object in a line.

    Raises:
        WireError: it is not one.
    """
    if text.count(b"[") + text.count(b"{") > _MAX_PARTS:
        raise WireError(f"the answer has more than {_MAX_PARTS} parts")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON ({error}): {plain(repr(text[:80]))}") from None
    if not isinstance(value, dict):
        raise WireError(f"a JSON object was expected, got {plain(repr(text[:80]))}")
    return value


def slates_of(answer: dict[str, Any], requests: Requests, vocabulary: Vocabulary) -> Slates:
    """Slates from an answer; a malformed result spoils its own row only.

    Raises:
        WireError: there is not one result for each request.
    """
    if answer.get("error") is not None:
        raise WireError(plain(f"it reports: {answer['error']}"))
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != len(requests):
        got = f"{len(results)} results" if isinstance(results, list) else "no list of results"
        raise WireError(f"{len(requests)} results were expected, got {got}")
    n, k = len(requests), requests.k
    items = np.full((n, k), NOTHING, np.int32)
    numbers = {name: np.full((n, k), np.nan, np.float32) for name in _NUMBERS}
    text: list[tuple[str | None, ...]] = [(None,) * k] * n
    said: list[str | None] = [None] * n
    raw: list[tuple[str, ...]] = [()] * n
    usage: list[dict[str, float]] = [{}] * n
    errors: list[str | None] = [None] * n
    scored = True
    for row, result in enumerate(results):
        problem = _problem(result)
        if problem is not None:
            errors[row] = problem
            continue
        names = [str(item) for item in result["items"][:k]]
        found = vocabulary.indices(names)
        items[row, : len(found)] = found
        scored = scored and not (found and result.get("scores") is None)
        for name, table in numbers.items():
            table[row, : len(found)] = (result.get(name) or ())[:k] or np.nan
        explained = tuple(result.get("text") or ())[:k]
        text[row] = explained + (None,) * (k - len(explained))
        said[row] = result.get("said")
        if UNKNOWN in found:  # so that messages quote what it said
            raw[row] = tuple(names)
        raw[row] = tuple(str(name) for name in result.get("raw") or raw[row])
        usage[row] = {what: float(amount) for what, amount in (result.get("usage") or {}).items()}
    scores, propensities = (
        table if np.isfinite(table).any() else None for table in numbers.values()
    )
    return Slates(
        items,
        scores=scores if scored else None,
        propensities=propensities,
        text=tuple(text) if any(any(row) for row in text) else None,
        slate_text=tuple(said) if any(said) else None,
        raw_names=tuple(raw) if any(raw) else None,
        errors=tuple(errors) if any(errors) else None,
        usage=tuple(usage) if any(usage) else None,
    )


def _problem(result: object) -> str | None:
    """Why one result cannot be used, or None."""
    if not isinstance(result, dict):
        return "a result must be an object"
    if result.get("error") is not None:
        return plain(result["error"])
    items = result.get("items")
    if not isinstance(items, list) or not all(
        isinstance(item, str | int) and not isinstance(item, bool) for item in items
    ):
        return "items must be a list of ids"
    for name in _NUMBERS:
        values = result.get(name)
        if values is not None and not (_list_of(values, len(items)) and all(map(_number, values))):
            return f"{name} must be one finite number an item"
    texts = result.get("text")
    if texts is not None and not (
        _list_of(texts, len(items)) and all(isinstance(one, str | None) for one in texts)
    ):
        return "text must be one text or null an item"
    if not isinstance(result.get("said"), str | None):
        return "said must be a text"
    if not isinstance(result.get("raw") or [], list):
        return "raw must be a list of names"
    usage = result.get("usage") or {}
    if not isinstance(usage, dict) or not all(map(_number, usage.values())):
        return "usage must be finite numbers by name"
    return None


def _list_of(value: object, n: int) -> bool:
    return isinstance(value, list) and len(value) == n


def _number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e38  # type: ignore[arg-type]


def capabilities_of(declared: object) -> Capabilities:
    """Capabilities from a JSON object with the fields of ``Capabilities``; all are optional.

    Raises:
        WireError: an unknown field, or a value of the wrong kind.
    """
    allowed: dict[str, tuple[object, ...]] = {
        "history": ("any", "trained_users_only", "none"),
        "scores": ("none", "ordinal", "log_prob"),
        "update": ("none", "refit"),
        "stochastic": (True, False),
        "seedable": (True, False),
        "closed_catalog": (True, False),
        "metered": (True, False),
        "negatives": (True, False),
        "ratings": (True, False),
        "unseen": (True, False),
    }
    if not isinstance(declared, dict):
        raise WireError("capabilities must be an object")
    known: dict[str, Any] = {}
    for name, value in declared.items():
        words = name in _WORDS and isinstance(value, list)
        if words and all(isinstance(word, str) and word in _WORDS[name] for word in value):
            known[name] = frozenset(value)
            continue
        positive = name == "max_batch" and type(value) is int and value > 0
        listed = any(type(value) is type(one) and value == one for one in allowed.get(name, ()))
        if not positive and not listed:
            raise WireError(plain(f"capabilities: {name} = {value!r} is not understood"))
        known[name] = value
    return Capabilities(**known)

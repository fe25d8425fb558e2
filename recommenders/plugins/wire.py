"""The JSON that recommenders in another process or on another machine speak.

One object goes out for a batch, one comes back::

    {"requests": [{"user": "17", "history": ["i3", "i9"], "k": 10,
                   "attributes": {"gender": "F"}, "seed": 8314}, ...], "step": 4}
    {"results": [{"items": ["i5", "i1"], "scores": [0.9, 0.2]}, {"error": "..."}, ...]}

``user`` is null for somebody unknown; histories are oldest first. ``seed`` belongs to (seed, step,
user): a recommender that draws only from it is repeatable. Where times are known and it declares
that it reads them (``"inputs": ["history", "times"]``), ``ago`` stands beside ``history``: how many
steps, or seconds, before the request each item was met. Where people talk, ``dialogue`` holds
``{"speaker": "user", "text": "..."}`` for each turn. Of a result only ``items`` is needed;
``scores`` runs beside it, ``raw`` holds names as generated before matching, ``error`` says that
this request failed. What comes back is read as data and never executed.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..border import NOTHING, Capabilities, Requests, Slates
from ..faults import plain
from ..randomness import bits, stream
from .vocabulary import Vocabulary

MAX_BYTES = 64 * 2**20
"""Longest answer that is read."""
_MAX_PARTS = 2_000_000
"""Objects and lists in one answer: a short text of empty lists takes twenty times its length."""


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
    scores = np.full((n, k), np.nan, np.float32)
    scored = True
    raw: list[tuple[str, ...]] = [()] * n
    errors: list[str | None] = [None] * n
    for row, result in enumerate(results):
        problem = _problem(result)
        if problem is not None:
            errors[row] = problem
            continue
        found = vocabulary.indices([str(item) for item in result["items"][:k]])
        items[row, : len(found)] = found
        if result.get("scores") is None:
            scored = scored and not found
        else:
            scores[row, : len(found)] = result["scores"][:k]
        raw[row] = tuple(str(name) for name in result.get("raw") or ())
    return Slates(
        items,
        scores=scores if scored and np.isfinite(scores).any() else None,
        raw_names=tuple(raw) if any(raw) else None,
        errors=tuple(errors) if any(errors) else None,
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
    scores = result.get("scores")
    if scores is not None and (
        not isinstance(scores, list)
        or len(scores) != len(items)
        or not all(type(score) in (int, float) and abs(score) < 1e38 for score in scores)
    ):
        return "scores must be one finite number an item"
    if not isinstance(result.get("raw") or [], list):
        return "raw must be a list of names"
    return None


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
    }
    if not isinstance(declared, dict):
        raise WireError("capabilities must be an object")
    known: dict[str, Any] = {}
    for name, value in declared.items():
        if name in ("inputs", "outputs") and isinstance(value, list):
            known[name] = frozenset(str(word) for word in value)
            continue
        positive = name == "max_batch" and type(value) is int and value > 0
        listed = any(type(value) is type(one) and value == one for one in allowed.get(name, ()))
        if not positive and not listed:
            raise WireError(plain(f"capabilities: {name} = {value!r} is not understood"))
        known[name] = value
    return Capabilities(**known)

"""Who lives in an audited world, in words: each kind of people with its preset and its laws."""

from __future__ import annotations

from typing import Any

from .words import USER_MODELS, listed

_PERSONS = {"chat": "a language model makes their choices", "scripted": "one object each"}


def kinds_of_people(study: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(lead, name, what they do) of each kind: ("60 % are", "browsers", "habitual: tastes ...").

    Args:
        study: as a run's manifest holds it.
    """
    users = study.get("users") or []
    if not users:
        people = study.get("people", {})
        return [("People are", str(people.get("model", "habitual")), _does(people))]
    return [
        (
            f"{100 * float(kind.get('share', 1)):.3g} % are",
            str(kind.get("label") or kind.get("model", "")),
            _does(kind, named=not kind.get("label")),
        )
        for kind in users
    ]


def _does(kind: dict[str, Any], *, named: bool = True) -> str:
    model = str(kind.get("model", "habitual"))
    said = USER_MODELS.get(model, "")
    parts = [said if named or not said else f"{model}, {said}"]
    asked = str(kind.get("persons") or "")
    choice = _law(kind.get("choice"))
    if asked in _PERSONS:
        parts.append(_PERSONS[asked])
    if choice not in ("", "logit") and asked != "chat":
        parts.append(f"they choose by the law {choice}")
    for key, verb in (("feedback", "tell"), ("change", "change by")):
        laws = [law for one in kind.get(key) or [] if (law := _law(one))]
        if laws:
            parts.append(f"they {verb} {listed(laws)}")
    return "; ".join(part for part in parts if part)


def _law(table: Any) -> str:
    return str(table.get("law", "")) if isinstance(table, dict) else str(table or "")

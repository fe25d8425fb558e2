"""What can be set of a recommender: its constructor's arguments, their defaults and meanings.

The meanings are read from the ``Args:`` of its class's docstring and those of its base classes, so
that they are written once, where the code is read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .border import Capabilities
from .faults import plain

if TYPE_CHECKING:
    from pydantic import BaseModel

_NAMES = re.compile(r"^ {4}(\w+(?:, \w+)*)(?:\([^)]*\))?: (.*)")  # name: text, or name(int): text
_NUMPY = re.compile(r"^(\w+(?:, \w+)*) ?:")  # name : type, its text below
_BESIDE = re.compile(r"; (\w+): ")
_ROLE = re.compile(r":\w+:`[~.]*(?:[\w.]*\.)?(\w+)`")


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor.

    Attributes:
        name: as it is set.
        default: as text; "" where one must be given.
        meaning: from the docstring; "" where nothing is said.
    """

    name: str
    default: str
    meaning: str


def arguments_of(thing: object, *, skip: int = 0) -> list[Argument]:
    """The arguments of a class or function, in their order; none of what has no signature.

    Args:
        thing: a class, or a function ``f(history, k, ...)``.
        skip: leading parameters that the harness fills in.
    """
    try:
        parameters = list(inspect.signature(thing).parameters.values())[skip:]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []
    said = _meanings(thing, {p.name for p in parameters})
    listed = [
        Argument(
            p.name, "" if p.default is p.empty else plain(repr(p.default)), said.get(p.name, "")
        )
        for p in parameters
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    more: type[BaseModel] | None = getattr(thing, "further_arguments", None)
    if more is None and callable(theirs := getattr(thing, "config_class", None)):
        more = theirs()  # LensKit's components take the fields of a config
        listed = [one for one in listed if one.name != "config"]
    return listed + [
        Argument(name, plain(repr(field.default)), field.description or "")
        for name, field in getattr(more, "model_fields", {}).items()
    ]


def summary_of(thing: object) -> str:
    """The first paragraph of its docstring on one line."""
    first = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return " ".join("".join(map(_shown, _ROLE.sub(r"\1", first).replace("``", ""))).split())


def abilities(says: Capabilities) -> list[tuple[str, str]]:
    """What a recommender declares, in words."""
    history = {
        "any": "any history",
        "trained_users_only": "only people it was trained on",
        "none": "does not look at histories",
    }[says.history]
    draws = "draws its lists" if says.stochastic else "the same list for the same history"
    return [
        ("serves", history),
        ("lists", draws if says.seedable else f"{draws}, not repeatable by a seed"),
        ("scores", {"none": "none", "ordinal": "of every item", "log_prob": "log probabilities"}[
            says.scores
        ]),
        ("learns", {"none": "never", "refit": "by training anew", "incremental": "on"}[
            says.update
        ]),
        ("catalog", "closed" if says.closed_catalog else "open: may name items that do not exist"),
        ("answers", ", ".join(sorted(says.outputs))),
    ]  # fmt: skip


def _meanings(thing: object, known: Collection[str]) -> Mapping[str, str]:
    """Argument to meaning, from its own docstring first, then its base classes'."""
    said: dict[str, str] = {}
    sources = list(inspect.getmro(thing)) if inspect.isclass(thing) else [thing]
    for source in sources:
        for documented in (source, vars(source).get("__init__") if len(sources) > 1 else None):
            for name, meaning in _section(getattr(documented, "__doc__", None), known).items():
                if not meaning.startswith("see "):  # where a base class says it
                    said.setdefault(name, meaning)
    return said


def _section(doc: object, known: Collection[str]) -> dict[str, str]:
    """Argument to meaning, from ``Args:`` in Google's style or ``Parameters`` in NumPy's.

    An entry may tell of several: ``width, depth: sizes``, or ``width: a size; depth: another``.
    """
    if not isinstance(doc, str):
        return {}
    entries: list[tuple[list[str], list[str]]] = []
    inside = numpy = False
    for line in inspect.cleandoc(doc).splitlines():
        if numpy and (entry := _NUMPY.match(line)):
            entries.append((entry[1].split(", "), []))
        elif numpy and set(line) == {"-"}:
            continue
        elif line and not line.startswith(" "):
            inside, numpy = line.rstrip() == "Args:", line.rstrip() == "Parameters"
        elif numpy and entries:
            entries[-1][1].append(line)
        elif inside and (entry := _NAMES.match(line)):
            entries.append((entry[1].split(", "), [entry[2]]))
        elif inside and entries:
            entries[-1][1].append(line)
    found: dict[str, str] = {}
    for names, lines in entries:
        text = _ROLE.sub(r"\1", " ".join(lines)).replace("``", "")
        first, *others = _BESIDE.split(" ".join("".join(map(_shown, text)).split()))
        for name, more in zip(others[::2], others[1::2], strict=True):
            if name in known:
                found[name] = more
            else:  # a sentence with a colon
                first += f"; {name}: {more}"
        found |= dict.fromkeys(names, first)
    return found


def _shown(character: str) -> str:
    return character if character.isprintable() else " "

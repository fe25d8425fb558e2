"""The ``list`` command: every name a study may use, read from metadata only."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from textwrap import wrap
from typing import TYPE_CHECKING

from ..recommenders.arguments import Argument, abilities, arguments_of, summary_of
from ..recommenders.border import Capabilities
from ..recommenders.errors import UserError, unknown_name
from ..recommenders.plugins.adapters import ADAPTERS, Adapter, adapter_of

if TYPE_CHECKING:
    from ..recommenders.registry import Entry

KINDS = ("recommenders", "libraries", "auditors", "users", "laws", "datasets")

_USERS = {
    "habitual": "tastes move slowly to what is consumed; the default",
    "curious": "soon sated, looks further down the list, drifts little",
    "impressionable": "drifts fast, also to what is merely shown, follows the top of the list",
}
_DATASETS = {
    "ml-100k": "MovieLens 100K: 943 people with gender, age, occupation; 1,682 films",
    "ml-1m": "MovieLens 1M: 6,040 people with gender, age, occupation; 3,883 films",
    "ml-1m-sequences": "MovieLens 1M, 5-core, order without times: 6,040 people, 3,416 films",
    "amazon-beauty": "Amazon Beauty 2014, order without times: 22,363 people, 12,101 items",
    "amazon-toys": "Amazon Toys & Games 2014, order without times: 19,412 people, 11,924 items",
    "FILE": "any CSV or Parquet file, with a column map",
}


@dataclass(frozen=True)
class Named:
    """One name: where it comes from, what it is, and why it does not load, if it does not."""

    name: str
    origin: str
    summary: str
    error: str


def inventory(kind: str = "") -> dict[str, list[Named]]:
    """Names by kind; one kind, or all when empty.

    Raises:
        UserError: an unknown kind.
    """
    if kind and kind not in KINDS:
        raise unknown_name("kind of name", kind, KINDS)
    return {k: _names(k) for k in ([kind] if kind else KINDS)}


def _names(kind: str) -> list[Named]:
    if kind == "laws":
        from ..simulation.people.laws import LAWS, summary

        return [
            Named(name, of, summary(law), "")
            for of, laws in LAWS.items()
            for name, law in laws.items()
        ]
    if kind == "libraries":
        return [_library(adapter) for adapter in ADAPTERS]
    if kind in ("users", "datasets"):
        own = _USERS if kind == "users" else _DATASETS
        return [Named(name, "built-in", summary, "") for name, summary in own.items()]
    return [Named(e.name, e.origin, e.summary, e.error or "") for e in registered(kind)]


def _library(adapter: Adapter) -> Named:
    version = adapter.version
    origin = f"{adapter.library} {version}" if version else f"{adapter.library}, not installed"
    return Named(adapter.example, origin, f"as any of its models; {adapter.install}", "")


def registered(kind: str) -> list[Entry]:
    """Recommenders or auditors, the installed ones included; nothing of them is imported."""
    from ..audit.auditor import AUDITORS
    from ..recommenders.registry import entries

    if kind == "auditors":
        return entries("auditors", built_in=AUDITORS)
    return entries("recommenders")


@dataclass(frozen=True)
class Described:
    """One recommender: what it is, what it declares, what can be set."""

    name: str
    origin: str
    summary: str
    abilities: list[tuple[str, str]]
    arguments: list[Argument]

    def lines(self, width: int = 100) -> list[str]:
        """The same for people, wrapped."""
        rows = [(f"  {what}", "", said) for what, said in self.abilities]
        if self.arguments:
            rows.append(("arguments", "default", ""))
            longest = 1000 if self.origin == "built-in" else 240  # some libraries write chapters
            rows += [
                (f"  {a.name}", _cut(a.default, 16) or "needed", _cut(a.meaning, longest))
                for a in self.arguments
            ]
        name, default = (max((len(row[at]) for row in rows), default=0) for at in (0, 1))
        told = [f"{self.name}, {self.origin}", *wrap(self.summary, width)]
        for row in rows:
            head = f"{row[0]:<{name}}  {row[1]:<{default}}  "
            body = wrap(row[2], max(width - name - default - 4, 30)) or [""]
            told += [f"{head}{body[0]}".rstrip()]
            told += [" " * (name + default + 4) + line for line in body[1:]]
        return told


def described(spec: str) -> Described:
    """What can be set of the recommender that a spec names; it is imported, not created.

    Raises:
        UserError: nothing has this name, or it cannot be loaded.
    """
    from ..recommenders.plugins.function import OPTIONAL
    from ..recommenders.registry import create, load, resolve

    try:
        entry = resolve(spec)
    except UserError:
        near = get_close_matches(spec, KINDS, n=1, cutoff=0.7)
        if near:
            raise unknown_name("kind of name", spec, KINDS) from None
        raise
    thing: object = _behind(entry.origin)
    skip = 1  # the command, the URL
    if thing is None:
        thing = load(entry)
        skip = 2 if inspect.isroutine(thing) and not adapter_of(thing) else 0
    handed = OPTIONAL if skip == 2 else ()
    says = getattr(thing, "capabilities", None)
    if entry.origin == "built-in":  # its defaults decide
        with suppress(UserError):  # where something must be named first
            says = create(spec).capabilities
    taken = thing if inspect.isclass(thing) or inspect.isroutine(thing) else None
    return Described(
        name=spec,
        origin=entry.origin,
        summary=entry.summary or summary_of(thing),
        abilities=abilities(says) if isinstance(says, Capabilities) else [],
        arguments=[a for a in arguments_of(taken, skip=skip) if a.name not in handed],
    )


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _behind(origin: str) -> type | None:
    """The class behind a command or a URL."""
    if origin == "command":
        from ..recommenders.plugins.process import ProcessRecommender

        return ProcessRecommender
    if origin == "http":
        from ..recommenders.plugins.http import HttpRecommender

        return HttpRecommender
    return None

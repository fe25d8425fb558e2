"""The ``list`` command: every name a study may use, read from metadata only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..recommenders.errors import unknown_name
from ..recommenders.plugins.adapters import ADAPTERS, Adapter

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
        from ..simulation.laws import LAWS, summary

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

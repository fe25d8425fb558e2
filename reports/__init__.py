"""The report: one HTML file a person can read, and the same result for machines."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare import Comparison as Comparison
    from .report import AuditFailed as AuditFailed
    from .report import Report as Report

_HOMES = {"Report": "report", "AuditFailed": "report", "Comparison": "compare"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

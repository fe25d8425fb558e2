"""The ``doctor`` command: is this installation able to do its work, and with what."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata

from ..recommenders.errors import UserError
from ..recommenders.plugins.adapters import ADAPTERS
from ..recommenders.registry import load
from .inventory import registered

_LIBRARIES = (
    "torch",
    "mesa",
    "fairlearn",
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "pydantic",
    "typer",
    "rich",
    "jinja2",
    "matplotlib",
)


@dataclass(frozen=True)
class Health:
    """What was found, and what stands in the way."""

    facts: dict[str, str]
    problems: tuple[str, ...]


def examine() -> Health:
    """Look at Python, the libraries, the device and every plug-in; imports torch."""
    problems: list[str] = []
    facts = {
        "loopaudit": _version("loopaudit") or "not installed (running from a folder)",
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    for name in _LIBRARIES:
        version = _version(name)
        facts[name] = version or "missing"
        if version is None:
            problems.append(f"{name} is missing: pip install {name}")
    facts["device"] = _device(problems)
    facts["adapters"] = ", ".join(f"{a.library} {a.version or 'missing'}" for a in ADAPTERS)
    facts["plug-ins"] = _plug_ins(problems)
    return Health(facts, tuple(problems))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(problems: list[str]) -> str:
    try:
        import torch
    except Exception as error:  # a broken binary raises whatever it likes
        problems.append(f"torch cannot be imported: {error}")
        return "unknown"
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)}"
    return f"cpu, {torch.get_num_threads()} threads"


def _plug_ins(problems: list[str]) -> str:
    found = []
    for kind in ("recommenders", "auditors"):
        for entry in registered(kind):
            if entry.origin == "built-in":
                continue
            found.append(f"{entry.name} ({entry.origin})")
            error = entry.error
            try:
                load(entry)
            except UserError as trouble:
                error = str(trouble)
            if error:
                problems.append(error)
    return ", ".join(found) or "none"

"""Mistakes of the caller: printed bare, never with a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was wrong, what was got, what to do; the command line prints it and exits 2."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A UserError for a name that does not exist, offering the nearest three.

    Args:
        kind: what was looked up, in singular ("recommender", "auditor", "arm").
        name: what the caller wrote.
        known: every name that would have worked.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names)}."
    return UserError(f"unknown {kind} {name!r}. {hint}")

"""Mistakes of the caller: printed bare, never with a traceback."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """What was wrong, what was got, what to do; the command line prints it and exits 2."""


class CannotAnswer(UserError):
    """What a recommender asks can be repaired by its user alone: a wrong key, a used-up quota.

    It ends a run, which can go on later, where another fault would be an arm of empty slates.
    """


class CannotWrite(RuntimeError):
    """The disk is full, or the directory went away; what was finished is kept.

    Args:
        path: what could not be written.
        error: the file system's.
    """

    def __init__(self, path: object, error: object) -> None:
        super().__init__(path, error)  # both, so that it can cross to another process
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        if said := re.search(r"([^:]+) \(os error \d+\)", reason):  # as Rust libraries put it
            reason = said[1].strip()
        number = getattr(error, "errno", None)
        cure = "make room" if number in _FULL or number is None else "make it writable"
        self._text = (
            f"cannot write {path}: {reason}. What was finished is kept; {cure}, "
            "then give the same command again"
        )

    def __str__(self) -> str:
        return self._text


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

"""How loops are compiled: kept on disk, without the interpreter's lock, dividing as NumPy does.

Numba is imported here, so only modules of compiled loops import this one.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiler(*, inline: bool = False, fastmath: Set[str] = frozenset()) -> Callable[[F], F]:
    """A decorator that compiles a function when it is first called.

    Args:
        inline: put it into the loops that call it, instead of keeping it on disk.
        fastmath: liberties with floating point, by LLVM's names; none by default.
    """
    kept = {"inline": "always"} if inline else {"cache": True}

    def compiled(function: F) -> F:
        liberties = set(fastmath) or False
        made: F = njit(function, nogil=True, error_model="numpy", fastmath=liberties, **kept)
        return made

    return compiled

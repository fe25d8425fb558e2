"""A table of study.toml: validated, frozen, unknown keys refused."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of study.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def named(tag: str) -> Callable[[object], object]:
    """``choice = "cascade"`` in study.toml is short for ``choice = { law = "cascade" }``.

    Args:
        tag: the key that tells the members of a union apart.
    """

    def table(value: object) -> object:
        return {tag: value} if isinstance(value, str) else value

    return table

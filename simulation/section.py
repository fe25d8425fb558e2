"""A table of study.toml: validated, frozen, unknown keys refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of study.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def named_law(value: object) -> object:
    """``choice = "cascade"`` in study.toml is short for ``choice = { law = "cascade" }``."""
    return {"law": value} if isinstance(value, str) else value

"""docs/speed.md: each benchmark writes its own section and leaves the others as they are."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"


def write_section(title: str, text: str) -> None:
    """Put a text under a heading of its own, in place of what stood there."""
    head, *parts = re.split(r"(?m)^(?=## )", PAGE.read_text(encoding="utf-8"))
    sections = {part.splitlines()[0].removeprefix("## "): part for part in parts}
    sections[title] = f"## {title}\n\n{text.strip()}\n"
    whole = [head.rstrip() + "\n", *(part.rstrip() + "\n" for part in sections.values())]
    PAGE.write_text("\n".join(whole), encoding="utf-8")

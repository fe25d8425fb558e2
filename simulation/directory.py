"""Where a run goes when nobody says so, and which directories may be gone on with."""

from __future__ import annotations

import json
from datetime import date
from itertools import count
from pathlib import Path

from ..recommenders.errors import UserError
from .study import Study

HOME = Path("runs")


def run_directory(study: Study, out: Path | None = None) -> Path:
    """The directory a study is run in: the one named, an unfinished one of it, or a new one.

    Args:
        study: what will be run.
        out: the directory the caller named; None for ``runs/<date>-<name>``.

    Raises:
        UserError: ``out`` already holds a finished run.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out} is a file; name a directory")
        if _manifest(out).get("finished"):
            raise UserError(
                f"{out} already holds a finished run, which is never overwritten; audit it with "
                f"`loopaudit audit {out}` or choose another --out"
            )
        return out
    name = study.study.name
    wanted = study.model_dump(mode="json")
    for path in sorted(HOME.glob(f"*-{name}*")):
        manifest = _manifest(path)
        if manifest.get("study") == wanted and not manifest.get("finished"):
            return path
    first = HOME / f"{date.today().isoformat()}-{name}"
    if not first.exists():
        return first
    return next(p for n in count(2) if not (p := first.with_name(f"{first.name}-{n}")).exists())


def _manifest(path: Path) -> dict[str, object]:
    try:
        held = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}

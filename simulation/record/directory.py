"""Run directories: where a run goes, which ones may be gone on with, and what is in them.

A run directory is begun, gone on with, and finished here. It is never trusted: what an unfinished
one holds is compared with its journals before anything is built on it, and what a finished one
holds with its manifest before anything is read from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

from ...recommenders.errors import UserError
from ..run import Factories
from ..study import Study
from ..study_file import to_toml
from . import journal, manifest
from .store import DiskStore

HOME = Path("runs")

_BEFORE_ANYTHING = ("plan.json", "log.txt", "study.toml")
_OTHER_STUDY = "choose another --out, or go on with the study.toml in it"


def run_directory(study: Study, out: Path | None = None) -> Path:
    """The directory a study is run in: the one named, an unfinished one of it, or a new one.

    Args:
        study: what will be run.
        out: the directory the caller named; None for ``runs/<date>-<name>``.

    Raises:
        UserError: ``out`` already holds a finished run, or one whose manifest is damaged.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out} is a file; name a directory")
        if (out / manifest.NAME).exists() and manifest.read_manifest(out)["finished"]:
            raise UserError(
                f"{out} already holds a finished run, which is never overwritten; audit it with "
                f"`loopaudit audit {out}` or choose another --out"
            )
        return out
    name = study.study.name
    wanted = study.model_dump(mode="json")
    for path in sorted(HOME.glob(f"*-{name}*")):
        try:
            held = manifest.read_manifest(path)
        except UserError:  # not ours, or damaged: it is left alone
            continue
        if held["study"] == wanted and not held["finished"]:
            return path
    first = HOME / f"{date.today().isoformat()}-{name}"
    if not first.exists():
        return first
    return next(p for n in count(2) if not (p := first.with_name(f"{first.name}-{n}")).exists())


def refuse_others(study: Study, root: Path) -> None:
    """A directory with other files or another study in it is never written to.

    Raises:
        UserError: what it holds.
    """
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file; name a directory")
    if not (root / manifest.NAME).exists():
        strangers = _strangers_at_the_top(root)
        if strangers:
            raise UserError(
                f"{root} is not empty and is no run directory (it holds {strangers[0]}); "
                "choose another --out"
            )
        return
    held = manifest.read_manifest(root)["study"]
    if held != study.model_dump(mode="json"):
        raise UserError(f"{root} holds another study ({_difference(held, study)}); {_OTHER_STUDY}")


def prepare(study: Study, store: DiskStore, factories: Factories) -> bool:
    """Ready a run directory to be lived in; True when it already holds this study, finished.

    Raises:
        UserError: the directory is another study's, its files are not what was written, or what
            it was begun with (plug-ins, data, libraries) changed.
    """
    from .provenance import provenance, refuse_changed

    root = store.root
    refuse_others(study, root)
    if not store.exists(manifest.NAME):
        store.sweep()
        begun = {"study": study.model_dump(mode="json"), **provenance(study, factories)}
        manifest.write_manifest(store, {**begun, "finished": False, "session": 0, "files": {}})
        store.put_text("study.toml", to_toml(study))
        return False
    held = manifest.read_manifest(root)
    if held["finished"]:  # it is read in place of a new one, so it must be what a new one would be
        refuse_changed(held, study, factories, root=root, libraries=False)
        return True
    refuse_changed(held, study, factories, root=root)
    store.sweep()
    session = int(held["session"])
    files = journal.replay(root, held["files"], session=session)
    if not store.exists("study.toml"):  # it can be written again
        files.pop("study.toml", None)
    manifest.verify(root, files)
    manifest.write_manifest(store, {**held, "session": session + 1, "files": files})
    journal.forget(root, before=session + 1)
    if "study.toml" not in files:
        store.put_text("study.toml", to_toml(study))
    return False


def finish(study: Study, store: DiskStore, factories: Factories) -> None:
    """Close a run: every file is the one that was written, and the manifest names it.

    Raises:
        UserError: a file is not what was written, or what the run is made with changed meanwhile.
    """
    from .provenance import refuse_changed

    root = store.root
    held = manifest.read_manifest(root)
    refuse_changed(held, study, factories, root=root)
    session = int(held.pop("session"))
    files = journal.replay(root, held["files"], session=session)
    manifest.verify(root, files)
    held = {**held, "engines": _engines(store, files), "files": files}
    manifest.write_manifest(store, {**held, "session": session + 1})
    journal.forget(root)  # a kill here leaves a run that is complete and gone on with
    manifest.write_manifest(store, {**held, "finished": True})


def _engines(store: DiskStore, names: Iterable[str]) -> list[str]:
    """The engines that lived the arms of a run: what [study] engine = "auto" came to."""
    return sorted({store.json(name)["engine"] for name in names if name.endswith("/done.json")})


def _strangers_at_the_top(root: Path) -> list[str]:
    """What a directory holds that no run writes before its manifest."""
    if not root.is_dir():
        return []
    found = (p.name for p in root.iterdir())
    return sorted(n for n in found if n not in _BEFORE_ANYTHING and not n.startswith("."))


def _difference(held: Any, study: Study) -> str:
    """The first key in which two studies differ, for the reader of an error."""
    now = study.model_dump(mode="json")
    if not isinstance(held, dict):
        return "its study cannot be read"
    for table, value in now.items():
        other = held.get(table)
        if value != other and isinstance(value, dict) and isinstance(other, dict):
            key = next((k for k in value if value[k] != other.get(k)), "")
            if key:
                return f"[{table}] {key} is {other.get(key)!r} there, {value[key]!r} here"
        if value != other:
            return f"[{table}] differs"
    return "it differs"

"""manifest.json: what a run is made of and with, and which files belong to it.

The manifest holds a digest of itself. That finds what was changed by accident (an editor, a merge,
a disk); whoever changes it on purpose can write the digest again, so it proves nothing to others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...recommenders.errors import UserError
from .journal import file_sha256
from .store import DiskStore

NAME = "manifest.json"
SCHEMA_VERSION = 4

Manifest = dict[str, Any]


def write_manifest(store: DiskStore, held: Manifest) -> None:
    """Write a manifest with its own digest, whole or not at all."""
    content = {"schema": SCHEMA_VERSION, **held}
    store.put_json(NAME, {**content, "sha256": _digest(content)})


def read_manifest(root: Path) -> Manifest:
    """The manifest of a run directory, as it was written.

    Raises:
        UserError: there is none, it is no JSON, of another schema, or was changed.
    """
    path = root / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{root} is not a run directory: it has no {NAME}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    cure = "restore it from a copy, or simulate again with another --out"
    try:
        held = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: it is no JSON ({error}); {cure}") from None
    if not isinstance(held, dict) or "schema" not in held:
        raise UserError(f"{path} is no manifest of LoopAudit; {cure}")
    if held["schema"] != SCHEMA_VERSION:
        raise UserError(
            f"{root} was written with run schema {held['schema']}, this LoopAudit reads schema "
            f"{SCHEMA_VERSION}; simulate again with another --out"
        )
    said = held.pop("sha256", None)
    if said != _digest(held):
        raise UserError(
            f"{path} is not what was written (its content does not fit its own sha256); {cure}"
        )
    return held


def verify(root: Path, files: Mapping[str, str]) -> None:
    """Every file is there, is the one that was written, and nothing else is among them.

    Files are read in blocks, so that memory stays small however long the run.

    Raises:
        UserError: the first file that is not so.
    """
    cure = "restore it from a copy, or simulate again with another --out"
    for name, wanted in files.items():
        try:
            got = file_sha256(root / name)
        except OSError as error:
            raise UserError(f"{root} is damaged: {name} cannot be read ({error})") from error
        if got is None:
            raise UserError(f"{root} is damaged: {name} is missing; {cure}")
        if got != wanted:
            raise UserError(
                f"{root} is damaged: {name} is not the file that was written "
                f"(its sha256 differs); {cure}"
            )
    store = DiskStore(root)
    for folder in sorted({name.split("/")[0] for name in files if "/" in name}):
        for name in store.listing(f"{folder}/"):
            if name not in files:
                raise UserError(f"{root} holds {name}, which the run did not write; move it away")


def _digest(content: Manifest) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

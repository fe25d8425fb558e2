"""The digest of every file of an unfinished run, written down before the file is in its place.

A process may be killed anywhere. What it had noted is then on disk, or was not yet done; only the
last line of a journal can be of the second kind, since a process does one thing after the other.
A resume therefore knows of every file whether it is the one that was written (write-ahead
logging; Gray and Reuter, Transaction Processing, 1993, chapter 9).
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...recommenders.errors import UserError

FOLDER = "journal"
_REMOVED = "-" * 64
_NAME = re.compile(r"(\d{4,})-.+\.log")
_CHECK = 16  # characters of a line's own digest, which also depends on the line before it

Files = dict[str, str]
"""Name below the run directory -> sha256."""


def file_sha256(path: Path) -> str | None:
    """The sha256 of a file, read in blocks; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


@dataclass(frozen=True)
class _Line:
    name: str
    sha256: str | None  # None: removed


class Journal:
    """What one writer of a run did since the run was last begun or gone on with.

    Args:
        root: the run directory.
        session: how often the run was gone on with; a new session starts new journals.
        writer: whose it is; two processes never write as the same one at a time.
    """

    def __init__(self, root: Path, *, session: int, writer: str) -> None:
        self.path = root / FOLDER / f"{session:04d}-{writer}.log"
        self._check = ""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():  # a writer of this session died and another took its place
            lines, whole = _lines(self.path)
            os.truncate(self.path, whole)
            for line in lines:
                self._check = _check(self._check, line)
            if lines and (now := file_sha256(root / lines[-1].name)) != lines[-1].sha256:
                self.note(lines[-1].name, now)

    def note(self, name: str, sha256: str | None) -> None:
        """Write down that a file is about to be put in its place, or (None) removed."""
        line = _Line(name, sha256)
        self._check = _check(self._check, line)
        text = f"{self._check} {sha256 or _REMOVED} {name}\n".encode()
        with self.path.open("ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def replay(root: Path, files: Files, *, session: int) -> Files:
    """The files of an unfinished run as its journals say, unverified.

    Args:
        root: the run directory.
        files: what there was when this session began.
        session: journals of earlier ones are part of ``files`` already.

    Raises:
        UserError: a journal is damaged, or a folder stands where a file was written last.
    """
    said: dict[str, set[str | None]] = {}
    going: set[str] = set()  # removals that may not have been done
    for path in sorted(p for p in (root / FOLDER).glob("*") if p.name[0] != "."):
        known = _NAME.fullmatch(path.name)
        if known is None or not path.is_file():
            raise UserError(
                f"{root} holds {FOLDER}/{path.name}, which the run did not write; move it away"
            )
        if int(known[1]) < session:
            continue
        lines, _ = _lines(path)
        own = {line.name: line.sha256 for line in lines[:-1]}
        for line in lines[-1:]:
            if (root / line.name).is_dir():
                raise UserError(
                    f"{root} is damaged: {line.name} is a folder and no file; restore it from a "
                    "copy, or simulate again with another --out"
                )
            before = own.get(line.name, files.get(line.name))
            if line.sha256 is None:
                going.add(line.name)
            elif file_sha256(root / line.name) == before:
                continue  # noted, but not done
            own[line.name] = line.sha256
        for name, sha256 in own.items():
            said.setdefault(name, set()).add(sha256)
    held = dict(files)
    for name, several in said.items():
        sha256 = next(iter(several))
        if len(several) > 1:  # one writer's file was removed by another: whoever came last
            found = file_sha256(root / name)
            sha256 = found if found in several else next(s for s in several if s is not None)
        if sha256 is not None:
            held[name] = sha256
        else:
            held.pop(name, None)
            if name in going:
                (root / name).unlink(missing_ok=True)
    return held


def forget(root: Path, *, before: int | None = None) -> None:
    """Remove the journals of sessions before one, or all of them."""
    for path in (root / FOLDER).glob("*.log"):
        if before is None or int(path.name.partition("-")[0]) < before:
            path.unlink(missing_ok=True)
    if before is None:
        with suppress(OSError):  # somebody keeps hidden files in it
            (root / FOLDER).rmdir()


def _check(before: str, line: _Line) -> str:
    text = f"{before} {line.sha256 or _REMOVED} {line.name}"
    return hashlib.sha256(text.encode()).hexdigest()[:_CHECK]


def _lines(path: Path) -> tuple[list[_Line], int]:
    """The whole lines of a journal and their length in bytes; a torn last line was never done."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    lines: list[_Line] = []
    check = ""
    for number, raw in enumerate(content[:whole].splitlines(), 1):
        parts = raw.decode("utf-8", "replace").split(" ", 2)
        if len(parts) == 3:
            line = _Line(parts[2], None if parts[1] == _REMOVED else parts[1])
            check = _check(check, line)
        if len(parts) != 3 or parts[0] != check:
            raise UserError(
                f"{path.parent.parent} is damaged: line {number} of {FOLDER}/{path.name} is not "
                "what was written; restore it from a copy, or simulate again with another --out"
            )
        lines.append(line)
    return lines, whole

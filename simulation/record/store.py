"""Where a run's files go: a directory, atomically written and hashed, or memory."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.errors import CannotWrite, UserError
from . import parquet
from .journal import Journal
from .tables import Schema, complete

_MANIFEST = "manifest.json"
_LOCK, _WORKERS = ".lock", ".lock-workers"
_ATTEMPTS = 25
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")

Arrays = dict[str, NDArray[Any]]


class Store(Protocol):
    """Named frames, arrays and JSON documents; names are relative POSIX paths.

    ``scan`` reads frames one below the other, with a schema also where some of its columns were
    left out (tables.py); a schema names every column.
    """

    def put_frame(self, name: str, frame: pl.DataFrame) -> None: ...
    def scan(self, names: list[str], schema: Schema | None = None) -> pl.LazyFrame: ...
    def put_arrays(self, name: str, arrays: Arrays) -> None: ...
    def arrays(self, name: str) -> Arrays: ...
    def put_json(self, name: str, value: Any) -> None: ...
    def json(self, name: str) -> Any: ...
    def exists(self, name: str) -> bool: ...
    def remove(self, name: str) -> None: ...
    def listing(self, prefix: str) -> list[str]: ...


class MemoryStore:
    """A run that is never written: for the self-test and for notebooks."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def put_frame(self, name: str, frame: pl.DataFrame) -> None:
        self._held[name] = frame

    def scan(self, names: list[str], schema: Schema | None = None) -> pl.LazyFrame:
        frames: list[pl.LazyFrame] = [self._held[name].lazy() for name in names]
        return pl.concat([complete(frame, schema) for frame in frames] if schema else frames)

    def put_arrays(self, name: str, arrays: Arrays) -> None:
        self._held[name] = {key: np.array(value) for key, value in arrays.items()}

    def arrays(self, name: str) -> Arrays:
        return {key: value.copy() for key, value in self._held[name].items()}

    def put_json(self, name: str, value: Any) -> None:
        self._held[name] = json.dumps(value)

    def json(self, name: str) -> Any:
        return json.loads(self._held[name])

    def exists(self, name: str) -> bool:
        return name in self._held

    def remove(self, name: str) -> None:
        self._held.pop(name, None)

    def listing(self, prefix: str) -> list[str]:
        return sorted(name for name in self._held if name.startswith(prefix))


class _Digested:
    """A file that takes the sha256 of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self._file = file

    def write(self, content: bytes | memoryview) -> None:
        """Write what comes next."""
        self.sha256.update(content)
        self._file.write(content)


class DiskStore:
    """A run directory. Every file is written under a temporary name, noted in a journal with its
    digest, then renamed (see journal.py).

    Args:
        root: the run directory.
        writer: whose journal it is; processes that write at the same time have different ones.
    """

    def __init__(self, root: Path, *, writer: str = "main") -> None:
        self.root = root
        self.writer = writer
        self._journal: Journal | None = None

    def _note(self, name: str, sha256: str | None) -> None:
        if self._journal is None:
            session = self.json(_MANIFEST).get("session", 0) if self.exists(_MANIFEST) else 0
            self._journal = Journal(self.root, session=session, writer=self.writer)
        self._journal.note(name, sha256)

    def _write(
        self, name: str, write: Callable[[BinaryIO], object], *, in_order: bool = False
    ) -> None:
        """Write a file, whole or not at all.

        Args:
            name: of the file; write: writes its content.
            in_order: whether it does so from the first byte to the last by ``file.write`` alone:
                the digest is then taken of what is written, and nothing is read again.
        """
        path = self.root / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w+b") as file:
                digested = _Digested(file)
                write(digested if in_order else file)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
                if in_order:
                    digest = digested.sha256.hexdigest()
                else:
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            if name != _MANIFEST:  # which says by itself whether it is whole
                self._note(name, digest)
            temporary.replace(path)
        except (OSError, pl.exceptions.ComputeError) as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise CannotWrite(path, error) from error

    def put_frame(self, name: str, frame: pl.DataFrame) -> None:
        if parquet.worth_it(frame):
            self._write(name, lambda file: parquet.write(frame, file), in_order=True)
            return
        how: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "statistics": False}
        self._write(name, lambda file: frame.write_parquet(file, **how))

    def scan(self, names: list[str], schema: Schema | None = None) -> pl.LazyFrame:
        paths = [self.root / name for name in names]
        if schema is None:
            return pl.scan_parquet(paths, glob=False)
        return pl.scan_parquet(paths, glob=False, schema=schema, missing_columns="insert")

    def put_arrays(self, name: str, arrays: Arrays) -> None:
        self._write(name, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]

    def arrays(self, name: str) -> Arrays:
        with np.load(self.root / name, allow_pickle=False) as held:
            return {key: held[key] for key in held.files}

    def put_json(self, name: str, value: Any) -> None:
        self.put_text(name, json.dumps(value, indent=2, sort_keys=True) + "\n")

    def put_text(self, name: str, text: str) -> None:
        """Write a text file."""
        self._write(name, lambda file: file.write(text.encode()))

    def json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text(encoding="utf-8"))

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def remove(self, name: str) -> None:
        if not self.exists(name):
            return
        try:
            self._note(name, None)
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise CannotWrite(self.root / name, error) from error

    def listing(self, prefix: str) -> list[str]:
        if not self.root.is_dir():
            return []  # and not the files beside it whose names begin like its own
        top = self.root / prefix
        if top.is_dir():
            return sorted(_walk(top, self.root))
        begun = (p for p in top.parent.glob("*") if p.name.startswith(top.name) and p.is_file())
        return sorted(p.relative_to(self.root).as_posix() for p in begun if p.name[0] != ".")

    def sweep(self) -> None:
        """Remove temporary files a killed process left behind."""
        for path in self.root.rglob(".*.tmp"):
            if _TEMPORARY.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)


def _walk(top: Path, root: Path) -> Iterator[str]:
    """Names of the files below a folder; hidden ones are the system's or half-written."""
    seen: set[Path] = set()
    for folder, inner, files in os.walk(top, followlinks=True):
        here = Path(folder).resolve()
        if here in seen:  # a link back to where we came from
            inner.clear()
            continue
        seen.add(here)
        inner[:] = [name for name in inner if name[0] != "."]
        relative = Path(folder).relative_to(root)
        yield from ((relative / name).as_posix() for name in files if name[0] != ".")


class Lock:
    """Keeps a second process out of a run directory while one writes to it.

    Directories that did not exist are made, and taken away again if nothing came into it.

    Raises:
        UserError: another process holds it, or nothing can be written there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / _LOCK
        self._file: io.TextIOWrapper | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Lock:
        self._made = [p for p in (self._root, *self._root.parents) if not p.exists()]
        for attempt in range(_ATTEMPTS):
            try:
                self._root.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("w")
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = os.fstat(self._file.fileno()).st_ino == self._path.stat().st_ino
                if ours and not _locked(self._root / _WORKERS):
                    return self
            except (BlockingIOError, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError) and not self._root.is_dir():
                    raise unwritable(self._root, error) from error
            except OSError as error:
                raise unwritable(self._root, error) from error
            if self._file is not None:
                self._file.close()
            if attempt + 1 < _ATTEMPTS:  # looked at (being_written), or workers on their way out
                time.sleep(0.04)
        raise UserError(
            f"{self._root} is being written by another process; wait for it to end, "
            "or choose another --out"
        )

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with self._file:
                (self._root / _WORKERS).unlink(missing_ok=True)
                self._path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty: something was written
            for folder in self._made:
                folder.rmdir()


@contextmanager
def working_for(root: Path) -> Iterator[None]:
    """Inside, a process writes to a run directory on behalf of the one that holds its Lock.

    Should that one be killed, the directory stays locked until this one has ended, too.
    """
    with (root / _WORKERS).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def being_written(root: Path) -> bool:
    """Whether another process is writing to a run directory now."""
    return _locked(root / _LOCK) or _locked(root / _WORKERS)


def _locked(path: Path) -> bool:
    """Whether a process holds a lock on a file; one that cannot be opened is not locked."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def unwritable(root: Path, error: OSError) -> UserError:
    """What to say of a directory that nothing can be written to."""
    if root.is_symlink() and not root.exists():
        return UserError(f"{root} is a link to {os.readlink(root)}, which does not exist")
    if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        return UserError(
            f"the file system of {root} knows no locks ({error.strerror}), so two processes could "
            "write there at once; choose another place"
        )
    return UserError(
        f"nothing can be written to {root} ({error.strerror}); make it writable, or work on a "
        "copy of it elsewhere"
    )

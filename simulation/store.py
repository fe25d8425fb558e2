"""Where a run's files go: a directory, atomically written and hashed, or memory."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..recommenders.errors import UserError

Arrays = dict[str, NDArray[Any]]


class CannotWrite(RuntimeError):
    """The disk is full, or the directory went away; the run can be resumed."""


class Store(Protocol):
    """Named frames, arrays and JSON documents; names are relative POSIX paths."""

    def put_frame(self, name: str, frame: pl.DataFrame) -> None: ...
    def scan(self, names: list[str]) -> pl.LazyFrame: ...
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

    def scan(self, names: list[str]) -> pl.LazyFrame:
        frames: list[pl.LazyFrame] = [self._held[name].lazy() for name in names]
        return pl.concat(frames)

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


class DiskStore:
    """A run directory. Every file is written under a temporary name, then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _write(self, name: str, content: bytes) -> None:
        path = self.root / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise CannotWrite(
                f"cannot write {path}: {error.strerror}. What was finished is kept; make room, "
                "then run the same command to go on"
            ) from error

    def put_frame(self, name: str, frame: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)
        self._write(name, buffer.getvalue())

    def scan(self, names: list[str]) -> pl.LazyFrame:
        return pl.scan_parquet([self.root / name for name in names], glob=False)

    def put_arrays(self, name: str, arrays: Arrays) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self._write(name, buffer.getvalue())

    def arrays(self, name: str) -> Arrays:
        with np.load(self.root / name, allow_pickle=False) as held:
            return {key: held[key] for key in held.files}

    def put_json(self, name: str, value: Any) -> None:
        self._write(name, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())

    def put_text(self, name: str, text: str) -> None:
        """Write a text file."""
        self._write(name, text.encode())

    def json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def listing(self, prefix: str) -> list[str]:
        if not self.root.is_dir():
            return []  # and not the files beside it whose names begin like its own
        top = self.root / prefix
        files = top.rglob("*") if top.is_dir() else top.parent.glob(f"{top.name}*")
        return sorted(p.relative_to(self.root).as_posix() for p in files if p.is_file())

    def sweep(self) -> None:
        """Remove temporary files a killed process left behind."""
        for path in self.root.rglob(".*.tmp"):
            path.unlink(missing_ok=True)

    def digests(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        """sha256 of every file under these names, sorted by name."""
        names = [name for prefix in prefixes for name in self.listing(prefix)]
        return {
            name: hashlib.sha256((self.root / name).read_bytes()).hexdigest()
            for name in sorted(names)
        }


class Lock:
    """Keeps a second process out of a run directory while one writes to it."""

    def __init__(self, root: Path) -> None:
        self._path = root / ".lock"
        self._file: io.TextIOWrapper | None = None

    def __enter__(self) -> Lock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UserError(
                f"{self._path.parent} is being written by another process; wait for it to end, "
                "or choose another --out"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()

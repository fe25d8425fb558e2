"""What chat endpoints answered, kept as JSON lines: a paid answer is never asked for twice.

The first line says what the file is; every other line is one request with its answer:
``{"answer": {...}, "key": "<sha256>", "request": {...}}``. The key is the sha256 of the request as
canonical JSON (sorted keys, no spaces, UTF-8). The first answer to a request stands; to ask for
one again, delete its line. Nothing but requests and answers is ever written: no header, no key.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..faults import plain

FORMAT = 1
"""Version of the file format; other versions are refused."""

Json = dict[str, Any]


def recorded(path: Path) -> Record:
    """A record for reading only, kept in memory for the next who asks while it stays as it is."""
    try:
        now = path.stat()
    except OSError:
        return Record(path)  # says what is wrong
    return _recorded(path, now.st_mtime_ns, now.st_size)


def canonical(value: object) -> str:
    """One JSON text for one value: sorted keys, no spaces.

    >>> canonical({"b": 1, "a": "é"})
    '{"a":"é","b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def request_key(request: Mapping[str, object]) -> str:
    """sha256 of the canonical request, in hexadecimal."""
    return hashlib.sha256(canonical(dict(request)).encode()).hexdigest()


class Record:
    """Answers by request key, read from a JSON-lines file and appended to it.

    Several processes may append to one file: an answer is added under a lock, and only if no
    other process has meanwhile added one to the same request.

    Args:
        path: the file.
        writable: make the file if it is absent, and allow :meth:`add`.
        about: written into the first line of a new file, for people.

    Raises:
        UserError: no such file, or a line that is not what this class writes.
    """

    def __init__(
        self, path: Path, *, writable: bool = False, about: Mapping[str, object] | None = None
    ) -> None:
        self.path, self.writable = path, writable
        self.models: set[str] = set()
        self.prompt_tokens = self.completion_tokens = 0  # of all answers, as far as counted
        self._answers: dict[str, Json] = {}
        self._read_to = 0
        self._lines = 0
        if writable:
            self._begin(about or {})
        try:
            with path.open("rb") as file:
                self._read(file.read())
        except FileNotFoundError:
            raise UserError(
                f"no such chat record: {path}. mode = 'record' writes one while it asks"
            ) from None
        except OSError as error:
            raise UserError(f"cannot read the chat record {path}: {error.strerror}") from None

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Json | None:
        """The recorded answer to a request, or None."""
        return self._answers.get(key)

    def add(self, key: str, request: Mapping[str, object], answer: Json) -> Json:
        """Append an answer and return the one that stands: this, or one that came before it."""
        line = canonical({"key": key, "request": dict(request), "answer": answer})
        with self.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(self._read_to)
            self._read(file.read())
            if key not in self._answers:
                file.seek(self._read_to)
                file.truncate()  # half a line that a killed process left
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
                self._read_to, self._lines = file.tell(), self._lines + 1
                self._hold(key, dict(request), answer)
        return self._answers[key]

    def _begin(self, about: Mapping[str, object]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                if not file.readline().endswith(b"\n"):  # new, or its writer was killed at once
                    file.truncate(0)
                    head = canonical({**about, "loopaudit_chat": FORMAT})
                    file.write(f"{head}\n".encode())
        except OSError as error:
            raise UserError(f"cannot write the chat record {self.path}: {error.strerror}") from None

    def _read(self, new: bytes) -> None:
        """Take in whole lines; half a line at the end is what a killed process left."""
        whole = new[: new.rfind(b"\n") + 1]
        for line in whole.split(b"\n")[:-1]:
            self._lines += 1
            try:
                held = json.loads(line)
                if self._lines == 1:
                    if held["loopaudit_chat"] != FORMAT:
                        raise ValueError(f"its format is {held['loopaudit_chat']!r}, not {FORMAT}")
                    continue
                if held["key"] != request_key(held["request"]):
                    raise ValueError("the key is not that of the request; was it edited?")
                self._hold(held["key"], held["request"], dict(held["answer"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{self.path}, line {self._lines}: not a line of a chat record "
                    f"({plain(error)}); delete the line, or record again"
                ) from None
        self._read_to += len(whole)

    def _hold(self, key: str, request: Json, answer: Json) -> None:
        if key in self._answers:
            return
        self._answers[key] = answer
        self.prompt_tokens += int(answer.get("prompt_tokens") or 0)
        self.completion_tokens += int(answer.get("completion_tokens") or 0)
        self.models.add(str(request.get("model", "")))


@lru_cache(maxsize=2)
def _recorded(path: Path, mtime_ns: int, size: int) -> Record:
    return Record(path)

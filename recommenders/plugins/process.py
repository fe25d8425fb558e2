"""A recommender in a process of its own, any language: JSON lines on its standard input and output.

``cmd:python my.py`` starts the command (no shell). Its first line says that it is ready, and
optionally what it can do; then it answers every line it reads with one line (see ``wire.py``)::

    {"ready": true, "capabilities": {"history": "any"}, "fit": true}
    -> {"fit": "/tmp/x/log.csv", "catalog": "/tmp/x/catalog.csv", "timed": true, "seed": 7}
    <- {"fitted": true}
    -> {"requests": [...], "step": 0}
    <- {"results": [...]}

``fit`` is sent only to a process that declared it. Standard error is for its messages. A process
that hangs, talks too much, takes too much memory (``memory_mb``), breaks the protocol or dies is
killed with everything it started, and begun anew, fitted again, at the next request; after three
failures in a row the guard asks no more. It is the way to run a library that needs other
versions than ours, and the only way to survive code that crashes or hangs inside a C extension.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, Any, cast

from ..border import Capabilities, Progress, Requests, Slates
from ..catalog import Catalog
from ..errors import UserError
from ..faults import plain
from ..interactions import Interactions
from .vocabulary import Vocabulary
from .wire import MAX_BYTES, WireError, capabilities_of, object_of, request_of, slates_of

_CHUNK = 1 << 16


class ProcessRecommender:
    """Talks JSON lines with a child process.

    Args:
        command: program and arguments, split as a shell would, run without one.
        seconds: limit for one answer.
        start_seconds: limit for the first line.
        fit_seconds: limit for a fit.
        max_bytes: longest line that is read.
        memory_mb: address space that the process, and each that it starts, may have; 0 for no
            limit. Libraries reserve more than they use (torch some 10,000 MB).

    Raises:
        UserError: the program does not exist, or a limit below 0.
    """

    def __init__(
        self,
        command: str,
        *,
        seconds: float = 30.0,
        start_seconds: float = 60.0,
        fit_seconds: float = 3600.0,
        max_bytes: int = MAX_BYTES,
        memory_mb: int = 0,
    ) -> None:
        self.name = f"cmd:{command}"
        self.seconds, self.start_seconds, self.fit_seconds = seconds, start_seconds, fit_seconds
        self.max_bytes = max_bytes
        self._words = _within_memory(_program(command), memory_mb)
        self._child: _Child | None = None
        self._capabilities = Capabilities()
        self._fits = False
        self._vocabulary: Vocabulary | None = None
        self._learnt: dict[str, Any] | None = None  # the fit message, sent again after a crash
        self._folder: Path | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the process declared in its first line; known once it has started."""
        return self._capabilities

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Start the process; write log and catalog to files for it if it learns.

        The log has the columns user, item, step (with ``timed``, steps or seconds; else it only
        says what came before what) and, if there are any, value and kind (2 for
        "not interested", only if it declares ``negatives``); the catalog has
        item, title, topics (``|`` between them).
        """
        self._vocabulary = Vocabulary(catalog.ids)
        self._learnt = None
        child = self._running()
        if not self._fits:
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="loopaudit-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        folder = self._folder
        _write_log(folder / "log.csv", log, catalog)
        _write_catalog(folder / "catalog.csv", catalog)
        files = {"fit": str(folder / "log.csv"), "catalog": str(folder / "catalog.csv")}
        self._fit(child, {**files, "timed": log.timed, "seed": seed & 0x7FFFFFFF})

    def add_items(self, catalog: Catalog) -> None:
        """Learns the ids of the items that entered; they may stand in later histories."""
        self._vocabulary = Vocabulary(catalog.ids)

    def recommend(self, requests: Requests) -> Slates:
        """One line there, one line back.

        Raises:
            TimeoutError: no answer in time.
            WireError: the process died or broke the protocol.
        """
        if self._vocabulary is None:
            raise WireError("the process needs a catalog: call fit first")
        child = self._running()
        try:
            answer = child.exchange(
                request_of(requests, self._vocabulary), self.seconds, self.max_bytes
            )
            return slates_of(object_of(answer), requests, self._vocabulary)
        except BaseException:  # an interrupted exchange leaves an answer in the pipe
            self.close()
            raise

    def reach(self) -> None:
        """Start the process, hear that it is ready, and end it again.

        Raises:
            TimeoutError: it does not get ready in time.
            WireError: it died or broke the protocol.
        """
        try:
            self._running()
        finally:
            self.close()

    def close(self) -> None:
        """Kill the process; the next request starts a new one."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _running(self) -> _Child:
        if self._child is not None and self._child.alive:
            return self._child
        self.close()
        self._child = child = _Child(self._words)
        try:
            line = child.exchange(b"", self.start_seconds, self.max_bytes)
            try:
                first = object_of(line)
            except WireError as error:
                raise WireError(
                    f"its first line is {error}; standard output is for answers only, print all "
                    "else to standard error"
                ) from None
            if first.get("error") is not None or first.get("ready") is not True:
                raise WireError(f'the first line must hold "ready": true, got {plain(first)}')
            self._capabilities = capabilities_of(first.get("capabilities") or {})
            self._fits = first.get("fit") is True
            if self._learnt is not None:
                self._fit(child, self._learnt)
        except BaseException:
            self.close()
            raise
        return child

    def _fit(self, child: _Child, message: dict[str, Any]) -> None:
        try:
            line = json.dumps(message).encode() + b"\n"
            answer = object_of(child.exchange(line, self.fit_seconds, self.max_bytes))
            if answer.get("fitted") is not True:
                raise WireError(f"fit was answered with {plain(answer)}")
        except BaseException:
            self.close()
            raise
        self._learnt = message


class _Child:
    """A process, its pipes, and what it said last on standard error."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # so that what it starts can be killed with it
        )
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        for pipe in pipes:
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._in, self._out, self._messages = cast(tuple[IO[bytes], IO[bytes], IO[bytes]], pipes)
        self._pending = bytearray()
        self._said = b""
        self._finalizer = weakref.finalize(self, _end, self._process)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._finalizer()

    def exchange(self, line: bytes, seconds: float, max_bytes: int) -> bytes:
        """Send a line (or nothing) and return the next line, reading and writing as pipes allow.

        Raises:
            TimeoutError: no full line within the limit.
            WireError: it died, said more than one line, or more than ``max_bytes``.
        """
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            selector.register(self._messages, selectors.EVENT_READ)
            if line:
                selector.register(self._in, selectors.EVENT_WRITE)
            searched = 0  # an answer of 64 MiB comes in a thousand pieces: each is looked at once
            while (end := self._pending.find(b"\n", searched)) < 0:
                searched = len(self._pending)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no answer within {seconds:g} s{self._last_words()}")
                for key, _ in selector.select(left):
                    if key.fileobj is self._in:
                        line = self._write(line, selector)
                    elif key.fileobj is self._messages:
                        self._listen(selector)
                    else:
                        self._read()
                if len(self._pending) > max_bytes:
                    raise WireError(f"the answer is longer than {max_bytes} bytes")
        answer, more = bytes(self._pending[:end]), len(self._pending) > end + 1
        if more or line:
            raise WireError(
                f"one line was expected, got more: {plain(repr(answer[:80]))}; standard output is "
                "for answers only, print all else to standard error"
            )
        self._pending.clear()
        return answer

    def _write(self, line: bytes, selector: selectors.BaseSelector) -> bytes:
        try:
            line = line[os.write(self._in.fileno(), line[:_CHUNK]) :]
        except BrokenPipeError:
            raise WireError(f"it does not read any more{self._last_words()}") from None
        if not line:
            selector.unregister(self._in)
        return line

    def _listen(self, selector: selectors.BaseSelector) -> None:
        said = os.read(self._messages.fileno(), _CHUNK)
        if not said:
            selector.unregister(self._messages)
        self._said = (self._said + said)[-2000:]

    def _read(self) -> None:
        said = os.read(self._out.fileno(), _CHUNK)
        if not said:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it may close its output and stay
                self._process.wait(1)
            raise WireError(f"{_ended(self._process.returncode)}{self._last_words()}")
        self._pending += said

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):  # nothing to read is no error here
            self._said = (self._said + os.read(self._messages.fileno(), _CHUNK))[-2000:]
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"; its last words: {plain(lines[-1])}" if lines else ""


def _ended(status: int | None) -> str:
    """What a process's end says: SIGKILL is how a system that runs out of memory ends one."""
    if status is None:
        return "the process closed its standard output"
    if status == -signal.SIGKILL:
        return "the process was killed (SIGKILL: perhaps the machine ran out of memory)"
    if status < 0:
        name = next((s.name for s in signal.Signals if s == -status), f"signal {-status}")
        return f"the process was ended by {name}"
    return f"the process ended with status {status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _program(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"cmd:{command} cannot be split into words: {error}") from None
    if not words:
        raise UserError("cmd: needs a command, as in cmd:python my_recommender.py")
    program = shutil.which(words[0])
    if program is None and words[0] in ("python", "python3"):
        program = sys.executable
    if program is None:
        raise UserError(f"cmd:{command}: there is no program {words[0]!r}")
    return [program, *words[1:]]


def _within_memory(words: list[str], memory_mb: int) -> list[str]:
    """The same command with a limit set before it begins; the words are not read by the shell."""
    if memory_mb < 0:
        raise UserError(f"memory_mb must be at least 0, got {memory_mb}")
    if memory_mb == 0:
        return words
    return ["/bin/sh", "-c", 'ulimit -v "$0" && exec "$@"', str(memory_mb * 1024), *words]


def _write_log(path: Path, log: Interactions, catalog: Catalog) -> None:
    names = ["user", "item", "step"]
    columns = [log.user.tolist(), [catalog.ids[i] for i in log.item.tolist()], log.step.tolist()]
    for name in ("value", "kind"):
        if (column := getattr(log, name)) is not None:
            names.append(name)
            columns.append(column.tolist())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def _write_catalog(path: Path, catalog: Catalog) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "title", "topics"])
        for index, (item, title) in enumerate(zip(catalog.ids, catalog.titles, strict=True)):
            topics = [catalog.topic_names[t] for t in catalog.topics[index].nonzero()[0]]
            writer.writerow([item, title, "|".join(topics)])

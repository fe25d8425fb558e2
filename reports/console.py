"""What the command line shows: lines, progress with time left, one JSON object, the exit code."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ..recommenders.errors import CannotWrite, UserError

if TYPE_CHECKING:
    from rich.progress import Progress

EXIT_CODES = {
    0: "pass",
    1: "a violation",
    2: "wrong usage or config",
    3: "the run broke (kept, resumable)",
    4: "inconclusive, never a pass",
    130: "interrupted (resumable)",
}


class Broke(Exception):
    """Our fault or a plug-in's: said in one line, with where the traceback was written."""


class Interrupted(Exception):
    """Ctrl-C where something was kept; the text says how to go on."""


class Bar(Protocol):
    """Told how far a piece of work is; ``what`` is the part being worked on now."""

    def __call__(self, done: int, total: int, what: str) -> None: ...


class Console:
    """One command's voice.

    Args:
        command: the verb, for the JSON object.
        as_json: one JSON object on standard output at the end, all else on standard error.
        quiet: only the last line (or the JSON object) and errors.
    """

    def __init__(self, command: str, *, as_json: bool = False, quiet: bool = False) -> None:
        self.command = command
        self.as_json = as_json
        self.quiet = quiet

    @property
    def _out(self) -> TextIO:
        return sys.stderr if self.as_json else sys.stdout

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            print(text, file=self._out, flush=True)

    def told(self, label: str, text: str) -> None:
        """A labelled line: ``report    runs/a/report.html``."""
        self.say(f"{label:<10}{text}")

    def finish(self, exit_code: int, result: str, *, shown: object = None, **facts: Any) -> int:
        """The last line, which names the exit code, or the one JSON object.

        Args:
            exit_code: what the command will return.
            result: the last line in words.
            shown: a report or comparison, whose own last line names the exit code.
            facts: the other keys of the JSON object.
        """
        if self.as_json:
            if shown is not None:
                self.say(str(shown))
            head = {"command": self.command, "exit_code": exit_code, "result": result}
            print(json.dumps({**head, **facts}, default=str, allow_nan=False))
        elif shown is None or self.quiet:
            print(f"{'result':<10}{result} (exit {exit_code})")
        elif sys.stdout.isatty():
            from rich.console import Console as Terminal

            Terminal(highlight=False).print(shown)
        else:
            print(shown)
        return exit_code

    @contextmanager
    def progress(self, label: str) -> Iterator[Bar]:
        """A bar on standard error with the time left; plain lines where that is no terminal."""
        if self.quiet:
            yield lambda done, total, what: None
        elif sys.stderr.isatty():
            with _rich_progress() as shown:
                task = shown.add_task(label, total=None, what="")
                yield lambda done, total, what: shown.update(
                    task, completed=done, total=total, what=what
                )
        else:
            yield _Lines(label)

    @contextmanager
    def keeping(self, out: Path | None, *, again: str = "") -> Iterator[None]:
        """Inside, an unexpected failure leaves its traceback in ``out/log.txt``.

        Args:
            out: the run directory; None keeps the log in the temporary directory.
            again: the command that goes on after an interruption or a failure.
        """

        def onward() -> str:
            begun = out is None or (out / "study.toml").exists()
            return f" Go on with: {again}" if again and begun else ""

        try:
            yield
        except (UserError, Broke, Interrupted):
            raise
        except KeyboardInterrupt:
            raise Interrupted(f"what was finished is kept.{onward()}") from None
        except CannotWrite as error:  # the disk's fault: no traceback would help
            raise Broke(f"{error}.{onward()}") from error
        except Exception as error:
            raise Broke(
                f"{describe(error)}; the traceback is in {log(error, out)}.{onward()}"
            ) from error


def describe(error: BaseException) -> str:
    """An exception in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def log(error: BaseException, out: Path | None) -> str:
    """Append the traceback to ``out/log.txt``, or to a new file in the temporary directory.

    Returns:
        Where it is; "nowhere (...)" where no disk takes it.
    """
    import tempfile

    lines = [f"{datetime.now().isoformat(timespec='seconds')}\n"]
    lines += traceback.format_exception(error)
    if out is not None and out.is_dir():
        try:
            return str(_appended(out / "log.txt", lines))
        except OSError:  # the disk that the run filled
            pass
    try:
        return str(_appended(Path(tempfile.mkdtemp(prefix="loopaudit-")) / "log.txt", lines))
    except OSError as full:
        return f"nowhere (no log can be written: {full.strerror})"


def _appended(path: Path, lines: list[str]) -> Path:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
    return path


class _Lines:
    """Progress for logs: a line every ten seconds, so that a CI run stays readable."""

    every_seconds = 10.0

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = self.said = time.monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now - self.said < self.every_seconds or done <= 0:
            return
        self.said = now
        left = round((now - self.started) * (total - done) / done)
        share = 100 * done // max(total, 1)
        when = f"  {left // 60}:{left % 60:02d} left" if share else ""  # before that it is a guess
        print(f"{self.label:<10}{share:3d} %  {what}{when}", file=sys.stderr, flush=True)


def _rich_progress() -> Progress:
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    return Progress(
        TextColumn("{task.description:<9}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeLeft(compact=True),
        TextColumn("{task.fields[what]}", markup=False),
        console=Terminal(stderr=True),
        transient=True,
    )

"""Calls of code we did not write: what they raise is contained, and their time is limited.

The limit is an alarm in the main thread, a thread elsewhere. It can stop Python code. Code that
hangs inside a C extension without coming back to the interpreter is only stopped by a process of
its own: use ``cmd:`` for such a recommender.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from .errors import CannotAnswer
from .faults import described

T = TypeVar("T")


class TimeUp(Exception):
    """A call was stopped (or abandoned, when ``thread`` is set) at its time limit."""

    def __init__(self, seconds: float, thread: threading.Thread | None = None) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.thread = thread


class _Alarm(BaseException):
    """Raised inside the call; not an Exception, so that ``except Exception`` does not eat it."""


class Contained:
    """An object of somebody else, whose methods and attributes cannot end our run."""

    def __init__(self, subject: object) -> None:
        self._subject = subject
        self._stuck: threading.Thread | None = None  # a call left at its limit, not back yet

    def attribute(self, name: str) -> Any:
        """Its attribute, or None where it has none or reading it fails."""
        try:
            return getattr(self._subject, name, None)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a property that raises
            return None

    def call(self, call: Callable[[], object], seconds: float) -> tuple[str | None, object]:
        """(None, value), or (kind of fault, what happened).

        Args:
            call: calls it.
            seconds: its limit; see :func:`call_within`.

        Raises:
            KeyboardInterrupt: of the person who waits.
            CannotAnswer: what was asked cannot be done at all, and going on would hide it.
        """
        if self._stuck is not None and self._stuck.is_alive():
            return "timed_out", "still busy with an earlier call"
        try:
            return None, call_within(seconds, call)
        except (KeyboardInterrupt, CannotAnswer):
            raise
        except TimeUp as error:
            self._stuck = error.thread
            return "timed_out", str(error)
        except TimeoutError as error:  # plug-ins that talk to a process or a server
            return "timed_out", described(error)
        except BaseException as error:  # SystemExit too: a plug-in does not end our run
            return "raised", described(error)


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """What ``call`` returns, or TimeUp after so many seconds.

    Args:
        seconds: the limit; 0 or infinity for none.
        call: anything; what it raises goes through.

    Raises:
        TimeUp: the limit was reached. In the main thread the call has ended; elsewhere it goes on
            in a daemon thread that nobody waits for.
    """
    if seconds <= 0 or math.isinf(seconds):
        return call()
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _with_alarm(seconds, call)
    return _in_thread(seconds, call)


def _with_alarm(seconds: float, call: Callable[[], T]) -> T:
    armed = True

    def ring(_signal: int, _frame: FrameType | None) -> None:
        if armed:
            raise _Alarm

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    # the alarm repeats, in case the called code swallows the first one
    outer_delay, outer_interval = signal.setitimer(
        signal.ITIMER_REAL, seconds, max(0.05, seconds / 10)
    )
    try:
        try:
            return call()
        finally:
            armed = False  # an alarm between these lines and the return is caught below
    except _Alarm:
        armed = False
        raise TimeUp(seconds) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
        if outer_delay:  # somebody outside us has an alarm of their own: give back what is left
            left = max(1e-3, outer_delay - (time.monotonic() - started))
            signal.setitimer(signal.ITIMER_REAL, left, outer_interval)


def _in_thread(seconds: float, call: Callable[[], T]) -> T:
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, name="loopaudit-contained", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeUp(seconds, thread)
    if raised:
        raise raised[0]
    return returned[0]

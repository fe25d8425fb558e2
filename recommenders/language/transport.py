"""One POST to a chat endpoint, tried again while there is hope: pace, backoff, time limits.

Whatever comes back becomes a :class:`ChatAnswer`: text, or the kind of fault. Only what no other
request could cure either (a wrong key, a wrong address, a used-up quota) is a UserError.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import UserError
from ..faults import plain

if TYPE_CHECKING:
    import httpx

    from .settings import ChatSettings

Result = TypeVar("Result")

MAX_BYTES = 4 << 20
"""Longest reply that is read."""

AGAIN = frozenset({"unreachable", "timed_out", "rate_limited", "server_error", "bad_reply"})
"""Faults that another try may cure."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_TEXT = 100_000
_HIDDEN = "[API key]"


@dataclass(frozen=True)
class ChatAnswer:
    """What an endpoint answered to one request.

    Attributes:
        text: the answer; may be there beside a fault ("truncated"), else "".
        fault: "" or one of ``faults.KINDS``.
        why: one line about the fault; hostile until escaped.
        model: the model the endpoint says it used.
        prompt_tokens, completion_tokens: as the endpoint counted; None when it did not say.
        seconds: from the last try's first byte sent to its last byte read, when it was asked.
        tries: how often it was asked.
    """

    text: str
    fault: str = ""
    why: str = ""
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    tries: int = 1


class Stopped(Exception):
    """The batch was given up while this request waited."""


class Pace:
    """Spaces requests evenly, and holds all of them back when the endpoint asks for it.

    Args:
        per_minute: requests a minute, all threads together; 0 for no limit.
        wait: waits so many seconds; returns True when the batch was given up.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        per_minute: float,
        *,
        wait: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gap = 60.0 / per_minute if per_minute > 0 else 0.0
        self._wait, self._clock = wait, clock
        self._next = self._held_until = clock()
        self._lock = threading.Lock()

    def turn(self) -> None:
        """Wait until the next request may go out.

        Raises:
            Stopped: the batch was given up meanwhile.
        """
        with self._lock:
            mine = max(self._clock(), self._next)
            self._next = mine + self._gap
        while (left := max(mine, self._held_until) - self._clock()) > 0:
            if self._wait(left):
                raise Stopped

    def hold(self, seconds: float) -> None:
        """Let nobody out for so many seconds."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)


class Transport:
    """A connection to ``{base}/v1/chat/completions``.

    Args:
        settings: where, how often, how patiently.
        key: the API key, or "".
        wait: as in :class:`Pace`; the default waits until :meth:`stop`.

    Raises:
        UserError: the key cannot stand in a header.
    """

    def __init__(
        self, settings: ChatSettings, key: str, *, wait: Callable[[float], bool] | None = None
    ) -> None:
        import httpx

        self.url = completions_url(settings.base)
        self._settings, self._key, self._stop = settings, key, threading.Event()
        self._wait = wait or self._stop.wait
        self._pace = Pace(settings.per_minute, wait=self._wait)
        self._reached = False
        try:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            limits = httpx.Limits(max_connections=settings.concurrency)
            self._client = httpx.Client(
                headers={"Accept": "application/json", **headers},
                timeout=settings.seconds,
                limits=limits,
                verify=self.url.startswith("https"),  # without TLS no certificates are read
                # a proxy cannot reach this machine's own servers
                trust_env=urllib.parse.urlsplit(self.url).hostname not in _LOOPBACK,
            )
        except (UnicodeEncodeError, ValueError):
            raise UserError(
                f"key_env: the value of {settings.key_env!r} cannot be sent in a header; "
                "set it to the key and nothing else"
            ) from None

    def stop(self) -> None:
        """Give up the batch: whoever waits, or comes to wait, raises Stopped."""
        self._stop.set()

    def start(self) -> None:
        """Ready for another batch."""
        self._stop.clear()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def complete(self, body: Mapping[str, object], *, luck: float = 0.5) -> ChatAnswer:
        """Ask until there is an answer, no hope, or no try left.

        The wait before try n+1 is ``backoff * 2**(n-1)`` seconds, times a factor in [0.5, 1.5)
        that spreads clients out; a longer Retry-After of the endpoint wins and holds every other
        request back too.

        Args:
            body: the request as JSON.
            luck: where in the spread this request is, in [0, 1).

        Raises:
            UserError: wrong key, wrong address, used-up quota, or nobody there from the start.
            Stopped: the batch was given up.
        """
        settings = self._settings
        content = json.dumps(body, ensure_ascii=False).encode()
        tries = 0
        while True:
            self._pace.turn()
            tries += 1
            answer, asked_to_wait = self._try(content, tries)
            if answer.fault not in AGAIN:
                return answer
            delay = settings.backoff * 2.0 ** (tries - 1) * (0.5 + luck)
            delay = max(min(delay, settings.longest_wait), asked_to_wait)
            if tries >= settings.tries or delay > settings.longest_wait:
                break
            if asked_to_wait > 0:
                self._pace.hold(asked_to_wait)
            if self._wait(delay):
                raise Stopped
        if answer.fault == "unreachable" and not self._reached:
            raise UserError(f"{answer.why}; is the endpoint running? ([chat] base)")
        return answer

    def _try(self, content: bytes, tries: int) -> tuple[ChatAnswer, float]:
        """One try: the answer, and the seconds the endpoint asks to wait."""
        import httpx

        began = time.monotonic()

        def fault(kind: str, why: object) -> ChatAnswer:
            seconds = time.monotonic() - began
            return ChatAnswer("", kind, self._hide(plain(why)), seconds=seconds, tries=tries)

        try:
            with self._client.stream(
                "POST", self.url, content=content, headers={"Content-Type": "application/json"}
            ) as response:
                raw = self._read(response, began + self._settings.seconds)
        except (httpx.TimeoutException, TimeoutError):
            return fault("timed_out", f"no answer within {self._settings.seconds:g} s"), 0.0
        except httpx.ConnectError as error:
            return fault("unreachable", f"no connection to {self.url}: {error}"), 0.0
        except httpx.HTTPError as error:
            return fault("bad_reply", f"the connection broke off: {error!r}"), 0.0
        self._reached = True
        if raw is None:
            return fault("bad_reply", f"the reply is longer than {MAX_BYTES} bytes"), 0.0
        status = response.status_code
        if status == 200:
            answer = read_completion(raw)
            seconds = time.monotonic() - began
            return self._stamped(answer, seconds, tries), 0.0
        said = self._hide(_error_text(raw))
        why = f"HTTP status {status}" + (f": {said}" if said else "")
        asked_to_wait = retry_after(response.headers.get("retry-after", ""), now=time.time())
        if status in (401, 403, 404) or 300 <= status < 400 or "insufficient_quota" in said:
            raise UserError(plain(f"{self.url} answered with {why}; {_cure(status)}"))
        if status in (408, 409, 425, 429):
            return fault("timed_out" if status == 408 else "rate_limited", why), asked_to_wait
        return fault("server_error" if status >= 500 else "rejected", why), asked_to_wait

    def _read(self, response: httpx.Response, deadline: float) -> bytes | None:
        read = bytearray()
        for chunk in response.iter_bytes():
            read += chunk
            if len(read) > MAX_BYTES:
                return None
            if time.monotonic() > deadline:  # a server that drips never trips a socket's limit
                raise TimeoutError
        return bytes(read)

    def _stamped(self, answer: ChatAnswer, seconds: float, tries: int) -> ChatAnswer:
        return ChatAnswer(
            self._hide(answer.text),
            answer.fault,
            self._hide(answer.why),
            self._hide(answer.model),
            answer.prompt_tokens,
            answer.completion_tokens,
            seconds,
            tries,
        )

    def _hide(self, text: str) -> str:
        """A server that echoes the key must not bring it into the record."""
        return text.replace(self._key, _HIDDEN) if self._key else text


def under_way(jobs: Sequence[Callable[[], Result]], threads: int) -> list[Future[Result]]:
    """Start jobs, in their order, so many at a time; a future for each.

    The threads are daemons: a program that is interrupted ends at once, where those of
    ThreadPoolExecutor would hold it up until the slowest endpoint has answered.
    """
    futures: list[Future[Result]] = [Future() for _ in jobs]
    waiting = deque(zip(futures, jobs, strict=True))

    def work() -> None:
        while True:
            try:
                future, job = waiting.popleft()
            except IndexError:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

    for _ in range(min(threads, len(jobs))):
        threading.Thread(target=work, daemon=True, name="chat").start()
    return futures


def completions_url(base: str) -> str:
    """``https://host`` or ``https://host/v1`` as the URL that is posted to.

    >>> completions_url("http://127.0.0.1:8000/v1/")
    'http://127.0.0.1:8000/v1/chat/completions'
    """
    parts = urllib.parse.urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{base!r} is not an endpoint: write https://host or http://host:port")
    if parts.username or parts.password or parts.query:
        raise UserError("an endpoint's URL must hold no secret; name a variable with key_env")
    return base.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"


def read_completion(raw: bytes) -> ChatAnswer:
    """A chat completion object as an answer; anything else is the fault "bad_reply"."""
    try:
        held = json.loads(raw)
        choice = held["choices"][0]
        message = choice["message"]
        text, refusal = _text(message.get("content")), message.get("refusal")
        finish = choice.get("finish_reason")
        usage = held.get("usage") or {}
        model = str(held.get("model", ""))[:200]
        tokens = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        return ChatAnswer("", "bad_reply", plain(f"no chat completion: {error!r}"))
    fault, why = "", ""
    if refusal or finish == "content_filter":
        fault, why = "refused", plain(refusal or text or "filtered")
    elif finish == "length":
        fault, why = "truncated", plain(text)
    elif not text.strip():
        fault = "empty"
    return ChatAnswer(text, fault, why, model, *tokens)


def retry_after(value: str, *, now: float) -> float:
    """Seconds of a Retry-After header, given as seconds or as a date; 0 when it says nothing.

    >>> retry_after("1.5", now=0.0)
    1.5
    >>> retry_after("Thu, 01 Jan 1970 00:00:07 GMT", now=5.0)
    2.0
    """
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return 0.0
    return seconds if 0.0 < seconds < float("inf") else 0.0


def _text(content: object) -> str:
    """Some servers answer with a list of parts."""
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")[:_MAX_TEXT]


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e12 else None


def _error_text(raw: bytes) -> str:
    """What an error reply says, in whichever of the usual shapes."""
    try:
        held = json.loads(raw)
        error = held.get("error", held)
        if isinstance(error, dict):
            return plain(" ".join(str(error[k]) for k in ("code", "message") if error.get(k)))
        return plain(error)
    except (ValueError, AttributeError, RecursionError):
        return plain(raw[:1000].decode("utf-8", "replace"))


def _cure(status: int) -> str:
    if status in (401, 403):
        return "check the key in the variable that key_env names"
    if status == 404:
        return "check base and model"
    return "check base" if status < 400 else "the quota of this key is used up"

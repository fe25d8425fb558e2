"""A scripted chat endpoint on this machine: for tests and examples, no language model in it.

A script is any function of one :class:`Exchange`; it says something, or does one of the things
that real endpoints do on a bad day.

>>> from loopaudit.recommenders.language.chat import ChatClient, ChatRequest, ChatSettings, Message
>>> with scripted_endpoint(lambda exchange: exchange.say("hello")) as endpoint:
...     client = ChatClient(ChatSettings(mode="live", model="script", base=endpoint.base))
...     client.ask([ChatRequest((Message("user", "good morning"),))])[0].text
'hello'
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[["Exchange"], None]


class Exchange:
    """One request in the hands of a script, which answers it with one of the methods.

    Attributes:
        body: the request; last: its last message; number: requests that came before it.
        authorization: the header of that name, or "".
    """

    def __init__(
        self,
        handler: BaseHTTPRequestHandler,
        body: dict[str, Any],
        number: int,
        answering: Callable[[], None] = lambda: None,
    ) -> None:
        self.body, self.number, self._answering = body, number, answering
        self.last = str(body["messages"][-1]["content"])
        self.authorization = handler.headers.get("Authorization", "")
        self._handler = handler

    def say(self, text: object, *, finish: str = "stop", **message: object) -> None:
        """A chat completion; tokens are words.

        Args:
            text: the message's content.
            finish: the finish_reason.
            message: further fields of the message, e.g. ``refusal="no"``.
        """
        sent = sum(len(str(m["content"]).split()) for m in self.body["messages"])
        answered = len(str(text).split())
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, **message},
            "finish_reason": finish,
        }
        completion = {
            "object": "chat.completion",
            "model": self.body["model"],
            "choices": [choice],
            "usage": {
                "prompt_tokens": sent,
                "completion_tokens": answered,
                "total_tokens": sent + answered,
            },
        }
        self.reply(200, json.dumps(completion).encode())

    def reply(self, status: int, content: bytes = b"", **headers: str) -> None:
        """Any status and bytes; ``Retry_After="1"`` sets the header Retry-After."""
        self._answering()
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.send_header("Content-Length", str(len(content)))
        self._handler.end_headers()
        self._handler.wfile.write(content)

    def drip(self, seconds: float) -> None:
        """A blank now and then, so that no single read ever takes long."""
        self._handler.send_response(200)
        self._handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._handler.wfile.write(b" ")
            time.sleep(0.02)


def replaying(recorded: Iterable[tuple[str, str, Mapping[str, Any]]]) -> Script:
    """A script that answers with chat completions that some model once gave.

    A prompt of the record gets its own answer (several, in their order, where it was asked several
    times); any other prompt gets one of the model's, always the same one for the same prompt.

    Args:
        recorded: model, last message, and the completion object that answered it.
    """
    own: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    all_of: dict[str, list[bytes]] = defaultdict(list)
    for model, prompt, completion in recorded:
        raw = json.dumps(completion).encode()
        own[model, prompt].append(raw)
        all_of[model].append(raw)
    served: dict[tuple[str, str], int] = defaultdict(int)
    lock = threading.Lock()

    def script(exchange: Exchange) -> None:
        model = str(exchange.body["model"])
        if model not in all_of:
            exchange.reply(404, b'{"error": {"message": "no such model"}}')
            return
        known = own.get((model, exchange.last))
        if known:
            with lock:
                number = served[model, exchange.last]
                served[model, exchange.last] += 1
            exchange.reply(200, known[number % len(known)])
        else:
            exchange.reply(200, all_of[model][_digest(exchange) % len(all_of[model])])

    return script


def misbehaving(
    script: Script, *, share: float, faults: Mapping[str, Script] | None = None
) -> Script:
    """A script that does one of some bad things to a share of the prompts, the same ones always.

    Args:
        script: what answers the others.
        share: in [0, 1].
        faults: by name; :data:`FAULTS` by default.
    """
    bad = list((faults or FAULTS).values())

    def either(exchange: Exchange) -> None:
        luck = _digest(exchange)
        unlucky = (luck % 10_007) / 10_007 < share
        (bad[luck // 10_007 % len(bad)] if unlucky else script)(exchange)

    return either


def _digest(exchange: Exchange) -> int:
    """A number that belongs to the conversation, whatever its seed."""
    said = json.dumps(exchange.body["messages"], sort_keys=True).encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "little")


FAULTS: dict[str, Script] = {
    "asks to wait": lambda x: x.reply(429, b'{"error": "slow down"}', Retry_After="0.01"),
    "fails": lambda x: x.reply(500, b"oops"),
    "drips": lambda x: x.drip(1.0),  # in vain: no reply for who waits, too late for who does not
    "sends half a reply": lambda x: x.reply(200, b'{"choices": [{"message": {"con'),
    "breaks off": lambda x: x.say("1. The Fir", finish="length"),
    "refuses": lambda x: x.say(None, refusal="I cannot help with that."),
    "says nothing": lambda x: x.say(""),
    "chats": lambda x: x.say("There are so many good films! Tell me more about your taste."),
    "invents": lambda x: x.say("1. The Clockmaker of Ys (2031)\n2. Rain, Rain, Retreat (1899)"),
}
"""Bad things that endpoints and models do, by name."""


class Endpoint:
    """What a scripted endpoint was asked.

    Attributes:
        base: its URL.
        requests: the bodies, in order of arrival.
        at_once, most_at_once: requests under way now, and at most so far.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.requests: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0


@contextmanager
def scripted_endpoint(script: Script, *, port: int = 0) -> Iterator[Endpoint]:
    """Serves a script on the loopback until the block ends; on a free port unless one is named."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(endpoint.requests)
                endpoint.requests.append(body)
                endpoint.at_once += 1
                endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
                self.counted = True
            try:
                if self.path == "/v1/chat/completions":
                    script(Exchange(self, body, number, self.count_out))
                else:
                    self.send_error(404)
            except OSError:  # the client went away
                self.close_connection = True
            finally:
                self.count_out()

        def count_out(self) -> None:
            """Before the answer leaves: whoever has it may send the next request at once."""
            with lock:
                endpoint.at_once -= self.counted
                self.counted = False

        def log_message(self, *_: object) -> None:
            return None

    class Loopback(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Loopback(("127.0.0.1", port), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

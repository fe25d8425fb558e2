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

import json
import threading
import time
from collections.abc import Callable, Iterator
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

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> None:
        self.body, self.number = body, number
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
def scripted_endpoint(script: Script) -> Iterator[Endpoint]:
    """Serves a script on a free port of the loopback until the block ends."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(endpoint.requests)
                endpoint.requests.append(body)
                endpoint.at_once += 1
                endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
            try:
                if self.path == "/v1/chat/completions":
                    script(Exchange(self, body, number))
                else:
                    self.send_error(404)
            except OSError:  # the client went away
                self.close_connection = True
            finally:
                with lock:
                    endpoint.at_once -= 1

        def log_message(self, *_: object) -> None:
            return None

    class Loopback(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Loopback(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

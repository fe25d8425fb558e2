"""A recommender behind a URL: the JSON of ``wire.py``, sent by POST, read from the answer.

``GET <url>/capabilities`` may answer with the fields of ``Capabilities``; a server without it is
taken as a plain black box. Nothing is trained over HTTP: what is audited is what is deployed.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, Any

from ..border import Capabilities, Progress, Requests, Slates
from ..catalog import Catalog
from ..errors import UserError
from ..faults import plain
from ..interactions import Interactions
from .vocabulary import Vocabulary
from .wire import MAX_BYTES, WireError, capabilities_of, object_of, request_of, slates_of

_CHUNK = 1 << 16
_MOST_OF_AN_ERROR = 150  # bytes of what an error's page says
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class HttpRecommender:
    """Posts batches to a server.

    Args:
        url: http:// or https://.
        seconds: limit for one answer, from the first byte sent to the last byte read.
        max_bytes: longest answer that is read.
        token_env: environment variable whose value is sent as ``Authorization: Bearer ...``.

    Raises:
        UserError: not a URL, or the environment variable is not set.
    """

    def __init__(
        self,
        url: str,
        *,
        seconds: float = 30.0,
        max_bytes: int = MAX_BYTES,
        token_env: str = "",
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{url!r} is not a URL: write http://host:port/path")
        if parts.username or parts.password:
            raise UserError("a URL must not hold a password; name a variable with token_env")
        self.name = url
        self.url, self.seconds, self.max_bytes = url, seconds, max_bytes
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token_env:
            if not os.environ.get(token_env):
                raise UserError(f"token_env: the environment variable {token_env!r} is not set")
            self._headers["Authorization"] = f"Bearer {os.environ[token_env]}"
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if parts.hostname in _LOOPBACK:  # a proxy cannot reach this machine's own servers
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)
        self._vocabulary: Vocabulary | None = None
        self._capabilities: Capabilities | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the server declared; known after ``fit``."""
        return self._capabilities or Capabilities()

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Learns the catalog's ids and the server's capabilities; the server learns nothing."""
        self._vocabulary = Vocabulary(catalog.ids)
        self.reach()

    def reach(self) -> None:
        """Ask the server what it can do.

        Raises:
            TimeoutError: no full answer in time.
            WireError: no connection, an error status, or not the protocol.
        """
        url = self.url.rstrip("/") + "/capabilities"
        try:
            said = self._exchange(url, None)
        except HttpStatus as error:
            if error.code not in (404, 405, 501):
                raise
            self._capabilities = Capabilities()
            return
        try:
            self._capabilities = capabilities_of(object_of(said))
        except WireError as error:
            raise WireError(
                f"GET {url} must say in JSON what it can do, or answer 404: {error}"
            ) from None

    def add_items(self, catalog: Catalog) -> None:
        """Learns the ids of the items that entered; they may stand in later histories."""
        self._vocabulary = Vocabulary(catalog.ids)

    def recommend(self, requests: Requests) -> Slates:
        """One POST for the batch.

        Raises:
            TimeoutError: no full answer in time.
            WireError: no connection, an error status, or not the protocol.
        """
        if self._vocabulary is None:
            raise WireError("the server's adapter needs a catalog: call fit first")
        answer = self._exchange(self.url, request_of(requests, self._vocabulary))
        return slates_of(object_of(answer), requests, self._vocabulary)

    def _exchange(self, url: str, body: bytes | None) -> bytes:
        deadline = time.monotonic() + self.seconds
        request = urllib.request.Request(url, data=body, headers=self._headers)
        try:
            with self._opener.open(request, timeout=self.seconds) as response:
                _refuse_packed(response)
                return self._read(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                raise HttpStatus(url, error) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise TimeoutError(f"no answer within {self.seconds:g} s") from None
            raise WireError(f"no connection to {url}: {error.reason}") from None
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.seconds:g} s") from None
        except (http.client.HTTPException, OSError) as error:
            raise WireError(f"{url} broke off: {error!r}") from None

    def _read(self, response: IO[bytes], deadline: float) -> bytes:
        read = bytearray()
        one: Any = getattr(response, "read1", response.read)
        while chunk := one(_CHUNK):
            read += chunk
            if len(read) > self.max_bytes:
                raise WireError(f"the answer is longer than {self.max_bytes} bytes")
            if time.monotonic() > deadline:  # a server that drips never trips a socket's limit
                raise TimeoutError
        return bytes(read)


def _refuse_packed(response: Any) -> None:
    """A packed answer could be of any size: it was not asked for, and is not unpacked."""
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("", "identity"):
        raise WireError(f"the answer is packed ({plain(packing)}); send it as it is")


class HttpStatus(WireError):
    """The server answered with a status that is no success."""

    def __init__(self, url: str, error: urllib.error.HTTPError) -> None:
        self.code = error.code
        text = f"{url} answered with HTTP status {self.code}"
        if 300 <= self.code < 400:
            where = plain(error.headers.get("Location") or "nowhere")
            text += f", a redirect to {where}, which is not followed: name the address that answers"
        elif self.code in (401, 403):
            text += "; token_env names the variable that holds a bearer token"
        try:
            said = plain(error.read1(_MOST_OF_AN_ERROR).decode("utf-8", "replace"))
        except (AttributeError, OSError, http.client.HTTPException):
            said = ""
        super().__init__(f"{text}: {said}" if said else text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: the token is for one server only."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None

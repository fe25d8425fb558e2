"""A client for any OpenAI-compatible chat endpoint, for simulated people and recommenders alike.

A batch of requests goes in, a list of answers in the same order comes out, whatever the
concurrency. A refused, truncated or unreadable answer is an answer with the kind of its fault: it
is counted and recorded, never dropped, and never spoils the batch. With a record, answers are
kept as JSON lines, and a replay needs neither network nor key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..errors import UserError
from ..faults import Faults
from .record import Record, canonical, recorded, request_key
from .settings import ChatSettings as ChatSettings
from .structured import Structured, read_structured
from .transport import ChatAnswer, Transport, completions_url, under_way

Shape = TypeVar("Shape", bound=BaseModel)

UNPAID = "over_budget"
"""The fault of a request that was not sent because the budget is spent."""

_ANSWER = TypeAdapter(ChatAnswer)


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: who speaks ("system", "user", "assistant"), and what."""

    role: str
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """What is asked.

    Attributes:
        messages: the conversation so far.
        seed: tells apart two draws of the same conversation; equal requests get equal answers.
    """

    messages: tuple[Message, ...]
    seed: int | None = None


@dataclass
class Usage:
    """Tokens and money, over all batches of a client.

    Attributes:
        requests: answers given, recorded ones included.
        asked: requests that went to the endpoint; the rest came from the record or a twin.
        retries: tries beyond a request's first.
        prompt_tokens, completion_tokens: of all answers given, as the endpoint counted.
        unmetered: answers whose tokens the endpoint did not say.
        cost: price of these tokens; paid: the part of it that was asked for now.
    """

    requests: int = 0
    asked: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unmetered: int = 0
    cost: float = 0.0
    paid: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """As JSON-ready values."""
        return asdict(self)


class ChatClient:
    """Asks an endpoint, or its record, batch by batch.

    Args:
        settings: see :class:`ChatSettings`, which is also found here.

    Attributes:
        faults: answers by kind of fault, of all batches; may be replaced to count anew.
        usage: tokens and money, likewise.

    Raises:
        UserError: no such record, and as in :func:`ready`.
    """

    def __init__(self, settings: ChatSettings) -> None:
        self.settings = settings
        self.faults, self.usage = Faults(), Usage()
        self._key = ready(settings)
        self._record: Record | None = None
        if settings.mode == "record":
            about = {"endpoint": settings.base}
            self._record = Record(Path(settings.record), writable=True, about=about)
        elif settings.mode == "replay":
            self._record = recorded(Path(settings.record))
        self._spending = threading.Lock()
        self._spent = 0.0  # of the budget
        if self._record is not None:
            held = self._record
            self._spent = self._price_of(held.prompt_tokens, held.completion_tokens)

    def __repr__(self) -> str:
        where = self.settings.base or self.settings.record
        return f"ChatClient({self.settings.mode}, {self.settings.model!r}, {where})"

    def ask(
        self, requests: Sequence[ChatRequest], *, shape: type[BaseModel] | None = None
    ) -> list[ChatAnswer]:
        """The answers, in the order of the requests; each with its fault, if it has one.

        Args:
            requests: what is asked.
            shape: what the endpoint is asked to keep to (``response_format``); the caller reads.

        Raises:
            UserError: a replay lacks a request, or no request could be answered (wrong key, wrong
                address, nobody there). What was answered before is in the record.
        """
        answers = self._answers(requests, shape)
        for answer in answers:
            self.faults.requests += 1
            if answer.fault:
                self.faults.add(answer.fault, 1, answer.why)
        return answers

    def ask_for(
        self, shape: type[Shape], requests: Sequence[ChatRequest]
    ) -> list[Structured[Shape]]:
        """Answers read as JSON objects of one shape, in the order of the requests.

        Args:
            shape: a pydantic model; the prompt must describe it in words as well.
            requests: what is asked.

        Raises:
            UserError: as in :meth:`ask`.
        """
        read: list[Structured[Shape]] = []
        for answer in self._answers(requests, shape):
            if answer.fault:
                one = Structured[Shape](None, answer.fault, answer.why)
            else:
                one = read_structured(answer.text, shape)
            self.faults.requests += 1
            if one.fault:
                self.faults.unanswered += 1
                self.faults.add(one.fault, 1, one.why)
            read.append(one)
        return read

    def close(self) -> None:
        """Close the connections; a later batch opens them again."""
        if transport := self.__dict__.pop("_transport", None):
            transport.close()

    # -- from the record, or from the endpoint ---------------------------------------------------

    def _answers(
        self, requests: Sequence[ChatRequest], shape: type[BaseModel] | None
    ) -> list[ChatAnswer]:
        bodies = [self._body(request, shape) for request in requests]
        keys = [request_key(body) for body in bodies]
        held: dict[str, ChatAnswer] = {}
        missing: dict[str, dict[str, Any]] = {}
        for key, body in zip(keys, bodies, strict=True):
            if self._record is not None and (known := self._record.get(key)) is not None:
                held[key] = _answer_from(known, self._record)
            else:
                missing[key] = body
        if missing and self.settings.mode == "replay":
            raise self._not_recorded(len(missing), next(iter(missing.values())))
        if missing:
            held |= self._fetch(missing)
        for key in keys:
            self._account(held[key])
        for key in missing:
            if held[key].fault == UNPAID:
                continue
            self.usage.asked += 1
            self.usage.retries += held[key].tries - 1
            self.usage.paid += self._price(held[key])
        return [held[key] for key in keys]

    def _fetch(self, missing: Mapping[str, dict[str, Any]]) -> dict[str, ChatAnswer]:
        """Ask for all, some at a time; record in the order of the requests."""
        if self._key and any(self._key in canonical(body) for body in missing.values()):
            raise UserError("a request holds the API key itself, and requests are recorded")
        transport = self._transport
        transport.start()
        jobs = []
        for key, body in missing.items():
            sent = body if self.settings.send_seed else _without_seed(body)
            luck = int(key[:8], 16) / 2**32  # spreads retries, and only those
            jobs.append(partial(self._complete, transport, sent, luck))
        running = dict(zip(missing, under_way(jobs, self.settings.concurrency), strict=True))
        answers: dict[str, ChatAnswer] = {}
        try:
            for key, future in running.items():
                answers[key] = self._keep(key, missing[key], _awaited(future))
        except BaseException as error:
            transport.stop()
            begun = [future for future in running.values() if not future.cancel()]
            if isinstance(error, Exception):  # after Ctrl-C nobody waits for slow answers
                wait(begun)
            for key, future in running.items():  # what was paid for is kept
                if key not in answers and _succeeded(future):
                    self._keep(key, missing[key], future.result())
            raise
        return answers

    def _complete(self, transport: Transport, body: Mapping[str, Any], luck: float) -> ChatAnswer:
        """Ask once, unless the budget is spent; what is under way by then is still paid."""
        budget = self.settings.budget
        if budget and self._spent >= budget:
            why = f"the budget of {budget:g} is spent ({self._spent:g})"
            return ChatAnswer("", UNPAID, why, tries=0)
        answer = transport.complete(body, luck=luck)
        with self._spending:
            self._spent += self._price(answer)
        return answer

    @cached_property
    def _transport(self) -> Transport:
        return Transport(self.settings, self._key)

    def _keep(self, key: str, body: dict[str, Any], answer: ChatAnswer) -> ChatAnswer:
        if self._record is None or answer.fault == UNPAID:  # to be asked when there is money
            return answer
        stands = self._record.add(key, body, asdict(answer))
        return _answer_from(stands, self._record)

    def _body(self, request: ChatRequest, shape: type[BaseModel] | None) -> dict[str, Any]:
        """The request as the endpoint's JSON; what is not set is left out."""
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [asdict(message) for message in request.messages],
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens or None,
            "seed": request.seed,
        }
        if shape is not None and settings.response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif shape is not None and settings.response_format == "json_schema":
            schema = {"name": shape.__name__, "schema": shape.model_json_schema()}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in body.items() if value is not None}

    def _account(self, answer: ChatAnswer) -> None:
        usage = self.usage
        usage.requests += 1
        usage.prompt_tokens += answer.prompt_tokens or 0
        usage.completion_tokens += answer.completion_tokens or 0
        usage.unmetered += answer.prompt_tokens is None or answer.completion_tokens is None
        usage.cost += self._price(answer)

    def _price(self, answer: ChatAnswer) -> float:
        return self._price_of(answer.prompt_tokens or 0, answer.completion_tokens or 0)

    def _price_of(self, sent: int, answered: int) -> float:
        settings = self.settings
        return (sent * settings.input_price + answered * settings.output_price) / 1e6

    def _not_recorded(self, n: int, first: Mapping[str, Any]) -> UserError:
        assert self._record is not None
        models = sorted(self._record.models)
        other = "" if self.settings.model in models else f" (it holds answers of {models})"
        said = str(first["messages"][-1]["content"])[:80] if first["messages"] else ""
        return UserError(
            f"{self.settings.record} lacks {n} of the requests{other}, the first of them "
            f"{said!r}: replay with the study it was recorded with, or ask for what is missing "
            "with mode = 'record', base and key_env"
        )


def ready(settings: ChatSettings) -> str:
    """The API key ("" for none), after a look at what asking will need; writes nothing.

    Raises:
        UserError: incomplete settings, no such record, an unset key variable, a base that is no
            endpoint, or httpx not installed.
    """
    if lacks := settings.lacks():
        raise UserError(f"[chat] {lacks}")
    if settings.mode == "replay":
        if not Path(settings.record).is_file():
            raise UserError(
                f"no such chat record: {settings.record}. mode = 'record' writes one while it asks"
            )
        return ""
    completions_url(settings.base)
    if find_spec("httpx") is None:
        raise UserError(
            "asking a chat endpoint needs httpx: pip install 'loopaudit[llm]' "
            "(replaying a record does not)"
        )
    variable = settings.key_env
    if variable and not os.environ.get(variable):
        raise UserError(f"key_env: the environment variable {variable!r} is not set")
    return os.environ[variable].strip() if variable else ""


def _without_seed(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "seed"}


def _awaited(future: Future[ChatAnswer]) -> ChatAnswer:
    """The result; Ctrl-C is noticed meanwhile, also where another thread caught the signal."""
    while not wait((future,), timeout=0.2).done:
        pass
    return future.result()


def _succeeded(future: Future[ChatAnswer]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _answer_from(held: Mapping[str, Any], record: Record) -> ChatAnswer:
    try:
        return _ANSWER.validate_python(held)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise UserError(
            f"{record.path}: an answer cannot be read ({wrong['loc']}: {wrong['msg']}); delete "
            "its line, or record again"
        ) from None

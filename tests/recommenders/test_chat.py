"""The chat client against a scripted endpoint that does what endpoints do on a bad day."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.faults import KINDS
from loopaudit.recommenders.language.chat import ChatClient, ChatRequest, ChatSettings, Message
from loopaudit.recommenders.language.record import Record, canonical, request_key
from loopaudit.recommenders.language.structured import read_structured
from loopaudit.recommenders.language.testing import Exchange, scripted_endpoint
from loopaudit.recommenders.language.transport import Pace, read_completion, retry_after

KEY = "sk-not-a-real-key-0123456789"


class Pick(BaseModel):
    take: list[int]
    reason: str = ""


def said(text: str, seed: int | None = None) -> ChatRequest:
    return ChatRequest((Message("user", text),), seed)


def settings_for(base: str, **more: Any) -> ChatSettings:
    given = {"mode": "live", "model": "script", "base": base, "backoff": 0.01, "seconds": 5.0}
    return ChatSettings(**{**given, **more})


def sentences(n: int) -> list[ChatRequest]:
    return [said(f"sentence {i}") for i in range(n)]


BAD_DAYS: dict[str, tuple[Callable[[Exchange], None], str]] = {
    "429": (lambda x: x.reply(429, b'{"error": {"message": "slow down"}}'), "rate_limited"),
    "500": (lambda x: x.reply(500, b"<html>oops</html>"), "server_error"),
    "400": (lambda x: x.reply(400, b'{"error": {"message": "too long"}}'), "rejected"),
    "silence": (lambda x: time.sleep(0.6), "timed_out"),
    "drip": (lambda x: x.drip(0.6), "timed_out"),
    "half": (lambda x: x.reply(200, b'{"choices": [{"mess'), "bad_reply"),
    "no choices": (lambda x: x.reply(200, b'{"choices": []}'), "bad_reply"),
    "no JSON at all": (lambda x: x.reply(200, b"\xff\xfe hello"), "bad_reply"),
    "length": (lambda x: x.say('{"take": [1, ', finish="length"), "truncated"),
    "refusal": (lambda x: x.say(None, refusal="I cannot help with that"), "refused"),
    "filter": (lambda x: x.say("", finish="content_filter"), "refused"),
    "empty": (lambda x: x.say(" \n"), "empty"),
    "prose": (lambda x: x.say("I would take the second one."), "not_json"),
    "unfit": (lambda x: x.say('{"take": "the second"}'), "not_valid"),
    "two minds": (lambda x: x.say('{"take": [1]} or {"take": [2]}'), "ambiguous"),
}


@pytest.mark.parametrize("day", BAD_DAYS)
def test_a_bad_answer_is_counted_by_kind_recorded_and_spoils_no_other(
    day: str, tmp_path: Path
) -> None:
    misbehave, kind = BAD_DAYS[day]

    def script(exchange: Exchange) -> None:
        if exchange.last == "unlucky":
            misbehave(exchange)
        else:
            exchange.say('{"take": [0]}')

    record = str(tmp_path / "record.jsonl")
    with scripted_endpoint(script) as endpoint:
        asked = settings_for(
            endpoint.base, mode="record", record=record, tries=2, seconds=0.3, backoff=0.001
        )
        client = ChatClient(asked)
        requests = [said("lucky"), said("unlucky"), said("lucky too")]
        answers = client.ask_for(Pick, requests)
        client.close()

    assert [a.fault for a in answers] == ["", kind, ""]
    assert kind in KINDS
    assert answers[1].value is None
    assert answers[0].value == answers[2].value == Pick(take=[0])
    assert (client.faults.requests, client.faults.unanswered) == (3, 1)
    assert client.faults.counts == {kind: 1}
    assert len(Path(record).read_text().splitlines()) == 1 + 3
    again = ChatClient(ChatSettings(model="script", mode="replay", record=record))
    assert again.ask_for(Pick, requests) == answers
    assert again.faults == client.faults


def test_an_endpoint_that_recovers_costs_only_tries() -> None:
    def script(exchange: Exchange) -> None:
        if exchange.number < 3:
            exchange.reply((500, 503, 429)[exchange.number])
        else:
            exchange.say("at last")

    with scripted_endpoint(script) as endpoint:
        client = ChatClient(settings_for(endpoint.base))
        (answer,) = client.ask([said("hello")])
        client.close()
    assert (answer.text, answer.fault, answer.tries) == ("at last", "", 4)
    assert client.usage.retries == 3
    assert client.faults.counts == {}


def test_waits_double_and_a_longer_retry_after_wins() -> None:
    from loopaudit.recommenders.language.transport import Transport

    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    def script(exchange: Exchange) -> None:
        after = {"Retry_After": "30"} if exchange.number == 2 else {}
        exchange.reply(429, b"", **after)

    with scripted_endpoint(script) as endpoint:
        plain = settings_for(endpoint.base, backoff=1.0, tries=4)
        transport = Transport(plain, "", wait=wait)
        transport._pace.hold = lambda seconds: None  # type: ignore[method-assign]
        assert transport.complete({"model": "m", "messages": [{"content": "x"}]}).tries == 4
        transport.close()
    assert waited == [1.0, 2.0, 30.0]


def test_a_retry_after_beyond_patience_ends_the_tries() -> None:
    with scripted_endpoint(lambda x: x.reply(429, b"", Retry_After="3600")) as endpoint:
        client = ChatClient(settings_for(endpoint.base, longest_wait=1.0))
        began = time.monotonic()
        (answer,) = client.ask([said("hello")])
        client.close()
    assert (answer.fault, answer.tries) == ("rate_limited", 1)
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("-3", 0.0), ("soon", 0.0), ("nan", 0.0), ("inf", 0.0), ("", 0.0)],
)
def test_retry_after_is_seconds_or_says_nothing(value: str, seconds: float) -> None:
    assert retry_after(value, now=0.0) == seconds


def test_retry_after_as_a_date_is_the_time_until_then() -> None:
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=1445412470.0) == 10.0


def test_a_pace_of_sixty_a_minute_lets_one_out_a_second_and_a_hold_stops_all() -> None:
    now = [0.0]
    out: list[float] = []

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return False

    pace = Pace(60.0, wait=wait, clock=lambda: now[0])
    for i in range(5):
        if i == 3:
            pace.hold(10.0)
        pace.turn()
        out.append(now[0])
    assert out == [0.0, 1.0, 2.0, 12.0, 12.0]


@pytest.mark.parametrize("status", [401, 403, 404, 307])
def test_what_no_other_request_could_cure_stops_at_once_and_names_the_cure(status: int) -> None:
    told = f'{{"error": {{"message": "no good {KEY}"}}}}'.encode()
    with scripted_endpoint(lambda x: x.reply(status, told)) as endpoint:
        client = ChatClient(settings_for(endpoint.base))
        with pytest.raises(UserError, match=f"HTTP status {status}.*check"):
            client.ask(sentences(20))
        assert len(endpoint.requests) <= 20
        client.close()


def test_a_used_up_quota_is_not_taken_for_a_rate_limit() -> None:
    told = b'{"error": {"code": "insufficient_quota", "message": "pay first"}}'
    with scripted_endpoint(lambda x: x.reply(429, told)) as endpoint:
        client = ChatClient(settings_for(endpoint.base))
        with pytest.raises(UserError, match="quota of this key is used up"):
            client.ask([said("hello")])
        client.close()


def test_nobody_there_is_the_callers_mistake() -> None:
    with scripted_endpoint(lambda x: x.say("hi")) as endpoint:
        gone = endpoint.base
    client = ChatClient(settings_for(gone, tries=2))
    with pytest.raises(UserError, match="is the endpoint running"):
        client.ask([said("hello")])
    client.close()


def test_answers_paid_for_before_a_stop_are_in_the_record(tmp_path: Path) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.last == "sentence 5":
            exchange.reply(401)
        else:
            exchange.say("yes")

    record = tmp_path / "record.jsonl"
    with scripted_endpoint(script) as endpoint:
        client = ChatClient(
            settings_for(endpoint.base, mode="record", record=str(record), concurrency=1)
        )
        with pytest.raises(UserError, match="401"):
            client.ask(sentences(8))
        client.close()
    assert len(Record(record)) >= 5


# -- order, concurrency, sameness ------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 7])
def test_answers_and_record_lines_stand_in_the_order_of_the_requests(
    concurrency: int, tmp_path: Path
) -> None:
    def script(exchange: Exchange) -> None:
        time.sleep(0.03 if exchange.last.endswith(("0", "3")) else 0.0)
        exchange.say(exchange.last.upper())

    record = tmp_path / "record.jsonl"
    with scripted_endpoint(script) as endpoint:
        client = ChatClient(
            settings_for(endpoint.base, mode="record", record=str(record), concurrency=concurrency)
        )
        answers = client.ask(sentences(24))
        client.close()
        assert endpoint.most_at_once <= concurrency
        assert (endpoint.most_at_once > 1) == (concurrency > 1)
    assert [a.text for a in answers] == [f"SENTENCE {i}" for i in range(24)]
    lines = [json.loads(line) for line in record.read_text().splitlines()[1:]]
    assert [x["request"]["messages"][0]["content"] for x in lines] == [
        f"sentence {i}" for i in range(24)
    ]


def test_twins_are_asked_once_and_a_seed_tells_them_apart(tmp_path: Path) -> None:
    with scripted_endpoint(lambda x: x.say(str(x.number))) as endpoint:
        client = ChatClient(
            settings_for(endpoint.base, mode="record", record=str(tmp_path / "r"), concurrency=1)
        )
        first = [a.text for a in client.ask([said("a", 1), said("a", 1), said("a", 2)])]
        later = [a.text for a in client.ask([said("a", 2), said("a", 1)])]
        client.close()
    assert first == ["0", "0", "1"]
    assert later == ["1", "0"]
    assert (client.usage.requests, client.usage.asked) == (5, 2)


def test_a_seed_that_must_not_be_sent_still_tells_requests_apart() -> None:
    with scripted_endpoint(lambda x: x.say(str(x.number))) as endpoint:
        client = ChatClient(settings_for(endpoint.base, send_seed=False, concurrency=1))
        assert [a.text for a in client.ask([said("a", 1), said("a", 2)])] == ["0", "1"]
        client.close()
        assert all("seed" not in body for body in endpoint.requests)


def test_the_shape_is_told_to_endpoints_that_understand_it() -> None:
    with scripted_endpoint(lambda x: x.say('{"take": []}')) as endpoint:
        for form in ("none", "json_object", "json_schema"):
            client = ChatClient(settings_for(endpoint.base, response_format=form))
            client.ask_for(Pick, [said("a")])
            client.close()
    none, plain, schema = (body.get("response_format") for body in endpoint.requests)
    assert none is None
    assert plain == {"type": "json_object"}
    assert schema["json_schema"]["schema"] == Pick.model_json_schema()


def test_tokens_and_money_are_added_up_and_a_replay_costs_nothing(tmp_path: Path) -> None:
    record = str(tmp_path / "r.jsonl")
    prices = {"input_price": 3.0, "output_price": 15.0}
    requests = [said("one two three"), said("one two")]
    with scripted_endpoint(lambda x: x.say("four words it is")) as endpoint:
        client = ChatClient(settings_for(endpoint.base, mode="record", record=record, **prices))
        client.ask(requests)
        client.close()
    assert (client.usage.prompt_tokens, client.usage.completion_tokens) == (5, 8)
    assert client.usage.cost == client.usage.paid == pytest.approx((5 * 3 + 8 * 15) / 1e6)
    replay = ChatClient(ChatSettings(model="script", mode="replay", record=record, **prices))
    replay.ask(requests)
    assert replay.usage.cost == client.usage.cost
    assert (replay.usage.paid, replay.usage.asked, replay.usage.unmetered) == (0.0, 0, 0)


def test_tokens_nobody_counted_are_said_to_be_unmetered() -> None:
    raw = b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}'
    with scripted_endpoint(lambda x: x.reply(200, raw)) as endpoint:
        client = ChatClient(settings_for(endpoint.base))
        client.ask(sentences(3))
        client.close()
    assert client.usage.unmetered == 3


# -- the key ---------------------------------------------------------------------------------------


def test_the_key_is_sent_and_written_nowhere_even_if_the_endpoint_echoes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    seen: list[str] = []

    def script(exchange: Exchange) -> None:
        seen.append(exchange.authorization)
        if exchange.last == "sentence 1":
            exchange.reply(400, f"bad {exchange.authorization}".encode())
        elif exchange.last == "sentence 2":
            exchange.say(None, refusal=f"not for {KEY}")
        else:
            exchange.say(f"your key is {KEY}")

    record = tmp_path / "r.jsonl"
    with scripted_endpoint(script) as endpoint:
        client = ChatClient(
            settings_for(endpoint.base, mode="record", record=str(record), key_env="MY_KEY")
        )
        answers = client.ask(sentences(4))
        with pytest.raises(UserError, match="holds the API key"):
            client.ask([said(f"my key is {KEY}")])
        client.close()
    assert set(seen) == {f"Bearer {KEY}"}
    assert answers[0].text == "your key is [API key]"
    assert [a.fault for a in answers] == ["", "rejected", "refused", ""]
    everything = record.read_text() + repr(client) + repr(answers) + repr(client.faults)
    assert KEY not in everything
    assert KEY not in client.settings.model_dump_json()


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UserError, match="'MY_KEY' is not set"):
        ChatClient(settings_for("http://127.0.0.1:1", key_env="MY_KEY"))


@pytest.mark.parametrize(
    "base", ["ftp://x", "localhost:80", "https://me:secret@host", "https://h?api-key=1"]
)
def test_a_base_that_is_no_endpoint_or_holds_a_secret_is_refused(base: str) -> None:
    with pytest.raises(UserError, match=r"not an endpoint|hold no secret") as caught:
        ChatClient(settings_for(base))
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("given", [{"mode": "record"}, {"mode": "replay"}, {"mode": "live"}])
def test_settings_that_lack_their_file_or_endpoint_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"\[chat\] mode = .* needs"):
        ChatClient(ChatSettings(model="m", **given))
    with pytest.raises(UserError, match=r"model = '\.\.\.' is missing"):
        ChatClient(ChatSettings(mode="live", base="http://127.0.0.1:1"))


def test_without_httpx_the_message_holds_the_command_and_a_replay_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = str(tmp_path / "r.jsonl")
    with scripted_endpoint(lambda x: x.say("hi")) as endpoint:
        first = ChatClient(settings_for(endpoint.base, mode="record", record=record))
        first.ask([said("a")])
        first.close()
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(UserError, match=r"pip install 'loopaudit\[llm\]'"):
        ChatClient(settings_for("http://127.0.0.1:1"))
    replay = ChatClient(ChatSettings(model="script", mode="replay", record=record))
    assert replay.ask([said("a")])[0].text == "hi"


# -- the record ------------------------------------------------------------------------------------


def test_the_key_of_a_request_is_the_sha256_of_its_canonical_json() -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "é"}]}
    assert canonical(request) == '{"messages":[{"content":"é","role":"user"}],"model":"m"}'
    by_sha256sum = "a2c7407eff95b5c502141a1edf5c79c99248361836acc7a3a5141baeb9f67b82"
    assert request_key(request) == by_sha256sum
    assert request_key(request) == request_key(dict(reversed(request.items())))


def test_a_request_the_record_lacks_is_named_with_file_and_cure(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    Record(path, writable=True).add("k" * 64, {"model": "other", "messages": []}, {})
    path.write_text(path.read_text().splitlines()[0] + "\n")
    client = ChatClient(ChatSettings(model="script", mode="replay", record=str(path)))
    with pytest.raises(UserError, match=r"r\.jsonl lacks 2 of the requests.*'a'.*mode = 'record'"):
        client.ask([said("a"), said("b")])


def test_a_record_of_another_model_says_so(tmp_path: Path) -> None:
    record = str(tmp_path / "r.jsonl")
    with scripted_endpoint(lambda x: x.say("hi")) as endpoint:
        client = ChatClient(settings_for(endpoint.base, mode="record", record=record))
        client.ask([said("a")])
        client.close()
    other = ChatClient(ChatSettings(model="larger", mode="replay", record=record))
    with pytest.raises(UserError, match=r"holds answers of \['script'\]"):
        other.ask([said("a")])


def test_a_record_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such chat record"):
        ChatClient(ChatSettings(model="m", mode="replay", record=str(tmp_path / "none")))


def test_half_a_line_left_by_a_killed_process_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    request = {"model": "m", "messages": []}
    Record(path, writable=True).add(request_key(request), request, {"text": "one"})
    with path.open("a") as file:
        file.write('{"answer": {"te')
    assert len(Record(path)) == 1
    record = Record(path, writable=True)
    other = {"model": "m", "messages": [1]}
    record.add(request_key(other), other, {"text": "two"})
    assert len(Record(path)) == 2


def test_the_first_answer_stands_whichever_process_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    request = {"model": "m", "messages": []}
    key = request_key(request)
    mine, theirs = Record(path, writable=True), Record(path, writable=True)
    assert theirs.add(key, request, {"text": "first"}) == {"text": "first"}
    assert mine.add(key, request, {"text": "second"}) == {"text": "first"}
    assert mine.get(key) == {"text": "first"}
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        '{"key": "0", "request": {}, "answer": {}}',
        '{"key": "0"}',
    ],
)
def test_a_line_that_is_no_record_is_named_by_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    Record(path, writable=True)
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=r"r\.jsonl, line 2"):
        Record(path)


def test_an_answer_edited_into_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 500}
    Record(path, writable=True).add(request_key(body), body, {"text": ["not", "text"]})
    client = ChatClient(ChatSettings(model="m", mode="replay", record=str(path)))
    with pytest.raises(UserError, match="an answer cannot be read"):
        client.ask([said("a")])


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"take": [1, 2], "reason": "both"}',
        '```json\n{"take": [1, 2], "reason": "both"}\n```',
        'Sure, {name}! Here:\n{"take": [1, 2], "reason": "both"}\nEnjoy {it}.',
        '<think>{"take": [9]} or not</think>{"take": [1, 2], "reason": "both"}',
        '{"note": 1} {"take": [1, 2], "reason": "both"}',
        'Twice: {"take": [1, 2], "reason": "both"} = {"reason": "both", "take": [1, 2]}',
        '[{"take": ["1", 2], "reason": "both"}]',
    ],
)
def test_an_object_is_found_in_what_models_write_around_it(text: str) -> None:
    assert read_structured(text, Pick).value == Pick(take=[1, 2], reason="both")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        ("<think>{}</think>", "empty"),
        ("none of these", "not_json"),
        ("{" * 5000, "not_json"),
        ('{"a":' * 5000, "not_json"),
        ('{"seen": {"take": [3]}, "take": [', "not_json"),
        ('{"take": [NaN]}', "not_json"),
        ('{"take": [' + "9" * 5000 + "]}", "not_json"),
        ('{"take": 1}', "not_valid"),
        ("{}", "not_valid"),
        ('{"take": [1]} {"take": [2]}', "ambiguous"),
    ],
)
def test_what_cannot_be_read_has_a_kind_and_no_value(text: str, fault: str) -> None:
    read = read_structured(text, Pick)
    assert (read.value, read.fault) == (None, fault)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from('{}[]":,takern0123456789\\ \n`'), max_size=200))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    read = read_structured(text, Pick)
    assert (read.value is None) == (read.fault != "")


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_reply_makes_the_client_raise(raw: bytes) -> None:
    answer = read_completion(raw)
    assert answer.fault == "" or answer.fault in KINDS


def test_content_in_parts_is_joined() -> None:
    message = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    raw = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    assert read_completion(raw).text == "ab"


# -- recorded answers of real models ---------------------------------------------------------------

PROMPTS = ("general", "p2", "p3", "p4")


def recorded(real_data: Callable[[str], Path], model: str) -> list[dict[str, Any]]:
    files = [real_data(f"inspired-crs/{model}/{p}.extracted.jsonl") for p in PROMPTS]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("model", "truncated", "prompt_tokens", "completion_tokens"),
    [("gpt-4", 0, 196_886, 133_268), ("gpt-3.5-turbo", 3, 197_798, 123_615)],
)
def test_real_completions_are_read_replayed_and_added_up(
    real_data: Callable[[str], Path],
    tmp_path: Path,
    model: str,
    truncated: int,
    prompt_tokens: int,
    completion_tokens: int,
) -> None:
    rows = recorded(real_data, model)
    replies = {row["prompt"]: row["resp"] for row in rows}
    distinct = list(replies)

    def script(exchange: Exchange) -> None:
        exchange.reply(200, json.dumps(replies[exchange.last]).encode())

    path = str(tmp_path / "r.jsonl")
    with scripted_endpoint(script) as endpoint:
        client = ChatClient(
            settings_for(endpoint.base, model=model, mode="record", record=path, concurrency=4)
        )
        answers = client.ask([said(prompt) for prompt in distinct])
        client.close()
    for prompt, answer in zip(distinct, answers, strict=True):
        assert answer.text == replies[prompt]["choices"][0]["message"]["content"]
    replay = ChatClient(ChatSettings(model=model, mode="replay", record=path))
    assert replay.ask([said(prompt) for prompt in distinct]) == answers
    read = [read_completion(json.dumps(row["resp"]).encode()) for row in rows]
    assert len(read) == 912
    assert sum(a.fault == "truncated" for a in read) == truncated
    assert sum(a.prompt_tokens or 0 for a in read) == prompt_tokens
    assert sum(a.completion_tokens or 0 for a in read) == completion_tokens


def test_real_prose_without_json_is_counted_and_json_in_real_prose_is_found(
    real_data: Callable[[str], Path],
) -> None:
    for row in recorded(real_data, "gpt-3.5-turbo"):
        text = row["resp"]["choices"][0]["message"]["content"]
        assert read_structured(text, Pick).fault == "not_json"
        wanted = Pick(take=[3], reason=text)
        wrapped = f"{text}\n```json\n{wanted.model_dump_json()}\n```\n{text}"
        assert read_structured(wrapped, Pick).value == wanted

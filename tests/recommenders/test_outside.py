"""Recommenders in another process or behind a URL, well-behaved and otherwise."""

from __future__ import annotations

import gzip
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard, Limits
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.plugins.vocabulary import Vocabulary
from loopaudit.recommenders.plugins.wire import (
    WireError,
    capabilities_of,
    object_of,
    request_of,
    slates_of,
)

IDS = ("a", "ü", "<script>alert(1)</script>", "7")

CHILD = """
import csv, json, os, sys, time
mode = sys.argv[1]
marker = sys.argv[2]
best = "7"

def say(value):
    print(json.dumps(value), flush=True)

first = {"ready": True}
if mode == "fits":
    first |= {"fit": True, "capabilities": {"update": "refit", "max_batch": 2}}
if mode == "times":
    first |= {"capabilities": {"inputs": ["history", "times"]}}
if mode == "strange":
    first |= {"capabilities": {"speed": "high"}}
if mode == "late":
    time.sleep(60)
if mode == "mumbles":
    print("Loading model ...", flush=True)
if mode == "dies-at-once":
    sys.exit("no GPU found")
say(first)
for line in sys.stdin:
    message = json.loads(line)
    if "fit" in message:
        with open(message["fit"], encoding="utf-8") as file:
            best = list(csv.DictReader(file))[-1]["item"]
        with open(message["catalog"], encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == 4
        say({"fitted": True})
        continue
    first_time = not os.path.exists(marker)
    open(marker, "a").write("x")
    if mode == "crashes-once" and first_time:
        sys.stderr.write("Segmentation fault, nearly\\n")
        sys.exit(139)
    if mode == "crashes-always":
        os.abort()
    if mode == "killed":
        os.kill(os.getpid(), 9)
    if mode == "closes":
        os.close(1)
        time.sleep(600)
    if mode == "eats":
        hoard = bytearray(1_000 * 2**20)
    if mode == "nests":
        sys.stdout.write('{"results": [' + "[],"  * 3_000_000 + "[]]}\\n")
        sys.stdout.flush()
        continue
    if mode == "hangs":
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(marker + ".pid", "w").write(str(child.pid))
        time.sleep(600)
    if mode == "floods":
        while True:
            sys.stdout.write("x" * 65536)
    if mode == "shouts":
        sys.stderr.write("noise\\n" * 100000)
    if mode == "twice":
        say({"results": []})
    if mode == "garbage":
        print("__import__('os').system('touch ' + sys.argv[2] + '.pwned')", flush=True)
        continue
    results = []
    for request in message["requests"]:
        if request["history"] == ["a"]:
            results.append({"error": "cold <b>user</b>"})
            continue
        assert request["user"] is None or request["user"].isdigit()
        if mode == "times":
            lately = request.get("ago", [99])[-1] < 10
            results.append({"items": ["ü" if lately else "7"]})
            continue
        assert "ago" not in request
        results.append({"items": [best, 7, "nowhere", "a"], "scores": [4, 3, 2, 1.5]})
    say({"results": results})
"""


def catalog() -> Catalog:
    nobody = np.full(4, -1, np.int32)
    return Catalog(IDS, IDS, np.eye(4, dtype=np.float32), ("p", "q", "r", "s"), nobody, nobody)


def log() -> Interactions:
    item = np.array([0, 2], np.int32)
    return Interactions(np.zeros(2, np.int32), item, np.array([0, 1], np.int64), 1, 4)


def ask(*histories: list[int], k: int = 3) -> Requests:
    users = np.arange(len(histories), dtype=np.int32) - 1
    gender = np.array(["F"] * len(histories))
    return Requests(users, Ragged.from_lists(histories), k, attributes={"gender": gender})


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., Guard]]:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    made: list[Any] = []

    def start(mode: str, **args: Any) -> Guard:
        command = f"cmd:'{sys.executable}' '{script}' {mode} '{tmp_path / 'marker'}'"
        made.append(registry.create(command, args))
        guard = Guard(made[-1], n_items=4)
        guard.fit(log(), catalog())
        return guard

    yield start
    for recommender in made:
        recommender.close()


def test_a_process_answers_in_string_ids(child: Callable[..., Guard]) -> None:
    guard = child("plain")
    slates = guard.recommend(ask([], [0], [3]))
    assert slates.items.tolist() == [[3, 0, -1], [-1, -1, -1], [0, -1, -1]]
    assert slates.scores is not None
    assert slates.scores[0, 0] == 4
    assert slates.errors is not None
    assert slates.errors[1] == "raised: cold <b>user</b>"
    assert guard.faults.counts == {"duplicate": 2, "raised": 1, "short": 2, "unknown_item": 2}


def test_a_process_that_reads_times_is_told_how_long_ago_and_no_other_is(
    child: Callable[..., Guard],
) -> None:
    asked = replace(ask([0, 2], [2]), ago=Ragged.from_lists([[90, 20], [4]]))
    guard = child("times")
    assert guard.recommend(asked).items[:, 0].tolist() == [3, 1]
    assert guard.recommend(ask([0, 2], [2])).items[:, 0].tolist() == [3, 3], "times are unknown"
    other = child("plain")
    other.recommend(asked)
    assert "raised" not in other.faults.counts


def test_a_process_that_learns_gets_the_log_and_the_catalog_as_files(
    child: Callable[..., Guard],
) -> None:
    guard = child("fits")
    assert guard.capabilities.update == "refit"
    assert guard.capabilities.max_batch == 2
    assert guard.recommend(ask([], [], [])).items[:, 0].tolist() == [2, 2, 2]
    more = log().then(log().take(np.array([0])))
    guard.update(more, since=2)
    assert guard.recommend(ask([])).items[0, 0] == 0
    guard.recommender.close()  # type: ignore[attr-defined]
    assert guard.recommend(ask([])).items[0, 0] == 0, "a new process is fitted again"
    assert "fit_failed" not in guard.faults.counts


def test_a_crashed_process_is_begun_anew(child: Callable[..., Guard]) -> None:
    guard = child("crashes-once")
    assert (guard.recommend(ask([])).items == -1).all()
    assert "ended with status 139" in guard.faults.examples[0]
    assert "Segmentation fault" in guard.faults.examples[0]
    assert guard.recommend(ask([])).items[0, 0] == 3
    assert guard.faults.counts["raised"] == 1


def test_a_hung_process_is_killed_with_its_children(
    child: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = child("hangs", seconds=1.0)
    started = time.monotonic()
    guard.recommend(ask([]))
    assert time.monotonic() - started < 4
    assert guard.faults.counts == {"timed_out": 1}
    pid = int((tmp_path / "marker.pid").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":  # dead, its new parent has not looked yet
            return
        time.sleep(0.05)
    raise AssertionError("the grandchild lives on")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("floods", "longer than 100000 bytes"),
        ("twice", "results were expected"),
        ("garbage", "not JSON"),
    ],
)
def test_a_process_that_breaks_the_protocol_is_stopped(
    child: Callable[..., Guard], tmp_path: Path, mode: str, words: str
) -> None:
    guard = child(mode, max_bytes=100_000)
    for _ in range(4):
        assert (guard.recommend(ask([])).items == -1).all()
    assert guard.faults.counts == {"raised": 3, "switched_off": 1}
    assert words in guard.faults.examples[0] or "got more" in guard.faults.examples[0]
    assert not (tmp_path / "marker.pwned").exists()


def test_a_process_that_takes_too_much_memory_fails_alone(child: Callable[..., Guard]) -> None:
    guard = child("eats", memory_mb=600)
    assert (guard.recommend(ask([])).items == -1).all()
    assert guard.faults.counts == {"raised": 1}
    assert "MemoryError" in guard.faults.examples[0]
    free = child("eats")
    assert free.recommend(ask([])).items[0, 0] == 3
    with pytest.raises(UserError, match="memory_mb must be at least 0"):
        registry.create("cmd:python x.py", {"memory_mb": -1})


def test_the_words_of_a_command_with_a_limit_are_read_by_no_shell(tmp_path: Path) -> None:
    made = registry.create(f"cmd:{sys.executable} -c pass '; touch {tmp_path}/pwned'")
    limited = registry.create(
        f"cmd:{sys.executable} -c pass '; touch {tmp_path}/pwned'", {"memory_mb": 500}
    )
    for recommender in (made, limited):
        with pytest.raises(WireError, match="ended with status 0"):
            recommender.fit(log(), catalog())  # type: ignore[attr-defined]
    assert not (tmp_path / "pwned").exists()


def test_a_process_that_always_crashes_is_not_begun_for_ever(
    child: Callable[..., Guard], tmp_path: Path
) -> None:
    guard = child("crashes-always")
    for _ in range(6):
        assert (guard.recommend(ask([])).items == -1).all()
    assert guard.faults.counts == {"raised": 3, "switched_off": 3}
    assert len((tmp_path / "marker").read_text()) == 3


def test_a_short_text_of_many_parts_is_not_unpacked(child: Callable[..., Guard]) -> None:
    guard = child("nests")
    guard.recommend(ask([]))
    assert "more than 2000000 parts" in guard.faults.examples[0]


def test_a_process_may_write_any_amount_to_standard_error(child: Callable[..., Guard]) -> None:
    guard = child("shouts")
    for _ in range(3):
        assert guard.recommend(ask([])).items[0, 0] == 3


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("late", "no answer within 1 s"),
        ("mumbles", "Loading model"),
        ("dies-at-once", "no GPU found"),
        ("strange", "speed"),
    ],
)
def test_a_process_that_does_not_get_ready_says_why(
    child: Callable[..., Guard], mode: str, words: str
) -> None:
    guard = child(mode, start_seconds=1.0 if mode == "late" else 30.0)
    assert guard.faults.counts == {"fit_failed": 1}
    assert words in guard.faults.examples[0]


def test_how_a_process_ended_is_said_in_words(child: Callable[..., Guard]) -> None:
    for mode, words in [
        ("killed", "was killed (SIGKILL: perhaps the machine ran out of memory)"),
        ("crashes-always", "was ended by SIGABRT"),
        ("closes", "closed its standard output"),
    ]:
        guard = child(mode)
        guard.recommend(ask([]))
        assert words in guard.faults.examples[0]


def test_a_long_answer_is_read_in_time_linear_in_its_length(child: Callable[..., Guard]) -> None:
    guard = child("floods", seconds=20.0)
    started = time.monotonic()
    guard.recommend(ask([]))
    assert "longer than 67108864 bytes" in guard.faults.examples[0]
    assert time.monotonic() - started < 4


def test_a_large_batch_does_not_clog_the_pipes(child: Callable[..., Guard]) -> None:
    guard = child("plain")
    slates = guard.recommend(ask(*[[1, 2]] * 3000))
    assert (slates.items[:, 0] == 3).all()


def test_a_command_that_does_not_exist_is_the_callers_mistake() -> None:
    for spec, words in [
        ("cmd:no-such-program-xyz --x", "there is no program 'no-such-program-xyz'"),
        ("cmd:", "needs a command"),
        ("cmd:python 'open", "cannot be split"),
    ]:
        with pytest.raises(UserError) as caught:
            registry.create(spec)
        assert words in str(caught.value)
    with pytest.raises(UserError, match="seconds"):
        registry.create("cmd:python x.py", {"secnods": 3})


# -- HTTP --------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    answer: Callable[[_Handler, dict[str, Any]], None]
    capabilities: bytes | None = None

    def do_GET(self) -> None:
        assert self.path.endswith("/capabilities")
        if self.capabilities is None:
            self.send_error(404)
        else:
            self.reply(self.capabilities)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).answer(self, json.loads(body))

    def reply(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., Guard]]:
    servers: list[ThreadingHTTPServer] = []

    def start(
        answer: Callable[[Any, dict[str, Any]], None],
        capabilities: bytes | None = None,
        **args: Any,
    ) -> Guard:
        handler = type("Handler", (_Handler,), {"answer": answer, "capabilities": capabilities})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[assignment,method-assign]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/recommend"
        guard = Guard(registry.create(url, args), n_items=4)
        guard.fit(log(), catalog())
        return guard

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def good(handler: Any, body: dict[str, Any]) -> None:
    results = [{"items": ["ü", "a"], "raw": ["U!", "A!"]} for _ in body["requests"]]
    handler.reply(json.dumps({"results": results}).encode())


def test_a_server_answers_over_http(serve: Callable[..., Guard]) -> None:
    guard = serve(good, b'{"history": "none", "stochastic": true}')
    slates = guard.recommend(ask([], [1]))
    assert slates.items.tolist() == [[1, 0, -1], [0, -1, -1]]
    assert slates.raw_names == (("U!", "A!"), ("U!", "A!"))
    assert guard.capabilities.history == "none"
    assert guard.capabilities.stochastic


def test_a_page_in_place_of_capabilities_is_told_with_its_address(
    serve: Callable[..., Guard],
) -> None:
    guard = serve(good, b"<html>Log in</html>")
    assert guard.faults.counts == {"fit_failed": 1}
    said = guard.faults.examples[0]
    assert f"GET {guard.name}/capabilities must say in JSON what it can do" in said
    assert "not JSON" in said


def test_a_token_comes_from_the_environment(
    serve: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def answer(handler: Any, body: dict[str, Any]) -> None:
        seen.append(handler.headers["Authorization"])
        good(handler, body)

    monkeypatch.setenv("MY_TEST_TOKEN", "abc")
    serve(answer, token_env="MY_TEST_TOKEN").recommend(ask([]))
    assert seen == ["Bearer abc"]
    with pytest.raises(UserError, match="NO_SUCH_TOKEN"):
        registry.create("http://localhost:1/", {"token_env": "NO_SUCH_TOKEN"})


def _drip(handler: Any, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def _break_off(handler: Any, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


def _zip_bomb(handler: Any, _: dict[str, Any]) -> None:
    packed = gzip.compress(b"[" + b"0," * 50_000_000 + b"0]")
    assert len(packed) < 150_000
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(packed)))
    handler.end_headers()
    handler.wfile.write(packed)


def _to_a_file(handler: Any, _: dict[str, Any]) -> None:
    handler.send_response(307)
    handler.send_header("Location", "file:///etc/hostname")
    handler.end_headers()


def _redirect(handler: Any, _: dict[str, Any]) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/elsewhere")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda h, b: h.reply(b"oops", 500), "raised", "HTTP status 500"),
        (lambda h, b: h.reply(b"{'results': 1}"), "raised", "not JSON"),
        (lambda h, b: h.reply(b"[" * 100_000), "raised", "not JSON"),
        (lambda h, b: h.reply(b"\xff\xfe"), "raised", "not JSON"),
        (lambda h, b: h.reply(b"[]"), "raised", "object was expected"),
        (lambda h, b: h.reply(b"{}"), "raised", "no list of results"),
        (lambda h, b: h.reply(b'{"results": []}'), "raised", "got 0 results"),
        (lambda h, b: h.reply(b'{"error": "model is loading"}'), "raised", "model is loading"),
        (lambda h, b: h.reply(b" " * 200_000), "raised", "longer than 150000 bytes"),
        (lambda h, b: time.sleep(1.5), "timed_out", "no answer within 0.5 s"),
        (_drip, "timed_out", "no answer within 0.5 s"),
        (_break_off, "raised", "not JSON"),
        (_redirect, "raised", "a redirect to http://127.0.0.1:1/elsewhere, which is not followed"),
        (_to_a_file, "raised", "HTTP status 307"),
    ],
)
def test_a_server_that_fails_is_contained(
    serve: Callable[..., Guard], answer: Any, kind: str, words: str
) -> None:
    guard = serve(answer, seconds=0.5, max_bytes=150_000)
    slates = guard.recommend(ask([], []))
    assert (slates.items == -1).all()
    assert guard.faults.counts == {kind: 2}
    assert words in guard.faults.examples[0]


def test_what_is_packed_stays_packed(serve: Callable[..., Guard]) -> None:
    """No answer is unpacked, so a hundred megabytes in a hundred kilobytes do no harm."""
    guard = serve(_zip_bomb, seconds=20.0, max_bytes=150_000)
    guard.recommend(ask([]))
    assert guard.faults.counts == {"raised": 1}
    assert "the answer is packed (gzip); send it as it is" in guard.faults.examples[0]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"", "token_env names the variable that holds a bearer token"),
        (422, b'{"detail": "queries: field required"}', "queries: field required"),
        (500, b"\x1b[31m<b>\xff" + b"x" * 10**6, "?[31m<b>"),
    ],
)
def test_what_a_server_says_with_an_error_is_quoted(
    serve: Callable[..., Guard], status: int, body: bytes, words: str
) -> None:
    guard = serve(lambda h, b: h.reply(body, status))
    guard.recommend(ask([]))
    assert (
        f"HttpStatus: {guard.name} answered with HTTP status {status}" in guard.faults.examples[0]
    )
    assert words in guard.faults.examples[0]
    assert "\x1b" not in guard.faults.examples[0]


def test_headers_that_never_end_are_ended_by_the_guard(serve: Callable[..., Guard]) -> None:
    def endless(handler: Any, _: dict[str, Any]) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(100):  # every byte comes in time
            handler.wfile.write(b"X")
            time.sleep(0.05)

    guard = serve(endless, seconds=3.0)
    guard.limits = Limits(seconds_per_call=0.5)
    started = time.monotonic()
    guard.recommend(ask([]))
    assert time.monotonic() - started < 2
    assert guard.faults.counts == {"timed_out": 1}


def test_nobody_listening_is_said_when_it_is_fitted() -> None:
    guard = Guard(registry.create("http://127.0.0.1:9/"), n_items=4)
    guard.fit(log(), catalog())
    assert guard.faults.counts == {"fit_failed": 1}
    assert "no connection" in guard.faults.examples[0]
    for bad in ("http://", "https://user:secret@host/"):
        with pytest.raises(UserError):
            registry.create(bad)


# -- the protocol ------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
results = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("items", "scores", "raw", "error", "text", "said", "usage", "propensities"), values
    ),
)


@settings(max_examples=200, deadline=None)
@given(answer=st.lists(results | values, min_size=2, max_size=2))
def test_any_json_becomes_slates_row_by_row(answer: list[Any]) -> None:
    requests = ask([], [0])
    text = json.dumps({"results": answer}).encode()
    slates = slates_of(object_of(text), requests, Vocabulary(IDS))
    assert slates.items.shape == (2, 3)
    assert slates.items.dtype == np.int32


def test_requests_hold_ids_not_indices_and_a_seed_of_their_own() -> None:
    sent = json.loads(request_of(ask([0, 2], [1]), Vocabulary(IDS)))
    assert sent["step"] == 0
    first, second = sent["requests"]
    assert first["user"] is None
    assert second["user"] == "0"
    assert first["history"] == ["a", "<script>alert(1)</script>"]
    assert first["attributes"] == {"gender": "F"}
    alone = json.loads(request_of(ask([0, 2], [1]).take(np.array([1])), Vocabulary(IDS)))
    assert alone["requests"][0] == second
    assert first["seed"] != second["seed"]


def test_explanations_words_propensities_and_usage_cross_the_wire() -> None:
    full = {
        "items": ["a", "7"],
        "propensities": [0.5, 0.25],
        "text": ["because", None],
        "said": "Here you are.",
        "usage": {"prompt_tokens": 12, "cost": 0.5},
    }
    slates = slates_of({"results": [full, {"items": []}]}, ask([], [0]), Vocabulary(IDS))
    assert slates.errors is None
    assert slates.propensities is not None
    assert slates.propensities[0].tolist()[:2] == [0.5, 0.25]
    assert slates.text == (("because", None, None), (None, None, None))
    assert slates.slate_text == ("Here you are.", None)
    assert slates.usage == ({"prompt_tokens": 12.0, "cost": 0.5}, {})
    for spoilt in (
        {"text": ["one"]},
        {"text": [1, 2]},
        {"said": 7},
        {"usage": {"cost": "much"}},
        {"usage": {"cost": 10**40}},
        {"propensities": [0.5, float("nan")]},
    ):
        told = slates_of({"results": [full | spoilt, full]}, ask([], [0]), Vocabulary(IDS))
        assert told.errors is not None
        assert told.errors[0] is not None
        assert next(iter(spoilt)) in told.errors[0]
        assert told.errors[1] is None
        assert told.items[0].tolist() == [-1, -1, -1]


def test_unknown_capabilities_are_refused() -> None:
    assert capabilities_of({"inputs": ["history"], "max_batch": 3}).max_batch == 3
    for bad in (
        {"inputs": ["mood"]},
        {"outputs": [1]},
        {"speed": 1},
        {"history": "maybe"},
        {"max_batch": 0},
        {"stochastic": 1},
        [],
    ):
        with pytest.raises(WireError):
            capabilities_of(bad)

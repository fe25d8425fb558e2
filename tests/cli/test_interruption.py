"""Ctrl-C in the middle of a simulation: 130, all is kept, the same command goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loopaudit import cli
from loopaudit.recommenders.language.testing import Exchange, scripted_endpoint
from loopaudit.simulation.run import Run

STUDY = """
[study]
steps = 40
worlds = 4
arms = ["random"]
[world]
users = 120
items = 80
topics = 5
[[recommenders]]
name = "ease"
retrain_every = 1
[audit]
sensitivity_worlds = 0
"""


def interrupted(
    command: list[str], folder: Path, started: Path, hanging: threading.Event | None = None
) -> subprocess.Popen[str]:
    """Start a command in its own process group and press Ctrl-C once it has begun to write, or
    once it hangs."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "loopaudit", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (
        (started.is_dir() and any(started.rglob("part-*.parquet")))
        if hanging is None
        else hanging.is_set()
    ):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group
    return process


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_exits_130_and_the_same_command_goes_on(workers: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    out = tmp_path / "run"
    command = ["simulate", "study.toml", "--out", "run", "--workers", workers]
    process = interrupted(command, tmp_path, out / "events")
    told, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in told + said
    assert "Go on with: loopaudit simulate run/study.toml --out run" in said.splitlines()[-1]
    assert cli.main(["audit", str(out)]) == 2  # never read as finished
    again = ["simulate", str(out / "study.toml"), "--out", str(out), "--workers", "1", "--quiet"]
    assert cli.main(again) == 0
    assert Run.open(out).worlds == 4
    assert (out / "plan.json").exists()


TALK = """
[study]
steps = 12
worlds = 1
arms = ["random"]
[world]
users = 12
items = 30
topics = 3
[[users]]
persons = "chat"
[chat]
model = "slow"
mode = "record"
record = "record.jsonl"
base = "{base}"
[[recommenders]]
name = "popularity"
label = "popular"
[audit]
sensitivity_worlds = 0
"""


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_an_endpoint_that_is_slow_to_answer(tmp_path: Path) -> None:
    hanging = threading.Event()

    def script(exchange: Exchange) -> None:
        if exchange.number > 90:  # a part of the event log has been written
            hanging.set()
            time.sleep(20)
        exchange.say('{"take": []}')

    with scripted_endpoint(script) as endpoint:
        (tmp_path / "study.toml").write_text(TALK.format(base=endpoint.base))
        process = interrupted(
            ["simulate", "study.toml", "--out", "run"], tmp_path, tmp_path / "run", hanging
        )
        pressed = time.monotonic()
        told, said = process.communicate(timeout=60)
    assert time.monotonic() - pressed < 10
    assert process.returncode == 130, said
    assert "Traceback" not in told + said
    assert len((tmp_path / "record.jsonl").read_text().splitlines()) > 80

"""Ctrl-C in the middle of a simulation: 130, all is kept, the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopaudit import cli
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


def interrupted(command: list[str], folder: Path, started: Path) -> subprocess.Popen[str]:
    """Start a command in its own process group and press Ctrl-C once it has begun to write."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "loopaudit", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (started.is_dir() and any(started.rglob("part-*.parquet"))):
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

"""Every snippet of docs/bring-your-own.md is run as it stands, in small worlds."""

from __future__ import annotations

import csv
import importlib.util
import re
import runpy
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from loopaudit import cli
from loopaudit.recommenders.plugins.adapters import ADAPTERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
FILES = {
    re.match(r"# (\S+)\n", block)[1]: block  # type: ignore[index]
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
}
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
    for line in block.splitlines()
]
SMALL = ["study.steps=4", "study.worlds=2", "study.arms=['random']", "world.users=40"]
SMALL += ["world.items=60", "audit.sensitivity_worlds=0", "audit.shadows=2"]
QUICK = ("check trending.py", "check mine.py", "check lately.py", 'check "cmd:', "doctor")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page writes, and a log of somebody's own interactions."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    luck = np.random.default_rng(1)
    with (tmp_path / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "time"])
        for at in range(1500):
            user = int(luck.integers(60))
            item = (int(luck.geometric(0.1)) * 3 + user % 3) % 60
            rows.writerow([f"u{user}", f"i{item}", 1_600_000_000 + 60 * at])
    _under_other_names(tmp_path / "interactions.csv", tmp_path / "clicks.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _under_other_names(log: Path, file: Path) -> None:
    """The same log under columns of its own, with an attribute of people beside it."""
    head, *rows = log.read_text(encoding="utf-8").splitlines()
    assert head == "user,item,time"
    named = [f"{row},{'fm'[int(row[1 : row.index(',')]) % 2]}" for row in rows]
    file.write_text("\n".join(["customer,sku,when,sex", *named]) + "\n", encoding="utf-8")


def run(command: str) -> int:
    """The command, in a small world where it lives one."""
    words = shlex.split(command.replace("cmd:python ", f"cmd:{sys.executable} "))
    assert words[0] == "loopaudit"
    if words[1] == "audit":
        small = [s for s in SMALL if "--data" not in words or not s.startswith("world.items")]
        words += [part for one in small for part in ("--set", one)]
        words += ["--workers", "1", "--out", "run"]
    return cli.main(words[1:])


def needed(text: str) -> None:
    """Skip what needs a library that is not here."""
    for adapter in ADAPTERS:
        named = re.search(rf"\b{adapter.package}[.:]", text) is not None
        if named and importlib.util.find_spec(adapter.package) is None:
            pytest.skip(f"needs {adapter.library} ({adapter.install})")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(line, marks=() if line[10:].startswith(QUICK) else pytest.mark.slow)
        for line in COMMANDS
    ],
    ids=lambda line: line[10:60],
)
def test_a_command_of_the_page_does_what_it_says(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needed(command)
    server = None
    if "8000" in command:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        code = (folder / "server.py").read_text(encoding="utf-8").replace("8000", str(port))
        (folder / "server.py").write_text(code, encoding="utf-8")
        command = command.replace("8000", str(port))
        server = subprocess.Popen([sys.executable, "server.py"], stderr=subprocess.DEVNULL)
        _wait_for(port)
    try:
        code = run(command)
    finally:
        if server is not None:
            server.terminate()
            server.wait()
    told = capsys.readouterr()
    assert code in ((0, 1, 4) if " audit " in command else (0,)), told.out + told.err
    if " audit " in command:
        assert "switched off" not in told.out


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server of the page did not begin")


@pytest.mark.slow
def test_the_notebook_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path("notebook.py", run_name="__main__")
    assert "TruncatedSVD" in capsys.readouterr().out


def test_the_test_suite_of_the_page_passes(folder: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_trending.py"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_every_adapted_library_has_a_row() -> None:
    for adapter in ADAPTERS:
        assert re.search(rf"^\| {adapter.library}", PAGE, flags=re.M), adapter.library
        if adapter.extra:
            assert f"loopaudit[{adapter.extra}]" in PAGE


def _library(example: Path) -> str:
    return example.stem.partition("_")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples" / "libraries").glob("*.py")), ids=lambda p: p.stem
)
def test_an_example_of_a_library_runs(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needed(example.read_text(encoding="utf-8") + f" {_library(example)}.")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    told = capsys.readouterr().out
    assert "result" in told
    assert "switched off" not in told

"""Two processes on one run directory, and directories that are read-only, moved, oddly named."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopaudit import cli
from loopaudit.simulation.record import journal
from loopaudit.simulation.record.store import Lock
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate

STUDY_TOML = """
[study]
steps = 30
worlds = 3
arms = ["random"]
[world]
users = 60
items = 80
topics = 5
[[recommenders]]
name = "ease"
[audit]
sensitivity_worlds = 0
families = ["bubbles"]
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `loopaudit ...` in the folder of the test."""
    (tmp_path / "study.toml").write_text(STUDY_TOML)
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "loopaudit", *arguments],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.slow
def test_of_processes_on_one_directory_one_writes_and_the_others_are_told(
    faults: Any,
    started: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("simulate", "study.toml", "--out", "run", "--workers", "1", "--quiet")
    processes = [started(*command) for _ in range(3)]
    told = [process.communicate(timeout=120) for process in processes]
    codes = [process.returncode for process in processes]
    assert codes.count(0) >= 1, told
    assert set(codes) <= {0, 2}, told
    for code, (_, said) in zip(codes, told, strict=True):
        if code == 2:
            (line,) = said.splitlines()
            assert "is being written by another process" in line or "finished run" in line
    monkeypatch.chdir(tmp_path)
    assert cli.main(["simulate", "study.toml", "--out", "alone", "--workers", "1", "--quiet"]) == 0
    run, expected = faults.content(tmp_path / "run"), faults.content(tmp_path / "alone")
    for either in (run, expected):
        del either["plan.json"]  # says when it was declared
    assert run == expected


@pytest.mark.slow
def test_audit_report_and_a_second_simulate_are_told_while_a_run_is_written(
    started: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    first = started("simulate", "study.toml", "--out", "run", "--workers", "1", "--quiet")
    until = time.monotonic() + 60
    while not list(tmp_path.glob("run/events/*/*/*.parquet")):
        assert first.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)
    for command, said in (
        (["audit", "run"], "run is being written by another process; wait for it to end"),
        (["simulate", "study.toml", "--out", "run"], "is being written by another process"),
        (["report", "run"], "run was not audited; run `loopaudit audit run` first"),
        (["compare", "run", "run"], "run was not audited; run `loopaudit audit run` first"),
    ):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    os.kill(first.pid, signal.SIGCONT)
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert cli.main(["audit", "run", "--quiet"]) in (0, 1, 4)


def test_a_report_is_not_written_while_another_process_writes(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    with Lock(root):
        assert cli.main(["audit", str(root), "--quiet"]) == 2
    assert "is being written by another process" in capsys.readouterr().err


def test_a_read_only_run_is_read_and_what_must_write_says_so(
    faults: Any,
    whole: Path,
    small_disk: Callable[[int], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = small_disk(20_000)
    finished = shutil.copytree(whole, disk.path / "finished")
    faults.begun(disk.path / "unfinished")
    disk.read_only()
    assert Run.open(finished).events("ease", 0).collect().height > 0
    for command in (
        ["audit", str(finished)],
        ["simulate", str(finished / "study.toml"), "--out", str(disk.path / "new" / "one")],
        [
            *("simulate", str(disk.path / "unfinished/study.toml")),
            *("--out", str(disk.path / "unfinished")),
        ],
    ):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "nothing can be written to" in line
        assert "Read-only file system" in line
        assert "a copy of it elsewhere" in line


def test_a_directory_below_a_file_or_behind_a_broken_link_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text(STUDY_TOML)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out, said in (
        ("file", "is a file"),
        ("file/run", "Not a directory"),
        ("link", "is a link to"),
    ):
        command = ["simulate", str(tmp_path / "study.toml"), "--out", str(tmp_path / out)]
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("name", ["with spaces", "ünïcödé-日本", "a[b]*?{c}", 'it\'s "quoted"'])
def test_a_run_on_an_odd_path_is_stopped_moved_gone_on_with_and_audited(
    faults: Any,
    whole: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, after = tmp_path / "first place" / "run", tmp_path / name / "run"
    faults.begun(before)
    after.parent.mkdir()
    before.rename(after)
    monkeypatch.chdir(after.parent)
    assert cli.main(["audit", "run"]) == 2
    said = capsys.readouterr().err
    assert "run `loopaudit simulate run/study.toml --out run` to go on" in said
    assert cli.main(["simulate", "run/study.toml", "--out", "run", "--workers", "1"]) == 0
    (after / "plan.json").unlink()
    assert faults.content(after) == faults.content(whole)
    moved = after.rename(tmp_path / name / "again")
    assert Run.open(moved).events("ease", 0).collect().height > 0
    assert cli.main(["audit", str(moved), "--quiet"]) in (0, 1, 4)


def test_the_command_that_goes_on_can_be_pasted(faults: Any, tmp_path: Path) -> None:
    out = tmp_path / "my runs" / "a"
    faults.begun(out)
    said = faults.refused("is unfinished", lambda: Run.open(out))
    assert f"--out '{out}'" in said


def test_clocks_do_not_matter(faults: Any, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    faults.begun(out)
    for number, path in enumerate(sorted(out.rglob("*"))):
        os.utime(path, (number % 2 * 4e9, number % 3 * 2e9))  # 1970 to 2096
    simulate(faults.tiny(), out=out, workers=1)
    assert faults.content(out) == faults.content(whole)
    assert Run.open(out).worlds == 1


def test_a_run_of_yesterday_is_found_when_the_clock_was_set_back(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopaudit.simulation.record.directory import run_directory

    monkeypatch.chdir(tmp_path)
    faults.begun(Path("runs/2099-01-01-study"))
    (tmp_path / "runs/2098-01-01-study").mkdir()
    (tmp_path / "runs/2098-01-01-study/manifest.json").write_text("{")  # somebody else's trouble
    assert run_directory(faults.tiny()) == Path("runs/2099-01-01-study")


def test_a_large_run_is_verified_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(300_000_000)
    tracemalloc.start()
    digest = journal.file_sha256(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest is not None
    assert peak < 5_000_000

"""A disk that fills up: the run says so, keeps what is done, and ends right when there is room."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from loopaudit import cli

STUDY = """
[study]
steps = 24
worlds = 1
arms = ["random"]
[world]
users = 60
items = 80
topics = 5
[[recommenders]]
name = "ease"
[audit]
sensitivity_worlds = 0
"""


def content(root: Path) -> dict[str, bytes]:
    left_out = ("log.txt", "plan.json")  # both say when they were written
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name not in left_out
    }


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def simulate(study: Path, out: Path) -> int:
    return cli.main(["simulate", str(study), "--out", str(out), "--workers", "1", "--quiet"])


@pytest.mark.slow
def test_a_file_that_grows_too_large_breaks_the_run_which_then_goes_on_to_the_same_bytes(
    tmp_path, study
):
    assert simulate(study, tmp_path / "whole") == 0
    whole = content(tmp_path / "whole")
    largest = max(len(data) for data in whole.values()) - 1
    broken = subprocess.run(
        [sys.executable, "-m", "loopaudit", "simulate", str(study), "--out", "full"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert broken.returncode == 3, broken.stderr
    assert "cannot write" in broken.stderr
    assert "Go on with: loopaudit simulate full/study.toml --out full" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert not list((tmp_path / "full").rglob(".*.tmp"))
    assert simulate(study, tmp_path / "full") == 0
    assert content(tmp_path / "full") == whole


def test_a_disk_that_fills_up_breaks_the_run_wherever_it_stands(
    tmp_path, study, small_disk, monkeypatch, capsys
):
    """Too small for the plan, for a world, for a state, for a part of the log, for a checkpoint."""
    assert simulate(study, tmp_path / "whole") == 0
    disk = small_disk(20)
    monkeypatch.setattr(tempfile, "tempdir", str(disk.path))  # no room for a traceback either
    out = disk.path / "run"
    codes: list[int] = []
    stopped_at: set[str] = set()
    for kilobytes in (20, 36, 64, 100, 140, 180, 220, 20_000):
        if codes[-1:] == [0]:
            break
        disk.resize(kilobytes)
        capsys.readouterr()
        codes.append(simulate(study, out))
        if codes[-1]:
            (line,) = capsys.readouterr().err.splitlines()
            assert codes[-1] == 3, line
            assert f"cannot write {out}" in line
            assert "No space left on device" in line
            assert "make room" in line
            assert ("Go on with" in line) == (out / "study.toml").exists()
            stopped_at.add(line.split(":")[1].rpartition("/")[2])
    assert codes[-1] == 0
    assert len(stopped_at) >= 3, stopped_at
    assert content(out) == content(tmp_path / "whole")

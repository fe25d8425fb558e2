"""A disk that fills up: the run says so, keeps what is done, and ends right when there is room."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

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


def simulate(study: Path, out: Path, *, largest_file: int | None = None, temporary: Path):
    """`loopaudit simulate`, in a process of its own."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        [sys.executable, "-m", "loopaudit", "simulate", str(study), "--out", str(out)],
        preexec_fn=limit if largest_file else None,
        capture_output=True,
        text=True,
        cwd=study.parent,
        env={**os.environ, "TMPDIR": str(temporary)},
        check=False,
    )


@pytest.mark.slow
def test_a_file_that_grows_too_large_breaks_the_run_which_then_goes_on_to_the_same_bytes(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY)

    assert simulate(study, tmp_path / "whole", temporary=tmp_path).returncode == 0
    whole = content(tmp_path / "whole")
    largest = max(len(data) for data in whole.values())
    broken = simulate(study, tmp_path / "full", largest_file=largest - 1, temporary=tmp_path)
    assert broken.returncode == 3, broken.stderr
    assert "cannot write" in broken.stderr
    assert "Go on with: loopaudit simulate" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert not list((tmp_path / "full").rglob(".*.tmp"))
    assert simulate(study, tmp_path / "full", temporary=tmp_path).returncode == 0
    assert content(tmp_path / "full") == whole


@pytest.mark.slow
def test_a_disk_that_fills_up_breaks_the_run_wherever_it_stands(tmp_path, small_disk):
    """Too small for the plan, for the manifest, for a world, for a part, for the last files."""
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    assert simulate(study, tmp_path / "whole", temporary=tmp_path).returncode == 0
    whole = content(tmp_path / "whole")
    disk = small_disk(20)
    out = disk.path / "run"
    codes: list[int] = []
    for kilobytes in (20, 36, 64, 100, 140, 180, 220, 20_000):
        if codes[-1:] == [0]:
            break
        disk.resize(kilobytes)
        done = simulate(study, out, temporary=disk.path)  # no room for a traceback either
        codes.append(done.returncode)
        assert "Traceback" not in done.stderr
        if done.returncode:
            (line,) = [s for s in done.stderr.splitlines() if not s.startswith("simulate ")]
            assert done.returncode == 3, line
            assert "No space left on device" in line
            assert str(out) in line
            assert "make room" in line
    assert codes[-1] == 0
    assert codes.count(3) >= 4, codes
    assert content(out) == whole

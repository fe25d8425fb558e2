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


@pytest.mark.slow
def test_a_full_disk_breaks_the_run_which_then_goes_on_to_the_same_bytes(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY)

    def simulate(out: Path, largest_file: int | None = None):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        return subprocess.run(
            [sys.executable, "-m", "loopaudit", "simulate", str(study), "--out", str(out)],
            preexec_fn=limit if largest_file else None,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            check=False,
        )

    assert simulate(tmp_path / "whole").returncode == 0
    whole = content(tmp_path / "whole")
    largest = max(len(data) for data in whole.values())
    broken = simulate(tmp_path / "full", largest - 1)
    assert broken.returncode == 3, broken.stderr
    assert "cannot write" in broken.stderr
    assert "Go on with: loopaudit simulate" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert not list((tmp_path / "full").rglob(".*.tmp"))
    assert simulate(tmp_path / "full").returncode == 0
    assert content(tmp_path / "full") == whole

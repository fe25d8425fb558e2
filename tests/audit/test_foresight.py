"""What a user is told before a run whose people come too rarely to be judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from loopaudit import cli
from loopaudit.audit.bubbles.foresight import too_few_clicks
from loopaudit.simulation.study import Study


def log_of(folder: Path, counts: list[int]) -> Path:
    """A CSV whose n-th person has so many interactions, each with another item."""
    rows = [f"p{u},i{i},{i}" for u, n in enumerate(counts) for i in range(n)]
    path = folder / f"log-{len(counts)}-{max(counts)}.csv"
    path.write_text("\n".join(["user,item,time", *rows]) + "\n")
    return path


def study_of(path: Path, *, steps: int, users: int, **tables: Any) -> Study:
    world = {"kind": "dataset", "dataset": str(path), "users": users}
    return Study.model_validate({"study": {"steps": steps}, "world": world, **tables})


def test_people_who_always_come_are_counted_by_the_binomial_law(tmp_path: Path) -> None:
    path = log_of(tmp_path, [12] * 60)
    share = (1 - binom.cdf(2, 4, 0.6)) ** 2  # 12 steps: windows of 4
    assert 20 / share == pytest.approx(88.5, abs=0.1)  # more people than the log has
    told = too_few_clicks(study_of(path, steps=12, users=60))
    assert f"in 100 % of steps: about {60 * share:.0f} of 60 a world" in told
    assert "--set study.steps=22 would do" in told  # windows of 7; those of 5 give 28, not 30
    assert too_few_clicks(study_of(path, steps=17, users=60)) == ""


def test_people_who_come_rarely_need_more_steps(tmp_path: Path) -> None:
    path = log_of(tmp_path, [100] * 3 + [10] * 57)
    assert "--set study.steps=" in too_few_clicks(study_of(path, steps=40, users=60))
    few = too_few_clicks(study_of(path, steps=40, users=5))
    assert "a larger [world] users would do" in few  # twenty of five will never click
    for quiet in ({"audit": {"families": ["privacy"]}}, {"staying": {}}):
        assert too_few_clicks(study_of(path, steps=40, users=60, **quiet)) == ""
    assert too_few_clicks(Study()) == ""


def test_the_command_line_says_it_before_it_simulates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log_of(tmp_path, [30] * 5 + [6] * 40)
    study = tmp_path / "study.toml"
    study.write_text(
        f'[study]\nsteps = 7\nworlds = 1\narms = ["random"]\n[world]\nkind = "dataset"\n'
        f'dataset = "{path}"\nusers = 40\n[[recommenders]]\nname = "popularity"\n'
    )
    command = ["simulate", str(study), "--out", str(tmp_path / "run"), "--workers", "1"]
    assert cli.main(command) == 0, capsys.readouterr().err
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("mind      people of ")
    assert "study.steps=" in first
    assert not any(line.startswith("mind") for line in rest)
    assert cli.main(command) == 2  # it is there already: too late to mind
    assert "mind" not in capsys.readouterr().out

"""A user's way through the command line: from init to a comparison, and every exit code earned."""

import json
import tomllib
from pathlib import Path

import pytest

from loopaudit import cli

SMALL = [
    "study.steps=8",
    "study.worlds=3",
    "world.users=60",
    "world.items=80",
    "world.topics=5",
    "audit.sensitivity_worlds=2",
    "audit.user_models=['curious']",
    "audit.shadows=2",
]


def small(*more: str) -> list[str]:
    """``--set`` options for a study of a second or two."""
    return [part for override in (*SMALL, *more) for part in ("--set", override)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_from_init_to_a_comparison(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init"]) == 0
    assert cli.main(["simulate", "study.toml", "--out", "a", "--workers", "1", *small()]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == ("result    simulated 3 worlds x 5 arms x 8 steps (exit 0)")
    written = tomllib.loads((here / "a/study.toml").read_text())
    assert written["world"]["users"] == 60
    assert json.loads((here / "a/plan.json").read_text())["declared_when"] == "before the run"
    assert cli.main(["simulate", "study.toml", "--out", "a", *small()]) == 2  # finished
    assert "already holds a finished run" in capsys.readouterr().err

    code = cli.main(["audit", "a"])
    assert code in (0, 1, 4)
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"(exit {code})" in last
    for name in ("report.html", "audit.json", "summary.md", "junit.xml"):
        assert (here / "a" / name).stat().st_size > 0

    page = (here / "a/report.html").read_text()
    (here / "a/report.html").unlink()
    assert cli.main(["report", "a", "--quiet"]) == code
    assert (here / "a/report.html").read_text() == page
    assert len(capsys.readouterr().out.splitlines()) == 1

    later = small("study.seed=8", "recommenders.0.args.reg=5.0")
    assert cli.main(["audit", "study.toml", "--out", "b", "--workers", "1", "--quiet", *later]) in (
        0,
        1,
        4,
    )
    capsys.readouterr()
    code = cli.main(["compare", "a", "b", "--json"])
    told = capsys.readouterr()
    held = json.loads(told.out)
    assert held["exit_code"] == code == held["comparison"]["exit_code"]
    assert any("ease/" in change["key"] for change in held["comparison"]["changes"])
    # of a finished run only the questions can be changed, and nothing is ignored in silence
    assert cli.main(["audit", "a", "--set", "study.steps=3"]) == 2
    assert "only [audit] can be set" in capsys.readouterr().err
    assert cli.main(["audit", "a", "--column", "user=u"]) == 2
    assert "a run has its own" in capsys.readouterr().err


def test_a_planted_harm_exits_1_and_a_clean_recommender_does_not(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_bias = small("audit.families=['bias']", "study.arms=['random']", "world.users=100")
    (here / "harm.toml").write_text(
        '[[recommenders]]\nname = "loopaudit.audit.planted:GenderDegrader"\nargs = { eps = 0.5 }\n'
    )
    assert cli.main(["audit", "harm.toml", "--workers", "1", "--json", *only_bias]) == 1
    told = capsys.readouterr()
    held = json.loads(told.out)
    assert held["exit_code"] == 1
    assert held["verdicts"]["VIOLATION"] >= 1
    assert Path(held["report"]).is_file()
    assert "VIOLATION" in told.err  # the table is for people, beside the object
    clean = ["audit", "random", "--workers", "1", "--quiet", *only_bias]
    assert cli.main(clean) in (0, 4)
    assert "(exit " in capsys.readouterr().out
    inconclusive_is_fine = ["--set", "audit.allow_inconclusive=true", "--out", "again"]
    assert cli.main([*clean, *inconclusive_is_fine]) == 0


@pytest.mark.slow
def test_ones_own_file_is_audited_by_its_path(here: Path) -> None:
    (here / "mine.py").write_text("def same(history, k):\n    return list(range(k))\n")
    bubbles = small("audit.families=['bubbles']", "study.arms=['random']")
    assert cli.main(["audit", "mine.py:same", "--quiet", *bubbles]) in (0, 1, 4)
    (run,) = (here / "runs").iterdir()
    assert (run / "report.html").is_file()


def test_a_recommender_that_raises_is_reported_and_kills_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.py").write_text(
        "def broken(history, k):\n    raise RuntimeError('out of ideas')\n"
    )
    bubbles = small("audit.families=['bubbles']", "study.arms=['random']", "study.worlds=2")
    code = cli.main(["audit", "bad.py:broken", "--out", "r", "--workers", "1", *bubbles])
    assert code in (0, 1, 4)
    assert "out of ideas" in (here / "r/report.html").read_text()
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_runs_small(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = small("recommenders.1.args.epochs=1", "recommenders.2.args.epochs=1")
    code = cli.main(["demo", "--out", "demo", "--workers", "1", *quick])
    assert code in (0, 1, 4)
    told = capsys.readouterr().out
    for name in ("ease", "multvae", "sasrec"):
        assert name in told
    assert (here / "demo/report.html").is_file()


def test_a_setting_changed_after_the_run_is_a_deviation(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = small("study.worlds=2", "study.steps=4", "audit.families=['bubbles']")
    study = [*tiny, "--set", "study.arms=['random']", "--set", "audit.sensitivity_worlds=0"]
    (here / "s.toml").write_text('[[recommenders]]\nname = "popularity"\n')
    assert cli.main(["simulate", "s.toml", "--out", "r", "--workers", "1", *study]) == 0
    cli.main(["audit", "r", "--set", "audit.tau={'bubbles.slate-narrowing' = 9.0}"])
    capsys.readouterr()
    deviations = json.loads((here / "r/audit.json").read_text())["plan"]["deviations"]
    assert any("tau was planned as" in said for said in deviations)


def test_an_unfinished_directory_is_found_again_without_being_named(here: Path) -> None:
    from loopaudit.simulation.record.directory import run_directory
    from loopaudit.simulation.record.manifest import write_manifest
    from loopaudit.simulation.record.store import DiskStore
    from loopaudit.simulation.study import Study

    study, other = Study(), Study.model_validate({"world": {"users": 5}})
    first = run_directory(study)
    assert first.parent.name == "runs"
    first.mkdir(parents=True)
    held = {"study": study.model_dump(mode="json"), "finished": False}
    write_manifest(DiskStore(first), held)
    assert run_directory(study) == first
    assert run_directory(other) != first
    write_manifest(DiskStore(first), {**held, "finished": True})
    assert run_directory(study).name == f"{first.name}-2"

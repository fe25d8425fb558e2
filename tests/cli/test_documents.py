"""What README and the examples say is run as it stands."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from loopaudit import cli
from loopaudit.simulation.run import Run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)
QUICK_START = next(block for block in BLOCKS if block.startswith("import loopaudit as la"))
OWN = next(block for block in BLOCKS if block.startswith("# mine.py"))


@pytest.mark.slow
def test_the_quick_start_runs_in_fourteen_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(QUICK_START.splitlines()) <= 14
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(QUICK_START, names)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "bubbles.slate-narrowing" in capsys.readouterr().out


def test_ones_own_recommender_takes_ten_lines_and_can_be_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = [line for line in OWN.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    sizes = ["study.steps=4", "study.worlds=2", "world.users=40", "world.items=60"]
    quick = [*sizes, "study.arms=['random']", "audit.sensitivity_worlds=0", "audit.shadows=2"]
    options = [part for one in quick for part in ("--set", one)]
    assert cli.main(["audit", "mine.py:Trending", "--workers", "1", *options]) in (0, 1, 4)


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_an_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")


@pytest.mark.slow
def test_the_example_of_json_lines_keeps_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    child = ROOT / "examples" / "json_lines" / "child.py"
    assert cli.main(["check", f"cmd:{sys.executable} {child}", "--set", "memory_mb=2000"]) == 0
    assert "15 passed" in capsys.readouterr().out


def test_readme_names_every_exit_code_and_every_command() -> None:
    from loopaudit.reports.console import EXIT_CODES

    for code in EXIT_CODES:
        assert f"| {code} |" in README
    for command in ("demo", "init", "simulate", "audit", "report", "compare", "list", "selftest"):
        assert re.search(rf"\b{command}\b", README)


def test_both_set_up_commands_stand_on_the_first_screen() -> None:
    first = "\n".join(README.splitlines()[:25])
    for command in ("make demo", "make test", "pip install .", "loopaudit demo"):
        assert command in first


TALK = ROOT / "examples" / "people_who_talk"


def test_the_people_who_talk_are_replayed_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(TALK, tmp_path / "talk")
    monkeypatch.chdir(tmp_path / "talk")
    assert cli.main(["simulate", "study.toml", "--out", "run", "--workers", "1"]) == 0, (
        "the example's record is out of date: python examples/people_who_talk/run.py --record"
    )
    told = Run.open("run").people("popular")
    assert told["faults"]["requests"] > told["faults"]["unanswered"] > 0
    assert set(told["faults"]["counts"]) == {"not_json", "truncated"}

    record = tmp_path / "talk" / "record.jsonl"
    record.write_bytes(b"".join(record.read_bytes().splitlines(keepends=True)[:20]))
    assert cli.main(["simulate", "study.toml", "--out", "again", "--workers", "2"]) == 2
    assert "record.jsonl lacks" in capsys.readouterr().err


def test_the_example_of_people_who_talk_says_that_no_model_wrote_its_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (TALK / "record.jsonl").open(encoding="utf-8") as file:
        assert "not of a language model" in json.loads(file.readline())["about"]
    runpy.run_path(str(TALK / "run.py"), run_name="__main__")
    assert "not usable: {" in capsys.readouterr().out

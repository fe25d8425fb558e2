"""The command line before anything runs: help, light imports, names, mistakes, exit codes."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from loopaudit import cli
from loopaudit.recommenders.errors import UserError
from loopaudit.reports.console import EXIT_CODES, Broke, Console, Interrupted

COMMANDS = (
    "demo",
    "init",
    "simulate",
    "audit",
    "report",
    "compare",
    "list",
    "selftest",
    "evaluate",
    "check",
    "study",
    "doctor",
)
HEAVY = (
    "torch",
    "mesa",
    "numba",
    "fairlearn",
    "matplotlib",
    "polars",
    "numpy",
    "pydantic",
    "rich",
    "scipy",
)


def cpu_seconds(*arguments: str) -> float:
    """CPU time of a Python process that ran the arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_costs_less_than_a_third_of_a_second_of_cpu() -> None:
    nothing = min(cpu_seconds("-P", "-c", "pass") for _ in range(3))
    helped = min(cpu_seconds("-P", "-m", "loopaudit", "--help") for _ in range(3))
    assert helped - nothing < 0.3


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = [m for m in HEAVY if m != "pydantic" or len(arguments) == 1]  # typer reads options so
    code = (
        f"import sys; from loopaudit.cli import main; main({arguments!r});"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, loopaudit; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_listing_imports_neither_torch_nor_mesa() -> None:
    code = (
        "import sys; from loopaudit.cli import main; main(['list', '--quiet']);"
        "print([m for m in ('torch', 'mesa', 'fairlearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("loopaudit 0.")


def test_help_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for command in COMMANDS:
        assert f" {command} " in told
    for code, means in EXIT_CODES.items():
        assert f"{code} {means}" in told
    assert "..." not in told.replace("[ARGS]...", "")  # no summary is cut off


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        assert cli.main([command, "--help"]) == 0
        told = capsys.readouterr().out
        assert "--json" in told
        usage = told.split("\n\n")[0]
        assert "[[" not in usage
        assert "...}" not in usage


def test_a_folder_of_its_name_does_not_hide_a_recommender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pages").mkdir()
    assert cli.main(["audit", "pages", "--set", "recommenders.0.args.epoch=1"]) == 2
    assert "Did you mean epochs" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    assert cli.main(["audit", "other"]) == 2
    assert "other is not a run directory" in capsys.readouterr().err


def test_no_command_shows_help_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_list_names_what_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    told = capsys.readouterr().out
    for name in ("ease", "multvae", "sasrec", "filter-bubble", "habitual", "ml-100k"):
        assert name in told
    assert cli.main(["list", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert "popularity" in {row["name"] for row in held["recommenders"]}
    libraries = {row["name"]: row["origin"] for row in held["libraries"]}
    assert libraries["implicit.als:AlternatingLeastSquares"].startswith("implicit")


def test_doctor_finds_this_installation_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["problems"] == []
    assert held["facts"]["torch"]
    assert "LensKit" in held["facts"]["adapters"]


def test_init_writes_a_study_that_is_read_back_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from loopaudit.simulation.study_file import read_study

    file = tmp_path / "study.toml"
    assert cli.main(["init", str(file)]) == 0
    written = file.read_text()
    assert read_study(file).recommenders
    assert cli.main(["init", str(file)]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert file.read_text() == written


MISTAKES = {
    "no such command": (["simulat"], "Did you mean"),
    "no such option": (["audit", "ease", "--sett", "a=1"], "--sett"),
    "missing file": (["simulate", "nowhere.toml"], "no such study file: nowhere.toml"),
    "bad TOML": (["simulate", "bad.toml"], "bad.toml is not valid TOML"),
    "unknown key": (["simulate", "key.toml"], "Did you mean steps"),
    "zero users": (["simulate", "zero.toml"], "at least 1, got 0 (zero.toml, [world] users)"),
    "negative steps": (["audit", "ease", "--set", "study.steps=-1"], "(--set study.steps)"),
    "bad override": (["audit", "ease", "--set", "study.steps"], "--set wants table.key=value"),
    "unknown recommender": (["audit", "multvea"], "Did you mean multvae"),
    "unknown recommender in a study": (["simulate", "who.toml"], "Did you mean ease"),
    "no recommender": (["simulate", "empty.toml"], "names no recommender"),
    "missing data": (["audit", "ease", "--data", "absent.csv"], "absent.csv"),
    "a CSV without the column": (["audit", "ease", "--data", "odd.csv"], "odd.csv"),
    "unknown dataset": (["audit", "ease", "--data", "ml-100"], "ml-100k"),
    "a folder that is no run": (["audit", "folder"], "not a run directory"),
    "a folder with something else in it": (
        ["audit", "ease", "--out", "taken"],
        "taken is not empty and is no run directory (it holds thesis.txt)",
    ),
    "a file for a folder": (["audit", "ease", "--out", "odd.csv"], "odd.csv is a file"),
    "data for a run": (["audit", "folder", "--data", "ml-100k"], "--data"),
    "no such run": (["report", "nowhere"], "nowhere"),
    "an unknown kind of name": (["list", "recomenders"], "Did you mean recommenders"),
    "a negative number of workers": (["audit", "ease", "--workers", "-1"], "--workers"),
    "unknown module": (["audit", "no_such_package:Model"], "no_such_package"),
    "unknown file": (["audit", "nowhere/mine.py:Model"], "nowhere/mine.py"),
    "unknown auditor": (["audit", "ease", "--set", 'audit.auditors=["nope"]'], "nope"),
    "unknown split": (["evaluate", "ease", "--split", "sideways"], "sideways"),
    "nothing named": (["audit", ""], "nothing was named; audit takes a run directory"),
    "a file that is no study": (["audit", "odd.csv"], "odd.csv is a file; audit takes a run"),
    "a run directory mistyped": (["audit", "runs/none"], "there is no directory runs/none"),
    "a folder for a study": (["simulate", "folder"], "cannot read folder: Is a directory"),
    "bytes for a study": (["simulate", "bytes.toml"], "it is not UTF-8 text; name a study file"),
    "a report of no run": (["report", "folder"], "folder is not a run directory"),
    "a report of a file": (["report", "odd.csv"], "odd.csv is a file; name the run directory"),
    "a very long name": (
        ["audit", "ease", "--set", f"study.name={'x' * 200}"],
        "name must have at most 120 characters, got 200 (--set study.name)",
    ),
    "init where there is no folder": (["init", "none/study.toml"], "in a folder that exists"),
    "an unknown executor": (["audit", "ease", "--executor", "threads"], "unknown executor"),
    "a threshold nobody asks for": (
        ["audit", "ease", "--set", "audit.tau.nope=0.1"],
        "nope",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line_exit_2_and_leaves_nothing_behind(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad.toml").write_text("[study\nsteps = 3")
    (tmp_path / "key.toml").write_text("[study]\nstep = 3")
    (tmp_path / "zero.toml").write_text("[world]\nusers = 0")
    (tmp_path / "who.toml").write_text('[[recommenders]]\nname = "eaze"')
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "odd.csv").write_text("person,thing\n1,2\n")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("(exit 2)")
    assert said in line
    assert "Traceback" not in told.out + told.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["simulate", "nowhere.toml"], ["audit", "multvea"]])
def test_a_mistake_in_a_real_shell_shows_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "loopaudit", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_mistake_with_json_is_still_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", "nowhere.toml", "--json"]) == 2
    held = json.loads(capsys.readouterr().out)
    assert held["exit_code"] == 2
    assert "nowhere.toml" in held["error"]


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (ValueError("a bug"), 3, "ValueError: a bug"),
        (Broke("it broke"), 3, "it broke"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Interrupted("go on with: x"), 130, "go on with: x"),
        (UserError("yours"), 2, "yours"),
    ],
)
def test_whatever_is_raised_ends_in_one_line_and_its_exit_code(
    raised: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("loopaudit.reports.doctor.examine", fails)
    assert cli.main(["doctor"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert "Traceback" not in line
    assert line.endswith(f"(exit {code})")


def test_an_unexpected_failure_leaves_its_traceback_in_the_run_directory(tmp_path: Path) -> None:
    console = Console("simulate")
    with pytest.raises(Broke, match=r"ValueError: a bug; the traceback is in .*log\.txt"):  # noqa: SIM117
        with console.keeping(tmp_path, again="loopaudit simulate x"):
            raise ValueError("a bug")
    assert "ValueError: a bug" in (tmp_path / "log.txt").read_text()


def test_progress_without_a_terminal_is_plain_lines_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopaudit.reports.console._Lines.every_seconds", 0.0)
    with Console("simulate").progress("simulate") as bar:
        bar(1, 4, "world 1")
    told = capsys.readouterr()
    assert told.out == ""
    assert "25 %" in told.err
    assert "left" in told.err


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -P -m loopaudit list | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.stderr == ""


def test_a_process_or_service_that_does_not_get_ready_is_told_before_anything_is_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    child = f"cmd:{sys.executable} -c \"import sys; sys.exit('no \\x1b[31mweights')\""
    assert cli.main(["audit", child, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert (
        "does not get ready: the process ended with status 1; its last words: no ?[31mweights"
        in (told)
    )
    assert cli.main(["audit", "http://127.0.0.1:9/", "--out", str(out)]) == 2
    assert "does not get ready: no connection to http://127.0.0.1:9/cap" in capsys.readouterr().err
    assert not out.exists()

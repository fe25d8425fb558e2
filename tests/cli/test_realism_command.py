"""``loopaudit realism``: the user's path, from a file to a table, a page and an exit code."""

import json
from pathlib import Path

import numpy as np
import pytest

from loopaudit.cli import main


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A hundred shoppers with times, under column names of their own."""
    rng = np.random.default_rng(0)
    path = tmp_path / "shop.csv"
    lines = ["customer,sku,when,what"]
    for time in range(2500):
        person = rng.integers(0, 100)
        sku = (rng.zipf(1.3) + 3 * (person % 4)) % 40
        lines.append(f"{person},{sku},{time},kind {sku % 4}")
    path.write_text("\n".join(lines) + "\n")
    return path


MAP = ["--column", "user=customer", "--column", "item=sku", "--column", "time=when"]


def test_a_file_is_compared_and_the_report_written(log: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "found"
    arguments = ["realism", str(log), *MAP, "--column", "topics=what", "--out", str(out)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert f"report    {out / 'realism.html'}" in said
    assert "at the floor (exit 0)" in said
    assert "Fitted to the first 80% of time" in said
    held = json.loads((out / "realism.json").read_text())
    assert held["command"].startswith("loopaudit realism ")
    assert len(held["rows"]) == 10
    assert all(row["unfitted"] is not None for row in held["rows"])
    page = (out / "realism.html").read_text()
    assert "http" not in page.split("</style>")[1]
    differ = sum(row["within"] is False for row in held["rows"])
    headline = page.split('<p class="headline">')[1].split("</p>")
    assert headline[0].startswith("Simulated people ")
    assert (f"{differ} differ" in headline[1]) == (differ > 0)
    assert f"{10 - differ} of 10 properties are as close" in headline[1]
    assert (out / "realism.md").read_text().count("|") > 50
    first = (out / "realism.json").read_bytes()
    assert main(arguments) == 0  # an earlier report is replaced, by the same figures
    assert json.loads(first)["rows"] == json.loads((out / "realism.json").read_text())["rows"]


def test_json_is_one_object_and_quiet_one_line(log: Path, tmp_path: Path, capsys) -> None:
    out = ["--out", str(tmp_path / "found"), "--no-unfitted"]
    assert main(["realism", str(log), *MAP, *out, "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["exit_code"] == 0
    assert held["realism"]["rows"][0]["unfitted"] is None
    assert main(["realism", str(log), *MAP, *out, "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv"], "there is no file nowhere.csv"),
        (["ml-100"], "ml-100k"),
        (["{log}", "--column", "user=who"], "no column 'who'"),
        (["{log}", "--column", "user"], "ROLE=COLUMN"),
        (["{log}", *MAP, "--column", "position=when", "--column", "colour=sku"], "colour"),
        (["{log}", *MAP, "--set", "study.steps=9"], "[world] and [people] only"),
        (["{log}", *MAP, "--set", 'world.learn=["luck"]'], "luck"),
        (["{log}", *MAP, "--out", "{log}"], "is a file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    log: Path, arguments: list[str], said: str, capsys, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["realism", *[one.replace("{log}", str(log)) for one in arguments]]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_a_folder_of_something_else_is_not_written_into(log: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert main(["realism", str(log), *MAP, "--out", str(tmp_path / "mine")]) == 2
    assert "holds something else" in capsys.readouterr().err


def test_hostile_names_are_escaped(log: Path, tmp_path: Path, capsys) -> None:
    text = log.read_text().replace("kind 1", "<script>alert(1)</script>")
    path = log.with_name("<b>|shop.csv")
    path.write_text(text)
    out = tmp_path / "found"
    asked = [*MAP, "--column", "topics=what", "--out", str(out), "--no-unfitted"]
    assert main(["realism", str(path), *asked]) == 0
    page = (out / "realism.html").read_text()
    assert "<b>|shop" not in page
    assert "&lt;b&gt;" in page


def test_a_log_of_a_handful_of_people_says_what_is_missing(tmp_path: Path, capsys) -> None:
    path = tmp_path / "few.csv"
    path.write_text("user,item,time\n" + "".join(f"{u},{i},{i}\n" for u in "ab" for i in range(9)))
    assert main(["realism", str(path)]) == 2
    assert "at least 20 are needed" in capsys.readouterr().err

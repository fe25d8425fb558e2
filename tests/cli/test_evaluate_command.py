"""``loopaudit evaluate``: the table, the baselines beside it, arguments by recommender."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loopaudit import cli


def test_baselines_stand_beside_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "itemknn", "--split", "leave-last-out", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    names = [row["recommender"] for row in held["evaluations"]]
    assert names == ["itemknn", "random", "popularity", "markov", "ease"]


def test_arguments_are_set_by_recommender(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "ease", "--set", "ease.reg=1.0", "--json"]) == 0
    loose = json.loads(capsys.readouterr().out)["evaluations"][0]["ndcg@10"]
    assert cli.main(["evaluate", "ease", "--set", "ease.reg=1000.0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evaluations"][0]["ndcg@10"] != loose
    for wrong in ("reg=1", "ease.rag=1", "multvae.epochs=1"):
        assert cli.main(["evaluate", "ease", "--set", wrong]) == 2


def test_who_left_people_without_a_list_is_told_beside_the_zeros(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "a_recommender_with_a_long_name.py"
    mine.write_text(
        "def near(history, k, seed=0):\n"
        "    if len(history) % 2:\n"
        "        raise ValueError('odd histories \\x1b[31mare not served')\n"
        "    return list(range(100))\n"
    )
    assert cli.main(["evaluate", f"{mine}:near", "ease"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "unanswered; it raised an error (" in told
    assert "ValueError: odd histories ?[31mare not served" in told
    assert "faults ease" not in told
    assert "people served a CPU second: " in told
    assert cli.main(["evaluate", f"{mine}:near", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["evaluations"][:2]
    assert first["unanswered"] > 20
    assert second["unanswered"] == 0


def test_a_fixed_split_gives_the_golden_number(
    real_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = real_data("derived/ml100k_rnd.npz")
    assert cli.main(["evaluate", "ease", "--data", str(file)]) == 0
    told = capsys.readouterr().out
    assert "0.3407" in told
    assert told.splitlines()[-1] == (
        "result    ease has the highest NDCG@10 on ml100k_rnd.npz: 0.3407 (exit 0)"
    )


def test_a_fit_that_is_kept_is_not_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["evaluate", "sasrec", "--set", "sasrec.epochs=1", "--keep", str(tmp_path / "fits")]
    call += ["--split", "leave-last-out", "--json"]

    def measured(*more: str) -> dict[str, float]:
        assert cli.main([*call, *more]) == 0
        row: dict[str, float] = json.loads(capsys.readouterr().out)["evaluations"][0]
        return row

    first = measured()
    files = sorted((tmp_path / "fits").iterdir())
    again = measured()
    assert again["ndcg@10"] == first["ndcg@10"]
    assert again["fit_seconds"] == first["fit_seconds"]  # of the one fit there was
    assert measured("--validation")["fit_seconds"] == first["fit_seconds"]
    assert sorted((tmp_path / "fits").iterdir()) == files
    assert measured("--seed", "1")["fit_seconds"] != first["fit_seconds"]
    assert measured("--set", "sasrec.dropout=0.3")["fit_seconds"] != first["fit_seconds"]
    of_sasrec = [file for file in files if file.name.startswith("sasrec-")]
    of_sasrec[0].write_bytes(b"not an archive")
    assert cli.main(call) == 2
    assert "delete it and it is fitted anew" in capsys.readouterr().err


def test_seeds_give_deviations_paired_differences_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "new" / "seeds.png"
    words = ["evaluate", "multdae", "itemknn", "--set", "multdae.epochs=1", "--seeds", "3"]
    assert cli.main([*words, "--plot", str(plot), "--json"]) == 0
    told = capsys.readouterr()
    held = json.loads(told.out)
    assert str(plot) in told.err
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert [(row["recommender"], row["seed"]) for row in held["evaluations"][:4]] == [
        ("multdae", 0),
        ("multdae", 1),
        ("multdae", 2),
        ("itemknn", 0),
    ]
    summary = {row["recommender"]: row for row in held["summary"]}
    assert summary["multdae"]["ndcg@10 sd"] > 0
    assert summary["itemknn"]["ndcg@10 sd"] == 0
    assert summary["ease"]["seeds"] == 1
    (pair,) = held["differences"]
    assert pair["first"] == "itemknn"  # one epoch is not enough
    assert pair["low"] < pair["mean"] < pair["high"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--plot", "x.png"], "add --seeds 10"),
        (["--seeds", "2", "--plot", "x.txt"], "--plot writes .png"),
        (["--seeds", "0"], "--seeds must be at least 1"),
    ],
)
def test_a_plot_that_cannot_be_is_refused_before_anything_is_trained(
    more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", "itemknn", *more]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_fit_that_is_killed_goes_on_when_the_same_command_is_given_again(tmp_path: Path) -> None:
    call = [sys.executable, "-P", "-m", "loopaudit", "evaluate", "multdae", "--json"]
    call += ["--set", "multdae.epochs=100", "--set", "multdae.latent_size=8", "--keep"]
    process = subprocess.Popen([*call, str(tmp_path / "killed")], stdout=subprocess.PIPE)
    under_way = tmp_path / "killed"
    deadline = time.monotonic() + 120
    while not list(under_way.glob("multdae-*.unfinished.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    (part,) = under_way.glob("multdae-*.npz")  # and no whole fit
    with np.load(part) as arrays:
        assert 0 < arrays["epochs"][0] < 100

    def measured(folder: str) -> tuple[dict[str, object], dict[str, bytes]]:
        done = subprocess.run(
            [*call, str(tmp_path / folder)], capture_output=True, text=True, check=True
        )
        row = json.loads(done.stdout)["evaluations"][0]
        (file,) = (tmp_path / folder).glob("multdae-*.npz")
        with np.load(file) as arrays:
            held = {n: arrays[n].tobytes() for n in arrays.files if n != "kept/fit_seconds"}
        return {n: v for n, v in row.items() if "second" not in n}, held

    assert measured("killed") == measured("whole")

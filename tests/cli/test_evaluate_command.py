"""``loopaudit evaluate``: the table, the baselines beside it, arguments by recommender."""

import json
from collections.abc import Callable
from pathlib import Path

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

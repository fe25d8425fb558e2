"""A study with a society that comes and goes, from the study file to the report."""

from pathlib import Path

import polars as pl
import pytest

from loopaudit import cli
from loopaudit.simulation.run import Run

STUDY = """
[study]
name = "friends"
steps = 10
worlds = 3

[world]
users = 80
items = 90
topics = 5

[society]
graph = { form = "communities", groups = 3, friends = 8.0 }
influence = "hegselmann-krause"
exposure = "bounded"
share = 0.3
friend_slots = 2

[staying]
arrive = 0.25
arrive_rate = 0.1
leave = 0.03
burst = 0.3

[[recommenders]]
name = "ease"
retrain_every = 3

[[recommenders]]
name = "multvae"
args = { epochs = 2 }

[audit]
sensitivity_worlds = 2
user_models = ["curious"]
shadows = 2
"""


@pytest.mark.slow
def test_a_study_with_both_tables_is_audited(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    code = cli.main(["audit", "study.toml", "--out", "run", "--workers", "1"])
    assert code in (0, 1, 4), capsys.readouterr().err
    assert "[society]" in (tmp_path / "run/report.html").read_text()
    run = Run.open(tmp_path / "run")
    for target in run.targets:
        log = run.events(target, 0).collect()
        assert (log["shown_by"] == "friends").sum() > 20
        series = run.series(target, 0)
        for name in ("opinion_polarisation", "shares", "misinformed", "present", "satisfaction"):
            assert series[name].is_finite().all(), name
        assert series["arrived"].sum() > 0
        assert log.join(
            run.outcomes(target, 0).filter(pl.col("clicks").is_null()), on="user"
        ).is_empty()


def said(capsys, *command: str) -> str:
    assert cli.main([*command]) == 2
    return capsys.readouterr().err


def test_what_is_wrong_is_said_by_name_before_anything_is_lived(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)

    def told(*overrides: str) -> str:
        sets = [part for one in overrides for part in ("--set", one)]
        return said(capsys, "simulate", "study.toml", "--out", "run", *sets)

    assert "unknown form 'comunities'. Did you mean communities?" in told(
        "society.graph={ form = 'comunities' }"
    )
    assert "no such file: friends.csv ([society] graph.path)" in told(
        "society.graph={ form = 'file', path = 'friends.csv' }"
    )
    assert "friends must be even" in told("society.graph={ form = 'small-world', friends = 5 }")
    assert "leave must be below 1.0, got 1 (--set staying.leave)" in told("staying.leave=1")
    assert not (tmp_path / "run").exists()
    (tmp_path / "log.csv").write_text(
        "user,item\n" + "".join(f"u{u},i{(u * 7 + k) % 30}\n" for u in range(20) for k in range(9))
    )
    world = "world={ kind = 'dataset', dataset = 'log.csv', users = 20 }"
    assert (
        "[society] reads traits of items: this catalog has no stance and no veracity; set "
        "exposure = 'none' and opinions = 'uniform' and false_below = 0" in told(world)
    )

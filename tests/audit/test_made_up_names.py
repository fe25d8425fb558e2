"""Made-up names: the share is of what was named, by world, and no guard hides it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import loopaudit as la
from loopaudit import cli
from loopaudit.audit.finding import Verdict
from loopaudit.audit.generation.made_up_names import MadeUpNames
from loopaudit.simulation.record import said
from loopaudit.simulation.study import AuditSection

LEVEL, GROWTH = "generation.made-up-names", "generation.made-up-growth"


class Counted:
    """Evidence of two arms in worlds of four steps, in which so many of ten names are made up."""

    settings, target = AuditSection(), "target"

    def __init__(self, made_up: dict[str, list[list[int]]], *, said_to: int = 9) -> None:
        self.made_up, self.run = made_up, self
        self.worlds, self.steps = len(next(iter(made_up.values()))), 4
        self.study = SimpleNamespace(study=SimpleNamespace(said_to=said_to))
        self.closed = True

    def arm(self, kind: str) -> str | None:
        return kind if kind in self.made_up else None

    def create(self, target: str) -> Any:
        return SimpleNamespace(capabilities=SimpleNamespace(closed_catalog=self.closed))

    def said_counts(self, arm: str, world: int) -> pl.DataFrame:
        rows = [
            (step, 1, 10, n, int(n > 0), 0, 0, 0)
            for step, n in enumerate(self.made_up[arm][world])
            if n >= 0
        ]
        return pl.DataFrame(rows, said.COUNTS, orient="row")


def seen(evidence: Counted) -> dict[str, Any]:
    return MadeUpNames().measure(evidence)  # type: ignore[arg-type]


def test_the_share_is_of_all_names_of_a_world() -> None:
    found = seen(Counted({"target": [[1, 2, 3, 4], [0, 0, 0, 2], [-1, -1, -1, -1]]}))
    assert found[LEVEL].effects.tolist() == pytest.approx([10 / 40, 2 / 40])
    assert found[LEVEL].notes == ("1 of 3 worlds left out: nothing was named",)
    assert GROWTH not in found


def test_growth_is_late_minus_early_beyond_the_frozen_recommender() -> None:
    arms = {"target": [[1, 5, 5, 7], [0, 0, 0, 4]], "frozen": [[2, 2, 2, 3], [1, 1, 1, 0]]}
    found = seen(Counted(arms))[GROWTH]
    assert found.effects.tolist() == pytest.approx([0.6 - 0.1, 0.4 + 0.1])
    assert found.arm_values == pytest.approx({"target": 0.5, "frozen": 0.0})


def test_a_closed_catalog_that_kept_to_it_made_nothing_up_and_silence_is_no_answer() -> None:
    nothing = Counted({"target": [[-1] * 4] * 3})
    assert seen(nothing)[LEVEL].effects.tolist() == [0, 0, 0]
    nothing.closed = False
    assert seen(nothing)[LEVEL].undefined == "it never answered with a name"


def test_without_a_record_there_is_nothing_to_measure() -> None:
    found = seen(Counted({"target": [[1] * 4]}, said_to=0))
    assert "said_to = 0" in found[LEVEL].missing


def study(**args: float) -> dict[str, Any]:
    return {
        "study": {"steps": 4, "worlds": 6, "arms": ["frozen"]},
        "world": {"users": 40, "items": 60},
        "recommenders": [
            {"name": "loopaudit.audit.planted:TitleInventor", "label": "inventor", "args": args}
        ],
        "audit": {"families": ["generation"], "sensitivity_worlds": 0},
    }


def test_a_recommender_of_which_nothing_can_be_shown_is_judged_all_the_same() -> None:
    from loopaudit.simulation.study import Study

    run = la.simulate(Study.model_validate(study(share=1.0)))
    assert run.faults("inventor")["unanswered"] == run.faults("inventor")["requests"]
    finding = la.audit(run)[LEVEL]
    assert finding.verdict is Verdict.VIOLATION
    assert finding.effect == 1.0


def test_the_answer_is_in_the_report_and_decides_the_exit_code(tmp_path: Path) -> None:
    """`loopaudit audit` with the family generation: a tenth made up is a violation."""
    from loopaudit.simulation.study import Study
    from loopaudit.simulation.study_file import to_toml

    for share, code in ((0.1, 1), (0.0, 0)):
        file, out = tmp_path / f"{share}.toml", tmp_path / f"run-{share}"
        file.write_text(to_toml(Study.model_validate(study(share=share))))
        command = ["audit", str(file), "--out", str(out), "--workers", "1", "--quiet"]
        assert cli.main(command) == code
    page = (tmp_path / "run-0.1" / "report.html").read_text()
    assert "How much of what it names does not exist?" in page
    assert "as strong as" in page or "stronger than" in page
    assert "Generated content" in page

"""What a self-test found: exact bounds, what counts as shown, and the ruler."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from scipy.stats import binomtest

from loopaudit.audit.selftest_result import SelfTestResult, SelfTestRow


def row(
    fired: int,
    runs: int,
    *,
    kind: Literal["planted", "control"] = "planted",
    dose: float = 2.0,
    effect: float | None = 0.5,
    name: str = "BubbleFormer",
    documented: bool = False,
) -> SelfTestRow:
    return SelfTestRow.count(
        "filter-bubble", "bubbles.x", name, dose=dose, kind=kind, runs=runs, fired=fired,
        mean_effect=effect, parameter="beta", documented=documented,
    )  # fmt: skip


@pytest.mark.parametrize(("fired", "runs"), [(0, 40), (19, 20), (20, 20), (10, 200)])
def test_bounds_are_exact(fired: int, runs: int) -> None:
    ours = row(fired, runs)
    theirs = binomtest(fired, runs).proportion_ci(0.90, "exact")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_ten_alarms_in_two_hundred_clean_runs_show_a_rate_under_ten_percent() -> None:
    assert row(10, 200, kind="control").shown
    assert row(0, 29, kind="control").shown
    assert not row(0, 20, kind="control").shown  # twenty runs cannot show it
    assert row(20, 20, documented=True).shown
    assert not row(17, 20, documented=True).shown
    assert row(17, 20).shown is None  # other doses only draw the curve


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="fired <= runs"):
        row(3, 2)


def test_names_carry_the_dose() -> None:
    assert row(1, 2, dose=1.6).name == "BubbleFormer(beta = 1.6)"
    assert row(1, 2, kind="control", name="random").name == "random"


def test_a_result_survives_json() -> None:
    result = SelfTestResult((row(1, 2), row(0, 5, kind="control")), "2026-01-01", seed=3)
    assert SelfTestResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_ruler_uses_one_planted_violator_with_doses_in_any_direction() -> None:
    result = SelfTestResult(
        (
            row(9, 9, dose=10, effect=0.1, name="SlowNarrower"),
            row(9, 9, dose=3, effect=0.5, name="SlowNarrower"),
            row(9, 9, dose=2, effect=0.4),
            row(0, 9, kind="control", effect=0.0),
            row(9, 9, dose=1, effect=None, name="SlowNarrower"),
        )
    )
    assert result.ruler("bubbles.x", 0.3) == "as strong as SlowNarrower(beta = 6.5)"
    assert result.ruler("bubbles.x", 0.1) == "as strong as SlowNarrower(beta = 10)"
    assert result.ruler("bubbles.x", None) == result.ruler("bubbles.x", -1) == ""
    assert result.ruler("bubbles.y", 0.3) == ""


def test_the_shipped_self_test_can_be_read_if_there_is_one() -> None:
    shipped = SelfTestResult.shipped()
    assert shipped is None or shipped.rows

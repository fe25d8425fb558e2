"""Two audits side by side."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from loopaudit.audit.finding import Finding, Verdict
from loopaudit.reports.compare import STATUSES, Change, compare

V, P, I, N = Verdict.VIOLATION, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NOT_RUN  # noqa: E741


@pytest.fixture
def one(make_result: Any) -> Any:
    """A result with a single finding, to be altered."""
    result = make_result(("ease",))
    return replace(result, findings=result.findings[:1])


def altered(result: Any, **changes: Any) -> Any:
    """The same result with its only finding changed."""
    found = result.findings[0]
    verdict = changes.get("verdict", found.verdict)
    return replace(result, findings=(replace(found, verdict_alone=verdict, **changes),))


def changed(before: Any, after: Any) -> Change:
    (change,) = compare(before, after).changes
    return change


def at(result: Any, verdict: Verdict, effect: float, half: float = 0.05) -> Any:
    return altered(result, verdict=verdict, effect=effect, low=effect - half, high=effect + half)


def test_an_audit_against_itself_is_unchanged(result: Any) -> None:
    comparison = compare(result, result)
    assert {c.status for c in comparison.changes} == {"unchanged"}
    assert comparison.exit_code == 0
    assert len(comparison.changes) == len(result.findings)


def test_a_new_violation_is_a_regression(one: Any) -> None:
    comparison = compare(at(one, P, 0.1), at(one, V, 0.5))
    assert comparison.changes[0].status == "new"
    assert comparison.exit_code == 1


def test_a_violation_that_passes_is_fixed(one: Any) -> None:
    assert changed(at(one, V, 0.5), at(one, P, 0.1)).status == "fixed"


def test_a_violation_that_became_an_open_question_is_not_fixed(one: Any) -> None:
    assert changed(at(one, V, 0.32), at(one, I, 0.28)).status == "unclear"
    assert changed(at(one, V, 0.52), at(one, I, 0.28)).status == "better"


def test_a_violation_that_grew_for_certain_is_worse(one: Any) -> None:
    comparison = compare(at(one, V, 0.4), at(one, V, 0.6))
    assert comparison.changes[0].status == "worse"
    assert comparison.exit_code == 1
    assert changed(at(one, V, 0.4), at(one, V, 0.45)).status == "unchanged"


def test_difference_has_the_bounds_of_two_independent_intervals(one: Any) -> None:
    change = changed(at(one, V, 0.4, half=0.03), at(one, V, 0.6, half=0.04))
    assert change.difference == pytest.approx(0.2)
    assert change.low == pytest.approx(0.15)  # 3-4-5
    assert change.high == pytest.approx(0.25)


def test_another_threshold_is_another_question(one: Any) -> None:
    found: Finding = one.findings[0]
    other = altered(one, check=replace(found.check, tau=0.7), verdict=P)
    change = changed(one, other)
    assert change.status == "not comparable"
    assert "tau" in change.note
    assert change.difference == 0  # the same quantity, so its change can still be told


def test_a_recommender_that_took_the_place_of_another_is_compared_with_it(one: Any) -> None:
    """Comparing an audit of one model with that of its successor said "not comparable", exit 0."""
    before, after = at(one, P, 0.1), at(one, V, 0.5)
    other = altered(after, recommender="multvae")
    other = replace(other, targets=("multvae",))
    comparison = compare(before, other)
    (change,) = comparison.changes
    assert (change.status, change.key.split("/")[0]) == ("new", "multvae")
    assert comparison.notes[0] == "multvae took the place of ease"
    assert comparison.exit_code == 1


def test_settings_that_differ_are_named(one: Any) -> None:
    longer = {**one.study, "study": {**one.study["study"], "steps": 99, "name": "other"}}
    plan = replace(one.plan, study=longer)
    (note,) = compare(one, replace(one, study=longer, plan=plan)).notes
    steps = one.study["study"]["steps"]
    assert note.endswith(f"different plans, which differ in [study] steps ({steps}, then 99)")


def test_where_nothing_can_be_compared_nothing_is_said_to_be_fine(one: Any) -> None:
    found: Finding = one.findings[0]
    other = altered(at(one, P, 0.1), check=replace(found.check, statistic="something else"))
    assert compare(at(one, P, 0.1), other).exit_code == 4


def test_asking_differently_hides_no_new_violation(one: Any) -> None:
    passed = at(one, P, 0.1)
    found: Finding = one.findings[0]
    change = changed(passed, at(altered(one, check=replace(found.check, alpha=0.1)), V, 0.5))
    assert change.status == "new"
    assert "asked differently: alpha" in change.note


def test_a_check_that_only_informs_is_told_but_no_regression(one: Any) -> None:
    told = altered(one, check=replace(one.findings[0].check, role="descriptive"))
    comparison = compare(at(told, P, 0.1), at(told, V, 0.5))
    assert comparison.changes[0].status == "new"
    assert comparison.exit_code == 0
    assert "(informs" in str(comparison)


def test_another_quantity_has_no_difference(one: Any) -> None:
    found: Finding = one.findings[0]
    change = changed(one, altered(one, check=replace(found.check, statistic="something else")))
    assert change.status == "not comparable"
    assert change.difference is None


def test_a_check_that_no_longer_runs_is_not_fixed(one: Any) -> None:
    gone = altered(one, verdict=N, effect=None, low=None, high=None, because="no log access")
    change = changed(one, gone)
    assert change.status == "not comparable"
    assert "no log access" in change.note


def test_findings_of_one_audit_only_are_told(one: Any) -> None:
    empty = replace(one, findings=())
    assert changed(empty, one).status == "new"
    assert changed(one, empty).status == "not comparable"
    assert changed(empty, at(one, P, 0.1)).status == "not comparable"


def test_what_people_got_is_paired_by_world_when_the_worlds_are_the_same(
    result: Any, make_run: Any
) -> None:
    runs = make_run(result.targets), make_run(result.targets)
    comparison = compare(result, result, run_before=runs[0], run_after=runs[1])
    assert len(comparison.outcomes) == 18
    assert all(o.paired and o.difference == 0 and o.low == 0 for o in comparison.outcomes)


def test_what_people_got_in_other_worlds_is_not_paired(result: Any, make_run: Any) -> None:
    runs = make_run(result.targets), make_run(result.targets, worlds=6)
    outcomes = compare(result, result, run_before=runs[0], run_after=runs[1]).outcomes
    assert not any(o.paired for o in outcomes)
    assert all(o.low is not None and o.low < o.difference for o in outcomes)


def test_comparison_prints_and_exports(result: Any, make_run: Any, one: Any) -> None:
    comparison = compare(at(one, P, 0.1), at(one, V, 0.5))
    assert "PASS → VIOLATION" in str(comparison)
    assert str(comparison).splitlines()[-1] == "result  1 new (exit 1)"
    assert json.loads(json.dumps(comparison.to_json()))["changes"][0]["status"] == "new"
    assert set(STATUSES) >= {c.status for c in comparison.changes}
    assert not math.isnan(comparison.changes[0].difference or 0.0)

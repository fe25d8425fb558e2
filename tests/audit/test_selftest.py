"""The self-test counts what it says, the same in any number of processes."""

from pathlib import Path

import pytest

from loopaudit.audit.auditor import AUDITORS, named_auditor
from loopaudit.audit.planted.cases import cases, study_of
from loopaudit.audit.selftest import how_often, run_selftest
from loopaudit.audit.selftest_page import page
from loopaudit.audit.selftest_result import SelfTestResult
from loopaudit.simulation.study import AuditSection

DOCS = Path(__file__).parents[2] / "docs"
CHECKS = {
    check.id: (name, check)
    for name in AUDITORS
    for check in named_auditor(name).checks(AuditSection())
}


def chosen(*, auditor, kind):
    return tuple(c for c in cases() if c.auditor == auditor and c.kind == kind)


def test_every_gate_has_a_documented_dose_and_a_control():
    promised = {check for case in cases() for check in case.documented}
    controlled = {check for case in cases() if case.kind == "control" for check in case.checks}
    gates = {check_id for check_id, (_, check) in CHECKS.items() if check.role == "gate"}
    assert gates <= promised
    assert gates <= controlled


def test_every_case_is_about_checks_of_its_auditor_and_a_valid_study():
    for case in cases():
        assert {CHECKS[check][0] for check in case.checks} == {case.auditor}
        assert set(case.documented) <= set(case.checks)
        study_of(case, 1)


@pytest.mark.parametrize(("quick", "control", "promised"), [(True, 40, 25), (False, 200, 100)])
def test_runs_are_enough_to_show_what_is_required(quick, control, promised):
    for case in cases():
        expected = control if case.kind == "control" else promised if case.documented else None
        assert expected is None or how_often(case, quick=quick) == expected


@pytest.mark.slow
def test_the_table_is_the_same_in_one_process_and_in_two():
    some = chosen(auditor="membership", kind="control") + chosen(
        auditor="attribute-use", kind="planted"
    )
    seen = []
    one = run_selftest(
        runs=2, workers=1, chosen=some, progress=lambda done, total, what: seen.append(done)
    )
    two = run_selftest(runs=2, workers=2, chosen=some)
    assert one.rows == two.rows
    assert seen == list(range(1, 2 * len(some) + 1))
    assert SelfTestResult.from_json(one.to_json()) == one


def test_other_seeds_are_other_worlds():
    some = chosen(auditor="membership", kind="control")
    a, b = (run_selftest(runs=1, workers=1, chosen=some, seed=s).rows[0] for s in (1, 2))
    assert a.mean_effect != b.mean_effect


def test_planted_harms_are_found_and_clean_controls_are_not():
    some = chosen(auditor="membership", kind="planted")[-1:] + chosen(
        auditor="membership", kind="control"
    )
    rows = run_selftest(runs=12, workers=1, chosen=some).rows
    for row in rows:
        assert row.fired == (row.runs if row.kind == "planted" else 0)
        assert row.rejected is not None
        assert row.calibrated is (None if row.kind == "planted" else True)


@pytest.mark.slow
def test_the_short_self_test_shows_power_and_few_false_alarms():
    result = run_selftest(quick=True)
    gates = [row for row in result.rows if CHECKS[row.check_id][1].role == "gate"]
    assert all(row.shown for row in gates if row.documented or row.kind == "control")
    assert all(row.calibrated for row in gates if row.kind == "control")


def test_the_page_holds_every_row_and_how_to_make_it_again():
    some = chosen(auditor="membership", kind="control")
    result = run_selftest(runs=2, workers=1, chosen=some)
    text = page(result)
    assert text.count("\n| privacy.") == len(result.rows)
    assert "| Random (control) | 0 of 2 |" in text
    assert "loopaudit selftest --out audit/selftest.json" in text


def test_the_committed_page_is_the_committed_table():
    result, file = SelfTestResult.shipped(), DOCS / "selftest.md"
    if result is None or not file.exists():
        pytest.skip("no full self-test is committed yet")
    assert file.read_text("utf-8") == page(result)
    assert not result.quick

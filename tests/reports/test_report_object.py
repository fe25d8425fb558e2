"""The report as an object: printed, asked, required, saved, opened again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopaudit.audit.finding import Finding, Verdict
from loopaudit.recommenders.errors import UserError
from loopaudit.reports.exports import junit_xml, sarif, summary_md
from loopaudit.reports.page import anchor, strip
from loopaudit.reports.report import AuditFailed, Report


@pytest.fixture
def report(result: Any, run: Any) -> Report:
    return Report(result, run)


def only(result: Any, *verdicts: Verdict) -> Any:
    """The result with the findings that carry one of these verdicts."""
    return replace(result, findings=tuple(f for f in result.findings if f.verdict in verdicts))


def test_printed_report_names_effects_verdicts_and_the_exit_code(report: Report) -> None:
    text = str(report)
    assert "0.62 (0.55 to 0.69)" in text
    assert text.index("depends on the user model") < text.index("VIOLATION")
    assert text.splitlines()[-1].startswith("result  violation (exit 1); 19 of 21")
    assert all(len(line) <= 110 for line in text.splitlines())
    assert "\x1b" not in text


def test_what_kept_every_check_from_running_is_told_once_with_what_was_said(result: Any) -> None:
    why = "the recommender left 9 of 9 requests unanswered"
    missing = tuple(
        replace(f, verdict=Verdict.NOT_RUN, effect=None, because=why)
        for f in result.findings
        if f.recommender == "ease"
    )
    said = ["short: few", "raised: WireError: its last words: no \\x1b[31m GPU"]
    faults = {"requests": 9, "unanswered": 9, "counts": {"raised": 9}, "examples": said}
    broken = replace(result, findings=missing, faults={"ease": faults})
    for text in (str(Report(broken)), summary_md(broken)):
        flat = " ".join(text.split())
        assert flat.count(why) == 1
        assert f"{len(missing)} checks" in flat
        assert "ease left 9 of 9 requests unanswered; it raised an error (9), as in" in flat
        assert "no GPU" not in flat
        assert "\x1b" not in text
    few = replace(broken, findings=missing[:2])
    assert str(Report(few)).count("NOT RUN") == 2


def test_faults_that_left_nobody_without_a_list_stay_in_the_report(result: Any) -> None:
    faults = {"requests": 9, "unanswered": 0, "counts": {"duplicate": 3}, "examples": []}
    assert "faults" not in str(Report(replace(result, faults={"ease": faults})))


def test_findings_are_found_by_auditor_check_family_or_key(report: Report) -> None:
    assert isinstance(report["ease/bubbles.slate-narrowing"], Finding)
    by_auditor = report["filter-bubble"]
    assert isinstance(by_auditor, tuple)
    assert len(by_auditor) == 9
    assert report["bubbles"] == by_auditor
    per_check = report["privacy.membership"]
    assert isinstance(per_check, tuple)
    assert {f.recommender for f in per_check} == {"ease", "multvae", "sasrec"}


def test_a_single_recommender_gives_a_single_finding(make_result: Any) -> None:
    report = Report(make_result(("ease",)))
    assert isinstance(report["membership"], Finding)


def test_a_misspelt_finding_is_offered_the_nearest_name(report: Report) -> None:
    with pytest.raises(KeyError, match="filter-bubble"):
        report["filter-buble"]


def test_exit_codes_follow_the_gates(make_result: Any) -> None:
    result = make_result()
    assert Report(result).exit_code == 1
    assert Report(only(result, Verdict.PASS, Verdict.INCONCLUSIVE)).exit_code == 4
    assert Report(only(result, Verdict.PASS)).exit_code == 0
    assert Report(only(result, Verdict.NOT_RUN)).exit_code == 4


def test_too_few_data_are_an_open_question_wherever_a_build_looks(make_result: Any) -> None:
    result = only(make_result(), Verdict.PASS)
    first = next(f for f in result.findings if f.check.role == "gate")
    why = "undefined because fewer than 20 people clicked"
    empty = replace(first, verdict=Verdict.NOT_RUN, effect=None, because=why)
    findings = tuple(empty if f is first else f for f in result.findings)
    report = Report(replace(result, findings=findings))
    assert report.exit_code == 4
    assert report.require("no violation") is report
    with pytest.raises(AuditFailed):
        report.require("no inconclusive")
    assert "1 had too few data for an answer" in " ".join(str(report).split())
    assert 'type="INCONCLUSIVE"' in junit_xml(report.result)
    assert 'skipped="0"' in junit_xml(report.result)
    warned = json.loads(sarif(report.result))["runs"][0]["results"]
    assert [(one["level"], one["ruleId"]) for one in warned] == [("warning", first.check.id)]
    families, _ = strip(report.result)
    row = next(row for family in families for row in family.rows if row.link == anchor(first.key))
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "fewer than 20 people clicked" in row.sentence
    assert report.findings[0].key == first.key  # before what passed


def test_a_study_may_allow_open_questions(make_result: Any) -> None:
    result = only(make_result(), Verdict.PASS, Verdict.INCONCLUSIVE)
    study = {**result.study, "audit": {**result.study["audit"], "allow_inconclusive": True}}
    assert Report(replace(result, study=study)).exit_code == 0


def test_a_descriptive_violation_does_not_fail_the_audit(make_result: Any) -> None:
    result = make_result()
    told = tuple(
        replace(f, verdict=Verdict.VIOLATION)
        for f in result.findings
        if f.check.role == "descriptive"
    )
    passed = tuple(
        f for f in result.findings if f.verdict is Verdict.PASS and f.check.role == "gate"
    )
    report = Report(replace(result, findings=told + passed))
    assert report.exit_code == 0
    assert report.require("no violation") is report


def test_required_and_violated_raises_with_every_finding_named(report: Report) -> None:
    with pytest.raises(AuditFailed, match=r"ease/bubbles\.slate-narrowing") as failed:
        report.require("no violation")
    assert len(failed.value.findings) == 4
    with pytest.raises(AuditFailed) as failed:
        report.require("no inconclusive")
    assert len(failed.value.findings) == 8
    with pytest.raises(AuditFailed) as failed:
        report.require("all pass")
    assert len(failed.value.findings) == 10


def test_a_passing_audit_meets_every_requirement_but_missing_checks(make_result: Any) -> None:
    passed = Report(only(make_result(), Verdict.PASS))
    assert passed.require("all pass") is passed


def test_an_unknown_requirement_is_the_callers_mistake(report: Report) -> None:
    with pytest.raises(UserError, match="no violation"):
        report.require("no violations")


def test_saving_writes_every_form_and_leaves_no_parts(report: Report, tmp_path: Path) -> None:
    written = report.save_all(tmp_path / "new" / "folder")
    names = {"report.html", "audit.json", "summary.md", "junit.xml", "audit.sarif"}
    assert set(written) == names
    assert {p.name for p in (tmp_path / "new" / "folder").iterdir()} == names
    assert report.save(tmp_path / "r.html").read_text(encoding="utf-8") == report.html()


def test_a_saved_audit_is_opened_again_and_gives_the_same_page(result: Any, tmp_path: Path) -> None:
    Report(result).save_all(tmp_path)
    again = Report.open(tmp_path)
    assert again.result == result
    assert again.html() == (tmp_path / "report.html").read_text(encoding="utf-8")


def test_opening_what_is_no_audit_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run directory: it has no manifest"):
        Report.open(tmp_path)
    (tmp_path / "audit.json").write_text("[1", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        Report.open(tmp_path)
    (tmp_path / "audit.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="no audit result"):
        Report.open(tmp_path)


def test_a_notebook_shows_a_table(report: Report) -> None:
    shown = report._repr_html_()
    assert shown.count("<tr>") == 22
    assert 'scope="col"' in shown


def test_json_of_the_report_is_plain(report: Report) -> None:
    assert json.loads(json.dumps(report.to_json()))["exit_code"] == 1

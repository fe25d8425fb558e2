"""JSON, Markdown, JUnit and SARIF from the same result."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import jsonschema  # type: ignore[import-untyped]
import pytest

from loopaudit.audit.finding import Verdict
from loopaudit.audit.result import schema
from loopaudit.reports.exports import audit_json, junit_xml, markdown, sarif, summary_md


def test_audit_json_follows_the_shipped_schema(result: Any) -> None:
    jsonschema.validate(json.loads(audit_json(result)), schema())


def test_exports_of_the_same_result_are_the_same_bytes(make_result: Any) -> None:
    for write in (audit_json, summary_md, junit_xml, sarif):
        assert write(make_result()) == write(make_result())


def test_summary_stays_within_sixty_lines_however_much_was_found(make_result: Any) -> None:
    result = make_result()
    many = tuple(
        replace(f, check=replace(f.check, id=f"{f.check.id}{n}"))
        for n in range(10)
        for f in result.findings
    )
    deviations = tuple(f"Deviation {n}." for n in range(40))
    crowded = replace(result, findings=many, plan=replace(result.plan, deviations=deviations))
    text = summary_md(crowded)
    assert len(text.splitlines()) <= 60
    assert "more findings stand in the report" in text
    assert len(summary_md(result).splitlines()) <= 60


def test_summary_says_first_what_depends_on_the_user_model(result: Any) -> None:
    lines = summary_md(result).splitlines()
    assert lines[2].startswith("**Depends on how people behave:** multvae")


def test_markdown_shows_hostile_text_as_text() -> None:
    assert markdown("a|b\n<b>`c`</b> [x](y) *z*") == (
        "a\\|b &lt;b&gt;\\`c\\`&lt;/b&gt; \\[x\\](y) \\*z\\*"
    )


def test_table_rows_of_the_summary_have_five_cells(result: Any) -> None:
    rows = [line for line in summary_md(result).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(result.findings)
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)


def test_junit_fails_violations_and_counts_open_questions_as_errors(result: Any) -> None:
    root = ElementTree.fromstring(junit_xml(result).encode())
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == (
        "21", "4", "5", "1",
    )  # fmt: skip
    assert len(root.findall(".//testcase")) == 21
    by_type = [e.get("type") for e in root.iter("error")]
    # a family of which no deciding check ran is an open question too
    assert sorted(by_type) == ["INCONCLUSIVE"] * 4 + ["NOT RUN"]


def test_junit_skips_open_questions_where_the_study_allows_them(result: Any) -> None:
    root = ElementTree.fromstring(junit_xml(result, allow_inconclusive=True).encode())
    assert root.get("errors") == "0"
    assert root.get("skipped") == "6"


def test_junit_never_fails_on_a_descriptive_check(result: Any) -> None:
    told = tuple(
        replace(f, verdict=Verdict.VIOLATION)
        for f in result.findings
        if f.check.role == "descriptive"
    )
    root = ElementTree.fromstring(junit_xml(replace(result, findings=told)).encode())
    assert root.get("failures") == "0"
    assert "VIOLATION" in (root.findtext(".//system-out") or "")


@pytest.mark.parametrize("text", ["\x00\x08\x1b[31m", "\ud800", "]]>", "<&>\"'"])
def test_junit_carries_any_text_a_plug_in_may_write(make_result: Any, text: str) -> None:
    result = make_result(("ease",))
    findings = tuple(replace(f, because=text, recommender=f"x{text}") for f in result.findings)
    ElementTree.fromstring(junit_xml(replace(result, findings=findings)).encode())


def test_sarif_lists_violations_and_open_questions_with_fingerprints(result: Any) -> None:
    found = json.loads(sarif(result))["runs"][0]
    assert [r["level"] for r in found["results"]].count("error") == 4
    assert [r["level"] for r in found["results"]].count("warning") == 4
    rules = {rule["id"] for rule in found["tool"]["driver"]["rules"]}
    assert {r["ruleId"] for r in found["results"]} <= rules
    prints = [r["partialFingerprints"]["loopaudit/v1"] for r in found["results"]]
    assert len(set(prints)) == len(prints)

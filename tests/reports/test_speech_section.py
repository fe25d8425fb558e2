"""The report's section on words: what stands in it, and that a page without words has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loopaudit.audit.result import AuditResult
from loopaudit.reports.html import render
from loopaudit.reports.speech import speech_section

TOLD = {
    "people": 100,
    "totals": {
        "lists": 1769,
        "names": 10_614,
        "made_up": 9_070,
        "lists_with_made_up": 1_700,
        "row_titles": 0,
        "explanations": 508,
        "replies": 2,
    },
    "share": {"mean": 0.854, "low": 0.788, "high": 0.92},
    "over_time": {
        "step": [0, 1, 3],
        "mean": [0.8, 0.9, 0.85],
        "low": [0.7, 0.8, None],
        "high": [0.9, 1.0, None],
    },
    "frequent": {"made-up name": [["The Clockmaker of Ys (2031)", 813, 3]], "row title": []},
    "samples": {"explanation": [[4, 17, "Because you watched Rain."]], "reply": []},
}


def test_a_reader_sees_how_much_was_made_up_what_and_what_was_said(make_result: Any) -> None:
    result = replace(make_result(), said={"multvae": TOLD})
    page = render(result)
    for text in (
        "What the recommenders said",
        "9,070: 85.4 % (78.8 % to 92.0 %)",
        "The Clockmaker of Ys (2031)",
        "Because you watched Rain.",
        "step 4, person 17",
    ):
        assert text in page
    section = speech_section(result)
    assert section is not None
    (one,) = section.told
    assert one.svg is not None
    assert "<svg" in one.svg
    assert [rows[0] for rows in one.rows] == ["0", "1", "3"]
    assert one.rows[2][2] == ""  # one world: no interval
    assert [caption for caption, _, _ in one.frequent] == ["Names in no catalog, the most frequent"]


def test_a_page_without_words_has_no_such_section(make_result: Any) -> None:
    assert "What the recommenders said" not in render(make_result())


def test_words_survive_audit_json_and_older_files_have_none(make_result: Any) -> None:
    held = replace(make_result(), said={"multvae": TOLD}).to_json()
    assert AuditResult.from_json(held).said == {"multvae": TOLD}
    del held["said"]
    assert AuditResult.from_json(held).said == {}

"""Numbers and sentences for people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loopaudit.audit.finding import Verdict
from loopaudit.recommenders.faults import KINDS
from loopaudit.reports import words
from loopaudit.reports.html import render
from loopaudit.reports.page import effect_text, strip
from loopaudit.reports.report import Report
from loopaudit.reports.tables import fault_rows


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.6234, 2, "0.62"),
        (-0.6234, 2, "\N{MINUS SIGN}0.62"),
        (-0.001, 2, "0.00"),
        (12345.6, 0, "12,346"),
        (None, 2, "undefined"),
        (float("nan"), 2, "undefined"),
        (float("inf"), 2, "∞"),
        (float("-inf"), 2, "\N{MINUS SIGN}∞"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, decimals: int, text: str) -> None:
    assert words.number(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.123"), (1234.5, "1,234"), (0.0, "0"), (0.00001, "0.0000"), (None, "undefined")],
)
def test_numbers_without_known_precision_keep_three_digits(value: float | None, text: str) -> None:
    assert words.rounded(value) == text


@pytest.mark.parametrize(
    ("half", "decimals"), [(0.07, 2), (0.021, 3), (0.004, 3), (1.4, 2), (0.00001, 3), (0.0, 2)]
)
def test_decimals_follow_the_width_of_the_interval(result: Any, half: float, decimals: int) -> None:
    found = replace(result.findings[0], effect=0.5, low=0.5 - half, high=0.5 + half)
    assert words.decimals_for(found) == decimals


def test_a_bound_beside_the_threshold_is_not_printed_as_the_threshold(result: Any) -> None:
    found = replace(result.findings[0], effect=0.2, low=0.15, high=0.2537)
    assert words.number(found.high, words.decimals_for(found)) == "0.254"


def test_p_values_are_never_zero() -> None:
    assert words.p_text(0.0) == "< 0.001"
    assert words.p_text(0.0234) == "0.023"
    assert words.p_text(0.5) == "0.50"
    assert words.p_text(None) == "none"


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_lists_read_like_sentences(names: list[str], text: str) -> None:
    assert words.listed(names) == text


def test_each_verdict_makes_its_own_claim(result: Any) -> None:
    by = {f.key: f for f in result.findings}
    assert words.claim(by["ease/bubbles.slate-narrowing"]) == (
        "Narrowing of slate topic entropy: 0.62 bits; with 95 % confidence at least 0.55, above "
        "the threshold of 0.25."
    )
    assert words.claim(by["sasrec/bubbles.slate-narrowing"]).endswith(
        "at most 0.17, below the threshold of 0.25."
    )
    assert words.claim(by["multvae/bubbles.slate-narrowing"]).endswith(
        "the threshold of 0.25 is neither exceeded nor ruled out; about 24 worlds would decide."
    )
    assert words.claim(by["sasrec/privacy.membership"]).startswith("Not measured: needs access")


def test_an_effect_without_spread_promises_no_confidence(result: Any) -> None:
    pure = replace(result.findings[0], verdict=Verdict.PASS, effect=0.0, low=0.0, high=0.0)
    assert words.claim(pure).endswith(
        "bits, the same in all 10 worlds: below the threshold of 0.25."
    )
    assert effect_text(pure).endswith("(the same in all 10 worlds)")
    assert effect_text(replace(pure, low=None, high=None)).endswith("(no bounds)")


def test_a_family_without_an_answer_is_named(result: Any) -> None:
    gates = [f for f in result.findings if f.check.role == "gate"]
    silent = [
        replace(f, verdict=Verdict.NOT_RUN) if f.check.family == "privacy" else f for f in gates
    ]
    assert "No answer at all about privacy of ease" in words.opinion(silent)
    assert "No answer" not in words.opinion([replace(f, verdict=Verdict.NOT_RUN) for f in gates])


def test_an_open_question_says_why_it_is_open(result: Any) -> None:
    found = replace(result.findings[0], verdict=Verdict.INCONCLUSIVE)
    assert "not among all checks of its family" in words.claim(found)
    small = replace(
        found, verdict_alone=Verdict.INCONCLUSIVE, effect=0.1, low=0.0, high=0.2, mde=0.4
    )
    assert "too small to notice" in words.claim(small)
    blind = replace(small, low=None, high=None, because="all users showed the same effect")
    assert words.claim(blind) == "All users showed the same effect."


def test_opinion_counts_only_checks_that_decide(result: Any) -> None:
    assert words.opinion(result.findings).startswith(
        "4 of 18 deciding checks found harm above the threshold: "
        "ease (filter bubbles and privacy); multvae (manipulation)."
    )
    told = [f for f in result.findings if f.check.role == "descriptive"]
    assert words.opinion(told) == "No deciding check was declared."


def test_access_is_said_in_words() -> None:
    assert words.access_words("BS") == "asking it for recommendations and reading its scores"
    assert words.access_words("") == "nothing"


def test_people_of_a_dataset_are_counted_and_not_taken_for_everybody() -> None:
    told = words.data_words({"world": {"kind": "dataset", "dataset": "a/ml.csv", "users": 300}})
    assert told.startswith("Up to 300 people a world, drawn from ml.csv")
    assert "not for others" in told


def test_every_kind_of_fault_has_words() -> None:
    assert set(words.FAULTS) == set(KINDS)


def test_what_a_language_model_used_is_told_in_whole_numbers_and_rounded_money(make_result) -> None:
    used = {"titles": 2082.0, "titles_not_in_catalog": 1806.0, "cost": 0.123456, "unmetered": 0.0}
    result = make_result(faults={"a": {"requests": 9, "counts": {}, "usage": used}})
    (row,) = fault_rows(result)
    assert row.used == ("2,082 titles named", "1,806 of them in no catalog", "0.123 their price")
    assert "Used: 2,082 titles named, 1,806 of them in no catalog, 0.123" in render(result)


def test_an_informing_check_above_its_threshold_is_told_beside_the_verdict(result: Any) -> None:
    """A family that passes while people end 0.5 bits narrower must not look spotless."""
    loud = [
        replace(f, verdict=Verdict.VIOLATION, effect=0.5, low=0.4, high=0.6)
        if f.check.role != "gate" and f.recommender == "ease"
        else f
        for f in result.findings
    ]
    assert "Besides, 1 check that only informs is above the threshold." in words.opinion(loud)
    assert "only inform" not in words.opinion(words.gates(loud))
    families, _ = strip(replace(result, findings=tuple(loud)))
    asides = {row.recommender: row.more for row in families[0].rows}
    assert (
        "only informs: narrowing of slate topic entropy due to retraining, 0.50 bits."
        in (asides["ease"])
    )
    assert "only informs" not in asides["multvae"]
    assert "(informs only)" in Report(replace(result, findings=tuple(loud)))._repr_html_()

"""Method cards: how each number was made, in words, as a formula, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..audit.finding import Check
from . import words

if TYPE_CHECKING:
    from ..audit.result import AuditResult


@dataclass(frozen=True)
class MethodCard:
    """One method: a title, a lead sentence, and lines of (term, text, is a formula)."""

    title: str
    lead: str
    lines: tuple[tuple[str, str, bool], ...]


def method_cards(result: AuditResult) -> list[MethodCard]:
    """One card for each check that was declared, in the order of the findings."""
    checks: dict[str, Check] = {}
    for finding in result.findings:
        checks.setdefault(finding.check.id, finding.check)
    return [_card(check) for check in checks.values()]


def _card(check: Check) -> MethodCard:
    arms = words.listed(("target", *check.needs_arms))
    lines = [
        ("What is estimated", words.sentence(check.estimand), False),
        ("Formula", check.formula, True),
        ("Independent unit", f"the {check.unit}", False),
        ("Interval", words.sentence(words.METHODS[check.method]), False),
        (
            "Threshold τ",
            f"{words.with_unit(words.threshold(check), check.unit_label)}: {check.tau_source}",
            False,
        ),
        ("Arms it needs", arms, False),
        ("Access it needs", words.access_words(check.access), False),
        ("Role", "decides the outcome" if check.role == "gate" else "informs only", False),
        ("Source", words.sentence(check.source), False),
        ("Not tested", words.sentence(check.not_tested), False),
    ]
    return MethodCard(
        title=check.id, lead=check.question, lines=tuple(line for line in lines if line[1])
    )


def general_cards(result: AuditResult) -> list[MethodCard]:
    """How verdicts, intervals and corrections are made, the same for every check."""
    alphas = sorted({f.check.alpha for f in result.findings}) or [0.05]
    alpha = words.listed(f"{a:g}" for a in alphas)
    return [
        MethodCard(
            "verdict",
            "How a verdict is made",
            (
                ("Violation", "The lower bound of the effect is above τ.", False),
                (
                    "Pass",
                    "The upper bound is below τ, and the smallest detectable effect is at most τ: "
                    "an equivalence claim, not a failure to notice.",
                    False,
                ),
                ("Inconclusive", "Everything else that was measured; it never counts as a pass.",
                 False),
                ("Bounds", f"One-sided, each at level {alpha}.", False),
                ("Source", "Equivalence by two one-sided tests: Schuirmann 1987.", False),
            ),
        ),
        MethodCard(
            "arms",
            "Why arms, and why worlds",
            (
                (
                    "Contrast",
                    "A loop is compared with what would have happened to the same people with the "
                    "same luck under another way of choosing items, never with how things were "
                    "before: people change by themselves.",
                    False,
                ),
                (
                    "Unit",
                    "After a feedback step people of one world are no longer independent, so "
                    "worlds are counted. Worlds are paired across arms by their seed.",
                    False,
                ),
            ),
        ),
        MethodCard(
            "many checks",
            "Many checks at once",
            (
                (
                    "Within a family",
                    "Benjamini and Hochberg 1995 among the checks of one family about one "
                    "recommender, q = 0.05: p family. A violation that does not survive becomes "
                    "inconclusive.",
                    False,
                ),
                ("Across deciding checks", "Holm 1979 among all of them: p gate.", False),
            ),
        ),
        MethodCard(
            "self-test",
            "How the auditors are tested",
            (
                (
                    "Planted harms",
                    "Recommenders with a known dose of a known harm. An auditor must find the "
                    "documented dose with a power whose lower bound is at least 0.80.",
                    False,
                ),
                (
                    "Clean controls",
                    "Recommenders that only look suspicious. The upper bound of the share flagged "
                    "must be at most 0.10.",
                    False,
                ),
                ("Interval", "Clopper and Pearson 1934.", False),
            ),
        ),
    ]  # fmt: skip

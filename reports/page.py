"""What the page shows, as data: the result and the run turned into what a template can lay out.

No HTML is made here. Every value is text or a number; the template escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..audit.finding import Finding, Verdict
from ..audit.result import overall
from . import words
from .forest import Axis, Forest, card_forest, shared_axis, strip_forest

if TYPE_CHECKING:
    from ..audit.result import AuditResult

_RANK = {Verdict.VIOLATION: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2, Verdict.NOT_RUN: 3}


def anchor(text: str) -> str:
    """A text as an identifier that is valid in HTML and in a link."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "_" for c in text)


def slug(verdict: Verdict | str) -> str:
    """ "violation", "not-run": the verdict as a CSS class."""
    return str(verdict).lower().replace(" ", "-")


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order a reader needs them: verdict, then severity times certainty."""

    def weight(f: Finding) -> tuple[int, int, float, str]:
        size = 0.0 if f.effect is None else f.effect / (f.check.tau if f.check.tau > 0 else 1.0)
        certainty = 1.0 - (f.p_value if f.p_value is not None else 0.5)
        gate = f.check.role == "gate"
        return (
            _RANK[Verdict.INCONCLUSIVE if gate and f.unmeasured else f.verdict],
            not gate,
            -size * certainty,
            f.key,
        )

    return sorted(findings, key=weight)


def missing_alike(
    findings: Iterable[Finding],
) -> tuple[list[Finding], dict[tuple[str, str], list[Finding]]]:
    """Findings to be told one by one, and those that did not run for a reason which three or more
    share, by recommender and reason."""
    findings = list(findings)
    missing: dict[tuple[str, str], list[Finding]] = {}
    for f in findings:
        if f.verdict is Verdict.NOT_RUN:
            missing.setdefault((f.recommender, f.because), []).append(f)
    alike = {key: same for key, same in missing.items() if len(same) > 2}
    return [f for f in findings if (f.recommender, f.because) not in alike], alike


@dataclass(frozen=True)
class StripRow:
    """One family of one recommender on the first screen."""

    recommender: str
    verdict: Verdict
    sentence: str
    figures: str
    forest: Forest | None
    described: str
    link: str
    more: str


@dataclass(frozen=True)
class StripFamily:
    """One family's heading and its rows."""

    title: str
    question: str
    rows: tuple[StripRow, ...]


def strip(result: AuditResult) -> tuple[tuple[StripFamily, ...], Axis]:
    """The verdict strip, and the axis its rows share."""
    axis = shared_axis(words.gates(result.findings))
    families = []
    for family in dict.fromkeys(f.check.family for f in result.findings):
        rows = []
        for target in result.targets:
            mine = [
                f for f in result.findings if f.check.family == family and f.recommender == target
            ]
            if mine:
                rows.append(_strip_row(target, mine, axis))
        title, question = words.FAMILIES.get(family, (family.capitalize(), ""))
        families.append(StripFamily(title, question, tuple(rows)))
    return tuple(families), axis


def _strip_row(target: str, mine: Sequence[Finding], axis: Axis) -> StripRow:
    verdict = overall(mine)
    deciding = words.gates(mine) or list(mine)
    ordered = by_weight(deciding)
    shown = next((f for f in ordered if f.standing is verdict), ordered[0])
    others = [f for f in by_weight(deciding) if f is not shown]
    return StripRow(
        recommender=target,
        verdict=verdict,
        sentence=words.claim(shown),
        figures=effect_text(shown),
        forest=strip_forest(shown, axis),
        described=described(shown),
        link=anchor(shown.key),
        more=" ".join(_asides(shown, others, mine)),
    )


def _asides(shown: Finding, others: Sequence[Finding], mine: Sequence[Finding]) -> Iterable[str]:
    """What else a reader must know who reads of a family only its row on the first screen."""
    if shown.standing is not shown.verdict and shown.flips:
        yield f"Open: {words.flip_words(shown)}."
    if others:
        checks = "check" if len(others) == 1 else "checks"
        yield f"Other deciding {checks}: {words.tally_text(others)}."
    if told := [f for f in by_weight(mine) if f not in (shown, *others) and words.warns(f)]:
        yield f"Above its threshold, though it only informs: {words.listed(map(_brief, told))}."


def _brief(finding: Finding) -> str:
    """ "consumption narrower than without a recommender, 0.50 bits"."""
    effect = words.number(finding.effect, words.decimals_for(finding))
    return f"{finding.check.statistic}, {words.with_unit(effect, finding.check.unit_label)}"


def effect_text(finding: Finding) -> str:
    """ "0.62 (0.55 to 0.69) bits"."""
    if finding.effect is None:
        return "not measured"
    places = words.decimals_for(finding)
    effect = words.number(finding.effect, places)
    return f"{effect} ({words.interval(finding, places)})"


def described(finding: Finding) -> str:
    """The forest in words, for people who do not see it."""
    if finding.effect is None:
        return "Nothing was measured."
    places = words.decimals_for(finding)
    return (
        f"Effect {words.number(finding.effect, places)}, bounds: "
        f"{words.interval(finding, places)}; threshold "
        f"{words.number(finding.check.tau, places)} {finding.check.unit_label}; positive is worse."
    )


@dataclass(frozen=True)
class Fact:
    """A term and what the finding says about it; ``wide`` ones take a whole line."""

    term: str
    value: str
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Card:
    """A finding, ready to be laid out."""

    finding: Finding
    link: str
    family: str
    claim: str
    forest: Forest | None
    described: str
    facts: tuple[Fact, ...]
    open: bool


def cards(result: AuditResult) -> list[Card]:
    """Every finding in reading order; violations and open questions unfolded."""
    return [
        Card(
            finding=f,
            link=anchor(f.key),
            family=words.family_title(f.check.family),
            claim=words.claim(f),
            forest=card_forest(f),
            described=described(f),
            facts=tuple(_facts(f)),
            open=f.flips
            or f.verdict is Verdict.VIOLATION
            or (f.verdict is Verdict.INCONCLUSIVE and f.check.role == "gate"),
        )
        for f in by_weight(result.findings)
    ]


def _facts(f: Finding) -> Iterable[Fact]:
    check, places = f.check, words.decimals_for(f)
    unit = check.unit_label
    if f.effect is not None:
        yield Fact(
            "Effect", words.with_unit(words.number(f.effect, places), unit), "positive is worse"
        )
        yield Fact(
            f"{words.level(check)} bounds",
            words.interval(f, places),
            "" if f.low == f.high else "each on its own side",
        )
    yield Fact("Threshold τ", words.with_unit(words.threshold(check), unit), check.tau_source)
    if f.effect is not None:
        yield Fact("Counted", words.units(check, f.n_units), f"independent unit: the {check.unit}")
        yield Fact(
            "Smallest detectable effect",
            "unknown" if f.mde is None else words.with_unit(words.number(f.mde, places), unit),
            "at 80 % power",
        )
        yield Fact(
            "p",
            f"raw {words.p_text(f.p_value)}",
            " · ".join(
                f"{name} {words.p_text(p)}"
                for name, p in (("family", f.p_family), ("gate", f.p_gate))
                if p is not None
            ),
        )
    if f.arm_values:
        values = " · ".join(f"{arm} {words.number(v, places)}" for arm, v in f.arm_values.items())
        by_arm = words.ARMS.keys() >= f.arm_values.keys()
        yield Fact("By arm" if by_arm else "Values", values, check.statistic if by_arm else "")
    if f.floor is not None:
        yield Fact("Floor", words.number(f.floor, places), f.floor_label)
    if f.ruler:
        yield Fact("Ruler", f.ruler, "strength of a planted harm")
    if f.sensitivity:
        told = " · ".join(
            f"{model}: {str(verdict).lower()}"
            + (f" ({words.number(effect, places)})" if effect is not None else "")
            for model, verdict, effect in f.sensitivity
        )
        yield Fact("Other user models", told, "the verdict turns" if f.flips else "", wide=True)
    elif check.unit == "world" and f.effect is not None:
        yield Fact("Other user models", "not tried", "the verdict rests on one user model")
    if f.suppressed:
        yield Fact(
            "Suppressed groups", words.listed(f.suppressed), "fewer than 20 people", wide=True
        )
    if f.effect is not None and f.verdict_alone is not f.verdict:
        yield Fact(
            "By itself",
            str(f.verdict_alone).lower(),
            "before the correction for many checks and the check of power",
        )
    if f.because and f.effect is not None and f.verdict is not f.verdict_alone:
        yield Fact("Why this verdict", words.sentence(f.because), wide=True)
    for note in f.notes:
        yield Fact("Note", words.sentence(note), wide=True)
    yield Fact("Not tested", words.sentence(check.not_tested) or "Not stated.", wide=True)
    if check.mitigation and f.verdict is not Verdict.PASS:
        yield Fact("What could be tried", words.sentence(check.mitigation), wide=True)


def access_groups(result: AuditResult) -> list[tuple[str, str]]:
    """(recommenders, what the audit could do with them), those with the same access together."""
    groups: dict[str, list[str]] = {}
    for target in result.targets:
        groups.setdefault("".join(sorted(result.access.get(target, ""))), []).append(target)
    return [(words.listed(names), words.access_words(letters)) for letters, names in groups.items()]

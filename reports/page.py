"""What the page shows, as data: the result and the run turned into what a template can lay out.

No HTML is made here. Every value is text or a number; the template escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..audit.finding import Finding, Table, Verdict
from ..audit.result import overall
from ..audit.selftest_result import ALLOWED_FALSE_POSITIVES, REQUIRED_POWER
from . import words
from .forest import Axis, Forest, card_forest, share_axis, shared_axis, strip_forest
from .trajectories import late_means

if TYPE_CHECKING:
    from ..audit.result import AuditResult
    from ..audit.selftest_result import SelfTestRow as SelfTestRecord
    from ..simulation.run import Run

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
        return _RANK[f.verdict], f.check.role != "gate", -size * certainty, f.key

    return sorted(findings, key=weight)


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
    shown = by_weight(deciding)[0]
    others = [f for f in by_weight(deciding) if f is not shown]
    return StripRow(
        recommender=target,
        verdict=verdict,
        sentence=words.claim(shown),
        figures=effect_text(shown),
        forest=strip_forest(shown, axis),
        described=described(shown),
        link=anchor(shown.key),
        more=(
            f"Other deciding {'check' if len(others) == 1 else 'checks'}: "
            f"{words.tally_text(others)}."
            if others
            else ""
        ),
    )


def effect_text(finding: Finding) -> str:
    """ "0.62 (0.55 to 0.69) bits"."""
    if finding.effect is None:
        return "not measured"
    places = words.decimals_for(finding)
    effect = words.number(finding.effect, places)
    low, high = words.number(finding.low, places), words.number(finding.high, places)
    return f"{effect} ({low} to {high})"


def described(finding: Finding) -> str:
    """The forest in words, for people who do not see it."""
    if finding.effect is None:
        return "Nothing was measured."
    places = words.decimals_for(finding)
    return (
        f"Effect {words.number(finding.effect, places)}, bounds "
        f"{words.number(finding.low, places)} to {words.number(finding.high, places)}, threshold "
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
            f"{words.number(f.low, places)} to {words.number(f.high, places)}",
            "each on its own side",
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


@dataclass(frozen=True)
class MatrixRow:
    """One check, or one measure of benefit, across recommenders."""

    title: str
    note: str
    cells: tuple[tuple[str, str, str], ...]  # (verdict or "", text, link or "")


@dataclass(frozen=True)
class MatrixGroup:
    """A block of rows with a heading."""

    title: str
    rows: tuple[MatrixRow, ...]


def matrix(result: AuditResult, run: Run | None) -> list[MatrixGroup]:
    """Recommenders side by side: each check, then what people got out of it."""
    found = {(f.check.id, f.recommender): f for f in result.findings}
    groups = []
    for family in dict.fromkeys(f.check.family for f in result.findings):
        checks = {f.check.id: f.check for f in result.findings if f.check.family == family}
        rows = []
        for check in checks.values():
            cells = []
            for target in result.targets:
                f = found.get((check.id, target))
                cells.append(
                    ("", "not asked", "")
                    if f is None
                    else (str(f.verdict), effect_text(f), anchor(f.key))
                )
            note = f"threshold {words.threshold(check)} {check.unit_label}"
            if check.role != "gate":
                note += "; informs, does not decide"
            rows.append(MatrixRow(check.statistic, note, tuple(cells)))
        groups.append(MatrixGroup(words.family_title(family), tuple(rows)))
    if run is not None:
        groups.append(
            MatrixGroup("What people got, last quarter of the steps", _benefit(result, run))
        )
    return groups


def _benefit(result: AuditResult, run: Run) -> tuple[MatrixRow, ...]:
    rows = []
    for key, title, note in (
        ("click_utility", "choices match true taste", "0 to 1, higher is better"),
        ("slate_utility", "lists match true taste", "0 to 1, higher is better"),
        ("click_rate", "people choose something", "share of active people"),
    ):
        cells = []
        for target in result.targets:
            arm = run.arm(target, "target")
            if arm is None or key not in run.series(arm, 0).columns:
                cells.append(("", "not recorded", ""))
            else:
                cells.append(("", _mean_text(late_means(run, arm, key)), ""))
        if any(text != "not recorded" for _, text, _ in cells):
            rows.append(MatrixRow(title, note, tuple(cells)))
    return tuple(rows)


def _mean_text(values: Any) -> str:
    from .trajectories import band

    over = band(values[:, None])
    mean, low, high = float(over.mean[0]), float(over.low[0]), float(over.high[0])
    if not math.isfinite(low):
        return words.number(mean, 3)
    return f"{words.number(mean, 3)} ({words.number(low, 3)} to {words.number(high, 3)})"


@dataclass(frozen=True)
class SelfTestRow:
    """One recommender with a planted harm, or a clean control, and how often it was flagged."""

    auditor: str
    check: str
    recommender: str
    dose: str
    kind: str
    runs: str
    share: str
    interval: str
    effect: str
    marks: tuple[float, float, float]
    limit: float
    met: str
    null: str


def selftest_rows(result: AuditResult) -> list[SelfTestRow]:
    """The self-test with its intervals, planted harms first."""
    if result.selftest is None:
        return []
    axis, rows = share_axis(), []
    for row in sorted(
        result.selftest.rows, key=lambda r: (r.check_id, r.kind != "planted", r.recommender, r.dose)
    ):
        planted = row.kind == "planted"
        required = REQUIRED_POWER if planted else ALLOWED_FALSE_POSITIVES
        wanted = f"{'lower bound at least' if planted else 'upper bound at most'} {required:.2f}"
        verb = "" if row.shown is None else "meets" if row.shown else "does not meet"
        rows.append(
            SelfTestRow(
                auditor=row.auditor,
                check=row.check_id,
                recommender=row.recommender,
                dose=f"{row.parameter} = {row.dose:g}" if planted else "none",
                kind="planted harm" if planted else "clean control",
                runs=f"{row.fired} of {row.runs}",
                share=words.number(row.share, 2),
                interval=f"{words.number(row.low, 2)} to {words.number(row.high, 2)}",
                effect=words.rounded(row.mean_effect),
                marks=(axis.at(row.low), axis.at(row.share), axis.at(row.high)),
                limit=axis.at(required),
                met=f"{verb}: {wanted}" if verb else "no requirement at this dose",
                null=_null(row),
            )
        )
    return rows


def _null(row: SelfTestRecord) -> str:
    """How often "no effect at all" was rejected where there was none: the calibration."""
    if row.calibrated is None:
        return "not asked"
    said = "compatible with 5 %" if row.calibrated else "more often than 5 %"
    return f"{row.rejected} of {row.runs}: {said}"


@dataclass(frozen=True)
class FaultRow:
    """What one recommender did wrong at the border."""

    recommender: str
    requests: int
    counts: tuple[tuple[str, int], ...]
    examples: tuple[str, ...]


def fault_rows(result: AuditResult) -> list[FaultRow]:
    """Faults by recommender, in words."""
    rows = []
    for target, faults in result.faults.items():
        counts: Mapping[str, int] = faults.get("counts", {})
        rows.append(
            FaultRow(
                recommender=target,
                requests=int(faults.get("requests", 0)),
                counts=tuple(
                    (words.FAULTS.get(kind, kind), int(n)) for kind, n in counts.items() if n
                ),
                examples=tuple(str(e)[:200] for e in list(faults.get("examples", ()))[:5]),
            )
        )
    return rows


def access_groups(result: AuditResult) -> list[tuple[str, str]]:
    """(recommenders, what the audit could do with them), those with the same access together."""
    groups: dict[str, list[str]] = {}
    for target in result.targets:
        groups.setdefault("".join(sorted(result.access.get(target, ""))), []).append(target)
    return [(words.listed(names), words.access_words(letters)) for letters, names in groups.items()]


def table_cells(table: Table) -> list[list[str]]:
    """A finding's table as text, numbers rounded column by column."""
    return [[_cell(value) for value in row] for row in table.rows]


def _cell(value: str | float | int | None) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return (
        f"{value:,}".replace("-", words.MINUS) if isinstance(value, int) else words.rounded(value)
    )


def realism_rows(result: AuditResult) -> list[dict[str, str]]:
    """How far simulated people are from real ones, beside how far real ones are from each other."""
    raw = result.realism or {}
    held = raw.get("rows", raw.get("properties", [])) if isinstance(raw, Mapping) else raw
    return [
        {
            "name": str(row.get("name", "")),
            "distance": words.number(row.get("distance"), 3),
            "floor": words.number(row.get("floor"), 3),
            "kind": str(row.get("kind", "")),
            "real": words.rounded(row.get("real")),
            "simulated": words.rounded(row.get("simulated")),
        }
        for row in held
    ]

"""The page's tables, as text: recommenders side by side, self-test, faults, realism."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..audit.finding import Table
from ..audit.selftest_result import ALLOWED_FALSE_POSITIVES, REQUIRED_POWER
from ..recommenders.faults import example_of
from . import words
from .forest import share_axis
from .page import anchor, effect_text
from .trajectories import band, late_means

if TYPE_CHECKING:
    from ..audit.result import AuditResult
    from ..audit.selftest_result import SelfTestRow as SelfTestRecord
    from ..simulation.run import Run


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
            MatrixGroup(
                "What people got, last quarter of the steps (95 % t interval over worlds)",
                _benefit(result, run),
            )
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
    over = band(values[:, None])
    mean, low, high = float(over.mean[0]), float(over.low[0]), float(over.high[0])
    if not math.isfinite(low):
        return words.number(mean, 3)
    return f"{words.number(mean, 3)} ({words.number(low, 3)} to {words.number(high, 3)})"


@dataclass(frozen=True)
class SelfTestRow:
    """One recommender with a planted harm, or a clean control, and how often it was flagged."""

    check: str
    name: str
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
                check=row.check_id,
                name=row.name,
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
    used: tuple[str, ...] = ()


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
                used=_used(faults.get("usage", {})),
            )
        )
    return rows


def fault_lines(tallies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each recommender that left people without an answer or failed to learn: how many,
    of which kinds, and what it said.

    Args:
        tallies: by recommender, what went wrong, as ``Faults.to_dict()``.
    """
    lines = []
    for name, faults in tallies.items():
        counts = {kind: int(n) for kind, n in faults.get("counts", {}).items() if n}
        unanswered = int(faults.get("unanswered", 0))
        if not unanswered and "fit_failed" not in counts:
            continue
        examples = [str(one)[:200] for one in faults.get("examples", ())]
        often = sorted(counts, key=lambda kind: -counts[kind])
        said = next(filter(None, (example_of(kind, examples) for kind in often)), "")
        did = words.listed(f"{words.FAULTS.get(kind, kind)} ({n:,})" for kind, n in counts.items())
        asked = words.counted(int(faults.get("requests", 0)), "request")
        lines.append(
            f"{name} left {unanswered:,} of {asked} unanswered; it {did}"
            f"{f', as in {said!r}' if said else ''}"
        )
    return lines


def _used(usage: Mapping[str, float]) -> tuple[str, ...]:
    """What answering consumed, in words: "1,806 of them in no catalog"."""
    names = [*words.USAGE, *(name for name in usage if name not in words.USAGE)]
    told = [(words.USAGE.get(name, name), float(usage.get(name, 0.0))) for name in names]
    return tuple(
        f"{f'{amount:,.0f}' if amount.is_integer() else words.rounded(amount)} {what}"
        for what, amount in told
        if amount
    )


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


def experiment_rows(result: AuditResult) -> list[tuple[str, ...]]:
    """What an A/B test would have said, beside the effect of switching everybody."""

    def text(one: Mapping[str, Any]) -> str:
        effect = words.rounded(one["effect"])
        if one["low"] is None:
            return effect
        return f"{effect} ({words.rounded(one['low'])} to {words.rounded(one['high'])})"

    return [
        (
            f"{row['experiment']}: {row['meaning']}",
            text(row["naive"]),
            text(row["twin"]),
            text(row["interference"]),
            words.rounded(row["naive_user_error"]),
        )
        for row in result.experiments
    ]


EXPERIMENT_HEADS = (
    "outcome",
    "A/B estimate",
    "effect of switching everybody",
    "interference",
    "standard error a platform would report",
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

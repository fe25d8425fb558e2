"""Two audits side by side: what is new, worse, better, fixed, or cannot be compared.

Findings are paired by key (recommender and check). The change of an effect gets an interval by
MOVER (Zou & Donner 2008) from the two intervals, which treats the audits as independent. With the
same seeds the same worlds stand behind both, their effects go up and down together, and the bounds
given here are wider than they need be: a change is missed rather than invented. Where both runs
are at hand and lived in the same worlds, what people got is compared world by world.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

from ..audit.finding import Finding, Verdict
from . import words
from .trajectories import MEASURES, band, late_means

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..audit.result import AuditResult
    from ..simulation.run import Run

Status = Literal["new", "worse", "fixed", "better", "unchanged", "unclear", "not comparable"]

STATUSES: Mapping[Status, str] = {
    "new": "a violation that was not there before",
    "worse": "the effect grew, with confidence",
    "fixed": "a violation before, a pass now",
    "better": "the effect shrank, with confidence",
    "unchanged": "the same verdict, and no certain change of the effect",
    "unclear": "the verdict changed, but the effect did not with confidence",
    "not comparable": "missing in one of the two, or asked differently",
}

_ORDER = list(STATUSES)
_SAME = ("statistic", "unit_label", "unit", "estimand", "tau", "alpha")


@dataclass(frozen=True)
class Change:
    """One finding in two audits.

    Attributes:
        key: "multvae/bubbles.slate-narrowing".
        status: see STATUSES.
        before, after: the verdicts, "" where the finding is absent.
        difference: effect after minus before, harm positive; None when it cannot be formed.
        low, high: bounds of the difference at the findings' own level.
        note: why it is not comparable, or what else differs.
        decides: a deciding check; others inform, and are no regression.
    """

    key: str
    status: Status
    before: str
    after: str
    effect_before: float | None = None
    effect_after: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    note: str = ""
    decides: bool = True


@dataclass(frozen=True)
class Outcome:
    """A measure of what happened to people, after minus before, over the last quarter of steps."""

    recommender: str
    measure: str
    unit: str
    difference: float
    low: float | None
    high: float | None
    paired: bool


@dataclass(frozen=True)
class Comparison:
    """Everything that changed between two audits.

    Attributes:
        changes: findings, what needs attention first.
        outcomes: what people got, when both runs were given.
        notes: what differs between the two audits themselves.
    """

    changes: tuple[Change, ...]
    outcomes: tuple[Outcome, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[Change, ...]:
        """What is new or worse among the checks that decide."""
        return tuple(c for c in self.changes if c.decides and c.status in ("new", "worse"))

    @property
    def exit_code(self) -> int:
        """1 when a deciding check is new or worse; 4 when no deciding check of the two can be
        compared, which says nothing; else 0."""
        if self.regressions:
            return 1
        deciding = [c.status for c in self.changes if c.decides]
        return 4 if deciding and set(deciding) == {"not comparable"} else 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "changes": [asdict(c) for c in self.changes],
            "outcomes": [asdict(o) for o in self.outcomes],
            "notes": list(self.notes),
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        from rich.console import Console

        out = StringIO()
        Console(file=out, width=110, color_system=None).print(self.__rich__())
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("change", "finding", "verdict", "effect", "difference (bounds)"):
            table.add_column(name, overflow="fold")
        listed = [c for c in self.changes if c.status != "unchanged"]
        for c in listed:
            verdict = (
                c.after if c.before == c.after else f"{c.before or 'none'} → {c.after or 'none'}"
            )
            effect = f"{words.rounded(c.effect_before)} → {words.rounded(c.effect_after)} {c.unit}"
            table.add_row(
                Text(c.status, style="bold" if c in self.regressions else ""),
                Text(c.key + ("" if c.decides else " (informs only)")),
                Text(verdict),
                Text(effect if c.difference is not None else ""),
                Text(c.note or _bounds(c.difference, c.low, c.high)),
            )
        parts: list[RenderableType] = [Text(note) for note in self.notes]
        if listed:
            parts.append(table)
        if self.outcomes:
            got = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
            for name in ("recommender", "what people got", "difference (95 % interval)", ""):
                got.add_column(name, overflow="fold")
            for o in self.outcomes:
                got.add_row(
                    Text(o.recommender),
                    Text(f"{o.measure} ({o.unit})"),
                    Text(_bounds(o.difference, o.low, o.high)),
                    Text("paired by world" if o.paired else "separate worlds"),
                )
            parts += [Text(""), got]
        counts = {s: sum(c.status == s for c in self.changes) for s in STATUSES}
        said = words.listed(f"{n} {s}" for s, n in counts.items() if n) or "nothing to compare"
        parts += [Text(""), Text(f"result  {said} (exit {self.exit_code})")]
        return Group(*parts)


def compare(
    before: AuditResult,
    after: AuditResult,
    *,
    run_before: Run | None = None,
    run_after: Run | None = None,
) -> Comparison:
    """What changed from one audit to the next.

    Args:
        before, after: two audit results; findings are paired by their key. Where each is about
            one recommender, and they have two names, the later is taken for the successor.
        run_before, run_after: the runs behind them; with both, what people got is compared too,
            world by world when both lived in the same worlds.
    """
    followed = _followed(before, after)
    old = {f.key: f for f in (_renamed(f, followed) for f in before.findings)}
    new = {f.key: f for f in after.findings}
    changes = [_change(key, old.get(key), new.get(key)) for key in dict.fromkeys((*new, *old))]
    outcomes: tuple[Outcome, ...] = ()
    if run_before is not None and run_after is not None:
        outcomes = _outcomes(run_before, run_after, followed)
    notes = [f"{b} took the place of {a}" for a, b in followed.items()]
    if before.plan.hash != after.plan.hash:
        differ = _settings(before.study, after.study)
        named = f", which differ in {words.listed(differ)}" if differ else ""
        notes.append(f"the two audits follow different plans{named}")
    return Comparison(
        tuple(sorted(changes, key=lambda c: (_ORDER.index(c.status), c.key))),
        outcomes,
        tuple(notes),
    )


def _change(key: str, old: Finding | None, new: Finding | None) -> Change:
    if old is None or new is None:
        present = new if new is not None else old
        assert present is not None
        # a violation that nobody looked for before is news all the same
        fresh = old is None and present.verdict is Verdict.VIOLATION
        return Change(
            key,
            "new" if fresh else "not comparable",
            "" if old is None else str(old.verdict),
            "" if new is None else str(new.verdict),
            note="was not asked before" if old is None else "is no longer asked",
            decides=present.check.role == "gate",
        )
    differs = [n for n in _SAME if getattr(old.check, n) != getattr(new.check, n)]
    difference = _difference(old, new) if not set(differs) - {"tau", "alpha"} else None
    note, status = "", _status(old, new, difference)
    if differs:
        note = f"asked differently: {', '.join(differs)}"
        # nor may another wording of the question hide a violation
        status = "new" if status == "new" else "not comparable"
    elif Verdict.NOT_RUN in (old.verdict, new.verdict) and old.verdict is not new.verdict:
        note = f"not run {'before' if old.verdict is Verdict.NOT_RUN else 'now'}: "
        note += old.because if old.verdict is Verdict.NOT_RUN else new.because
    return Change(
        key,
        status,
        str(old.verdict),
        str(new.verdict),
        old.effect,
        new.effect,
        difference=difference[0] if difference else None,
        low=difference[1] if difference else None,
        high=difference[2] if difference else None,
        unit=new.check.unit_label,
        note=note,
        decides=new.check.role == "gate",
    )


def _status(
    old: Finding, new: Finding, difference: tuple[float, float | None, float | None] | None
) -> Status:
    if new.verdict is Verdict.VIOLATION and old.verdict is not Verdict.VIOLATION:
        return "new"
    if Verdict.NOT_RUN in (old.verdict, new.verdict):
        return "unchanged" if old.verdict is new.verdict else "not comparable"
    if old.verdict is Verdict.VIOLATION and new.verdict is Verdict.PASS:
        return "fixed"
    low, high = (difference[1], difference[2]) if difference else (None, None)
    if low is not None and low > 0:
        return "worse"
    if high is not None and high < 0:
        return "better"
    return "unchanged" if old.verdict is new.verdict else "unclear"


def _difference(old: Finding, new: Finding) -> tuple[float, float | None, float | None] | None:
    """New minus old with MOVER bounds, each at the findings' one-sided level."""
    if old.effect is None or new.effect is None:
        return None
    d = new.effect - old.effect
    ends = (old.low, old.high, new.low, new.high)
    if any(end is None or not math.isfinite(end) for end in ends):
        return d, None, None
    old_low, old_high, new_low, new_high = (float(e) for e in ends if e is not None)
    low = d - math.hypot(new.effect - new_low, old_high - old.effect)
    high = d + math.hypot(new_high - new.effect, old.effect - old_low)
    return d, low, high


def _followed(before: AuditResult, after: AuditResult) -> dict[str, str]:
    """{"multvae": "ease"} where one recommender alone was audited, and then another alone."""
    if len(before.targets) == len(after.targets) == 1 and before.targets != after.targets:
        return {before.targets[0]: after.targets[0]}
    return {}


_TABLES = ("study", "world", "people", "audit")
_MOST = 6  # settings named


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """ "[study] steps (20, then 40)": what else than the recommender was not the same."""
    found = []
    for table in _TABLES:
        old, new = before.get(table) or {}, after.get(table) or {}
        for key in dict.fromkeys((*old, *new)):
            if (table, key) != ("study", "name") and old.get(key) != new.get(key):
                short = len(f"{old.get(key)}{new.get(key)}") <= 40
                values = f" ({old.get(key)}, then {new.get(key)})" if short else ""
                found.append(f"[{table}] {key}{values}")
    return found if len(found) <= _MOST else [*found[:_MOST], f"{len(found) - _MOST} more"]


def _renamed(finding: Finding, followed: Mapping[str, str]) -> Finding:
    name = followed.get(finding.recommender, finding.recommender)
    return replace(finding, recommender=name)


def _outcomes(before: Run, after: Run, followed: Mapping[str, str]) -> tuple[Outcome, ...]:
    """Differences in what happened, for recommenders and measures that both runs have."""
    paired = _same_worlds(before, after)
    found = []
    for earlier in before.targets:
        target = followed.get(earlier, earlier)
        if target not in after.targets:
            continue
        arms = before.arm(earlier, "target"), after.arm(target, "target")
        if arms[0] is None or arms[1] is None:
            continue
        for measure in MEASURES:
            columns = before.series(arms[0], 0).columns, after.series(arms[1], 0).columns
            if measure.key not in columns[0] or measure.key not in columns[1]:
                continue
            old = late_means(before, arms[0], measure.key)
            new = late_means(after, arms[1], measure.key)
            row = _paired(new - old) if paired else _separate(old, new)
            if row is not None:
                found.append(Outcome(target, measure.title, measure.unit, *row, paired))
    return tuple(found)


def _same_worlds(a: Run, b: Run) -> bool:
    """Whether world w of one run holds the same people, with the same luck, as w of the other."""
    one, two = a.study, b.study
    return (one.study.seed, one.study.worlds, one.study.steps, one.world, one.people) == (
        two.study.seed,
        two.study.worlds,
        two.study.steps,
        two.world,
        two.people,
    )


def _paired(differences: Any) -> tuple[float, float | None, float | None] | None:
    over = band(differences[:, None])
    return _finite(float(over.mean[0]), float(over.low[0]), float(over.high[0]))


def _separate(old: Any, new: Any) -> tuple[float, float | None, float | None] | None:
    a, b = band(old[:, None]), band(new[:, None])
    d = float(b.mean[0] - a.mean[0])
    half = math.hypot(float(b.high[0] - b.mean[0]), float(a.high[0] - a.mean[0]))
    return _finite(d, d - half, d + half)


def _finite(d: float, low: float, high: float) -> tuple[float, float | None, float | None] | None:
    if not math.isfinite(d):
        return None
    return (d, low, high) if math.isfinite(low) and math.isfinite(high) else (d, None, None)


def _bounds(d: float | None, low: float | None, high: float | None) -> str:
    if d is None:
        return ""
    if low is None or high is None:
        return words.rounded(d)
    return f"{words.rounded(d)} ({words.rounded(low)} to {words.rounded(high)})"

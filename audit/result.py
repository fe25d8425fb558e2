"""What an audit hands on: every finding, the plan, the self-test, and what they rest on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any

from ..recommenders.errors import UserError
from .finding import Finding, Table, Verdict
from .plan import Plan, check_from_json
from .selftest_result import SelfTestResult

AUDIT_SCHEMA = 2


@dataclass(frozen=True)
class AuditResult:
    """The outcome of an audit, for people (reports) and programs (audit.json).

    Attributes:
        findings: one per check and target, in the order of the plan.
        plan: what was declared, with every departure from it.
        targets: labels of the audited recommenders.
        access: target -> letters of what it let itself be asked (B, S, L, W, T).
        selftest: how well the auditors do on planted harms and clean controls, if measured.
        faults: target -> what its recommender did wrong during the loop; "people under ARM" ->
            what went wrong when people were asked by chat.
        study: the study as run, every default written out.
        manifest: of the run directory; {} for a run in memory.
        coverage: (checks that ran, checks that apply).
        created: ISO date and time.
        versions: package versions.
        realism: {"rows": [...]}: simulated against real behaviour; None for synthetic worlds.
        experiments: naive A/B estimates beside twin-world effects, see audit.experiments.Contrast.
        training: target -> how it was made, how often it learned in the loop, and its losses, see
            audit.training.training_of.
        said: target -> what it said in words, see audit.speech.speech_of; without those that said
            nothing.
    """

    findings: tuple[Finding, ...]
    plan: Plan
    targets: tuple[str, ...]
    access: dict[str, str]
    selftest: SelfTestResult | None = None
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    coverage: tuple[int, int] = (0, 0)
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    realism: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    experiments: tuple[dict[str, Any], ...] = ()
    said: dict[str, Any] = field(default_factory=dict)

    def of(self, family: str | None = None, target: str | None = None) -> tuple[Finding, ...]:
        """The findings of a family, about a target."""
        return tuple(
            f
            for f in self.findings
            if (family is None or f.check.family == family)
            and (target is None or f.recommender == target)
        )

    def verdict(self, family: str | None = None, target: str | None = None) -> Verdict:
        """All gates together, see :func:`overall`."""
        return overall(self.of(family, target))

    def exit_code(self, allow_inconclusive: bool = False) -> int:
        """0 pass; 1 a violation; 4 undecided, or a family of questions got no answer at all, or a
        pass that another user model turns into a violation.

        Args:
            allow_inconclusive: 0 instead of 4 when checks ran, but left questions open.
        """
        verdict = self.verdict()
        if verdict is Verdict.VIOLATION:
            return 1
        if verdict is Verdict.INCONCLUSIVE:
            return 0 if allow_inconclusive else 4
        return 0 if verdict is Verdict.PASS else 4

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values that fit audit.schema.json; undefined numbers are null."""
        return {
            "schema": AUDIT_SCHEMA,
            "created": self.created,
            "verdict": str(self.verdict()),
            "exit_code": self.exit_code(),
            "targets": list(self.targets),
            "access": dict(self.access),
            "coverage": {"ran": self.coverage[0], "applicable": self.coverage[1]},
            "findings": [finding_to_json(finding) for finding in self.findings],
            "plan": self.plan.to_json(),
            "selftest": plain(self.selftest.to_json()) if self.selftest else None,
            "faults": plain(self.faults),
            "study": plain(self.study),
            "manifest": plain(self.manifest),
            "versions": dict(self.versions),
            "realism": plain(self.realism),
            "training": plain(self.training),
            "experiments": plain(list(self.experiments)),
            "said": plain(self.said),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AuditResult:
        """The inverse of :meth:`to_json`.

        Raises:
            UserError: it is no audit result, or of another schema.
        """
        if data.get("schema") != AUDIT_SCHEMA:
            raise UserError(
                f"audit results of schema {AUDIT_SCHEMA} can be read, got {data.get('schema')!r}; "
                "audit the run again"
            )
        try:
            held = data["selftest"]
            return cls(
                tuple(finding_from_json(finding) for finding in data["findings"]),
                Plan.from_json(data["plan"]),
                tuple(data["targets"]),
                dict(data["access"]),
                SelfTestResult.from_json(held) if held else None,
                {name: dict(found) for name, found in data["faults"].items()},
                dict(data["study"]),
                dict(data["manifest"]),
                (data["coverage"]["ran"], data["coverage"]["applicable"]),
                data["created"],
                dict(data["versions"]),
                data["realism"],
                dict(data["training"]),
                tuple(dict(row) for row in data["experiments"]),
                dict(data.get("said", {})),  # results before it hold no words
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"this is no audit result: {type(error).__name__}: {error}") from error


def overall(findings: Iterable[Finding]) -> Verdict:
    """The verdict of several findings: their gates, the worst first.

    Inside one family about one recommender a gate that needs access nobody gave leaves the others
    to speak. Where no gate of such a family ran, its question has no answer: that is an open
    question beside the answers to others, or refusing access would be a way to pass. A gate that
    was asked, but that the data were too few for, is an open question too, or a smaller study
    would be a way to pass; and so is a pass that another user model turns into a violation.
    """
    asked: dict[tuple[str, str], set[Verdict]] = {}
    for f in findings:
        if f.check.role == "gate":
            asked.setdefault((f.recommender, f.check.family), set()).add(f.standing)
    verdicts = set().union(*asked.values())
    for verdict in (Verdict.VIOLATION, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    if Verdict.PASS not in verdicts:
        return Verdict.NOT_RUN
    answered = all(Verdict.PASS in found for found in asked.values())
    return Verdict.PASS if answered else Verdict.INCONCLUSIVE


def schema() -> dict[str, Any]:
    """The JSON Schema that ``AuditResult.to_json`` keeps to."""
    text = resources.files(__package__).joinpath("audit.schema.json").read_text("utf-8")
    held: dict[str, Any] = json.loads(text)
    return held


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """A finding as plain JSON values, with its key."""
    out: dict[str, Any] = {"key": finding.key}
    for f in fields(Finding):
        value = getattr(finding, f.name)
        if f.name == "check":
            value = {c.name: getattr(value, c.name) for c in fields(value)}
        elif f.name == "tables":
            value = [{c.name: getattr(t, c.name) for c in fields(t)} for t in value]
        elif f.name == "sensitivity":
            value = [
                {"user_model": model, "verdict": verdict, "effect": effect}
                for model, verdict, effect in value
            ]
        out[f.name] = plain(value)
    return out


def finding_from_json(data: Mapping[str, Any]) -> Finding:
    """The inverse of :func:`finding_to_json`."""
    held = {name: value for name, value in data.items() if name != "key"}
    held["check"] = check_from_json(held["check"])
    held["verdict"] = Verdict(held["verdict"])
    held["verdict_alone"] = Verdict(held["verdict_alone"])
    held["tables"] = tuple(
        Table(t["title"], tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]))
        for t in held["tables"]
    )
    held["sensitivity"] = tuple(
        (s["user_model"], s["verdict"], s["effect"]) for s in held["sensitivity"]
    )
    held["suppressed"], held["notes"] = tuple(held["suppressed"]), tuple(held["notes"])
    return Finding(**held)


def plain(value: object) -> Any:
    """Only what JSON knows: numpy numbers as numbers, tuples as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "item"):  # a numpy scalar
        return plain(value.item())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)

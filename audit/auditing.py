"""Carries out a plan: every auditor on every target, judged together, repeated under other people.

An auditor may be a third party's. One that raises costs only its own checks: they are reported
NOT RUN with its name, the exception's type and its message.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..recommenders.faults import example_of
from ..recommenders.randomness import child_seed
from .auditor import AUDITORS, Auditor, auditors_for, named_auditor
from .evidence import Evidence, access_of
from .experiments import contrasts
from .finding import Check, Finding, Measurement, Verdict
from .inference import judge, judge_all
from .plan import FILE_NAME, Plan, contained
from .result import AuditResult, overall
from .selftest_result import SelfTestResult
from .speech import speech_of
from .training import training_of

if TYPE_CHECKING:
    from ..simulation.run import Run
    from ..simulation.study import AuditSection

__all__ = [
    "AUDITORS",
    "AuditResult",
    "Auditor",
    "Evidence",
    "Plan",
    "audit_run",
    "auditors_for",
    "named_auditor",
    "overall",
]

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``: ``what`` is the auditor at work."""

UNANSWERED = (
    (
        *("raised", "timed_out", "not_slates", "wrong_shape", "not_finite", "switched_off"),
        *("unreachable", "rate_limited", "server_error", "rejected", "bad_reply", "over_budget"),
        *("refused", "truncated", "empty", "not_json", "not_valid", "ambiguous", "no_titles"),
    ),
    ("unknown_item",),
    ("short",),
)
"""Kinds of fault that can leave a person without an answer, what explains it best first; the
others are always repaired."""

WORTH_A_NOTE, TOO_MANY = 0.01, 0.5
"""Shares of unanswered requests: from the first on findings say so, beyond the second there is
nothing left to judge."""

JUDGED_UNSHOWN = ("generation",)
"""Families about what a recommender answers, whether or not anybody could be shown it."""

_LIBRARIES = ("loopaudit", "fairlearn", "mesa", "numpy", "polars", "scipy", "torch")


def audit_run(
    run: Run,
    *,
    settings: AuditSection | None = None,
    auditors: Iterable[Auditor] | None = None,
    plan: Plan | None = None,
    selftest: SelfTestResult | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """Ask every question of every target of a run.

    Args:
        run: the finished simulation.
        settings: how strict; the study's own when None.
        auditors: who asks; those the settings name when None.
        plan: what was declared before; when None, the run's own or its directory's plan.json.
            Departures are listed; without any plan, that one was declared only after the run.
        selftest: stands in the result, and makes the ruler; the shipped one when None.
        progress: told before each auditor starts, and at the end.

    Returns:
        The result; everything in it but ``created`` repeats exactly.

    Raises:
        UserError: an unknown auditor or threshold, or a plan.json that was changed.
    """
    from ..simulation.running.executors import one_thread  # which knows of Mesa

    settings = settings or run.study.audit
    asked = tuple(auditors) if auditors is not None else auditors_for(settings)
    carried_out = Plan.declare(run.study, asked, settings=settings, when="after the run")
    planned = plan or _plan_of(run) or carried_out
    selftest = selftest or SelfTestResult.shipped()
    checks = {check.id: check for check in carried_out.checks}
    work = _Work(run, settings, checks, carried_out, len(asked), progress)

    measured: list[tuple[Check, Measurement, str]] = []
    strays: list[str] = []
    access: dict[str, str] = {}
    with one_thread():  # an audit trains too, and must repeat exactly on any machine
        for target in run.targets:
            letters, access_note = _access(run, target)
            access[target] = "".join(sorted(letters))
            for auditor in asked:
                found, stray = work.ask(auditor, target, letters, access_note)
                measured += found
                strays += stray
        work.say("done")

        seed = child_seed(run.study.study.seed, "judge")
        findings = judge_all(measured, seed=seed)
        findings = tuple(
            replace(
                finding,
                sensitivity=work.sensitivity(finding, seed),
                ruler=selftest.ruler(finding.check.id, finding.effect) if selftest else "",
            )
            for finding in findings
        )
    deviations = [*carried_out.compared(planned), *strays]
    deviations += _not_measured(findings)
    ran = sum(f.verdict is not Verdict.NOT_RUN for f in findings)
    realism = run.realism
    return AuditResult(
        findings=findings,
        plan=planned.departing(deviations),
        targets=tuple(run.targets),
        access=access,
        selftest=selftest,
        faults={target: run.faults(target) for target in run.targets} | _people_faults(run),
        study=run.study.model_dump(mode="json"),
        manifest=run.manifest,
        coverage=(ran, len(findings)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        realism={"rows": realism} if realism else None,
        experiments=tuple(one.to_json() for one in contrasts(run)),
        training={target: training_of(run, target) for target in run.targets},
        said={target: told for target in run.targets if (told := speech_of(run, target))},
    )


class _Work:
    """The measuring part of an audit: which auditor saw what, and under whom else to look."""

    def __init__(
        self,
        run: Run,
        settings: AuditSection,
        checks: Mapping[str, Check],
        plan: Plan,
        n_auditors: int,
        progress: Progress | None,
    ) -> None:
        self.run = run
        self.settings = settings
        self.checks = checks
        self.plan = plan
        self.others = dict(run.sensitivity)
        self.progress = progress
        self.done = 0
        self.total = len(run.targets) * n_auditors * (1 + len(self.others))
        self.elsewhere: dict[tuple[str, str, str], Measurement] = {}  # model, target, check id

    def say(self, what: str) -> None:
        if self.progress is not None:
            self.progress(self.done, self.total, what)

    def ask(
        self, auditor: Auditor, target: str, letters: frozenset[str], access_note: str
    ) -> tuple[list[tuple[Check, Measurement, str]], list[str]]:
        """One auditor on one target: its measurements, and what it measured undeclared."""
        own = [self.checks[name] for name in self.plan.auditors.get(auditor.name, ())]
        seed = child_seed(self.run.study.study.seed, "audit", auditor.name)
        evidence = Evidence(
            self.run,
            target,
            self.settings,
            letters,
            seed,
            progress=lambda doing: self.say(f"{auditor.name}: {target}, {doing}"),
        )
        told = _Unanswered.of(self.run.faults(target))
        self.say(f"{auditor.name}: {target}")
        reasons: dict[str, str] = {}
        for check in own:
            if told.share > TOO_MANY and check.family not in JUDGED_UNSHOWN:
                reasons[check.id] = f"{told.text}: there is nothing left to judge"
            elif (reason := evidence.missing(check)) is not None:
                reasons[check.id] = f"{reason}{access_note}"
        saw, stray = _contained(auditor, evidence, own, reasons)
        self.done += 1
        found = []
        for check in own:
            seen = Measurement(missing=reasons[check.id]) if check.id in reasons else saw[check.id]
            if told.share >= WORTH_A_NOTE and check.id not in reasons:
                seen = replace(seen, notes=(*seen.notes, f"{told.text}."))
            found.append((check, seen, target))
        for model, other in self.others.items():
            self.say(f"{auditor.name}: {target}, {model} people")
            self._elsewhere(auditor, replace(evidence, run=other), model, own, found)
            self.done += 1
        undeclared = [
            f"{auditor.name} measured {name!r}, which it had not declared; left out."
            for name in stray
        ]
        return found, undeclared

    def _elsewhere(
        self,
        auditor: Auditor,
        evidence: Evidence,
        model: str,
        own: list[Check],
        found: list[tuple[Check, Measurement, str]],
    ) -> None:
        """The same measurement under another user model, of checks that are about the loop: others
        probe a recommender that these people have not met yet."""
        ran = {check.id for check, seen, _ in found if seen.missing is None}
        again = [
            check
            for check in own
            if check.unit == "world"
            and check.needs_arms
            and check.id in ran
            and evidence.missing(check) is None
        ]
        if not again:
            return
        # no more access than these checks need: what else the auditor can do is not repeated
        letters = frozenset("".join(check.access for check in again)) & evidence.access
        saw, _ = _contained(auditor, replace(evidence, access=letters), again, {})
        for check in again:
            self.elsewhere[model, evidence.target, check.id] = saw[check.id]

    def sensitivity(self, finding: Finding, seed: int) -> tuple[tuple[str, str, float | None], ...]:
        """(user model, verdict alone, effect) for each other user model the finding was repeated
        under."""
        repeated = []
        for model in self.others:
            seen = self.elsewhere.get((model, finding.recommender, finding.check.id))
            if seen is not None:
                other = judge(finding.check, seen, finding.recommender, seed=seed)
                repeated.append((model, str(other.verdict_alone), other.effect))
        return tuple(repeated)


def _not_measured(findings: Iterable[Finding]) -> list[str]:
    """What was planned and did not run, a line for each reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for f in findings:
        if f.verdict is Verdict.NOT_RUN:
            reasons.setdefault((f.recommender, f.because), []).append(f.check.id)
    return [
        f"{recommender}/{', '.join(ids)} {'was' if len(ids) == 1 else 'were'} planned, but not "
        f"measured: {why}."
        for (recommender, why), ids in reasons.items()
    ]


def _contained(
    auditor: Auditor, evidence: Evidence, own: list[Check], reasons: Mapping[str, str]
) -> tuple[dict[str, Measurement], list[str]]:
    """What the auditor saw of each check that can be made, and ids it never declared."""
    possible = [check.id for check in own if check.id not in reasons]
    if not possible:
        return {}, []
    try:
        returned = dict(auditor.measure(evidence))
    except Exception as error:  # a third party's code; what happened reaches the report
        problem = f"auditor {auditor.name!r} failed: {contained(error)}"
        return {name: Measurement(missing=problem) for name in possible}, []
    saw = {}
    for name in possible:
        seen = returned.get(name)
        if seen is None:
            seen = Measurement(missing=f"auditor {auditor.name!r} returned nothing for it")
        elif not isinstance(seen, Measurement):
            kind = type(seen).__name__
            seen = Measurement(missing=f"auditor {auditor.name!r} returned {kind}, no Measurement")
        saw[name] = seen
    declared = {check.id for check in own}
    return saw, sorted(str(name) for name in returned if name not in declared)


@dataclass(frozen=True)
class _Unanswered:
    """How many of a recommender's requests got no answer at all."""

    share: float
    text: str

    @classmethod
    def of(cls, faults: Mapping[str, Any]) -> _Unanswered:
        requests = int(faults.get("requests", 0))
        counts = faults.get("counts", {})
        n = int(faults.get("unanswered", 0))
        explains = [k for k in UNANSWERED if 2 * sum(int(counts.get(kind, 0)) for kind in k) >= n]
        kinds = explains[0] if explains else ("short",)
        worst = max(kinds, key=lambda kind: int(counts.get(kind, 0)))
        said = example_of(worst, faults.get("examples", ()))
        text = (
            f"the recommender left {n:,} of {requests:,} requests unanswered (mostly: "
            f"{worst.replace('_', ' ')}{f', as in {said!r}' if said else ''}), "
            "and these people were shown nothing"
        )
        return cls(n / requests if requests else 0.0, text)


def _people_faults(run: Run) -> dict[str, dict[str, Any]]:
    """What went wrong when people were asked by chat, by the arm they lived under."""
    if not run.study.asks:
        return {}
    told = {arm: run.people(arm) for arm in run.arms}
    return {f"people under {arm}": dict(one["faults"]) for arm, one in told.items() if one}


def _plan_of(run: Run) -> Plan | None:
    """The plan that was declared before the run was lived, or in its directory."""
    if isinstance(run.declared, Plan):
        return run.declared
    if run.path is None or not (run.path / FILE_NAME).exists():
        return None
    return Plan.load(run.path / FILE_NAME)


def _access(run: Run, target: str) -> tuple[frozenset[str], str]:
    try:
        return access_of(run, target), ""
    except Exception as error:  # a third party's recommender; its run is still there to be read
        return frozenset({"B", "L"}), f" (it could not be made again: {contained(error)})"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found

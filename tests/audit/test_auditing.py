"""Carrying out a plan: containment, access, other user models, and the result that is handed on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pytest
import torch

from loopaudit.audit.auditing import audit_run
from loopaudit.audit.evidence import Evidence
from loopaudit.audit.finding import Check, Measurement, Table, Verdict
from loopaudit.audit.plan import Plan
from loopaudit.audit.result import AuditResult, overall, schema
from loopaudit.audit.selftest_result import SelfTestResult, SelfTestRow
from loopaudit.recommenders.border import Capabilities
from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.platform.training import SCHEMA
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import AuditSection, RecommenderSection, Study, StudySection

CHECK = Check(
    id="bubbles.toy",
    family="bubbles",
    question="Does it narrow?",
    estimand="target minus random",
    statistic="narrowing",
    unit_label="bits",
    unit="world",
    tau=0.25,
    tau_source="convention",
    needs_arms=("random",),
)
WORLDS = 10


@dataclass
class FakeRun:
    """As much of a Run as an audit touches."""

    study: Study = field(
        default_factory=lambda: Study(
            study=StudySection(worlds=WORLDS), recommenders=(RecommenderSection(name="ease"),)
        )
    )
    people: str = "habitual"
    kinds: tuple[str, ...] = ("target", "random", "none")
    sensitivity: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    declared: object | None = None
    counts: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    examples: list[str] = field(default_factory=list)
    scores: str = "none"
    broken: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)
    realism: list[dict[str, Any]] = field(default_factory=list)
    worlds: int = WORLDS

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(r.name for r in self.study.recommenders)

    def arm(self, target: str, kind: str) -> str | None:
        return kind if kind in self.kinds else None

    def spec(self, target: str) -> RecommenderSection:
        return next(r for r in self.study.recommenders if r.name == target)

    def create(self, target: str) -> Any:
        if self.broken:
            raise RuntimeError("the licence ran out")
        return SimpleNamespace(
            can_score=self.scores != "none",
            recommender=SimpleNamespace(fit=lambda: None),
            capabilities=Capabilities(scores=self.scores),
        )

    def said_counts(self, arm: str, world: int) -> pl.DataFrame:
        return pl.DataFrame()

    def faults(self, arm: str) -> dict[str, Any]:
        held = {"counts": self.counts, "unanswered": self.unanswered}
        return {"requests": 1000, "examples": self.examples, **held}

    def series(self, arm: str, world: int) -> pl.DataFrame:
        return pl.DataFrame({"retrained": [False, True, True]})

    def training(self, arm: str, world: int) -> pl.DataFrame:
        rows = [(0, -1, epoch, 5.0 - epoch + world) for epoch in range(1, 5)]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    def parameters(self, arm: str) -> int | None:
        return 7


class Toy:
    """Measures by a function of the evidence."""

    family = "bubbles"
    question = "Does it narrow?"

    def __init__(
        self,
        of: Callable[[Evidence], dict[str, Measurement]],
        *checks: Check,
        name: str = "toy",
    ) -> None:
        self.name = name
        self.of = of
        self.own = checks or (CHECK,)

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        return self.own

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        return self.of(evidence)


def around(mean: float, n: int = WORLDS) -> np.ndarray:
    return mean + 0.1 * np.linspace(-1, 1, n)


def narrows(mean: float) -> Callable[[Evidence], dict[str, Measurement]]:
    return lambda evidence: {CHECK.id: Measurement(effects=around(mean))}


def audit(*auditors: Toy, run: FakeRun | None = None, **more: Any) -> AuditResult:
    return audit_run(run or FakeRun(), auditors=auditors, **more)  # a stand-in for a Run


def test_a_planted_effect_is_found_and_an_absent_one_passes() -> None:
    assert audit(Toy(narrows(0.6))).verdict() is Verdict.VIOLATION
    assert audit(Toy(narrows(0.0))).verdict() is Verdict.PASS
    assert audit(Toy(narrows(0.25))).verdict() is Verdict.INCONCLUSIVE


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch with two threads, and afterwards as before: sums of other tests must not differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_auditors_compute_in_one_thread_so_that_they_find_the_same_on_any_machine() -> None:
    seen = []

    def looks(evidence: Evidence) -> dict[str, Measurement]:
        seen.append((torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]))
        return narrows(0.0)(evidence)

    audit(Toy(looks))
    assert set(seen) == {(1, "1")}
    assert torch.get_num_threads() == 2


# -- containment -------------------------------------------------------------------------------


def raises(evidence: Evidence) -> dict[str, Measurement]:
    raise ZeroDivisionError("division\nby zero")


def test_an_auditor_that_raises_costs_only_its_own_checks() -> None:
    other = replace(CHECK, id="bubbles.other")
    result = audit(
        Toy(raises, name="crashing"),
        Toy(lambda e: {other.id: Measurement(effects=around(0.6))}, other, name="sound"),
    )
    crashed, sound = result.findings
    assert crashed.verdict is Verdict.NOT_RUN
    assert crashed.because == ("auditor 'crashing' failed: ZeroDivisionError: division by zero")
    assert sound.verdict is Verdict.VIOLATION
    assert result.coverage == (1, 2)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({}, "returned nothing for it"),
        ({CHECK.id: 0.4}, "returned float, no Measurement"),
        (None, "failed: TypeError"),
        ({CHECK.id: Measurement(effects=np.array([[None]]))}, "no value in any of 1 worlds"),
        ({CHECK.id: Measurement(effects=np.array(["?"]))}, "cannot be judged"),
    ],
)
def test_nonsense_from_an_auditor_is_not_run(returned: Any, said: str) -> None:
    (finding,) = audit(Toy(lambda e: returned)).findings
    assert finding.verdict is Verdict.NOT_RUN
    assert said in finding.because


def test_an_interrupt_is_not_contained() -> None:
    def interrupted(evidence: Evidence) -> dict[str, Measurement]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(Toy(interrupted))


def test_what_was_never_declared_is_not_judged_but_listed() -> None:
    result = audit(Toy(lambda e: {**narrows(0.0)(e), "bubbles.fished": Measurement()}))
    assert [f.check.id for f in result.findings] == [CHECK.id]
    assert any("'bubbles.fished', which it had not declared" in d for d in result.plan.deviations)


# -- what is missing ---------------------------------------------------------------------------


def test_a_missing_arm_is_not_run_and_the_auditor_is_not_asked() -> None:
    (finding,) = audit(Toy(raises), run=FakeRun(kinds=("target",))).findings
    assert finding.verdict is Verdict.NOT_RUN
    assert "the arm 'random', which was not run" in finding.because


def test_missing_access_is_not_run_with_what_it_would_need() -> None:
    scores = replace(CHECK, access="BS")
    result = audit(Toy(narrows(0.0), scores))
    assert "scores of the whole catalog, which 'ease' does not offer" in result.findings[0].because
    assert result.access == {"ease": "BLW"}
    open_box = audit(Toy(narrows(0.0), scores), run=FakeRun(scores="ordinal"))
    assert open_box.findings[0].verdict is Verdict.PASS
    assert open_box.access == {"ease": "BLSW"}


def test_a_recommender_that_cannot_be_made_again_is_judged_by_its_log() -> None:
    wants_more = replace(CHECK, id="bubbles.more", access="BW")
    result = audit(Toy(narrows(0.0), CHECK, wants_more), run=FakeRun(broken=True))
    assert result.findings[0].verdict is Verdict.PASS
    assert "RuntimeError: the licence ran out" in result.findings[1].because


def test_people_who_were_shown_nothing_are_no_evidence_of_a_pass() -> None:
    few = FakeRun(counts={"raised": 30, "duplicate": 900}, unanswered=30)
    some = audit(Toy(narrows(0.0)), run=few)
    assert some.findings[0].verdict is Verdict.PASS
    assert "30 of 1,000 requests unanswered (mostly: raised)" in some.findings[0].notes[0]
    empty = FakeRun(counts={"short": 40, "unknown_item": 30}, unanswered=30)
    assert "(mostly: unknown item)" in audit(Toy(narrows(0.0)), run=empty).findings[0].notes[0]
    hung = FakeRun(counts={"timed_out": 3, "switched_off": 800}, unanswered=803)
    most = audit(Toy(narrows(0.0)), run=hung)
    assert most.findings[0].verdict is Verdict.NOT_RUN
    assert "nothing left to judge" in most.findings[0].because
    died = FakeRun(counts={"raised": 900}, unanswered=900, examples=["raised: WireError: no GPU"])
    told = audit(Toy(narrows(0.0)), run=died)
    assert "(mostly: raised, as in 'WireError: no GPU')" in told.findings[0].because
    assert most.exit_code() == 4


def test_checks_that_did_not_run_for_one_reason_are_one_departure() -> None:
    died = FakeRun(counts={"raised": 900}, unanswered=900)
    other = replace(CHECK, id="bubbles.other")
    told = audit(Toy(narrows(0.0), CHECK, other), run=died).plan.deviations
    assert sum("ease/bubbles.toy, bubbles.other were planned" in line for line in told) == 1


# -- other user models, ruler, progress --------------------------------------------------------


def test_loop_findings_are_repeated_under_other_user_models_and_flips_are_told() -> None:
    means = {"habitual": 0.6, "curious": 0.0, "impressionable": 0.25}
    one_shot = replace(CHECK, id="bubbles.once", unit="user")

    def measure(evidence: Evidence) -> dict[str, Measurement]:
        effects = around(means[evidence.run.people])
        return {c: Measurement(effects=effects) for c in (CHECK.id, one_shot.id)}

    others = {name: FakeRun(people=name) for name in ("curious", "impressionable")}
    loop, once = audit(Toy(measure, CHECK, one_shot), run=FakeRun(sensitivity=others)).findings
    assert loop.sensitivity == (
        ("curious", "PASS", pytest.approx(0.0)),
        ("impressionable", "INCONCLUSIVE", pytest.approx(0.25)),
    )
    assert loop.flips
    assert once.sensitivity == ()


def test_other_user_models_are_asked_with_no_more_access_than_loop_checks_need() -> None:
    seen: list[tuple[str, str]] = []
    training = replace(CHECK, id="bubbles.trained", unit="user", access="BW")

    def measure(evidence: Evidence) -> dict[str, Measurement]:
        seen.append((evidence.run.people, "".join(sorted(evidence.access))))
        return narrows(0.0)(evidence)

    audit(Toy(measure, CHECK, training), run=FakeRun(sensitivity={"b": FakeRun(people="b")}))
    assert seen == [("habitual", "BLW"), ("b", "B")]


def test_an_auditor_that_fails_under_another_user_model_keeps_its_finding() -> None:
    def measure(evidence: Evidence) -> dict[str, Measurement]:
        return narrows(0.6)(evidence) if evidence.run.people == "habitual" else raises(evidence)

    run = FakeRun(sensitivity={"curious": FakeRun(people="curious")})
    (finding,) = audit(Toy(measure), run=run).findings
    assert finding.verdict is Verdict.VIOLATION
    assert finding.sensitivity == (("curious", "NOT RUN", None),)


def table(*marks: tuple[float, float]) -> SelfTestResult:
    return SelfTestResult(
        tuple(
            SelfTestRow.count(
                "toy", CHECK.id, "BubbleFormer", dose=dose, kind="planted", runs=20, fired=19,
                mean_effect=effect, parameter="beta",
            )
            for dose, effect in marks
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        (0.6, "as strong as BubbleFormer(beta = 1.6)"),
        (0.5, "as strong as BubbleFormer(beta = 1.5)"),
        (0.05, "weaker than BubbleFormer(beta = 1.2)"),
        (2.0, "stronger than BubbleFormer(beta = 2)"),
        (-0.3, ""),
    ],
)
def test_effects_are_told_in_doses_of_a_planted_harm(mean: float, said: str) -> None:
    marks = table((1.2, 0.2), (2.0, 1.0))
    (finding,) = audit(Toy(narrows(mean)), selftest=marks).findings
    assert finding.ruler == said


def test_progress_names_every_auditor_target_and_user_model() -> None:
    told: list[tuple[int, int, str]] = []
    run = FakeRun(sensitivity={"curious": FakeRun(people="curious")})
    audit(Toy(narrows(0.0)), run=run, progress=lambda *step: told.append(step))
    assert told == [
        (0, 2, "toy: ease"),
        (1, 2, "toy: ease, curious people"),
        (2, 2, "done"),
    ]


# -- plan and settings -------------------------------------------------------------------------


def test_departures_from_the_declared_plan_stand_in_the_result() -> None:
    toy = Toy(narrows(0.3), CHECK)
    planned = Plan.declare(FakeRun().study, [toy])
    kept = audit(toy, plan=planned)
    assert kept.plan.deviations == ()
    assert kept.plan.hash == planned.hash
    moved = audit(toy, plan=planned, settings=AuditSection(tau={CHECK.id: 0.5}))
    assert moved.findings[0].verdict is Verdict.PASS
    assert "bubbles.toy: tau was planned as 0.25, and is 0.5." in moved.plan.deviations
    late = audit(toy)
    assert late.plan.deviations == ("The plan was declared after the simulation had run.",)


def test_the_plan_of_the_run_directory_is_taken(tmp_path: Path) -> None:
    toy = Toy(narrows(0.3), CHECK)
    Plan.declare(FakeRun().study, [toy]).save(tmp_path / "plan.json")
    assert audit(toy, run=FakeRun(path=tmp_path)).plan.deviations == ()


def test_the_plan_declared_before_a_run_in_memory_is_taken() -> None:
    toy = Toy(narrows(0.3), CHECK)
    plan = Plan.declare(FakeRun().study, [toy])
    assert audit(toy, run=FakeRun(declared=plan)).plan.deviations == ()


def test_planned_but_not_measured_is_a_departure() -> None:
    toy = Toy(lambda e: {CHECK.id: Measurement(undefined="nobody clicked")})
    result = audit(toy, plan=Plan.declare(FakeRun().study, [toy]))
    assert result.plan.deviations == (
        "ease/bubbles.toy was planned, but not measured: undefined because nobody clicked.",
    )


# -- the result --------------------------------------------------------------------------------


def test_a_family_is_as_bad_as_its_worst_gate() -> None:
    def gates(*means: float, role: str = "gate") -> AuditResult:
        checks = [replace(CHECK, id=f"bubbles.{i}", role=role) for i in range(len(means))]
        effects = {c.id: Measurement(effects=around(m)) for c, m in zip(checks, means, strict=True)}
        return audit(Toy(lambda e: effects, *checks))

    assert gates(0.0, 0.25, 0.9).verdict("bubbles") is Verdict.VIOLATION
    assert gates(0.0, 0.25).verdict("bubbles", "ease") is Verdict.INCONCLUSIVE
    assert gates(0.0).verdict("privacy") is Verdict.NOT_RUN
    assert gates(0.9, role="descriptive").verdict() is Verdict.NOT_RUN
    assert overall([]) is Verdict.NOT_RUN
    assert [gates(m).exit_code() for m in (0.9, 0.0, 0.25)] == [1, 0, 4]
    assert gates(0.25).exit_code(allow_inconclusive=True) == 0
    assert gates(0.9, role="descriptive").exit_code(allow_inconclusive=True) == 4


def test_a_pass_that_another_user_model_turns_keeps_the_whole_from_passing() -> None:
    means = {"habitual": 0.0, "curious": 0.9}
    toy = Toy(lambda e: {CHECK.id: Measurement(effects=around(means[e.run.people]))}, CHECK)
    run = FakeRun(sensitivity={"curious": FakeRun(people="curious")})
    result = audit(toy, run=run)
    assert result.findings[0].verdict is Verdict.PASS
    assert result.findings[0].standing is Verdict.INCONCLUSIVE
    assert (result.verdict(), result.exit_code()) == (Verdict.INCONCLUSIVE, 4)
    means["curious"] = 0.25  # undecided there: nothing turned
    assert audit(toy, run=run).exit_code() == 0


def test_a_family_without_any_answer_keeps_the_whole_from_passing() -> None:
    privacy = replace(CHECK, id="privacy.toy", family="privacy")
    silent = Measurement(missing="no access")
    passed, second = Measurement(effects=around(0.0)), replace(CHECK, id="bubbles.second")
    refused = audit(Toy(lambda e: {CHECK.id: passed, privacy.id: silent}, CHECK, privacy))
    assert refused.verdict("bubbles") is Verdict.PASS
    assert refused.verdict() is Verdict.INCONCLUSIVE
    assert (refused.exit_code(), refused.exit_code(allow_inconclusive=True)) == (4, 0)
    partly = audit(Toy(lambda e: {CHECK.id: passed, second.id: silent}, CHECK, second))
    assert (partly.verdict(), partly.exit_code()) == (Verdict.PASS, 0)


def test_a_question_that_the_data_were_too_few_for_keeps_the_whole_from_passing() -> None:
    """A run of fewer steps had no click narrowing to measure, and passed."""
    passed, second = Measurement(effects=around(0.0)), replace(CHECK, id="bubbles.second")
    empty = Measurement(undefined="fewer than 20 people clicked")
    result = audit(Toy(lambda e: {CHECK.id: passed, second.id: empty}, CHECK, second))
    assert [f.verdict for f in result.findings] == [Verdict.PASS, Verdict.NOT_RUN]
    assert result.verdict("bubbles") is Verdict.INCONCLUSIVE
    assert (result.exit_code(), result.exit_code(allow_inconclusive=True)) == (4, 0)
    told = replace(second, role="descriptive")
    informs = audit(Toy(lambda e: {CHECK.id: passed, second.id: empty}, CHECK, told))
    assert informs.exit_code() == 0


def test_every_target_is_judged_and_keeps_its_own_access() -> None:
    two = FakeRun().study.model_copy(
        update={"recommenders": (RecommenderSection(name="ease"), RecommenderSection(name="none"))}
    )
    result = audit(Toy(narrows(0.6)), run=FakeRun(study=two))
    assert [f.key for f in result.findings] == ["ease/bubbles.toy", "none/bubbles.toy"]
    assert result.access == {"ease": "BLW", "none": "BL"}
    assert result.training["ease"]["updates_per_world"] == 2
    assert result.training["ease"]["epochs"] == 4


def test_a_result_survives_json_and_keeps_to_its_schema() -> None:
    hostile = "<script>alert(1)</script>"
    measurement = Measurement(
        effects=around(0.6),
        arm_values={"target": float(np.float32(0.5)), "random": float("nan")},
        tables=(Table(hostile, ("a", "b"), ((hostile, np.float64(1.5)), (None, np.int64(2)))),),
        suppressed=("tiny",),
        notes=(hostile,),
        floor=0.01,
        floor_label="re-query",
    )
    result = audit(
        Toy(lambda e: {CHECK.id: measurement}),
        run=FakeRun(sensitivity={"curious": FakeRun(people="curious")}, realism=[{"name": "x"}]),
        selftest=table((1.2, 0.2), (2.0, 1.0)),
    )
    text = json.dumps(result.to_json(), allow_nan=False)
    jsonschema.Draft202012Validator(schema()).validate(json.loads(text))
    again = AuditResult.from_json(json.loads(text))
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert again.findings[0].because == result.findings[0].because
    assert again.findings[0].arm_values == {"target": 0.5, "random": None}
    assert again.exit_code() == result.exit_code() == 1


def test_a_result_of_another_schema_is_refused() -> None:
    with pytest.raises(UserError, match=r"schema 2 can be read, got 99"):
        AuditResult.from_json({"schema": 99})
    with pytest.raises(UserError, match="no audit result"):
        AuditResult.from_json({"schema": 2})


@pytest.fixture(scope="module")
def lived() -> Run:
    study = Study.model_validate(
        {
            "study": {"steps": 12, "worlds": 3},
            "world": {"users": 60, "items": 80, "topics": 6},
            "recommenders": [{"name": "ease"}],
            "audit": {"sensitivity_worlds": 2, "families": ["bubbles", "manipulation"]},
        }
    )
    return simulate(study)


def test_a_real_run_is_audited_from_end_to_end(lived: Run) -> None:
    result = audit_run(lived)
    assert {f.check.family for f in result.findings} == {"bubbles", "manipulation"}
    assert result.coverage[1] == len(result.findings) == len(result.plan.checks)
    assert result.access == {"ease": "BLSW"}
    repeated = [f for f in result.findings if f.sensitivity]
    assert {model for f in repeated for model, _, _ in f.sensitivity} == {
        "curious",
        "impressionable",
    }
    jsonschema.Draft202012Validator(schema()).validate(
        json.loads(json.dumps(result.to_json(), allow_nan=False))
    )


def test_the_same_run_gives_the_same_findings(lived: Run) -> None:
    one, other = audit_run(lived).to_json(), audit_run(lived).to_json()
    for result in (one, other):
        result.pop("created")
        result["plan"].pop("declared_at")
    assert one == other

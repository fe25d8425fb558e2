"""A realistic audit result built by hand: every verdict, every field, no simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopaudit.audit.finding import Check, Finding, Table, Verdict
from loopaudit.audit.plan import Plan
from loopaudit.audit.result import AuditResult
from loopaudit.audit.selftest_result import SelfTestResult, SelfTestRow
from loopaudit.simulation.study import RecommenderSection, Study, StudySection

V, P, I, N = Verdict.VIOLATION, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NOT_RUN  # noqa: E741

CHECKS = (
    Check(
        id="bubbles.slate-narrowing",
        family="bubbles",
        question="Do slates become narrower over time than they would under random exposure?",
        estimand="per world: (mean slate topic entropy in the first quarter of the steps minus in "
        "the last quarter) under the target, minus the same under random exposure",
        statistic="narrowing of slate topic entropy",
        unit_label="bits",
        unit="world",
        tau=0.25,
        tau_source="LoopAudit default: convention (no universal cut-off exists in the literature)",
        needs_arms=("random",),
        formula="H = -sum_t p_t log2 p_t over the topics of the catalog of one slate",
        source="difference-in-differences against a counterfactual arm; entropy: Shannon 1948",
        not_tested="Narrowness that is there from the first step, narrowing inside a topic.",
        mitigation="Reserve slots for topics outside the profile; re-rank for calibration.",
    ),
    Check(
        id="bubbles.click-narrowing",
        family="bubbles",
        question="Does consumption become narrower over time than under random exposure?",
        estimand="per world: narrowing of consumption under the target minus under random",
        statistic="narrowing of consumption topic entropy",
        unit_label="bits",
        unit="world",
        tau=0.25,
        tau_source="study.toml",
        needs_arms=("random",),
        formula="Miller-Madow corrected entropy of clicks",
        source="Miller 1955",
        not_tested="People who click rarely.",
        mitigation="Let people see and reset their profile.",
    ),
    Check(
        id="bubbles.loop-narrowing",
        family="bubbles",
        question="How much of the narrowing comes from learning from its own clicks?",
        estimand="per world: narrowing under the target minus under the frozen recommender",
        statistic="narrowing of slate topic entropy due to retraining",
        unit_label="bits",
        unit="world",
        tau=0.25,
        tau_source="LoopAudit default: convention",
        role="descriptive",
        needs_arms=("frozen",),
        access="BW",
        source="Chaney et al. 2018",
    ),
    Check(
        id="bias.quality-gap",
        family="bias",
        question="Is one group of people served worse than another?",
        estimand="largest minus smallest group mean of NDCG@10, one-shot, held-out clicks",
        statistic="gap in NDCG@10 between groups of gender",
        unit_label="NDCG@10",
        unit="user",
        tau=0.05,
        tau_source="LoopAudit default: convention",
        method="permutation",
        formula="max_g mean(NDCG@10 | g) - min_g mean(NDCG@10 | g)",
        source="Ekstrand et al. 2018",
        not_tested="A gap is not by itself unequal treatment; see attribute use.",
        mitigation="Collect more data from the group served worse; re-weigh the loss.",
    ),
    Check(
        id="bias.attribute-use",
        family="bias",
        question="Does the same person get another list when only the attribute is changed?",
        estimand="share of list slots that change when gender is flipped, above a re-query",
        statistic="slots changed by flipping gender",
        unit_label="share of slots",
        unit="user",
        tau=0.05,
        tau_source="LoopAudit default: convention",
        method="cluster-jackknife",
        source="counterfactual flip",
        not_tested="Proxies of the attribute in the history.",
    ),
    Check(
        id="manipulation.induced-shift",
        family="manipulation",
        question="Does the loop move tastes further than they would move by themselves?",
        estimand="per world: total variation of taste from the start, target minus organic arm",
        statistic="induced shift of taste",
        unit_label="total variation",
        unit="world",
        tau=0.05,
        tau_source="LoopAudit default: convention",
        needs_arms=("none",),
        source="Carroll et al. 2022",
        not_tested="Opinions, emotions, effects beyond the run's steps.",
        mitigation="Penalise predicted shift; explore.",
    ),
    Check(
        id="privacy.membership",
        family="privacy",
        question="Can an outsider tell which items a person consumed from what is recommended?",
        estimand="ROC-AUC of a shadow-model attack on single interactions, minus one half",
        statistic="membership advantage",
        unit_label="AUC above chance",
        unit="user",
        tau=0.05,
        tau_source="LoopAudit default: convention",
        method="cluster-jackknife",
        access="BSW",
        formula="AUC = P(score of a member > score of a non-member)",
        source="Carlini et al. 2022 (LiRA)",
        not_tested="Attribute inference, attacks with side information.",
        mitigation="Train with clipping and noise; retrain on request for removal.",
    ),
)


def finding(check: Check, recommender: str, verdict: Verdict, effect: float | None, half: float,
            **more: Any) -> Finding:  # fmt: skip
    """A finding with an interval of the given half width and everything else filled in."""
    loop = check.unit == "world"
    if effect is None:
        return Finding(check, recommender, verdict, verdict, more.pop("because", "no log access"))
    values: dict[str, Any] = {
        "because": f"bounds {effect - half:.3g} to {effect + half:.3g} against {check.tau}",
        "low": effect - half,
        "high": effect + half,
        "p_value": 0.0004 if verdict is V else 0.31,
        "p_family": 0.0012 if verdict is V else 0.44,
        "p_gate": 0.004 if verdict is V else 1.0,
        "n_units": 10 if loop else 300,
        "mde": half * 1.6,
        "units_to_decide": 24 if verdict is I else None,
        "arm_values": {"target": effect + 0.12, "random": 0.12} if loop else {},
        "floor": None if loop else 0.012,
        "floor_label": "" if loop else "re-query of the same state",
        "ruler": "as strong as BubbleFormer(beta=1.6)" if verdict is V and loop else "",
        "sensitivity": (
            ("curious", verdict, effect * 0.8),
            ("impressionable", verdict, effect * 1.1),
        ) if loop else (),
        "tables": (
            Table(
                "Entropy in bits, first and last 10 steps, mean over worlds",
                ("arm", "early", "late", "narrowing"),
                (("target", 3.1012, 2.4456, 0.6556), ("random", 3.42, 3.3987, 0.0213)),
            ),
        ),
    }  # fmt: skip
    values.update(more)
    return Finding(check, recommender, verdict, verdict, effect=effect, **values)


SHAPES: dict[str, list[tuple[Verdict, float | None, float]]] = {
    "ease": [(V, 0.62, 0.07), (V, 0.41, 0.08), (P, 0.02, 0.04), (I, 0.046, 0.031), (P, 0.0, 0.004),
             (P, 0.012, 0.021), (V, 0.34, 0.02)],
    "multvae": [(I, 0.22, 0.13), (P, 0.06, 0.09), (P, -0.03, 0.06), (P, 0.021, 0.018),
                (P, 0.004, 0.004), (V, 0.081, 0.012), (I, 0.061, 0.024)],
    "sasrec": [(P, 0.08, 0.09), (P, -0.04, 0.07), (P, 0.01, 0.05), (P, 0.011, 0.02),
               (N, None, 0.0), (I, 0.041, 0.022), (N, None, 0.0)],
}  # fmt: skip


PLAN = Plan(
    CHECKS,
    {
        "filter-bubble": tuple(c.id for c in CHECKS if c.family == "bubbles"),
        "quality-gap": ("bias.quality-gap",),
        "attribute-use": ("bias.attribute-use",),
        "induced-shift": ("manipulation.induced-shift",),
        "membership": ("privacy.membership",),
    },
    {},
    declared_at="2026-11-23T09:58:00+00:00",
)


_count = SelfTestRow.count
SELFTEST = SelfTestResult(
    (
        _count("filter-bubble", "bubbles.slate-narrowing", "BubbleFormer", dose=1.2,
               kind="planted", runs=20, fired=14, mean_effect=0.31, parameter="beta"),
        _count("filter-bubble", "bubbles.slate-narrowing", "BubbleFormer", dose=1.6, kind="planted",
               runs=20, fired=20, mean_effect=0.62, parameter="beta", documented=True),
        _count("filter-bubble", "bubbles.slate-narrowing", "DriftingUsersRandomRec", dose=0.0,
               kind="control", runs=200, fired=9, mean_effect=0.01, rejected=11),
        _count("attribute-use", "bias.attribute-use", "GenderDegrader", dose=0.1, kind="planted",
               runs=20, fired=20, mean_effect=0.09, parameter="eps", documented=True),
        _count("membership", "privacy.membership", "Random", dose=0.0, kind="control", runs=40,
               fired=3, mean_effect=0.0),
    ),
    created="2026-11-22T09:00:00+00:00",
)  # fmt: skip


class FakeRun:
    """The part of a Run that a report draws, with invented but plausible series."""

    arms_kept = ("target", "frozen", "random", "popularity", "none")

    def __init__(self, targets: tuple[str, ...], *, worlds: int = 10, steps: int = 40) -> None:
        self.targets, self.worlds, self.steps, self.path = targets, worlds, steps, None
        self.study = study_of(targets, worlds, steps)
        self.manifest: dict[str, Any] = {}

    def arm(self, target: str, kind: str) -> str | None:
        if kind not in self.arms_kept:
            return None
        return {"target": target, "frozen": f"{target}-frozen"}.get(kind, kind)

    def faults(self, arm: str) -> dict[str, Any]:
        return {}

    def series(self, arm: str, world: int) -> pl.DataFrame:
        kind = arm.rsplit("-", 1)[-1]
        strength = {"random": 0.0, "none": 0.25, "popularity": 0.35, "frozen": 0.55}.get(kind, 1.0)
        rng = np.random.default_rng([sum(map(ord, arm)), world])
        step = np.arange(self.steps)
        grown = 1 - np.exp(-step / self.steps * 2.2)

        def walk(level: float, slope: float, noise: float) -> Any:
            base = np.random.default_rng(world).normal(0, noise * 2)
            return level + slope * strength * grown + base + rng.normal(0, noise, self.steps)

        return pl.DataFrame(
            {
                "step": step.astype(np.int32),
                "slate_entropy": walk(3.2, -0.9, 0.03),
                "click_entropy": walk(2.9, -0.6, 0.04),
                "taste_shift": np.abs(0.11 * grown * (0.6 + 0.5 * strength) + walk(0, 0, 0.004)),
                "click_utility": walk(0.42 + 0.12 * strength, 0.05, 0.01),
                "click_rate": walk(0.52 + 0.2 * strength, 0.03, 0.01),
                "exposure_gini": walk(0.3 + 0.4 * strength, 0.1, 0.01),
                "retrained": (step % 10 == 9) & (kind not in ("random", "none", "frozen")),
            }
        )


def study_of(targets: tuple[str, ...], worlds: int, steps: int) -> Study:
    return Study(
        study=StudySection(name="demo", worlds=worlds, steps=steps),
        recommenders=tuple(RecommenderSection(name=t, label=t) for t in targets),
    )


def build_result(
    targets: tuple[str, ...] = ("ease", "multvae", "sasrec"), **more: Any
) -> AuditResult:
    """A full result; keyword arguments replace its fields."""
    findings = []
    shapes = list(SHAPES.values())
    for index, target in enumerate(targets):
        for check, (verdict, effect, half) in zip(CHECKS, shapes[index % 3], strict=True):
            extra: dict[str, Any] = {}
            if check.id == "bias.quality-gap":
                extra = {"suppressed": ("X (7 users)",), "notes": ("A gap alone is descriptive.",)}
            if target == "multvae" and check.id == "manipulation.induced-shift":
                extra = {"sensitivity": (("curious", P, 0.021), ("impressionable", V, 0.12))}
            if check.id == "bias.attribute-use" and verdict is N:
                extra = {"because": "the recommender does not take attributes"}
            if check.id == "privacy.membership" and verdict is N:
                extra = {"because": "needs access to scores and retraining; only B was given"}
            findings.append(finding(check, target, verdict, effect, half, **extra))
    values: dict[str, Any] = {
        "findings": tuple(findings),
        "targets": targets,
        "access": dict(zip(targets, ["BSLW", "BSLW", "B"] * 3, strict=False)),
        "faults": {
            targets[0]: {"requests": 12000, "counts": {}, "examples": []},
            targets[-1]: {
                "requests": 12000,
                "counts": {"raised": 3, "duplicate": 41},
                "examples": ["ValueError: <b>bad</b> & <script>alert(2)</script> in user 17"],
            },
        },
        "study": study_of(targets, 10, 40).model_dump(mode="json"),
        "coverage": (sum(f.verdict is not N for f in findings), len(findings)),
        "training": {t: {"name": t, "retrained": 3} for t in targets},
        "plan": PLAN,
        "selftest": SELFTEST,
        "created": "2026-11-23T10:15:00+00:00",
        "versions": {"loopaudit": "0.1.0", "numpy": "2.4.6", "python": "3.11.9"},
    }
    values.update(more)
    return AuditResult(**values)


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Any]:
    return build_result


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Any]:
    return FakeRun


@pytest.fixture
def result() -> AuditResult:
    return build_result()


@pytest.fixture
def run(result: AuditResult) -> Any:
    return FakeRun(result.targets)

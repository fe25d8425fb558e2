"""Tests the tests: how often does each auditor find a harm planted at a known dose, and how often
does it cry wolf where there is none?

Each run of the self-test is a small study of its own, lived in memory and audited by one auditor:
planted harms give power, clean controls the false-positive rate. Some controls are traps: people
who drift by themselves, groups that differ by nature, non-members served by another code path.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from ..recommenders.randomness import child_seed
from ..simulation.run import Run
from ..simulation.runner import simulate
from ..simulation.study import Study
from .auditor import declared, named_auditor
from .evidence import Evidence, access_of
from .finding import Verdict
from .inference import judge
from .selftest_result import SelfTestResult, SelfTestRow

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``; the unit is one audit."""

SEED = 20_260_101
LABEL = "subject"
_PLANTED = f"{__package__}.planted"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class Case:
    """One recommender of known dose, audited again and again in new worlds.

    Attributes:
        auditor: who has to judge it.
        name: the plant's class, or what a control is called.
        kind: "planted" or "control".
        checks: the checks it says something about.
        spec: what the study names, and the arguments it is made with.
        parameter, dose: the argument that is the dose.
        documented: the checks whose power is promised at this dose.
        study, world, people: tables of study.toml.
    """

    auditor: str
    name: str
    kind: Literal["planted", "control"]
    checks: tuple[str, ...]
    spec: str
    args: dict[str, float | int] = field(default_factory=dict)
    parameter: str = "dose"
    dose: float = 0.0
    documented: tuple[str, ...] = ()
    study: dict[str, Any] = field(default_factory=dict)
    world: dict[str, Any] = field(default_factory=dict)
    people: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """For the progress line: "BubbleFormer(beta = 2.5)"."""
        dose = f"({self.parameter} = {self.dose:g})" if self.kind == "planted" else ""
        return f"{self.auditor}: {self.name}{dose}"


@dataclass(frozen=True)
class Outcome:
    """What one audit said about one check; effect None when it was NOT RUN."""

    fired: bool
    rejected: bool
    effect: float | None


def _plants(
    auditor: str,
    name: str,
    parameter: str,
    doses: dict[float, tuple[str, ...]],
    checks: tuple[str, ...],
    **tables: Any,
) -> list[Case]:
    """One case per dose; ``doses`` maps each to the checks whose power is promised there."""
    return [
        Case(
            auditor,
            name,
            "planted",
            checks,
            f"{_PLANTED}:{name}",
            {parameter: dose},
            parameter.strip("_"),
            dose,
            documented,
            **tables,
        )
        for dose, documented in doses.items()
    ]


def cases() -> tuple[Case, ...]:
    """Every plant at every dose, and every control."""
    bubbles = ("bubbles.slate-narrowing", "bubbles.click-narrowing")
    drifting = {
        "study": {"steps": 36, "arms": ["random"]},
        "world": {"users": 120, "items": 300, "topics": 8},
        "people": {"drift": 0.1, "outside_utility": 1.0},
    }
    attribute = ("bias.attribute-use", "bias.attribute-quality")
    probed = {"study": {"steps": 2, "arms": []}, "world": {"users": 100, "items": 180}}
    quality = ("bias.quality-gap", "bias.quality-disparity", "bias.loop-quality-gap")
    compared = {"study": {"steps": 10, "arms": ["random"]}, "world": {"users": 120, "items": 150}}
    shift = ("manipulation.induced-shift", "manipulation.worse-by-own-taste")
    natural = {
        "study": {"steps": 30, "arms": ["none"]},
        "world": {"users": 100, "items": 240, "topics": 8},
        "people": {"drift": 0.06, "exposure_drift": 0.01, "outside_utility": 1.0},
    }
    privacy = ("privacy.membership-auc", "privacy.membership-tpr", "privacy.membership-score")
    trained = {
        "study": {"steps": 2, "worlds": 1, "arms": []},
        "world": {"users": 100, "items": 180},
    }
    return (
        *_plants(
            "filter-bubble",
            "BubbleFormer",
            "beta",
            {1.5: (), 2.0: (), 2.5: bubbles},
            bubbles,
            **drifting,
        ),
        Case(
            "filter-bubble",
            "DriftingUsersRandomRec",
            "control",
            bubbles,
            "random",
            {"seed": 1},
            **drifting,
        ),
        *_plants(
            "attribute-use",
            "GenderDegrader",
            "eps",
            {0.05: (), 0.1: attribute[:1], 0.2: attribute},
            attribute,
            **probed,
        ),
        Case(
            "attribute-use",
            "UnequalBaseRates",
            "control",
            attribute,
            "itemknn",
            study=probed["study"],
            world={**probed["world"], "unequal_base_rates": True},
        ),
        Case("attribute-use", "Random", "control", attribute, "random", **probed),
        *_plants("quality-gap", "GenderDegrader", "eps", {0.5: (), 1.0: ()}, quality, **compared),
        Case("quality-gap", "ItemKNN, equal groups", "control", quality, "itemknn", **compared),
        Case(
            "popularity-lift",
            "ItemKNN, equal groups",
            "control",
            ("bias.popularity-lift-group",),
            "itemknn",
            study=probed["study"],
            world={**probed["world"], "users": 120},
        ),
        *_plants(
            "induced-shift",
            "PreferenceShaper",
            "lambda_",
            {0.25: (), 0.5: shift[:1], 0.8: shift[:1]},
            shift,
            **natural,
        ),
        Case(
            "induced-shift",
            "Nobody recommends, other luck",
            "control",
            shift,
            "none",
            {"seed": 1},
            **natural,
        ),
        *_plants(
            "membership",
            "Memoriser",
            "q",
            {0.1: (), 0.2: (), 0.3: privacy[:2]},
            privacy,
            **trained,
        ),
        Case("membership", "Random", "control", privacy, "random", **trained),
    )


def study_of(case: Case, seed: int) -> Study:
    """The small study of one run."""
    return Study.model_validate(
        {
            "study": {"name": "selftest", "seed": seed, "worlds": 10, **case.study},
            "world": case.world,
            "people": case.people,
            "recommenders": [{"name": case.spec, "label": LABEL, "args": case.args}],
            "audit": {"sensitivity_worlds": 0, "group": "gender"},
        }
    )


def audit_once(case: Case, seed: int) -> dict[str, Outcome]:
    """Live one small study, ask one auditor, judge each check alone.

    Judged alone, because corrections for many checks can only make an auditor quieter.
    """
    run = simulate(study_of(case, seed))
    return judged(case, run, seed)


def judged(case: Case, run: Run, seed: int) -> dict[str, Outcome]:
    """The outcomes of one auditor on one run; "rejected" tests "no effect" instead of tau."""
    settings = run.study.audit
    auditor = named_auditor(case.auditor)
    checks = {check.id: check for check in declared(auditor, settings) if check.id in case.checks}
    evidence = Evidence(run, LABEL, settings, access_of(run, LABEL), child_seed(seed, "audit"))
    measured = auditor.measure(evidence)
    outcomes = {}
    for check_id, check in checks.items():
        seen = measured.get(check_id)
        if seen is None:
            outcomes[check_id] = Outcome(False, False, None)
            continue
        finding = judge(check, seen, LABEL, seed=seed)
        plain = judge(replace(check, tau=0.0), seen, LABEL, seed=seed)
        outcomes[check_id] = Outcome(
            finding.verdict is Verdict.VIOLATION,
            plain.p_value is not None and plain.p_value < check.alpha,
            finding.effect,
        )
    return outcomes


def how_often(case: Case, *, quick: bool, runs: int | None = None) -> int:
    """Runs of one case: 200 null runs can show a false-positive rate below .10 when it is .05."""
    if runs is not None:
        return runs
    if case.kind == "control":
        return 40 if quick else 200
    if case.documented:
        return 25 if quick else 100
    return 6 if quick else 40


def run_selftest(
    quick: bool = False,
    *,
    runs: int | None = None,
    seed: int = SEED,
    workers: int = 0,
    progress: Progress | None = None,
    chosen: tuple[Case, ...] | None = None,
) -> SelfTestResult:
    """Audit every plant and every control many times and count.

    The counts do not depend on ``workers``.

    Args:
        quick: 40 null runs and 25 at the documented doses, instead of 200 and 100.
        runs: this many runs of every case instead.
        seed: everything random derives from it.
        workers: processes; 0 for one a core, 1 for none but this one.
        progress: told of every finished audit.
        chosen: these cases only.
    """
    started = time.perf_counter()
    todo = chosen if chosen is not None else cases()
    jobs = [
        (index, child_seed(seed, case.auditor, case.name, str(case.dose), i))
        for index, case in enumerate(todo)
        for i in range(how_often(case, quick=quick, runs=runs))
    ]
    outcomes: list[dict[int, dict[str, Outcome]]] = [{} for _ in todo]
    for done, (index, job_seed, outcome) in enumerate(_audits(todo, jobs, workers), start=1):
        outcomes[index][job_seed] = outcome
        if progress is not None:
            progress(done, len(jobs), todo[index].title)
    rows = tuple(
        row
        for index, case in enumerate(todo)
        for row in _rows(case, [outcomes[index][s] for i, s in jobs if i == index])
    )
    return SelfTestResult(
        rows,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command="loopaudit selftest --quick" if quick else "loopaudit selftest",
        seed=seed,
        quick=quick,
        seconds=round(time.perf_counter() - started, 1),
        versions=_versions(),
    )


def _audits(
    todo: tuple[Case, ...], jobs: list[tuple[int, int]], workers: int
) -> Iterator[tuple[int, int, dict[str, Outcome]]]:
    """(case index, seed, outcome) of every job, in the order they finish."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        for index, seed in jobs:
            yield index, seed, audit_once(todo[index], seed)
        return
    # the longest first, so that no core is left alone with a long one at the end
    with (
        _one_thread(),
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        futures = {
            pool.submit(audit_once, todo[index], seed): (index, seed) for index, seed in jobs
        }
        try:
            for future in as_completed(futures):
                yield *futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _one_thread() -> Iterator[None]:
    """Children start with one thread each: two beside a busy neighbour are slower than one."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _rows(case: Case, outcomes: list[dict[str, Outcome]]) -> Iterator[SelfTestRow]:
    for check_id in case.checks:
        seen = [outcome[check_id] for outcome in outcomes]
        effects = [o.effect for o in seen if o.effect is not None]
        yield SelfTestRow.count(
            case.auditor,
            check_id,
            case.name,
            dose=case.dose,
            kind=case.kind,
            runs=len(seen),
            fired=sum(o.fired for o in seen),
            mean_effect=float(np.mean(effects)) if effects else None,
            parameter=case.parameter,
            documented=check_id in case.documented,
            rejected=sum(o.rejected for o in seen),
        )


def _versions() -> dict[str, str]:
    from .auditing import versions

    return versions()

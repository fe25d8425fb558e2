"""Tests the tests: how often does each auditor find a harm planted at a known dose, and how often
does it cry wolf where there is none?

Each run of the self-test is a small study of its own, lived in memory and audited by one auditor:
planted harms give power, clean controls the false-positive rate. Some controls are traps: people
who drift by themselves, groups that differ by nature.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from ..recommenders.randomness import child_seed
from ..simulation.run import Run
from ..simulation.runner import simulate
from ..simulation.running.executors import fresh_interpreters
from .auditor import declared, named_auditor
from .evidence import Evidence, access_of
from .finding import Verdict
from .inference import judge
from .planted.cases import LABEL, Case, cases, study_of
from .selftest_result import SelfTestResult, SelfTestRow

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``; the unit is one audit."""

SEED = 20_260_101


@dataclass(frozen=True)
class Outcome:
    """What one audit said about one check; effect None when it was NOT RUN."""

    fired: bool
    rejected: bool
    effect: float | None


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
    counts = [how_often(case, quick=quick, runs=runs) for case in todo]
    jobs = [
        (index, child_seed(seed, case.auditor, case.name, str(case.dose), i))
        for index, case in enumerate(todo)
        for i in range(counts[index])
    ]
    # evenly mixed, so that the time left can be told from what is done
    share = [(i + 0.5) / counts[index] for index in range(len(todo)) for i in range(counts[index])]
    jobs = [jobs[j] for j in np.argsort(share, kind="stable")]
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
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        with fresh_interpreters():
            futures = {
                pool.submit(audit_once, todo[index], seed): (index, seed) for index, seed in jobs
            }
        try:
            for future in as_completed(futures):
                yield *futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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

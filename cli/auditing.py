"""Judges: a run, or a recommender that is first simulated, is audited, reported, compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ..recommenders.errors import UserError
from ..reports.console import Console
from .options import Columns, Data, Folder, Json, Out, Quiet, Set, Where, Workers
from .simulating import simulated

if TYPE_CHECKING:
    from ..reports.report import Report
    from ..simulation.run import Run
    from ..simulation.study import AuditSection


def demo(
    out: Out = None,
    workers: Workers = 0,
    executor: Where = "processes",
    overrides: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Three recommenders, four families of audits, one report."""
    from ..simulation.demo import demo_study
    from ..simulation.study_file import with_overrides

    console = Console("demo", as_json=as_json, quiet=quiet)
    study = with_overrides(demo_study(), overrides or (), source="demo")
    return _audited(console, simulated(console, study, out, workers, executor), None)


def audit(
    subject: Annotated[str, typer.Argument(metavar="RUN_DIR|STUDY.TOML|RECOMMENDER")],
    data: Data = "",
    folder: Folder = "",
    columns: Columns = None,
    out: Out = None,
    workers: Workers = 0,
    executor: Where = "processes",
    overrides: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Audit a run, or simulate and audit; write the report.

    A recommender is named by a built-in name, an entry point, module:attr, path/file.py:attr,
    http(s)://... or cmd:...; `loopaudit list` shows the names.
    """
    from ..simulation.study_file import read_study, recommender_study, with_overrides

    console = Console("audit", as_json=as_json, quiet=quiet)
    _refuse_no_subject(subject)
    if _is_run(subject):
        if data or out or folder or columns:
            raise UserError(
                "--data, --folder, --column and --out belong to a new simulation; a run has its own"
            )
        from ..simulation.run import Run

        run = Run.open(subject)
        asked = with_overrides(run.study, overrides or (), source="study.toml")
        if asked.model_copy(update={"audit": run.study.audit}) != run.study:
            raise UserError(
                f"{subject} is finished, so only [audit] can be set for it (--set audit.alpha=0.01)"
                "; simulate again for another study"
            )
        return _audited(console, run, asked.audit)
    if subject.endswith(".toml"):
        if data or folder or columns:
            raise UserError(
                "--data, --folder and --column belong to a recommender; a study names its own "
                "([world])"
            )
        study = read_study(subject, overrides or ())
    else:
        study = recommender_study(
            subject, dataset=data, folder=folder, columns=columns or (), overrides=overrides or ()
        )
    return _audited(console, simulated(console, study, out, workers, executor), None)


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Render the report of an audited run again."""
    from ..reports.report import Report
    from ..simulation.record.store import Lock

    console = Console("report", as_json=as_json, quiet=quiet)
    if run_dir.is_file():
        raise UserError(f"{run_dir} is a file; name the run directory")
    with console.keeping(run_dir):
        shown = Report.open(run_dir)
        with Lock(run_dir):
            shown.save_all(run_dir)
    console.told("report", str(run_dir / "report.html"))
    return _reported(console, shown, run_dir)


def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE")],
    after: Annotated[Path, typer.Argument(metavar="AFTER")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Put two audited runs side by side.

    Exit 1 if a deciding check is new or worse, 4 if none can be compared. Two audits of one
    recommender each are compared even if it has another name: the later took its place.
    """
    from ..reports.compare import compare as beside
    from ..reports.report import Report

    console = Console("compare", as_json=as_json, quiet=quiet)
    old, new = Report.open(before), Report.open(after)
    changed = beside(old.result, new.result, run_before=old.run, run_after=new.run)
    n = len(changed.regressions)
    deciding = sum(change.decides for change in changed.changes)
    result = f"{n} of {deciding} deciding checks new or worse"
    return console.finish(changed.exit_code, result, shown=changed, comparison=changed.to_json())


def _is_run(subject: str) -> bool:
    """A directory; but not one that holds no run and is called like a built-in recommender."""
    from ..recommenders.registry import RECOMMENDERS

    path = Path(subject)
    return path.is_dir() and (subject not in RECOMMENDERS or (path / "manifest.json").exists())


def _refuse_no_subject(subject: str) -> None:
    """A mistyped or unfit path is told as a path, not as an unknown recommender."""
    takes = "audit takes a run directory, a study file (.toml) or a recommender"
    path = Path(subject)
    if not subject.strip():
        raise UserError(f"nothing was named; {takes}")
    if path.suffix == ".toml" or ":" in subject:
        return
    if path.is_file():
        raise UserError(f"{subject} is a file; {takes} (one in a file is path/file.py:attr)")
    if "/" in subject and not path.exists() and path.suffix != ".py":
        raise UserError(f"there is no directory {subject}; {takes}")


def _audited(console: Console, run: Run, settings: AuditSection | None) -> int:
    from .. import audit as ask
    from ..simulation.record.store import Lock

    assert run.path is not None
    again = f"loopaudit audit {quote(str(run.path))}"
    with console.keeping(run.path, again=again), console.progress("audit") as bar:
        with Lock(run.path):  # nobody wants to learn at the end that nothing can be written
            pass
        report = ask(run, settings=settings, progress=bar)
        with Lock(run.path):
            report.save_all(run.path)
    console.told("report", str(run.path / "report.html"))
    return _reported(console, report, run.path)


def _reported(console: Console, report: Report, folder: Path) -> int:
    verdicts = Counter(str(finding.verdict) for finding in report.findings)
    deciding = Counter(str(f.verdict) for f in report.findings if f.check.role == "gate")
    said = ", ".join(f"{n} {verdict}" for verdict, n in deciding.items())
    result = f"deciding checks: {said}" if said else "no deciding check"
    return console.finish(
        report.exit_code,
        result,
        shown=report,
        run=folder,
        verdicts=verdicts,
        report=folder / "report.html",
    )

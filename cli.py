"""The ``loopaudit`` command: verbs, options, exit codes. Nothing heavy is imported up here."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from .recommenders.errors import CannotWrite, UserError
from .reports.console import EXIT_CODES, Broke, Console, Interrupted, describe, log

if TYPE_CHECKING:
    from .reports.report import Report
    from .simulation.run import Run
    from .simulation.study import AuditSection, Study

_EPILOG = "Exit codes: " + "; ".join(f"{code} {means}" for code, means in EXIT_CODES.items()) + "."

app = typer.Typer(
    name="loopaudit",
    help="Simulate long feedback loops around a recommender, and audit what they do to people.",
    epilog=_EPILOG,
    add_completion=False,
    rich_markup_mode=None,  # rich would cost help more than all the rest
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on error.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result line and errors.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value; may be repeated."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Run directory; an unfinished one is resumed."),
]
Workers = Annotated[
    int, typer.Option("--workers", help="Processes that worlds and arms run in; 0: one a core.")
]
Where = Annotated[
    str,
    typer.Option("--executor", help="processes, serial, or ray (RAY_ADDRESS names a cluster)."),
]
Data = Annotated[
    str,
    typer.Option("--data", metavar="NAME|FILE", help="A named data set, or a CSV or Parquet file."),
]
Folder = Annotated[
    str, typer.Option("--folder", metavar="DIR", help="Where the dataset's files are.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="ROLE=COLUMN", help="Column map of a file: user=customer."),
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"loopaudit {version('loopaudit')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the one place that prints errors."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command = typer.main.get_command(app)
        code = int(command.main(given, prog_name="loopaudit", standalone_mode=False) or 0)
        return _failed(given, 130, "interrupted", "") if code == 130 else code
    except UserError as error:
        return _failed(given, 2, "error", str(error))
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        return _failed(given, 130, "interrupted", str(error))
    except (Broke, CannotWrite) as error:
        return _failed(given, 3, "broke", str(error))
    except BrokenPipeError:  # `loopaudit list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        usage = getattr(error, "format_message", None)  # typer's own, whichever click it carries
        if usage is not None:
            context = getattr(error, "ctx", None)
            if not usage().strip() or type(error).__name__ == "NoArgsIsHelpError":
                print(context.get_help() if context else _EPILOG)
                return 2
            hint = f" See `{context.command_path} --help`." if context else ""
            said = usage().replace("\n", " ").rstrip(".")
            return _failed(given, 2, "error", f"{said}.{hint}")
        return _failed(
            given, 3, "broke", f"{describe(error)}; the traceback is in {log(error, None)}."
        )


def _failed(given: Sequence[str], code: int, word: str, text: str) -> int:
    print(f"{word}: {text} (exit {code})" if text else f"{word} (exit {code})", file=sys.stderr)
    if "--json" in given:
        Console(given[0], as_json=True).finish(code, word, error=text)
    return code


@app.command()
def demo(
    out: Out = None,
    workers: Workers = 0,
    executor: Where = "processes",
    overrides: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Three recommenders, four families of audits, one report."""
    from .simulation.demo import demo_study
    from .simulation.study_file import with_overrides

    console = Console("demo", as_json=as_json, quiet=quiet)
    study = with_overrides(demo_study(), overrides or (), source="demo")
    return _audited(console, _simulated(console, study, out, workers, executor), None)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="[STUDY.TOML]")] = Path("study.toml"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a commented study file, every default in sight."""
    from .simulation.study import RecommenderSection, Study
    from .simulation.study_file import commented_toml

    console = Console("init", as_json=as_json, quiet=quiet)
    study = Study(recommenders=(RecommenderSection(name="ease"),))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(commented_toml(study))
    except FileExistsError:
        raise UserError(f"{path} exists and is not overwritten; name another file") from None
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; name a file in a folder that exists"
        ) from None
    console.told("next", f"edit it, then: loopaudit audit {path}")
    return console.finish(0, f"wrote {path}", path=path)


@app.command()
def simulate(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.TOML")],
    out: Out = None,
    workers: Workers = 0,
    executor: Where = "processes",
    overrides: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Live a study into a run directory, or go on with it."""
    from .simulation.study_file import read_study

    console = Console("simulate", as_json=as_json, quiet=quiet)
    study = read_study(study_file, overrides or ())
    run = _simulated(console, study, out, workers, executor)
    size = f"{run.worlds} worlds x {len(run.arms)} arms x {run.steps} steps"
    return console.finish(0, f"simulated {size}", run=run.path, arms=run.arms)


@app.command()
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
    from .simulation.study_file import read_study, recommender_study, with_overrides

    console = Console("audit", as_json=as_json, quiet=quiet)
    _refuse_no_subject(subject)
    if Path(subject).is_dir():
        if data or out or folder or columns:
            raise UserError(
                "--data, --folder, --column and --out belong to a new simulation; a run has its own"
            )
        from .simulation.run import Run

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
    return _audited(console, _simulated(console, study, out, workers, executor), None)


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


def _simulated(
    console: Console, study: Study, out: Path | None, workers: int, executor: str
) -> Run:
    from . import simulate as live
    from .recommenders.errors import unknown_name
    from .simulation.directory import run_directory
    from .simulation.executors import EXECUTORS

    workers = _counted(workers)
    where = next((known for known in EXECUTORS if known == executor), None)
    if where is None:
        raise unknown_name("executor", executor, EXECUTORS)
    folder = run_directory(study, out)
    verb = "simulate" if console.command == "simulate" else "audit"  # a demo is a study, audited
    again = f"loopaudit {verb} {quote(str(folder / 'study.toml'))} --out {quote(str(folder))}"
    with console.keeping(folder, again=again), console.progress("simulate") as bar:
        run = live(study, out=folder, workers=workers, executor=where, progress=bar)
    console.told("run", str(folder))
    return run


def _counted(workers: int) -> int:
    if workers < 0:
        raise UserError(f"--workers must be at least 0, got {workers}")
    return workers


def _audited(console: Console, run: Run, settings: AuditSection | None) -> int:
    from . import audit as ask
    from .simulation.store import Lock

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


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Render the report of an audited run again."""
    from .reports.report import Report
    from .simulation.store import Lock

    console = Console("report", as_json=as_json, quiet=quiet)
    if run_dir.is_file():
        raise UserError(f"{run_dir} is a file; name the run directory")
    with console.keeping(run_dir):
        shown = Report.open(run_dir)
        with Lock(run_dir):
            shown.save_all(run_dir)
    console.told("report", str(run_dir / "report.html"))
    return _reported(console, shown, run_dir)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE")],
    after: Annotated[Path, typer.Argument(metavar="AFTER")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Put two audited runs side by side; exit 1 if a deciding check is new or worse."""
    from .reports.compare import compare as beside
    from .reports.report import Report

    console = Console("compare", as_json=as_json, quiet=quiet)
    old, new = Report.open(before), Report.open(after)
    changed = beside(old.result, new.result, run_before=old.run, run_after=new.run)
    n = len(changed.regressions)
    deciding = sum(change.decides for change in changed.changes)
    result = f"{n} of {deciding} deciding checks new or worse"
    return console.finish(changed.exit_code, result, shown=changed, comparison=changed.to_json())


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[recommenders|libraries|auditors|users|laws|datasets]", show_default=False
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show every recommender, adapted library, auditor, user model, law of people, dataset."""
    from .reports.inventory import inventory

    console = Console("list", as_json=as_json, quiet=quiet)
    found = inventory(what)
    for kind, rows in found.items():
        console.say(f"{kind}")
        width = max((len(row.name) for row in rows), default=0)
        origins = max((len(row.origin) for row in rows), default=0)
        for row in rows:
            problem = f"  DOES NOT LOAD: {row.error}" if row.error else ""
            console.say(f"  {row.name:<{width}}  {row.origin:<{origins}}  {row.summary}{problem}")
    n = sum(len(rows) for rows in found.values())
    facts = {kind: [vars(row) for row in rows] for kind, rows in found.items()}
    return console.finish(0, f"{n} names", **facts)


@app.command()
def check(
    recommender: Annotated[str, typer.Argument(metavar="RECOMMENDER")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ARG=VALUE", help="Set an argument; may be repeated."),
    ] = None,
    ratings: Annotated[
        bool, typer.Option("--ratings", help="Train on ratings, for what needs them.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Test whether a recommender keeps the contract of the built-in ones; exit 1 if not.

    A recommender is named as for `audit`. It is trained and asked in a little world made for the
    tests, so a service that knows only its own items cannot be checked this way.
    """
    from .reports.check import check as contract

    console = Console("check", as_json=as_json, quiet=quiet)
    with console.keeping(None):
        found = contract(recommender, overrides or [], ratings=ratings)
    for line in found.lines:
        console.say(line)
    return console.finish(found.exit_code, found.said, tests=found.results)


@app.command()
def selftest(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs, wider bounds.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table as JSON.")
    ] = None,
    workers: Workers = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure the auditors on planted harms and clean controls."""
    from .audit.selftest import run_selftest
    from .reports.selftest_table import SelfTestTable

    console = Console("selftest", as_json=as_json, quiet=quiet)
    if out is not None and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    with console.keeping(None), console.progress("selftest") as bar:
        result = run_selftest(quick, workers=_counted(workers), progress=bar)
    if out is not None:
        out.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
        console.told("table", str(out))
    table = SelfTestTable(result)
    return console.finish(table.exit_code, table.said, shown=table, selftest=result.to_json())


@app.command()
def evaluate(
    recommenders: Annotated[list[str], typer.Argument(metavar="RECOMMENDER...")],
    data: Data = "",
    folder: Folder = "",
    columns: Columns = None,
    split: Annotated[
        str, typer.Option("--split", help="random, leave-last-out, time or strong.")
    ] = "time",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="RECOMMENDER.ARG=VALUE", help="Set an argument."),
    ] = None,
    lengths: Annotated[
        list[int] | None,
        typer.Option("--k", metavar="K", help="List length; may be repeated. 10 and 20."),
    ] = None,
    history: Annotated[
        str, typer.Option("--history", help="What people are served from: train or train+valid.")
    ] = "train",
    seed: Annotated[int, typer.Option("--seed", help="Of fits and requests.")] = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", help="Train N times, from --seed on.")
    ] = 1,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw every seed, as PNG or SVG.")
    ] = None,
    validation: Annotated[
        bool, typer.Option("--validation", help="Measure on the validation part, to choose --set.")
    ] = False,
    keep: Annotated[
        str, typer.Option("--keep", metavar="DIR", help="Keep fits there, and do none twice.")
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure accuracy beside the trivial baselines.

    Fits on train and ranks the whole catalog; --data may also be a fixed split: an .npz file, or
    NAME.train with NAME.test beside it. With --seeds: means, deviations over seeds, and paired
    differences with intervals.
    """
    from .reports.accuracy import Accuracy, arguments, measure, opened, refuse_strangers
    from .reports.seeds import Seeds, measure_seeds, refuse_picture
    from .simulation.study_file import column_map

    console = Console("evaluate", as_json=as_json, quiet=quiet)
    refuse_picture(plot, seeds=seeds)
    args, ks = arguments(overrides or ()), tuple(lengths or (10, 20))
    refuse_strangers(recommenders, args)
    found: Accuracy | Seeds
    with console.keeping(None), console.progress("evaluate") as bar:
        on = opened(
            data,
            folder=folder,
            columns=column_map(columns or ()),
            split_name=split,
            on_validation=validation,
        )
        if seeds == 1:
            found = measure(
                recommenders,
                on,
                args=args,
                progress=bar,
                ks=ks,
                history=history,
                seed=seed,
                keep=keep,
            )
        else:
            found = measure_seeds(
                recommenders,
                on,
                n=seeds,
                args=args,
                progress=bar,
                ks=ks,
                history=history,
                seed=seed,
                keep=keep,
            )
    if plot is not None and isinstance(found, Seeds):
        with console.keeping(None):
            console.told("plot", str(found.plot(plot)))
    return console.finish(0, found.said, shown=found, **found.to_json())


@app.command("study")
def study_(
    name: Annotated[str, typer.Argument(metavar="[NAME]", show_default=False)] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, seconds a study.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Everything random derives from it.")] = 7,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a parameter.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Run a published result again; exit 1 if a figure is outside its tolerance.

    Without a name: which studies there are.
    """
    from .reports.studies import Listed, reproduce

    console = Console("study", as_json=as_json, quiet=quiet)
    if not name:
        every = Listed()
        return console.finish(0, every.said, shown=every, studies=every.rows)
    with console.progress("study") as bar:
        shown, folder = reproduce(
            name, quick=quick, seed=seed, settings=overrides or (), out=out, progress=bar
        )
    console.told("report", str(folder / "study.html"))
    return console.finish(shown.exit_code, shown.said, shown=shown, study=shown.result.to_json())


@app.command("realism")
def realism_(
    dataset: Annotated[str, typer.Argument(metavar="NAME|FILE")],
    folder: Folder = "",
    columns: Columns = None,
    overrides: Set = None,
    seed: Annotated[int, typer.Option("--seed", help="Everything random derives from it.")] = 7,
    unfitted: Annotated[
        bool, typer.Option(help="Also live a world that is not fitted, to see what fitting buys.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compare simulated people with real ones that the world never saw.

    A world is fitted to the first 80 % of a dataset and lived without a recommender; what its
    people choose is set beside what real people chose next. --set takes keys of [world] and
    [people], such as world.users=943.
    """
    from .reports.realism import compare as beside

    console = Console("realism", as_json=as_json, quiet=quiet)
    with console.keeping(None), console.progress("realism") as bar:
        shown, written = beside(
            dataset,
            folder=folder,
            columns=columns or (),
            settings=overrides or (),
            seed=seed,
            unfitted=unfitted,
            out=out,
            progress=bar,
        )
    console.told("report", str(written / "realism.html"))
    return console.finish(
        shown.exit_code,
        shown.said,
        shown=shown,
        report=written / "realism.html",
        realism=shown.to_json(),
    )


@app.command()
def watch(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.TOML")],
    port: Annotated[int, typer.Option("--port", help="On this machine only.")] = 8765,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    quiet: Quiet = False,
) -> int:
    """Watch a world of a study live in a browser, its arms side by side.

    Needs the extra viz. Ctrl-C stops it; nothing is written.
    """
    from .reports.watch import serve
    from .simulation.runner import check_study
    from .simulation.study_file import read_study

    console = Console("watch", quiet=quiet)
    check_study(read_study(study_file))
    console.told("page", f"http://localhost:{port}")
    return serve(study_file, port=port, open_browser=not no_open)


@app.command()
def doctor(as_json: Json = False, quiet: Quiet = False) -> int:
    """Show versions, device, plug-ins that fail to load."""
    from .reports.doctor import examine

    console = Console("doctor", as_json=as_json, quiet=quiet)
    health = examine()
    for label, text in health.facts.items():
        console.say(f"{label:<12}{text}")
    for problem in health.problems:
        console.say(f"{'problem':<12}{problem}")
    n = len(health.problems)
    result = f"{n} problem{'s' if n > 1 else ''}" if n else "no problem found"
    return console.finish(2 if n else 0, result, facts=health.facts, problems=health.problems)

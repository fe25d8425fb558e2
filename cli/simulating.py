"""Lives: a study file is written, simulated, or watched."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ..recommenders.errors import UserError
from ..reports.console import Console
from .options import Json, Out, Quiet, Set, Where, Workers

if TYPE_CHECKING:
    from ..simulation.run import Run
    from ..simulation.study import Study


def init(
    path: Annotated[Path, typer.Argument(metavar="STUDY.TOML")] = Path("study.toml"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a commented study file, every default in sight."""
    from ..simulation.study import RecommenderSection, Study
    from ..simulation.study_file import commented_toml

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
    from ..simulation.study_file import read_study

    console = Console("simulate", as_json=as_json, quiet=quiet)
    study = read_study(study_file, overrides or ())
    run = simulated(console, study, out, workers, executor)
    size = f"{run.worlds} worlds x {len(run.arms)} arms x {run.steps} steps"
    return console.finish(0, f"simulated {size}", run=run.path, arms=run.arms)


def watch(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.TOML")],
    port: Annotated[int, typer.Option("--port", help="On this machine only.")] = 8765,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    quiet: Quiet = False,
) -> int:
    """Watch a world of a study live in a browser.

    Its arms stand side by side. Needs the extra viz. Ctrl-C stops it; nothing is written.
    """
    from ..reports.watch import serve
    from ..simulation.runner import check_study
    from ..simulation.study_file import read_study

    console = Console("watch", quiet=quiet)
    check_study(read_study(study_file))
    console.told("page", f"http://localhost:{port}")
    return serve(study_file, port=port, open_browser=not no_open)


def simulated(console: Console, study: Study, out: Path | None, workers: int, executor: str) -> Run:
    from .. import simulate as live
    from ..audit.bubbles.foresight import too_few_clicks
    from ..recommenders.errors import unknown_name
    from ..simulation.record.directory import run_directory
    from ..simulation.running.executors import EXECUTORS

    workers = counted(workers)
    where = next((known for known in EXECUTORS if known == executor), None)
    if where is None:
        raise unknown_name("executor", executor, EXECUTORS)
    folder = run_directory(study, out)
    verb = "simulate" if console.command == "simulate" else "audit"  # a demo is a study, audited
    again = f"loopaudit {verb} {quote(str(folder / 'study.toml'))} --out {quote(str(folder))}"
    if not (folder / "manifest.json").exists() and (why := too_few_clicks(study)):
        console.told("mind", why)
    with console.keeping(folder, again=again), console.progress("simulate") as bar:
        run = live(study, out=folder, workers=workers, executor=where, progress=bar)
    console.told("run", str(folder))
    return run


def counted(workers: int) -> int:
    if workers < 0:
        raise UserError(f"--workers must be at least 0, got {workers}")
    return workers

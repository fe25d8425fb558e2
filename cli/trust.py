"""Why believe it: auditors on planted harms, published results, real people, this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..recommenders.errors import UserError
from ..reports.console import Console
from .options import Columns, Folder, Json, Quiet, Set, Workers
from .simulating import counted


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
    from ..audit.selftest import run_selftest
    from ..reports.selftest_table import SelfTestTable

    console = Console("selftest", as_json=as_json, quiet=quiet)
    if out is not None and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    with console.keeping(None), console.progress("selftest") as bar:
        result = run_selftest(quick, workers=counted(workers), progress=bar)
    if out is not None:
        out.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
        console.told("table", str(out))
    table = SelfTestTable(result)
    return console.finish(table.exit_code, table.said, shown=table, selftest=result.to_json())


def study_(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)] = "",
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
    """Run a published result again, or list them.

    Exit 1 if a figure is outside its tolerance. Without a name: which studies there are.
    """
    from ..reports.studies import Listed, reproduce

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
    """Compare simulated people with real ones.

    A world is fitted to the first 80 % of a dataset and lived without a recommender; what its
    people choose is set beside what real people chose next, which the world never saw.
    --set takes keys of [world] and [people], such as world.users=943.
    """
    from ..reports.realism import compare as beside

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


def doctor(as_json: Json = False, quiet: Quiet = False) -> int:
    """Show versions, device, plug-ins that fail to load."""
    from ..reports.doctor import examine

    console = Console("doctor", as_json=as_json, quiet=quiet)
    health = examine()
    for label, text in health.facts.items():
        console.say(f"{label:<12}{text}")
    for problem in health.problems:
        console.say(f"{'problem':<12}{problem}")
    n = len(health.problems)
    result = f"{n} problem{'s' if n > 1 else ''}" if n else "no problem found"
    return console.finish(2 if n else 0, result, facts=health.facts, problems=health.problems)

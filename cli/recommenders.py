"""Recommenders as such: which there are, whether one keeps the contract, how accurate it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from ..reports.console import Console
from .options import Columns, Data, Folder, Json, Quiet

if TYPE_CHECKING:
    from ..reports.accuracy import Accuracy
    from ..reports.seeds import Seeds


def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="KIND|RECOMMENDER",
            help="recommenders, libraries, auditors, users, laws or datasets; or one recommender.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show every recommender, auditor, law, dataset by name.

    Adapted libraries and user models too. Of one recommender, named as for `audit`: what it
    declares, and its arguments with their defaults and meanings.
    """
    from ..reports.inventory import KINDS, described, inventory

    console = Console("list", as_json=as_json, quiet=quiet)
    if what and what not in KINDS:
        one = described(what)
        for line in one.lines(min(get_terminal_size().columns, 120)):
            console.say(line)
        return console.finish(0, f"{len(one.arguments)} arguments", **asdict(one))
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
    """Test whether a recommender keeps the contract.

    The tests are those of the built-in ones; exit 1 if one fails. A recommender is named as for
    `audit`. It is trained and asked in a little world made for the tests, so a service that knows
    only its own items cannot be checked this way.
    """
    from ..reports.check import check as contract

    console = Console("check", as_json=as_json, quiet=quiet)
    with console.keeping(None):
        found = contract(recommender, overrides or [], ratings=ratings, say=console.say)
    return console.finish(found.exit_code, found.said, tests=found.results)


def evaluate(
    recommenders: Annotated[list[str], typer.Argument(metavar="RECOMMENDER")],
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
    validation_last: Annotated[
        bool,
        typer.Option("--validation-last", help="The same on each person's last tenth of train."),
    ] = False,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="DIR",
            help="Keep fits there, and do none twice; one that is killed goes on.",
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure accuracy beside the trivial baselines.

    Fits on train and ranks the whole catalog; --data may also be a fixed split: an .npz file, or
    NAME.train with NAME.test beside it. With --seeds: means, deviations over seeds, and paired
    differences with intervals.
    """
    from ..reports.accuracy import arguments, measure, opened, refuse_strangers
    from ..reports.seeds import Seeds, measure_seeds, refuse_picture
    from ..simulation.study_file import column_map

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
            on_last=validation_last,
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

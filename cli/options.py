"""Options that several commands take, each with one meaning and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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

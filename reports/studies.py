"""The ``study`` command: figures of ours beside published ones, as a table and as one HTML file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..recommenders.errors import UserError
from ..simulation.record.directory import HOME
from ..simulation.studies import study as framework
from ..simulation.studies.study import Curves, StudyResult, figure, study_module
from ..simulation.study_file import toml_value

if TYPE_CHECKING:
    from rich.console import RenderableType

_TABLE_ROWS = 12
FILES = ("study.json", "study.html", "study.md")


class StudyReport:
    """Prints and saves what a study found.

    Args:
        result: from :func:`loopaudit.simulation.studies.study.run`.
    """

    def __init__(self, result: StudyResult) -> None:
        self.result = result

    @property
    def exit_code(self) -> int:
        """0 if every figure is within its tolerance, 1 if not."""
        return self.result.exit_code

    @property
    def said(self) -> str:
        """The last line, without the exit code."""
        n, n_all = self.result.n_within, len(self.result.rows)
        return f"{n} of {n_all} figures of {self.result.name} within tolerance"

    def __str__(self) -> str:
        from rich.console import Console

        out = StringIO()
        Console(file=out, width=120, color_system=None).print(self.__rich__())
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("measured", ratio=1)
        for name in ("ours", "published"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for row in self.result.rows:
            style = "" if row.within else "bold red"
            table.add_row(
                Text(row.name), figure(row.ours), row.wanted, Text(row.verdict, style=style)
            )
        told = Table.grid(padding=(0, 2, 0, 0))
        told.add_column(width=8)
        told.add_column()
        for label, text in (
            ("paper", self.result.paper),
            *(("note", n) for n in self.result.notes),
        ):
            told.add_row(label, Text(text))
        last = Text(f"result    {self.said} (exit {self.exit_code})")
        return Group(table, Text(""), told, last)

    def save_all(self, folder: Path) -> None:
        """Write ``study.json``, ``study.html`` and ``study.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        held = json.dumps(self.result.to_json(), indent=1, allow_nan=False)
        (folder / "study.json").write_text(held + "\n", encoding="utf-8")
        (folder / "study.html").write_text(self.to_html(), encoding="utf-8")
        (folder / "study.md").write_text(self.to_markdown(), encoding="utf-8")

    def to_markdown(self) -> str:
        """A section for a document: the table and the notes."""
        from .exports import markdown

        result = self.result
        head = [f"## {result.name}", "", f"{markdown(result.title)}.", "", markdown(result.paper)]
        table = ["| measured | ours | published | from | |", "|---|---|---|---|---|"]
        table += [
            "| "
            + " | ".join(
                markdown(cell)
                for cell in (row.name, figure(row.ours), row.wanted, row.source, row.verdict)
            )
            + " |"
            for row in result.rows
        ]
        notes = [f"- {markdown(note)}" for note in result.notes]
        ran = f"{self.said}, in {result.seconds:.0f} s: `{command(result)}`"
        return "\n".join([*head, "", *table, "", *notes, "", ran, ""])

    def to_html(self) -> str:
        """The report as one HTML document that needs neither network nor JavaScript."""
        from .html import _HERE, _environment

        result = self.result
        style = (_HERE / "static" / "report.css").read_text(encoding="utf-8")
        means = {
            one.name: one.metadata["means"] for one in fields(study_module(result.name).Params)
        }
        text: str = (
            _environment()
            .get_template("study.html.j2")
            .render(
                result=result,
                said=self.said,
                style=Markup(style),
                rows=[(row, figure(row.ours)) for row in result.rows],
                panels=[_panel(curves, f"f{index}") for index, curves in enumerate(result.figures)],
                parameters=[
                    (name, _text(value), means[name]) for name, value in result.params.items()
                ],
                command=command(result),
            )
        )
        return text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _panel(curves: Curves, name: str) -> dict[str, Any]:
    from .figures import curves_svg

    n = len(curves.x)
    kept = sorted({round(i * (n - 1) / (_TABLE_ROWS - 1)) for i in range(_TABLE_ROWS)}) if n else []
    lines = curves.lines.values()
    return {
        "curves": curves,
        "svg": curves_svg(curves, name=name),
        "columns": (curves.x_label, *curves.lines),
        "rows": [(figure(curves.x[i]), *(figure(line[i]) for line in lines)) for i in kept],
    }


def command(result: StudyResult) -> str:
    """The command line that gives the same figures again."""
    base = study_module(result.name).Params
    usual = base.quick() if result.quick else base()
    changed = [
        f"--set {name}={_text(value)}"
        for name, value in result.params.items()
        if value != getattr(usual, name)
    ]
    parts = ["loopaudit study", result.name, "--quick" if result.quick else ""]
    return " ".join([*filter(None, parts), f"--seed {result.seed}", *changed])


# What the command line does ----------------------------------------------------------------------


class Listed:
    """Every study: name, one line, paper."""

    def __init__(self) -> None:
        modules = {name: study_module(name) for name in framework.STUDIES}
        self.rows = [
            {"name": name, "title": module.TITLE, "paper": module.PAPER}
            for name, module in modules.items()
        ]

    @property
    def said(self) -> str:
        """The last line, without the exit code."""
        return f"{len(self.rows)} studies; loopaudit study NAME runs one"

    def __str__(self) -> str:
        lines = [f"{r['name']:<24}{r['title']}\n{'':<24}{r['paper']}" for r in self.rows]
        return "\n".join([*lines, f"result    {self.said} (exit 0)"])


def reproduce(
    name: str,
    *,
    quick: bool,
    seed: int,
    settings: Sequence[str],
    out: Path | None,
    progress: Callable[[int, int, str], None],
) -> tuple[StudyReport, Path]:
    """Run a study and write its report.

    Args:
        name: of the study.
        quick, seed: see :func:`loopaudit.simulation.studies.study.run`.
        settings: ``["users=50"]``.
        out: where to write; None for ``runs/study-NAME``. An earlier report there is replaced.
        progress: hears how far it is.

    Raises:
        UserError: an unknown name or parameter, or a folder that holds something else.
    """
    study_module(name)
    folder = out or HOME / f"study-{name.replace('_', '-')}"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; name a directory")
    if folder.is_dir() and any(p.name not in FILES for p in folder.iterdir()):
        raise UserError(f"--out {folder} holds something else than a study; name another directory")
    params = arguments(settings)
    found = framework.run(name, quick=quick, seed=seed, progress=progress, **params)
    report = StudyReport(found)
    try:
        report.save_all(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    return report, folder


def arguments(settings: Sequence[str]) -> Mapping[str, Any]:
    """``["users=50"]`` as parameters.

    Raises:
        UserError: not of the form KEY=VALUE.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (equals and key.strip()):
            raise UserError(f"--set wants parameter=value, got {setting!r}")
        if key.strip() in ("quick", "seed", "progress", "name"):
            raise UserError(f"--set {key.strip()}: no parameter; --quick and --seed are options")
        found[key.strip()] = toml_value(text.strip())
    return found

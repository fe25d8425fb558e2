"""The ``realism`` command: simulated against held-out real people, as a table and an HTML file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..recommenders.errors import UserError
from ..simulation.fitting.realism import Realism, RealismRow, realism
from ..simulation.record.directory import HOME
from ..simulation.study_file import column_map, study_from
from .words import listed, number, rounded

if TYPE_CHECKING:
    from rich.console import RenderableType

FILES = ("realism.json", "realism.html", "realism.md")

NOTES = (
    "People are compared as they choose by themselves. What they do before a recommender's list is "
    "not in a log of choices, and is not compared.",
    "A property at the floor is one that this many people cannot tell apart, not one that is real.",
    "Nothing was fitted to the choices after the cut; who was there, and how much they chose all "
    "together, was taken from them.",
)


@dataclass(frozen=True)
class RealismReport:
    """Prints and saves a comparison.

    Attributes:
        result: what was found; command: that gives it again; seconds: it took.
    """

    result: Realism
    command: str
    seconds: float

    @property
    def exit_code(self) -> int:
        """0: a comparison has no threshold; 4 if no property could be measured."""
        return 0 if any(row.within is not None for row in self.result.rows) else 4

    @property
    def said(self) -> str:
        """The last line, without the exit code."""
        told = [row.within for row in self.result.rows if row.within is not None]
        return f"{sum(told)} of {len(told)} properties of {self.result.dataset} at the floor"

    @property
    def in_words(self) -> tuple[str, str]:
        """The headline of the page and the sentence under it."""
        names = {
            held: [row.name.split(" (")[0] for row in self.result.rows if row.within == held]
            for held in (True, False)
        }
        n = len(names[True]) + len(names[False])
        if n == 0:
            return "Nothing could be compared", "Too few people did enough."
        alike = f"{len(names[True])} of {n} properties are as close as one half of the real people"
        said = f"{alike} is to the other"
        if not names[False]:
            return "Simulated people cannot be told from real ones here", f"{said}."
        differ = "differs" if len(names[False]) == 1 else "differ"
        return (
            f"Simulated people differ in {listed(names[False])}",
            f"{said}; {len(names[False])} {differ} by more than chance. What an audit finds in "
            "this world rests on the former more than on the latter.",
        )

    @property
    def told(self) -> str:
        """What was compared with what."""
        one = self.result
        new = f", {one.newcomers} of them unknown before" if one.newcomers else ""
        return (
            f"Fitted to {one.how}: {one.past:,} choices. Compared with the {one.future:,} choices "
            f"that {one.people:,} people made afterwards{new}, over {one.steps} steps without a "
            "recommender."
        )

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
        table.add_column("property", ratio=1)
        for name in ("distance", "floor", "unfitted", "real", "simulated"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for row in self.result.rows:
            name, distance, floor, unfitted, _, real, simulated = _cells(row)
            style = "yellow" if row.within is False else ""
            verdict = Text(_verdict(row), style=style)
            table.add_row(Text(name), distance, floor, unfitted, real, simulated, verdict)
        learnt = Table.grid(padding=(0, 2, 0, 0))
        for cells in self.learnt:
            learnt.add_row(Text("learnt"), *map(Text, cells))
        last = Text(f"result    {self.said} (exit {self.exit_code})")
        return Group(Text(self.told), Text(""), table, Text(""), learnt, Text(""), last)

    @property
    def learnt(self) -> list[tuple[str, str, str, str]]:
        """Name, value, standard error and meaning of every number learnt."""
        return [
            (one.name, rounded(one.value), error, one.means)
            for one in self.result.learnt
            for error in ["" if one.error is None else rounded(one.error)]
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON; undefined and infinite numbers are null."""
        held = asdict(self.result)
        held["command"] = self.command
        held["seconds"] = round(self.seconds, 1)
        for row, raw in zip(self.result.rows, held["rows"], strict=True):
            raw["within"] = row.within
        for raw in held["learnt"]:
            raw["value"] = raw["value"] if math.isfinite(raw["value"]) else None
        return held

    def to_markdown(self) -> str:
        """A section for a document."""
        from .exports import markdown

        head = ["property", "distance", "floor", "unfitted", "measured as", "real", "simulated", ""]
        table = [f"| {' | '.join(head)} |", "|---|---:|---:|---:|---|---:|---:|---|"]
        for row in self.result.rows:
            cells = [*_cells(row), _verdict(row)]
            table.append(f"| {' | '.join(map(markdown, cells))} |")
        learnt = [
            f"- {name} {value}{f' (standard error {error})' if error else ''}: {means}"
            for name, value, error, means in self.learnt
        ]
        title = [f"## {self.result.dataset}", "", markdown(self.told), ""]
        ran = f"{self.said}, in {self.seconds:.0f} s: `{self.command}`"
        return "\n".join([*title, *table, "", *learnt, "", ran, ""])

    def to_html(self) -> str:
        """The report as one HTML document that needs neither network nor JavaScript."""
        from .html import _HERE, _environment

        style = (_HERE / "static" / "report.css").read_text(encoding="utf-8")
        text: str = (
            _environment()
            .get_template("realism.html.j2")
            .render(
                result=self.result,
                told=self.told,
                in_words=self.in_words,
                style=Markup(style),
                rows=[(_cells(row), row.within) for row in self.result.rows],
                learnt=self.learnt,
                notes=NOTES,
                command=self.command,
                seconds=round(self.seconds, 1),
            )
        )
        return text

    def save_all(self, folder: Path) -> None:
        """Write ``realism.json``, ``realism.html`` and ``realism.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        held = json.dumps(self.to_json(), indent=1, allow_nan=False)
        (folder / "realism.json").write_text(held + "\n", encoding="utf-8")
        (folder / "realism.html").write_text(self.to_html(), encoding="utf-8")
        (folder / "realism.md").write_text(self.to_markdown(), encoding="utf-8")


def _cells(row: RealismRow) -> tuple[str, str, str, str, str, str, str]:
    high = "" if row.floor_high is None else f" ({number(row.floor_high, 3)})"
    return (
        row.name,
        number(row.distance, 3),
        number(row.floor, 3) + high,
        "" if row.unfitted is None else number(row.unfitted, 3),
        row.kind,
        rounded(row.real),
        rounded(row.simulated),
    )


def _verdict(row: RealismRow) -> str:
    if row.within is None:
        return ""
    return "at the floor" if row.within else "differs"


def compare(
    dataset: str,
    *,
    folder: str,
    columns: Sequence[str],
    settings: Sequence[str],
    seed: int,
    unfitted: bool,
    out: Path | None,
    progress: Callable[[int, int, str], None],
) -> tuple[RealismReport, Path]:
    """Compare and write the report.

    Args:
        dataset: a name or a file; folder, columns: as for a world.
        settings: ``["world.users=943"]``, keys of a study's [world] and [people].
        seed: draws the people and their luck.
        unfitted: also live a world that is not fitted.
        out: where to write; None for ``runs/realism-DATASET``. An earlier report there is replaced.
        progress: hears how far it is.

    Raises:
        UserError: data that cannot be read or compared, an unknown key, or a folder that holds
            something else.
    """
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(dataset).stem)
    place = out or HOME / f"realism-{safe}"
    if place.exists() and not place.is_dir():
        raise UserError(f"--out {place} is a file; name a directory")
    if place.is_dir() and any(p.name not in FILES for p in place.iterdir()):
        raise UserError(
            f"--out {place} holds something else than a comparison; name another directory"
        )
    raw: dict[str, Any] = {
        "kind": "dataset",
        "dataset": dataset,
        "folder": folder,
        "columns": column_map(columns),
    }
    for setting in settings:
        if setting.split(".", 1)[0] not in ("world", "people"):
            raise UserError(f"--set {setting}: a comparison has keys of [world] and [people] only")
    study = study_from(
        {"world": raw, "study": {"seed": seed}}, source="the command line", overrides=settings
    )
    began = time.perf_counter()
    found = realism(study.world, study.people, seed=seed, unfitted=unfitted, progress=progress)
    parts = ["loopaudit realism", _quoted(dataset), f"--folder {_quoted(folder)}" if folder else ""]
    parts += [f"--column {_quoted(one)}" for one in columns]
    parts += [f"--set {_quoted(one)}" for one in settings]
    parts += ["" if seed == 7 else f"--seed {seed}", "" if unfitted else "--no-unfitted"]
    report = RealismReport(found, " ".join(filter(None, parts)), time.perf_counter() - began)
    try:
        report.save_all(place)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}") from None
    return report, place


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)

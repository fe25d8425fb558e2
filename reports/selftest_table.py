"""The self-test as a printed table, with a word for every row and one exit code for all."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Literal

from ..audit.selftest_result import REQUIRED_POWER

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..audit.selftest_result import SelfTestResult, SelfTestRow

NOMINAL = 0.05
"""The false-positive rate a check is allowed by its level."""

Standing = Literal["as required", "not shown", "refuted", ""]


def standing(row: SelfTestRow, *, quick: bool) -> Standing:
    """What the runs of a row say about what is required of it.

    "refuted" when the bounds exclude the requirement: power below .80 at the documented dose, or a
    control flagged, or its "no effect" rejected, more often than in 5 % of runs. "not shown" when
    there were too few runs to say. The short version asks of controls only that they are
    compatible with 5 %, because its few runs cannot bound a rate from above.
    """
    if row.shown is None:
        return ""
    if row.kind == "planted":
        refuted = row.high < REQUIRED_POWER
    else:
        refuted = row.low > NOMINAL or row.calibrated is False
    if refuted:
        return "refuted"
    return "as required" if row.shown or (quick and row.kind == "control") else "not shown"


class SelfTestTable:
    """Prints a self-test.

    Args:
        result: what the self-test counted.
    """

    def __init__(self, result: SelfTestResult) -> None:
        self.result = result
        self.standings = [standing(row, quick=result.quick) for row in result.rows]

    @property
    def exit_code(self) -> int:
        """0 all as required; 1 something refuted; 4 something not shown."""
        return 1 if "refuted" in self.standings else 4 if "not shown" in self.standings else 0

    @property
    def said(self) -> str:
        """The last line, without the exit code."""
        words: tuple[Standing, ...] = ("as required", "not shown", "refuted")
        counts = [f"{self.standings.count(word)} {word}" for word in words]
        return ", ".join(count for count in counts if not count.startswith("0 "))

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
        for name in (
            "check",
            "recommender",
            "flagged",
            "share (bounds)",
            "mean effect",
            "standing",
        ):
            table.add_column(name, overflow="fold")
        for row, word in zip(self.result.rows, self.standings, strict=True):
            control = " (control)" if row.kind == "control" else ""
            effect = "" if row.mean_effect is None else f"{row.mean_effect:.3g}"
            table.add_row(
                Text(row.check_id),
                Text(row.name + control),
                Text(f"{row.fired} of {row.runs}"),
                Text(f"{row.share:.2f} ({row.low:.2f} to {row.high:.2f})"),
                Text(effect),
                Text(word, style="bold red" if word == "refuted" else ""),
            )
        return Group(table, Text(""), Text(f"result    {self.said} (exit {self.exit_code})"))

"""The report of an audit: printed as a table, saved as a page, asked by a script."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from html import escape
from io import StringIO
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from ..audit.finding import Finding, Verdict
from ..recommenders.errors import CannotWrite, UserError, unknown_name
from . import words
from .page import by_weight, described, effect_text, missing_alike, slug
from .tables import EXPERIMENT_HEADS, experiment_rows, fault_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from ..audit.result import AuditResult
    from ..simulation.run import Run

_COLUMNS = ("recommender", "what was measured", "effect (bounds)", "threshold", "verdict")

REQUIREMENTS = ("no violation", "no inconclusive", "all pass")

_COLOURS = {
    Verdict.VIOLATION: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.PASS: "green",
    Verdict.NOT_RUN: "dim",
}
_HEX = {
    Verdict.VIOLATION: "#9b1c1c",
    Verdict.INCONCLUSIVE: "#744a00",
    Verdict.PASS: "#14573a",
    Verdict.NOT_RUN: "#4a515a",
}


class AuditFailed(Exception):
    """What ``Report.require`` raises; the message names every finding that failed it.

    Attributes:
        findings: the findings that failed.
    """

    def __init__(self, requirement: str, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        named = "\n".join(f"  {f.verdict}  {f.key}: {words.claim(f)}" for f in findings)
        count = words.counted(len(findings), "finding fails", "findings fail")
        super().__init__(f"{count} {requirement!r}:\n{named}")


class Report:
    """Findings with everything needed to read them.

    Args:
        result: what ``audit_run`` found.
        run: the simulation behind it; without it the page has no figures over time.
    """

    def __init__(self, result: AuditResult, run: Run | None = None) -> None:
        self.result = result
        self.run = run

    @classmethod
    def open(cls, path: str | Path) -> Report:
        """Read the report of a run directory again, without repeating the audit.

        Args:
            path: a run directory that holds ``audit.json``, or the JSON file itself.

        Raises:
            UserError: there is no audit, or it cannot be read.
        """
        from ..audit.result import AuditResult
        from ..simulation.run import Run

        given = Path(path)
        file = given / "audit.json" if given.is_dir() else given
        if not given.exists():
            raise UserError(f"there is no run directory {given}")
        if given.is_dir() and not (given / "manifest.json").exists() and not file.exists():
            raise UserError(f"{given} is not a run directory: it has no manifest.json")
        if not file.is_file():
            raise UserError(
                f"{given} was not audited; run `loopaudit audit {quote(str(given))}` first"
            )
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read: {error}; audit again") from error
        if not isinstance(held, dict):
            raise UserError(f"{file} is no audit result; audit again")
        try:
            result = AuditResult.from_json(held)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        home = file.parent
        run = Run.open(home) if (home / "manifest.json").is_file() else None
        if run is not None and result.manifest.get("sha256") != run.manifest["sha256"]:
            raise UserError(f"{file} is about another run than the one beside it; audit again")
        return cls(result, run)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, the most severe and most certain first."""
        return tuple(by_weight(self.result.findings))

    def __getitem__(self, name: str) -> Finding | tuple[Finding, ...]:
        """The findings of an auditor ("filter-bubble"), a check, a family or one key.

        A single finding comes as itself, several as a tuple.

        Raises:
            KeyError: nothing has this name; the message offers the nearest.
        """
        found = tuple(f for f in self.findings if name in self._names(f))
        if not found:
            known = {known for f in self.findings for known in self._names(f)}
            raise KeyError(str(unknown_name("finding", name, known)))
        return found[0] if len(found) == 1 else found

    def _names(self, f: Finding) -> tuple[str, ...]:
        """What a finding may be called: its key, its check, its family, its auditor."""
        return f.key, f.check.id, f.check.family, self.result.plan.auditor_of(f.check.id)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 a violation, 4 inconclusive; the study says whether 4 may count as 0."""
        return self.result.exit_code(allow_inconclusive=self.allow_inconclusive)

    @property
    def allow_inconclusive(self) -> bool:
        """What the study says about open questions."""
        return bool(self.result.study.get("audit", {}).get("allow_inconclusive", False))

    def require(self, requirement: str = "no violation") -> Report:
        """Raise unless the deciding checks meet a requirement, for use in continuous integration.

        Args:
            requirement: "no violation"; "no inconclusive" (neither a violation nor a question
                that is open, as a pass that another user model turns, or one that had too few
                data); "all pass" (nothing may be missing either).

        Returns:
            The report itself.

        Raises:
            AuditFailed: a deciding check fails the requirement.
            UserError: there is no such requirement.
        """
        if requirement not in REQUIREMENTS:
            raise unknown_name("requirement", requirement, REQUIREMENTS)
        refused = [Verdict.VIOLATION, Verdict.INCONCLUSIVE, Verdict.NOT_RUN]
        refused = refused[: REQUIREMENTS.index(requirement) + 1]
        failed = tuple(f for f in words.gates(self.findings) if f.standing in refused)
        if failed:
            raise AuditFailed(requirement, failed)
        return self

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values; ``audit/audit.schema.json`` describes it."""
        return self.result.to_json()

    def html(self) -> str:
        """The page: one file, without network or JavaScript."""
        from .html import render

        return render(self.result, self.run)

    def save(self, path: str | Path) -> Path:
        """Write the page to a file; folders are made, the file appears whole or not at all."""
        return _write(Path(path), self.html())

    def save_all(self, folder: str | Path) -> dict[str, Path]:
        """Write report.html, audit.json, summary.md, junit.xml and audit.sarif into a folder.

        Returns:
            file name -> where it was written.
        """
        from . import exports

        made: dict[str, Callable[[], str]] = {
            "audit.json": lambda: exports.audit_json(self.result),
            "summary.md": lambda: exports.summary_md(self.result),
            "junit.xml": lambda: exports.junit_xml(
                self.result, allow_inconclusive=self.allow_inconclusive
            ),
            "audit.sarif": lambda: exports.sarif(self.result),
            "report.html": self.html,
        }
        return {name: _write(Path(folder) / name, make()) for name, make in made.items()}

    def __str__(self) -> str:
        from rich.console import Console

        out = StringIO()
        console = Console(file=out, width=110, color_system=None, legacy_windows=False)
        console.print(self.__rich__())
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def __repr__(self) -> str:
        said = words.tally_text(self.result.findings)
        return f"Report({', '.join(self.result.targets)}; {said})"

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in _COLUMNS:
            table.add_column(name, overflow="fold", no_wrap=name == "verdict")
        shown, alike = missing_alike(self.findings)
        for f in shown:
            table.add_row(
                Text(f.recommender),
                Text(words.named(f)),
                Text(effect_text(f) if f.effect is not None else (f.because or "not measured")),
                Text(words.threshold(f.check) + f" {f.check.unit_label}"),
                Text(str(f.verdict), style=_COLOURS[f.verdict]),
            )
        for (recommender, why), missing in alike.items():
            deciding = sum(f.check.role == "gate" for f in missing)
            table.add_row(
                Text(recommender),
                Text(f"{len(missing)} checks, {deciding} of them deciding"),
                Text(why),
                Text(""),
                Text(str(Verdict.NOT_RUN), style=_COLOURS[Verdict.NOT_RUN]),
            )
        lines = [
            Text(f"depends on the user model: {f.key}: {words.flip_words(f)}", style="bold yellow")
            for f in self.findings
            if f.flips
        ]
        for row in experiment_rows(self.result):
            parts = zip(EXPERIMENT_HEADS[1:4], row[1:4], strict=True)
            said = "; ".join(f"{head} {value}" for head, value in parts)
            lines.append(Text(f"experiment {row[0]}: {said}"))
        last = [
            *(Text(f"faults  {line}") for line in fault_lines(self.result.faults)),
            Text(words.opinion(self.result.findings)),
            Text(
                f"result  {words.exit_words(self.exit_code)} (exit {self.exit_code}); "
                f"{self.result.coverage[0]} of {self.result.coverage[1]} applicable checks ran; "
                f"plan {self.result.plan.hash[:12]}"
            ),
        ]
        return Group(*lines, table, Text(""), *last)

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        cell = "padding:.25em .9em .25em 0;text-align:left"
        rows = "".join(
            f'<tr><td style="{cell}">{escape(f.recommender)}</td>'
            f'<td style="{cell}">{escape(words.named(f))}</td>'
            f'<td style="{cell}" title="{escape(described(f))}">{escape(effect_text(f))}</td>'
            f'<td style="{cell}">{escape(words.threshold(f.check))} '
            f"{escape(f.check.unit_label)}</td>"
            f'<td style="{cell};font-weight:600;color:{_HEX[f.verdict]}" '
            f'class="{slug(f.verdict)}">{f.verdict}</td></tr>'
            for f in self.findings
        )
        heads = "".join(f'<th scope="col" style="{cell}">{name}</th>' for name in _COLUMNS)
        return (
            f"<div><p><strong>{escape(words.what_was_audited(self.result))}.</strong> "
            f"{escape(words.opinion(self.result.findings))}</p>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
        )


def _write(path: Path, text: str) -> Path:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise CannotWrite(path, error) from error
    return path

"""Runs published results at full size and writes what was found into docs/studies.md.

Sections of studies that are not named stay as they are.

    python benchmarks/studies.py                  # all of them
    python benchmarks/studies.py polya dean2022
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from loopaudit.reports.studies import StudyReport
from loopaudit.simulation.studies.study import STUDIES, run

PAGE = Path(__file__).resolve().parents[1] / "docs" / "studies.md"


def main() -> int:
    names = sys.argv[1:] or list(STUDIES)
    head, *parts = re.split(r"(?m)^(?=## )", PAGE.read_text(encoding="utf-8"))
    sections = {part.split()[1]: part for part in parts}
    for name in names:
        report = StudyReport(run(name))
        sections[report.result.name] = report.to_markdown()
        print(f"{report.said} (exit {report.exit_code}), {report.result.seconds:.0f} s", flush=True)
        kept = [sections[one].rstrip() + "\n" for one in STUDIES if one in sections]
        PAGE.write_text("\n".join([head.rstrip() + "\n", *kept]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

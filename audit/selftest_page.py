"""Writes the self-test's result as a page: ``python -m loopaudit.audit.selftest_page``."""

from __future__ import annotations

import sys
from pathlib import Path

from .selftest_result import SelfTestResult, SelfTestRow

_PAGE = """\
# What the self-test found

An audit is worth what its auditors can see. The self-test lives small worlds whose truth is known,
lets each auditor judge them, and counts: how often is a harm found that was planted at a known
dose (power), and how often is one reported where there is none (false positives)?

Required are, at the doses marked *, a power whose lower bound is at least .80, and of every control
a false-positive rate whose upper bound is at most .10. Bounds are one-sided 95 % Clopper-Pearson.
"No effect rejected" counts how often the hypothesis of no effect at all was rejected at the 5 %
level, whatever the threshold of materiality: on controls this must be compatible with 5 %.

{table}

The planted recommenders are in `audit/planted/`; `audit/planted/cases.py` lists every case with
its world. Checks are judged one by one here; in an audit they are also corrected for each other,
which can only make them quieter. Controls are traps as well as zeros: `DriftingUsersRandomRec`
has people whose taste narrows by their own clicks under a random recommender; `UnequalBaseRates`
has groups that every accurate recommender serves unequally; `NobodyRecommends` compares people who
browse by themselves with themselves under other luck; `NamesOnlyWhatExists` may name what does not
exist and never does.

Made on {created} by

    {command} --out audit/selftest.json
    python -m loopaudit.audit.selftest_page docs/selftest.md

in {minutes:.0f} minutes with seed {seed} ({versions}). The same seed gives the same counts.{later}
"""

_COLUMNS = (
    "check",
    "recommender",
    "violations",
    "share (bounds)",
    "no effect rejected",
    "mean effect",
    "as required",
)


def page(result: SelfTestResult) -> str:
    """The whole page in Markdown."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in result.rows]
    return _PAGE.format(
        table="\n".join(lines),
        created=result.created[:10] or "an unknown day",
        command=result.command,
        minutes=result.seconds / 60,
        seed=result.seed,
        versions=", ".join(f"{name} {version}" for name, version in result.versions.items()),
        later=f" {result.later}" if result.later else "",
    )


def _cells(row: SelfTestRow) -> tuple[str, ...]:
    effect = "none measured" if row.mean_effect is None else f"{row.mean_effect:+.3f}"
    rejected = "not counted" if row.rejected is None else f"{row.rejected} of {row.runs}"
    return (
        row.check_id,
        f"{row.name} (control)" if row.kind == "control" else f"{row.name}{' *' * row.documented}",
        f"{row.fired} of {row.runs}",
        f"{row.share:.2f} ({row.low:.2f} to {row.high:.2f})",
        rejected,
        effect,
        {True: "yes", False: "no", None: ""}[row.shown],
    )


def main(arguments: list[str]) -> int:
    """Writes the shipped result to the file named, or to standard output."""
    result = SelfTestResult.shipped()
    if result is None:
        print("no result is shipped; run: loopaudit selftest --out audit/selftest.json")
        return 2
    if arguments:
        Path(arguments[0]).write_text(page(result), encoding="utf-8")
    else:
        print(page(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

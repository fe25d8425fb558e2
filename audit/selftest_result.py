"""What the self-test found: how often each auditor fires on planted harms and on clean controls.

The self-test runs in ``selftest.py``; this file only holds its result, so that reports, rulers and
the audit itself can read one without importing the machinery that makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any, Literal

REQUIRED_POWER = 0.80
"""The lower bound of power that the documented dose must reach."""

ALLOWED_FALSE_POSITIVES = 0.10
"""The upper bound of the false-positive rate that clean controls must stay under."""


@dataclass(frozen=True)
class SelfTestRow:
    """One check against one recommender of known dose.

    Attributes:
        auditor: "filter-bubble".
        check_id: "bubbles.slate-narrowing".
        recommender: the planted violator or the control: "BubbleFormer".
        dose: strength of the planted harm; 0 for a control.
        kind: "planted" rows measure power, "control" rows the false-positive rate.
        runs: independent audits made.
        fired: how many of them said VIOLATION.
        share: fired / runs.
        low, high: one-sided 95 % Clopper-Pearson bounds of the share.
        mean_effect: mean estimated effect, in the check's unit; None when nothing was measured.
        parameter: the dose's name in the recommender's arguments: "beta".
        documented: True for the dose whose power the documentation promises.
        rejected: in how many runs "no effect at all" was rejected at the check's level, whatever
            the threshold tau; where there is no harm this must be compatible with 5 %. None when
            it was not counted.
    """

    auditor: str
    check_id: str
    recommender: str
    dose: float
    kind: Literal["planted", "control"]
    runs: int
    fired: int
    share: float
    low: float
    high: float
    mean_effect: float | None
    parameter: str = "dose"
    documented: bool = False
    rejected: int | None = None

    @classmethod
    def count(
        cls,
        auditor: str,
        check_id: str,
        recommender: str,
        *,
        dose: float,
        kind: Literal["planted", "control"],
        runs: int,
        fired: int,
        mean_effect: float | None,
        parameter: str = "dose",
        documented: bool = False,
        rejected: int | None = None,
    ) -> SelfTestRow:
        """A row whose share and exact bounds are computed from the counts.

        Raises:
            ValueError: no runs, or more fired than ran.
        """
        from scipy.special import betaincinv

        if runs < 1 or not 0 <= fired <= runs:
            raise ValueError(f"0 <= fired <= runs and runs >= 1 needed, got {fired} of {runs}")
        low = float(betaincinv(fired, runs - fired + 1, 0.05)) if fired > 0 else 0.0
        high = float(betaincinv(fired + 1, runs - fired, 0.95)) if fired < runs else 1.0
        return cls(
            auditor,
            check_id,
            recommender,
            float(dose),
            kind,
            runs,
            fired,
            fired / runs,
            low,
            high,
            mean_effect,
            parameter,
            documented,
            rejected,
        )

    @property
    def name(self) -> str:
        """As a person would write it: "BubbleFormer(beta = 1.6)", or the bare name of a control."""
        if self.kind == "control":
            return self.recommender
        return f"{self.recommender}({self.parameter} = {self.dose:g})"

    @property
    def calibrated(self) -> bool | None:
        """Whether a control's rejections of "no effect" are compatible with at most 5 %.

        True unless the lower one-sided 99 % bound of their share lies above .05 (99, because a
        table holds a dozen controls); None for planted harms, and when they were not counted.
        """
        from scipy.special import betaincinv

        if self.kind != "control" or self.rejected is None:
            return None
        n, k = self.runs, self.rejected
        return k == 0 or float(betaincinv(k, n - k + 1, 0.01)) <= 0.05

    @property
    def shown(self) -> bool | None:
        """Whether these runs show what is required of the row; None when nothing is.

        The documented dose must have a power whose lower bound is at least .80; a control a
        false-positive rate whose upper bound is at most .10. Other doses draw the curve.
        """
        if self.kind == "control":
            return self.high <= ALLOWED_FALSE_POSITIVES
        return self.low >= REQUIRED_POWER if self.documented else None


@dataclass(frozen=True)
class SelfTestResult:
    """The table of a self-test, and how to make it again.

    Attributes:
        rows: one per check, recommender and dose.
        created: ISO date and time.
        command: the command line that repeats it.
        seed: what everything random in it derives from.
        quick: True for the short version (fewer runs, wider bounds).
        seconds: wall-clock time it took.
        versions: package versions it ran with.
        later: which rows were made on another day, in a sentence; "" for none.
    """

    rows: tuple[SelfTestRow, ...]
    created: str = ""
    command: str = "loopaudit selftest"
    seed: int = 0
    quick: bool = False
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    later: str = ""

    def of(self, check_id: str) -> tuple[SelfTestRow, ...]:
        """The rows of one check."""
        return tuple(row for row in self.rows if row.check_id == check_id)

    def ruler(self, check_id: str, effect: float | None) -> str:
        """An effect in words of the planted harm that has it: "as strong as X(beta = 1.6)".

        Interpolates linearly between the doses measured; outside them it only says "stronger
        than" the strongest or "weaker than" the weakest. Empty when there is nothing to compare.
        """
        planted = [
            (row.mean_effect, row)
            for row in self.of(check_id)
            if row.kind == "planted" and row.mean_effect is not None
        ]
        if effect is None or effect <= 0 or not planted:
            return ""
        # one planted violator makes one ruler: the one with most doses, first in the table
        names = [row.recommender for _, row in planted]
        name = max(dict.fromkeys(names), key=names.count)
        marks = sorted((e, row.dose) for e, row in planted if row.recommender == name)
        unit = next(row for _, row in planted if row.recommender == name)

        def called(dose: float) -> str:
            return f"{name}({unit.parameter} = {dose:.2g})"

        if effect > marks[-1][0]:
            return f"stronger than {called(marks[-1][1])}"
        if effect < marks[0][0]:
            return f"weaker than {called(marks[0][1])}"
        below = max(m for m in marks if m[0] <= effect)
        above = min(m for m in marks if m[0] >= effect)
        if above[0] == below[0]:
            return f"as strong as {called(below[1])}"
        part = (effect - below[0]) / (above[0] - below[0])
        return f"as strong as {called(below[1] + part * (above[1] - below[1]))}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "created": self.created,
            "command": self.command,
            "seed": self.seed,
            "quick": self.quick,
            "seconds": self.seconds,
            "versions": dict(self.versions),
            **({"later": self.later} if self.later else {}),
        }

    @classmethod
    def shipped(cls) -> SelfTestResult | None:
        """The full self-test that came with this version (audit/selftest.json), if any did."""
        file = resources.files(__package__).joinpath("selftest.json")
        return cls.from_json(json.loads(file.read_text("utf-8"))) if file.is_file() else None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SelfTestResult:
        """The inverse of :meth:`to_json`."""
        rest = {name: value for name, value in data.items() if name != "rows"}
        return cls(tuple(SelfTestRow(**row) for row in data["rows"]), **rest)

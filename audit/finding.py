"""What an audit says: checks declared before data, measurements per independent unit, findings.

An auditor *declares* Checks and returns Measurements; it never decides. ``inference.judge`` turns
a Check and its Measurement into a Finding, the same way for every auditor, so the statistical
contract is kept in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["bubbles", "bias", "manipulation", "privacy", "generation", "efficiency"]
Unit = Literal["world", "user", "interaction", "prompt"]


class Verdict(StrEnum):
    """The three verdicts of an equivalence-aware test, and the honest absence of one."""

    VIOLATION = "VIOLATION"
    PASS = "PASS"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Check:
    """One question fixed before any data are read.

    Attributes:
        id: stable slug, "bubbles.slate-narrowing"; with the recommender's name it keys a finding.
        family: the harm family it belongs to.
        question: one plain sentence a non-specialist can read.
        estimand: the contrast in words: which arms, which statistic, which time windows.
        statistic: short name of the quantity ("narrowing of slate topic entropy").
        unit_label: the physical unit of the effect ("bits", "share of users").
        unit: the independent unit of inference.
        tau: materiality threshold, in ``unit_label``; harm is positive.
        tau_source: who set it and why ("LoopAudit default: convention", "study.toml").
        method: how the interval is made.
        alpha: one-sided level.
        role: "gate" checks decide the exit code; "descriptive" ones inform.
        needs_arms: arms the contrast needs besides the target.
        access: letters of the access it needs: B recommend, S scores, L log, W re-trainable.
        formula: the statistic's formula as text.
        source: paper or origin of the formula.
        not_tested: what this check cannot see.
        mitigation: what could be tried if it is violated.
    """

    id: str
    family: Family
    question: str
    estimand: str
    statistic: str
    unit_label: str
    unit: Unit
    tau: float
    tau_source: str
    method: Literal["paired-t", "bca", "exact", "permutation", "cluster-jackknife"] = "paired-t"
    alpha: float = 0.05
    role: Literal["gate", "descriptive"] = "gate"
    needs_arms: tuple[str, ...] = ()
    access: str = "B"
    formula: str = ""
    source: str = ""
    not_tested: str = ""
    mitigation: str = ""


@dataclass(frozen=True)
class Table:
    """A small table that belongs to a finding (group means, the points of a figure)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]


@dataclass(frozen=True)
class Measurement:
    """What an auditor saw, before judgement: exactly one of the first five is filled.

    Attributes:
        effects: (units,) effect of each independent unit, harm positive; paired differences when
            the check is a contrast. For "paired-t" and "bca" (of the mean).
        counts: (harmful, trials) for "exact"; the effect is the share minus ``chance``.
        groups: (values (units,), labels (units,), strata (units,) or None) for "permutation": the
            effect is the largest minus the smallest group mean, tested against label permutation.
        estimate: (effect, standard error, units) for "cluster-jackknife", from resampling users.
        missing: why nothing could be measured; yields NOT RUN.
        undefined: why the statistic has no value on these data; yields NOT RUN, said as such.
        chance: subtracted from a share.
        arm_values: mean of the statistic in each arm, for reading.
        floor: the same statistic where no harm is possible (re-query, label permutation, ...).
        floor_label: what the floor is.
        tables: group tables, curves.
        suppressed: group labels left out because they hold fewer than 20 users.
        notes: sentences the reader must see (a blind baseline off .5, say).
    """

    effects: NDArray[np.float64] | None = None
    counts: tuple[int, int] | None = None
    groups: tuple[NDArray[np.float64], NDArray[np.generic], NDArray[np.generic] | None] | None = (
        None
    )
    estimate: tuple[float, float, int] | None = None
    missing: str | None = None
    undefined: str | None = None
    chance: float = 0.0
    arm_values: dict[str, float] = field(default_factory=dict)
    floor: float | None = None
    floor_label: str = ""
    tables: tuple[Table, ...] = ()
    suppressed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


UNDEFINED = "undefined because"
"""How the reason begins where there was access, but no value."""


@dataclass(frozen=True)
class Finding:
    """The judged answer to one check about one recommender.

    ``low`` and ``high`` are the one-sided 95 % bounds (a two-sided 90 % interval); ``effect`` is
    harm-positive, in ``check.unit_label``. ``None`` means "undefined", with the reason in
    ``because``. ``verdict`` already includes multiplicity; ``verdict_alone`` does not.
    """

    check: Check
    recommender: str
    verdict: Verdict
    verdict_alone: Verdict
    because: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_family: float | None = None
    p_gate: float | None = None
    n_units: int = 0
    mde: float | None = None
    units_to_decide: int | None = None
    arm_values: dict[str, float] = field(default_factory=dict)
    floor: float | None = None
    floor_label: str = ""
    ruler: str = ""
    sensitivity: tuple[tuple[str, str, float | None], ...] = ()
    tables: tuple[Table, ...] = ()
    suppressed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Stable across runs: "multvae/bubbles.slate-narrowing"."""
        return f"{self.recommender}/{self.check.id}"

    @property
    def flips(self) -> bool:
        """True when another user model turns this verdict from pass to violation or back."""
        opposite = {Verdict.PASS: Verdict.VIOLATION, Verdict.VIOLATION: Verdict.PASS}
        return any(verdict == opposite.get(self.verdict) for _, verdict, _ in self.sensitivity)

    @property
    def unmeasured(self) -> bool:
        """True when it could be asked, but the data left the statistic without a value."""
        return self.verdict is Verdict.NOT_RUN and self.because.startswith(UNDEFINED)

    @property
    def standing(self) -> Verdict:
        """What a decision may rest on: a pass that another user model turns is an open question,
        and so is what the data left without a value."""
        turned = self.verdict is Verdict.PASS and self.flips
        return Verdict.INCONCLUSIVE if turned or self.unmeasured else self.verdict

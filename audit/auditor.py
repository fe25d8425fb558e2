"""What an auditor is, and where auditors come from: built in, installed, or named by the study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, get_args, runtime_checkable

from ..recommenders.errors import UserError, unknown_name
from ..recommenders.registry import make
from .evidence import Evidence
from .finding import Check, Family, Measurement, Unit

if TYPE_CHECKING:
    from ..simulation.study import AuditSection

_HERE = __package__
AUDITORS: Mapping[str, tuple[str, str]] = {
    "filter-bubble": (
        f"{_HERE}.bubbles.filter_bubble:FilterBubble",
        "do slates and consumption narrow beyond random exposure?",
    ),
    "quality-gap": (
        f"{_HERE}.bias.quality_gap:QualityGap",
        "are some groups of people served worse?",
    ),
    "attribute-use": (
        f"{_HERE}.bias.attribute_use:AttributeUse",
        "does the same person get other items when an attribute is flipped?",
    ),
    "popularity-lift": (
        f"{_HERE}.bias.popularity_lift:PopularityLift",
        "are people shown more popular items than they choose themselves?",
    ),
    "induced-shift": (
        f"{_HERE}.manipulation.induced_shift:InducedShift",
        "do tastes move beyond where they would have gone by themselves?",
    ),
    "membership": (
        f"{_HERE}.privacy.membership:Membership",
        "can somebody tell whose interactions it was trained on?",
    ),
    "made-up-names": (
        f"{_HERE}.generation.made_up_names:MadeUpNames",
        "how much of what it names does not exist?",
    ),
}
"""Built-in auditors: name to (``module:attr``, one-line summary)."""

_FAMILY_OF = {
    "filter-bubble": "bubbles",
    "quality-gap": "bias",
    "attribute-use": "bias",
    "popularity-lift": "bias",
    "induced-shift": "manipulation",
    "membership": "privacy",
    "made-up-names": "generation",
}
_METHODS = ("paired-t", "bca", "exact", "permutation", "cluster-jackknife")


@runtime_checkable
class Auditor(Protocol):
    """Asks one question; declares its checks before any data are read, then measures, never judges.

    A third party registers one under the entry-point group ``loopaudit.auditors``.
    """

    name: str
    family: Family
    question: str

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """The checks it will make under these settings; must not read data."""
        ...

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        """What it saw, by check id; a check left out is reported NOT RUN."""
        ...


def auditors_for(settings: AuditSection) -> tuple[Auditor, ...]:
    """The built-in auditors of the chosen families, then the plug-ins the settings name.

    Raises:
        UserError: a plug-in is unknown, broken, or no auditor.
    """
    names = [name for name in AUDITORS if _FAMILY_OF[name] in settings.families]
    return tuple(named_auditor(name) for name in dict.fromkeys([*names, *settings.auditors]))


def named_auditor(spec: str) -> Auditor:
    """A fresh auditor by built-in name, entry point, ``module:attr`` or ``path/file.py:attr``.

    Raises:
        UserError: unknown, broken, or no auditor.
    """
    made = make(spec, group="auditors", built_in=AUDITORS)
    lacking = [part for part in ("name", "family", "question") if not hasattr(made, part)]
    lacking += [part for part in ("checks", "measure") if not callable(getattr(made, part, None))]
    if lacking:
        raise UserError(f"{spec!r} is not an auditor: it has no {' and no '.join(lacking)}")
    return made  # type: ignore[return-value]


def declared(auditor: Auditor, settings: AuditSection) -> tuple[Check, ...]:
    """An auditor's checks, with the study's thresholds in place of the auditor's own.

    Raises:
        UserError: a check is not well formed.
    """
    checks = tuple(auditor.checks(settings))
    for check in checks:
        _well_formed(check, auditor)
    return tuple(
        replace(
            check, tau=float(settings.tau[check.id]), tau_source="study.toml or --set: [audit] tau"
        )
        if check.id in settings.tau
        else check
        for check in checks
    )


def refuse_unknown_thresholds(settings: AuditSection, known: set[str]) -> None:
    """A threshold for a check that nobody makes is a slip of the pen, not a wish.

    Args:
        settings: with thresholds by check id.
        known: ids of the checks of this audit.

    Raises:
        UserError: an id that no check of this audit and of no built-in auditor has.
    """
    strange = [name for name in settings.tau if name not in known]
    if not strange:
        return
    everything = set(known)
    for name in AUDITORS:  # a threshold for a family that is switched off is no mistake
        everything |= {check.id for check in named_auditor(name).checks(settings)}
    for name in strange:
        if name not in everything:
            raise unknown_name("check", name, everything)


def _well_formed(check: Check, auditor: Auditor) -> None:
    if not isinstance(check, Check):
        raise UserError(f"auditor {auditor.name!r} declared {type(check).__name__}, not a Check")
    where = f"auditor {auditor.name!r}, check {check.id!r}"
    if not 0 < check.alpha < 0.5:
        raise UserError(f"{where}: alpha must lie between 0 and 0.5, got {check.alpha}")
    if not math.isfinite(check.tau):
        raise UserError(f"{where}: tau must be a finite number, got {check.tau}")
    choices = (
        ("method", check.method, _METHODS),
        ("unit", check.unit, get_args(Unit)),
        ("family", check.family, get_args(Family)),
        ("role", check.role, ("gate", "descriptive")),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            raise UserError(f"{where}: {name} must be one of {', '.join(allowed)}, got {value!r}")

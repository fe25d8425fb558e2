"""The plan: what will be asked and how strictly, fixed and hashed before any data are read.

Methods and thresholds are declared first, and every change is disclosed; Commission Delegated
Regulation (EU) 2024/436, Art. 10(2), asks auditors for the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..recommenders.errors import CannotWrite, UserError
from .auditor import Auditor, auditors_for, declared, refuse_unknown_thresholds
from .finding import Check

if TYPE_CHECKING:
    from ..simulation.study import AuditSection, Study

PLAN_SCHEMA = 1
FILE_NAME = "plan.json"

_CURE = "restore it, or remove it and have the audit say that it was declared afterwards"

When = Literal["before the run", "after the run"]
_Flat = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Everything declared before measuring.

    Attributes:
        checks: what is asked, thresholds included.
        auditors: auditor name -> ids of its checks.
        study: the study as understood, every default written out.
        declared_when: "before the run" or "after the run".
        declared_at: ISO date and time.
        undeclared: auditors that could not declare anything, and why.
        deviations: departures found later; not part of the hash.
    """

    checks: tuple[Check, ...]
    auditors: Mapping[str, tuple[str, ...]]
    study: Mapping[str, Any]
    declared_when: When = "before the run"
    declared_at: str = ""
    undeclared: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()

    @classmethod
    def declare(
        cls,
        study: Study,
        auditors: Iterable[Auditor] | None = None,
        *,
        settings: AuditSection | None = None,
        when: When = "before the run",
    ) -> Plan:
        """Ask every auditor for its checks; nothing is measured.

        An auditor that fails to declare is noted and asks nothing.

        Args:
            study: what will be, or was, simulated.
            auditors: the study's own unless given.
            settings: how strict; the study's own unless given.
            when: whether the simulation has run already.

        Raises:
            UserError: an unknown auditor or threshold, or two checks with one id.
        """
        settings = settings or study.audit
        chosen = tuple(auditors) if auditors is not None else auditors_for(settings)
        checks: list[Check] = []
        by_auditor: dict[str, tuple[str, ...]] = {}
        failed: list[str] = []
        for auditor in chosen:
            try:
                own = declared(auditor, settings)
            except Exception as error:  # a third party's code; what happened is kept
                failed.append(f"{auditor.name} declared no checks: {contained(error)}")
                continue
            _refuse_repeats(auditor.name, own, by_auditor)
            by_auditor[auditor.name] = tuple(check.id for check in own)
            checks += own
        refuse_unknown_thresholds(settings, {check.id for check in checks})
        asked = study.model_copy(update={"audit": settings})
        return cls(
            tuple(checks),
            by_auditor,
            asked.model_dump(mode="json"),
            when,
            datetime.now(UTC).isoformat(timespec="seconds"),
            tuple(failed),
        )

    @property
    def hash(self) -> str:
        """sha256 of the declaration as canonical JSON; the same plan always has the same hash."""
        content = {
            "schema": PLAN_SCHEMA,
            "checks": [asdict(check) for check in self.checks],
            "auditors": {name: list(ids) for name, ids in self.auditors.items()},
            "study": self.study,
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()

    def auditor_of(self, check_id: str) -> str:
        """Name of the auditor that makes a check; "" for an unknown check."""
        return next((name for name, ids in self.auditors.items() if check_id in ids), "")

    def compared(self, planned: Plan) -> tuple[str, ...]:
        """How this plan, which was carried out, departs from the one declared before.

        Args:
            planned: the earlier plan; may be this one.

        Returns:
            One sentence a departure.
        """
        said: list[str] = []
        if planned.declared_when != "before the run":
            said.append("The plan was declared after the simulation had run.")
        said += [f"{problem}." for problem in self.undeclared]
        before = {check.id: check for check in planned.checks}
        now = {check.id: check for check in self.checks}
        said += [f"{name} was planned, but not asked." for name in before if name not in now]
        said += [f"{name} was asked, but not planned." for name in now if name not in before]
        for name in now:
            if name in before:
                said += _changes(before[name], now[name])
        old, new = _flat(planned.study), _flat(self.study)
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key) and not key.startswith("audit.tau"):
                said.append(
                    f"The study's {key} was planned as {_short(old.get(key))}, "
                    f"and is {_short(new.get(key))}."
                )
        return tuple(said)

    def departing(self, deviations: Iterable[str]) -> Plan:
        """The same plan with these departures listed."""
        return replace(self, deviations=(*self.deviations, *deviations))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, with the hash."""
        return {
            "schema": PLAN_SCHEMA,
            "hash": self.hash,
            "declared_when": self.declared_when,
            "declared_at": self.declared_at,
            "auditors": {name: list(ids) for name, ids in self.auditors.items()},
            "checks": [_plain(asdict(check)) for check in self.checks],
            "study": _plain(self.study),
            "undeclared": list(self.undeclared),
            "deviations": list(self.deviations),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of :meth:`to_json`.

        Raises:
            UserError: it is no plan, or was changed after it was declared.
        """
        try:
            plan = cls(
                tuple(check_from_json(check) for check in data["checks"]),
                {name: tuple(ids) for name, ids in data["auditors"].items()},
                data["study"],
                data["declared_when"],
                data["declared_at"],
                tuple(data.get("undeclared", ())),
                tuple(data.get("deviations", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"this is no plan of LoopAudit: {contained(error)}") from error
        if data.get("schema") != PLAN_SCHEMA:
            raise UserError(f"plan schema {PLAN_SCHEMA} can be read, got {data.get('schema')}")
        if plan.hash != data.get("hash"):
            raise UserError(
                f"the plan was changed after it was declared: its hash does not match; {_CURE}"
            )
        return plan

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        text = json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(text, "utf-8")
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise CannotWrite(path, error) from error

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read it from a file.

        Raises:
            UserError: the file cannot be read, is no plan, or was changed.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}; {_CURE}") from error
        if not isinstance(data, dict):
            raise UserError(f"{path} is no plan of LoopAudit; {_CURE}")
        try:
            return cls.from_json(data)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def declare_in(folder: Path, study: Study) -> Plan:
    """Declare a study's plan in its run directory, before it is simulated.

    A plan that stands there already is kept, so that a resumed run is judged by what was declared
    first; unless nothing has been simulated yet, when it is replaced.

    Raises:
        UserError: an unknown auditor or threshold, or a plan that was changed.
    """
    path = folder / FILE_NAME
    started = any((folder / name).exists() for name in ("study.toml", "manifest.json", "events"))
    if started and path.exists():
        return Plan.load(path)
    plan = Plan.declare(study, when="after the run" if started else "before the run")
    plan.save(path)
    return plan


def contained(error: BaseException) -> str:
    """A third party's exception in one line: its type and message."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def canonical(value: object) -> str:
    """JSON with one spelling: sorted keys, no spaces, numbers as Python prints them."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_from_json(data: Mapping[str, Any]) -> Check:
    """The inverse of ``dataclasses.asdict`` for a Check."""
    return Check(**{**data, "needs_arms": tuple(data.get("needs_arms", ()))})


def _plain(value: object) -> Any:
    """Tuples as lists and enums as text, so that what is hashed is what is stored."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


def _flat(value: object, path: str = "") -> _Flat:
    if isinstance(value, Mapping) and value:
        out: _Flat = {}
        for key, inner in value.items():
            out |= _flat(inner, f"{path}.{key}" if path else str(key))
        return out
    if isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        return _flat({str(i): inner for i, inner in enumerate(value)}, path)
    return {path: _plain(value)}


def _changes(before: Check, now: Check) -> list[str]:
    said = []
    for field in fields(Check):
        old, new = getattr(before, field.name), getattr(now, field.name)
        if old != new:
            said.append(
                f"{now.id}: {field.name} was planned as {_short(old)}, and is {_short(new)}."
            )
    return said


def _short(value: object) -> str:
    text = "nothing" if value is None or value == "" else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_repeats(
    name: str, checks: tuple[Check, ...], taken: Mapping[str, tuple[str, ...]]
) -> None:
    if name in taken:
        raise UserError(f"two auditors are called {name!r}; leave one out")
    ids = [check.id for check in checks]
    owners = {check_id: auditor for auditor, owned in taken.items() for check_id in owned}
    for check_id in ids:
        if check_id in owners or ids.count(check_id) > 1:
            other = owners.get(check_id, name)
            raise UserError(f"check {check_id!r} is declared twice: by {other!r} and {name!r}")

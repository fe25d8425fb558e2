"""What a published study is here, how it is found by name and run, and how it is judged.

Each module in this folder reproduces one paper. It exposes ``TITLE``, ``PAPER``, a frozen
dataclass ``Params`` whose defaults are the paper's own numbers (with ``quick()`` for small ones)
and ``run(params, *, seed, progress) -> StudyResult``. A result is a list of :class:`Row`: a figure
of ours beside the published one, with a tolerance that was fixed before the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import import_module
from typing import Any, Literal, Protocol, Self, cast

from ...recommenders.errors import UserError, unknown_name

STUDIES: tuple[str, ...] = (
    *("jiang2019", "dean2022", "polya", "satisfaction", "kalimeris2021"),
    *("chaney2018", "tampering", "lucherini2021", "mansoury2020"),
    "triple_filter_bubble",
)
"""Names of the studies, which are the names of their modules."""

Progress = Callable[[int, int, str], None]
"""Told how far a study is: steps done, steps in all, the part being worked on."""

How = Literal["within", "share", "above", "below"]
Value = bool | int | float | str


@dataclass(frozen=True)
class Row:
    """One figure of ours beside the published one.

    Attributes:
        name: what was measured.
        ours: our figure; NaN is never within tolerance.
        published: the figure of the paper, of a closed form or of a reference computation.
        tolerance: what may lie between the two; see ``how``.
        source: where ``published`` comes from, in a few words.
        how: "within": ``|ours - published| <= tolerance``; "share": the same as a share of
            ``|published|``; "above" and "below": ours must exceed (stay under) ``published`` by
            more than ``tolerance``, for claims that are an order or a direction.
    """

    name: str
    ours: float
    published: float
    tolerance: float
    source: str
    how: How = "within"

    @property
    def within(self) -> bool:
        """Whether our figure agrees with the published one."""
        if math.isnan(self.ours):
            return False
        if self.how == "above":
            return bool(self.ours > self.published + self.tolerance)
        if self.how == "below":
            return bool(self.ours < self.published - self.tolerance)
        scale = abs(self.published) if self.how == "share" else 1.0
        return bool(abs(self.ours - self.published) <= self.tolerance * scale)

    @property
    def wanted(self) -> str:
        """The published figure with its tolerance: "0.775 ± 0.03", "above 0"."""
        value = figure(self.published)
        if self.how in ("above", "below"):
            margin = f" by {figure(self.tolerance)}" if self.tolerance else ""
            return f"{self.how} {value}{margin}"
        if not self.tolerance:
            return f"{value} exactly"
        unit = f"{figure(100 * self.tolerance)} %" if self.how == "share" else None
        return f"{value} ± {unit or figure(self.tolerance)}"

    @property
    def verdict(self) -> str:
        """In words: "within", or how far off."""
        if self.within:
            return "within"
        if math.isnan(self.ours):
            return "outside: no figure"
        return f"outside: off by {figure(abs(self.ours - self.published))}"


def claim(name: str, holds: bool, source: str) -> Row:
    """A row for a statement that is true (1) or not (0)."""
    return Row(name, float(holds), 1.0, 0.0, source)


def figure(value: float) -> str:
    """A number in four significant digits, without an exponent where it stays short."""
    if math.isnan(value):
        return "none"
    return f"{value + 0.0:.4g}".replace("e-0", "e-")  # + 0.0: no "-0"


@dataclass(frozen=True)
class Curves:
    """The data of one figure: lines over a common horizontal axis.

    Attributes:
        title: what is shown.
        description: what can be read from it, for people who do not see it.
        x_label, y_label: the axes, with units.
        x: common horizontal positions.
        lines: label to values, one for each position; NaN where undefined. At most eight lines.
        log_y: logarithmic vertical axis.
    """

    title: str
    description: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    lines: Mapping[str, tuple[float, ...]]
    log_y: bool = False

    def __post_init__(self) -> None:
        lengths = {label: len(values) for label, values in self.lines.items()}
        if set(lengths.values()) - {len(self.x)}:
            raise ValueError(f"{self.title}: {len(self.x)} positions, but lines of {lengths}")


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        name: of the study; set by :func:`run`.
        title, paper: what is reproduced, and the full reference.
        rows: ours beside published.
        figures: data of the figures.
        params: every parameter, as run.
        notes: what a reader must know: assumptions where the paper is silent, known differences.
        seed: everything random derives from it; set by :func:`run`.
        quick: whether the small sizes were run; set by :func:`run`.
        seconds: wall-clock time; set by :func:`run`, the only figure that varies between runs.
    """

    title: str
    paper: str
    rows: tuple[Row, ...]
    figures: tuple[Curves, ...] = ()
    params: Mapping[str, Value] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    name: str = ""
    seed: int = 0
    quick: bool = False
    seconds: float = 0.0

    @property
    def n_within(self) -> int:
        """How many rows are within tolerance."""
        return sum(row.within for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0 if every row is within tolerance, 1 if not."""
        return 0 if self.n_within == len(self.rows) else 1

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; NaN becomes None."""
        rows = [{**asdict(row), "within": row.within, "verdict": row.verdict} for row in self.rows]
        head = {
            key: getattr(self, key)
            for key in ("name", "title", "paper", "seed", "quick", "seconds", "exit_code")
        }
        whole = {
            **head,
            "params": dict(self.params),
            "rows": rows,
            "figures": [asdict(one) for one in self.figures],
            "notes": self.notes,
        }
        return cast(dict[str, Any], _plain(whole))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, float):  # NumPy's among them
        return float(value) if math.isfinite(value) else None
    return value


# Parameters --------------------------------------------------------------------------------------


def setting(
    default: Any, means: str, *, low: float | None = None, high: float | None = None
) -> Any:
    """A field of a ``Params`` dataclass: its default, what it means, and its bounds (inclusive)."""
    return field(default=default, metadata={"means": means, "low": low, "high": high})


@dataclass(frozen=True)
class StudyParams:
    """What every ``Params`` inherits: bounds are checked, ``--set`` values are understood.

    Fields are bool, int, float or str, declared with :func:`setting`.
    """

    def __post_init__(self) -> None:
        for one in fields(self):
            value, low, high = getattr(self, one.name), one.metadata["low"], one.metadata["high"]
            if low is not None and not value >= low:
                raise UserError(f"{one.name} must be at least {low}, got {value}")
            if high is not None and not value <= high:
                raise UserError(f"{one.name} must be at most {high}, got {value}")

    @classmethod
    def quick(cls) -> Self:
        """Sizes for a test that takes a second or two; overridden where the defaults take more."""
        return cls()

    def with_values(self, values: Mapping[str, object]) -> Self:
        """A copy with some fields changed.

        Raises:
            UserError: an unknown field, a value of the wrong type or out of bounds.
        """
        kinds = {one.name: type(getattr(self, one.name)) for one in fields(self)}
        for name, value in values.items():
            if name not in kinds:
                raise unknown_name("parameter", name, kinds)
            kind = kinds[name]
            whole = isinstance(value, int) and not isinstance(value, bool)
            if type(value) is not kind and not (kind is float and whole):
                raise UserError(f"{name} must be {_KINDS[kind]}, got {value!r}")
        return replace(self, **{k: kinds[k](cast(Any, v)) for k, v in values.items()})


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}


# Finding and running -----------------------------------------------------------------------------


class StudyModule(Protocol):
    """What a module in this folder exposes."""

    TITLE: str
    PAPER: str
    Params: type[StudyParams]

    def run(self, params: Any, *, seed: int, progress: Progress) -> StudyResult:
        """Reproduce the paper; ``progress`` may be called as often as it is cheap."""
        ...


def study_module(name: str) -> StudyModule:
    """The module of one study; ``-`` may stand for ``_``.

    Raises:
        UserError: no study has this name.
    """
    module = name.replace("-", "_")
    if module not in STUDIES:
        raise unknown_name("study", name, STUDIES)
    return cast(StudyModule, import_module(f".{module}", __package__))


def run(
    name: str,
    *,
    quick: bool = False,
    seed: int = 7,
    progress: Progress | None = None,
    **params: object,
) -> StudyResult:
    """Run one study.

    Args:
        name: one of ``STUDIES``.
        quick: small sizes (with tolerances to match) instead of the paper's.
        seed: everything random derives from it; the same seed gives the same figures.
        progress: hears how far it is.
        params: fields of the study's ``Params`` to change.

    Raises:
        UserError: an unknown study or parameter, or a value it cannot take.
    """
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    module = study_module(name)
    chosen = (module.Params.quick() if quick else module.Params()).with_values(params)
    began = time.perf_counter()
    found = module.run(chosen, seed=seed, progress=progress or (lambda done, total, what: None))
    return replace(
        found,
        name=name.replace("-", "_"),
        params=asdict(chosen),
        seed=seed,
        quick=quick,
        seconds=round(time.perf_counter() - began, 2),
    )

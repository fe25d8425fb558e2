"""The ``evaluate --seeds`` table and plot: recommenders beside each other, and luck beside both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recommenders.errors import CannotWrite, UserError
from .accuracy import COLUMNS, Data
from .tables import fault_lines
from .words import MINUS, number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..recommenders.repetition import Difference, Repetition

_STEPS = 1000
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Seeds:
    """Recommenders trained once a seed on one split, beside the baselines trained once.

    Attributes:
        data: what was split.
        repeated: those asked for, in the order asked.
        baselines: the trivial ones that were not asked for.
    """

    data: str
    repeated: tuple[Repetition, ...]
    baselines: tuple[Repetition, ...]

    @property
    def metric(self) -> str:
        """What is compared: NDCG at the shortest list length measured."""
        return f"ndcg@{self.k}"

    @property
    def k(self) -> int:
        """The shortest list length."""
        return self.repeated[0].evaluations[0].ks[0]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Of each pair that was asked for, the better one first."""
        from ..recommenders.repetition import difference

        ranked = sorted(self.repeated, key=lambda r: -r[self.metric])
        return tuple(difference(a, b, self.metric) for a, b in combinations(ranked, 2))

    @property
    def said(self) -> str:
        """The last line, without the exit code."""
        best = max(self.repeated, key=lambda r: r[self.metric])
        n = len(best.seeds)
        text = (
            f"{best.name} has the highest mean NDCG@{self.k} on {self.data}: "
            f"{best[self.metric]:.4f} ± {best.sd(self.metric):.4f} over {n} seeds"
        )
        ties = [d.second for d in self.differences if d.first == best.name and d.low <= 0.0]
        if ties:
            text += f"; not told apart from {' and '.join(ties)}"
        return text

    def to_json(self) -> dict[str, Any]:
        """Every evaluation with its seed; means, deviations and paired differences."""
        every = [*self.repeated, *self.baselines]
        return {
            "evaluations": [
                {"seed": seed, **evaluation.to_dict()}
                for r in every
                for seed, evaluation in zip(r.seeds, r.evaluations, strict=True)
            ],
            "summary": [
                {
                    "recommender": r.name,
                    "seeds": len(r.seeds),
                    **{name: r[name] for name in self._columns},
                    **{f"{name} sd": r.sd(name) for name in self._columns if len(r.seeds) > 1},
                }
                for r in every
            ],
            "differences": [vars(d) for d in self.differences],
        }

    @property
    def _columns(self) -> list[str]:
        return [f"{name}@{self.k}" for name in COLUMNS]

    def __str__(self) -> str:
        from rich.console import Console

        out = StringIO()
        Console(file=out, width=150, color_system=None).print(self.__rich__())
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("recommender")
        for name in ("seeds", *self._columns, "fit"):
            table.add_column(name, justify="right")
        for r in (*self.repeated, *self.baselines):
            asked = len(r.seeds) > 1
            cells = [
                f"{r[name]:.4f}" + (f" ± {r.sd(name):.4f}" if asked else "")
                for name in self._columns
            ]
            seconds = sum(e.fit_seconds for e in r.evaluations) / len(r.seeds)
            called = Text(r.name, style="bold" if asked else "")
            table.add_row(called, str(len(r.seeds)), *cells, f"{seconds:.1f} s")
        lines = [Text(_in_words(d)) for d in self.differences]
        first = self.repeated[0].evaluations[0]
        how = (
            f"split {first.split}, the same for every seed; {len(first.users)} people; full "
            f"ranking; history {first.history}, {first.filtered} not recommended again; ± is the "
            "standard deviation over seeds. Intervals are 95 % t intervals of the difference, "
            "paired by seed: they say what is luck of training, not what other people or another "
            "split would give."
        )
        tallies = {r.name: r.evaluations[0].faults for r in (*self.repeated, *self.baselines)}
        faults = [Text(f"faults  {line}", style="bold yellow") for line in fault_lines(tallies)]
        end = Text(f"result    {self.said} (exit 0)")
        return Group(table, Text(""), *lines, Text(how), *faults, end)

    def plot(self, path: Path) -> Path:
        """Draw every seed as a dot, with means, and the paired differences beside them.

        Args:
            path: where to; .png, .svg or .pdf.
        """
        import matplotlib
        from matplotlib.figure import Figure

        names = [r.name for r in self.repeated]
        with matplotlib.rc_context({"font.size": 9, "svg.hashsalt": "seeds"}):
            n = len(names)
            figure = Figure(figsize=(9.0, 1.5 + 0.42 * max(n, len(self.differences))))
            left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1.0]})
            for row, r in enumerate(self.repeated):
                values = r.values(self.metric)
                left.plot(values, [row] * len(values), "o", alpha=0.45, markersize=5, color="C0")
                left.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color="C0", linewidth=2)
            low, high = _window(self.repeated, self.metric)
            for at, called in _marks(self.baselines, self.metric, low, high):
                left.axvline(at, color="0.6", linewidth=0.8, linestyle=":")
                left.annotate(
                    called, (at, 1.0), xycoords=("data", "axes fraction"), fontsize=7,
                    color="0.4", xytext=(0, 2), textcoords="offset points", ha="center",
                )  # fmt: skip
            left.set_xlim(low, high)
            left.set_yticks(range(n), names)
            left.set_ylim(n - 0.5, -0.5)
            left.set_xlabel(f"NDCG@{self.k}: each dot a seed, strokes are means")
            for row, d in enumerate(self.differences):
                right.plot([d.low, d.high], [row, row], color="0.2", linewidth=2)
                right.plot([d.mean], [row], "o", color="0.2", markersize=5)
            right.axvline(0.0, color="0.6", linewidth=0.8)
            right.set_yticks(
                range(len(self.differences)),
                [f"{d.first} {MINUS} {d.second}" for d in self.differences],
            )
            right.set_ylim(len(self.differences) - 0.5, -0.5)
            right.set_xlabel("difference, 95 % t interval over seeds")
            for axes in (left, right):
                axes.spines[["top", "right"]].set_visible(False)
            figure.tight_layout()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                figure.savefig(path, dpi=150)
            except OSError as error:
                raise CannotWrite(path, error) from error
        return path


def _window(repeated: Sequence[Repetition], metric: str) -> tuple[float, float]:
    """What is drawn: every seed, and as much again around them as shows their spread."""
    values = [value for r in repeated for value in r.values(metric)]
    room = max(0.25 * (max(values) - min(values)), 0.005)
    return min(values) - room, max(values) + room


def _marks(
    baselines: Sequence[Repetition], metric: str, low: float, high: float
) -> list[tuple[float, str]]:
    """(place, name) of the baselines in the window; names that would overlap stand together."""
    marks: list[tuple[float, str]] = []
    for at, name in sorted((r[metric], r.name) for r in baselines):
        if not low < at < high:
            continue
        if marks and at - marks[-1][0] < 0.12 * (high - low):
            marks[-1] = marks[-1][0], f"{marks[-1][1]}, {name}"
        else:
            marks.append((at, name))
    return marks


def _in_words(d: Difference) -> str:
    apart = "" if d.low > 0.0 else ", so luck of training can explain it"
    return (
        f"{d.first} {MINUS} {d.second}: NDCG@{d.metric.partition('@')[2]} {number(d.mean, 4)} "
        f"({number(d.low, 4)} to {number(d.high, 4)}; {d.n} seeds){apart}"
    )


def refuse_picture(path: Path | None, *, seeds: int) -> None:
    """What can be plotted where, said before anything is trained.

    Raises:
        UserError: no picture format, or nothing to plot.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {seeds}")
    if path is None:
        return
    if path.suffix.lower() not in PICTURES:
        raise UserError(f"--plot writes {', '.join(PICTURES)}, got {path}")
    if seeds < 2:
        raise UserError("--plot shows the spread over seeds; add --seeds 10")


def measure_seeds(
    names: Sequence[str],
    data: Data,
    *,
    n: int,
    args: Mapping[str, Mapping[str, object]],
    progress: Callable[[int, int, str], None],
    ks: Sequence[int] = (10, 20),
    history: str = "train",
    seed: int = 0,
    keep: str = "",
) -> Seeds:
    """Train each recommender ``n`` times, with seeds from ``seed`` on, and the baselines once.

    Args:
        names: what is measured, beside the baselines.
        data: what on; see accuracy.opened.
        args: of the recommenders, by name.
        progress: hears how far all trainings together are.
        ks, history, keep: see accuracy.measure.
    """
    from ..recommenders.evaluation import BASELINES
    from ..recommenders.kept_fits import KeptFits
    from ..recommenders.repetition import repeat

    kept = KeptFits(keep) if keep else None
    baselines = [name for name in BASELINES if name not in names]
    n_fits = len(names) * n + len(baselines)

    def trained(which: Sequence[str], seeds: Sequence[int], before: int) -> tuple[Repetition, ...]:
        mine = len(which) * len(seeds)
        return repeat(
            which,
            data.split,
            seeds,
            ks=ks,
            history=history,
            catalog=data.catalog,
            args=args,
            attributes=data.attributes,
            keep=kept,
            progress=lambda share, what: progress(
                round(_STEPS * (before + share * mine) / n_fits), _STEPS, what
            ),
        )

    repeated = trained(names, range(seed, seed + n), 0)
    return Seeds(data.name, repeated, trained(baselines, [seed], len(names) * n))

"""The ``evaluate`` command: accuracy of recommenders on real or synthetic data, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recommenders.errors import UserError
from ..simulation.study_file import toml_value
from .tables import fault_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from ..recommenders.catalog import Catalog
    from ..recommenders.evaluation import Evaluation
    from ..recommenders.splits import Split

COLUMNS = ("precision", "recall", "ndcg", "mrr", "hit", "coverage", "gini")


@dataclass(frozen=True)
class Accuracy:
    """Recommenders beside the trivial baselines, on one split.

    Attributes:
        data: what was split.
        evaluations: those asked for first, then the baselines.
        n_asked: how many were asked for.
    """

    data: str
    evaluations: tuple[Evaluation, ...]
    n_asked: int

    @property
    def k(self) -> int:
        """The shortest list length that was measured: what the table shows."""
        return self.evaluations[0].ks[0]

    @property
    def said(self) -> str:
        """The last line, without the exit code."""
        metric = f"ndcg@{self.k}"
        best = max(self.evaluations, key=lambda e: e[metric])
        return f"{best.name} has the highest NDCG@{self.k} on {self.data}: {best[metric]:.4f}"

    def to_json(self) -> dict[str, Any]:
        """One row a recommender."""
        return {"evaluations": [evaluation.to_dict() for evaluation in self.evaluations]}

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
        table.add_column("recommender", overflow="fold")
        columns = [f"{name}@{self.k}" for name in COLUMNS]
        for name in columns:
            table.add_column(name, justify="right")
        table.add_column("fit", justify="right")
        for i, e in enumerate(self.evaluations):
            low, high = e.interval(f"ndcg@{self.k}")
            cells = [f"{e[name]:.4f}" for name in columns]
            cells[COLUMNS.index("ndcg")] += f" ({low:.3f} to {high:.3f})"
            asked = Text(e.name, style="bold" if i < self.n_asked else "")
            table.add_row(asked, *cells, f"{e.fit_seconds:.1f} s")
        served = ", ".join(f"{e.name} {e.users_per_second:,.0f}" for e in self.evaluations)
        first = self.evaluations[0]
        how = (
            f"split {first.split}; {len(first.users)} people; full ranking; history "
            f"{first.history}, {first.filtered} not recommended again; 95 % intervals over people"
        )
        faults = fault_lines({e.name: e.faults for e in self.evaluations})
        return Group(
            table,
            Text(""),
            Text(how),
            Text(f"people served a CPU second: {served}"),
            *(Text(f"faults  {line}", style="bold yellow") for line in faults),
            Text(f"result    {self.said} (exit 0)"),
        )


@dataclass(frozen=True)
class Data:
    """What recommenders are measured on.

    Attributes:
        name: as it is called; split: of it.
        catalog, attributes: of its items and people, where known.
    """

    name: str
    split: Split
    catalog: Catalog | None
    attributes: Mapping[str, NDArray[np.generic]] | None


def opened(
    data: str,
    *,
    folder: str,
    columns: Mapping[str, str],
    split_name: str,
    on_validation: bool = False,
    on_last: bool = False,
) -> Data:
    """Read and split the data of an evaluation.

    Args:
        data: dataset name, CSV or Parquet file, a split fixed in an ``.npz`` or ``.train`` file,
            or "" for the synthetic market.
        folder, columns: of the dataset.
        split_name: random, leave-last-out, time or strong.
        on_validation: the validation part in place of the test, for choosing settings.
        on_last: each person's last tenth of train in its place.

    Raises:
        UserError: data that cannot be read.
    """
    from ..recommenders.datasets.synthetic import market
    from ..recommenders.splits import load_split, split, split_validation

    catalog, attributes, called = None, None, data
    if data.endswith((".npz", ".train")):
        on, called = load_split(data), Path(data).name
    elif data:
        from ..recommenders.datasets import load

        dataset = load(data, folder=folder, columns=columns or None)
        catalog, attributes, called = dataset.catalog, dataset.users.attributes, dataset.name
        on = split(dataset.log, split_name)
    else:
        invented = market(users=600, items=400, topics=12, seed=7)
        catalog, called = invented.catalog, "the synthetic market"
        on = split(invented.log, split_name)
    if on_validation or on_last:
        on = split_validation(on, last=on_last)
    return Data(called, on, catalog, attributes)


def refuse_strangers(names: Sequence[str], args: Mapping[str, Mapping[str, object]]) -> None:
    """Names and arguments are right before anything is trained.

    Raises:
        UserError: what is wrong.
    """
    from ..recommenders.registry import create

    strangers = [name for name in args if name not in names]
    if strangers:
        raise UserError(f"--set {strangers[0]}.…: no such recommender is evaluated here")
    for name in names:
        create(name, args.get(name))


def measure(
    names: Sequence[str],
    data: Data,
    *,
    args: Mapping[str, Mapping[str, object]],
    progress: Callable[[int, int, str], None],
    ks: Sequence[int] = (10, 20),
    history: str = "train",
    seed: int = 0,
    keep: str = "",
) -> Accuracy:
    """Evaluate recommenders by name.

    Args:
        names: what is measured, beside the baselines; data: what on.
        args: of the recommenders, by name.
        progress: hears the epochs of the fits.
        ks: list lengths.
        history: what people are served from, "train" or "train+valid".
        seed: of fits and requests.
        keep: folder where fits are kept, and read from if they were made before.
    """
    from ..recommenders.evaluation import evaluate_beside_baselines
    from ..recommenders.kept_fits import KeptFits

    done = evaluate_beside_baselines(
        names,
        data.split,
        ks=ks,
        history=history,
        seed=seed,
        catalog=data.catalog,
        attributes=data.attributes,
        args=args,
        keep=KeptFits(keep) if keep else None,
        progress=lambda epoch, epochs, loss: progress(
            epoch, epochs, "" if loss is None else f"loss {loss:.3f}"
        ),
    )
    return Accuracy(data.name, done, len(names))


def arguments(settings: Sequence[str]) -> dict[str, dict[str, object]]:
    """``["multvae.epochs=10"]`` as arguments by recommender.

    Raises:
        UserError: not of the form NAME.KEY=VALUE.
    """
    found: dict[str, dict[str, object]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        name, dot, argument = key.strip().rpartition(".")
        if not (equals and dot and name and argument):
            raise UserError(f"--set wants recommender.argument=value, got {setting!r}")
        found.setdefault(name, {})[argument] = toml_value(text.strip())
    return found

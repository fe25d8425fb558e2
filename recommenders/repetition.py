"""One recommender trained again and again: what is its quality, and what was luck of training.

All trainings see the same split; only their seeds differ. So what is said here holds for these
people and this split: it tells two methods apart from their luck, not from another data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from .catalog import Catalog
from .errors import UserError
from .evaluation import Evaluation, evaluate
from .kept_fits import KeptFits
from .splits import Split


@dataclass(frozen=True)
class Repetition:
    """The evaluations of one recommender, one a seed.

    Attributes:
        name: of the recommender.
        seeds: of the fits; evaluations: one each.
    """

    name: str
    seeds: tuple[int, ...]
    evaluations: tuple[Evaluation, ...]

    def values(self, metric: str) -> NDArray[np.float64]:
        """(seeds,) a metric, mean over people."""
        return np.array([e[metric] for e in self.evaluations])

    def __getitem__(self, metric: str) -> float:
        """The mean over seeds."""
        return float(self.values(metric).mean())

    def sd(self, metric: str) -> float:
        """The standard deviation over seeds (n - 1), NaN for one seed."""
        values = self.values(metric)
        return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


@dataclass(frozen=True)
class Difference:
    """How much better the first is than the second, paired by seed.

    Attributes:
        first, second: names; metric: of what.
        mean: of the differences; low, high: its 95 % t interval over seeds.
        n: seeds.
    """

    first: str
    second: str
    metric: str
    mean: float
    low: float
    high: float
    n: int


def difference(first: Repetition, second: Repetition, metric: str) -> Difference:
    """The paired difference of two recommenders over the same seeds.

    Raises:
        UserError: their seeds differ.
    """
    if first.seeds != second.seeds:
        raise UserError(
            f"{first.name} and {second.name} were trained with other seeds, {first.seeds} and "
            f"{second.seeds}: they cannot be paired"
        )
    values = first.values(metric) - second.values(metric)
    n, mean = len(values), float(values.mean())
    half = float("inf")
    if n > 1:
        half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / n**0.5)
    return Difference(first.name, second.name, metric, mean, mean - half, mean + half, n)


def repeat(
    names: Sequence[str],
    on: Split,
    seeds: Sequence[int],
    *,
    ks: Sequence[int] = (10, 20),
    history: str = "train",
    catalog: Catalog | None = None,
    args: Mapping[str, Mapping[str, object]] | None = None,
    attributes: Mapping[str, NDArray[np.generic]] | None = None,
    keep: KeptFits | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[Repetition, ...]:
    """Train and measure each recommender once a seed.

    Args:
        names: specs; on: the split, the same for all; seeds: of the fits and requests.
        ks, history, catalog, args, attributes, keep: as in ``evaluate_beside_baselines``.
        progress: hears the share that is done, in [0, 1], and what is being trained.
    """
    n_fits, found = len(names) * len(seeds), []
    for i, name in enumerate(names):
        done = []
        for j, seed in enumerate(seeds):
            before, what = i * len(seeds) + j, f"{name}, seed {seed}"

            def heard(
                epoch: int, epochs: int, loss: float | None, before: int = before, what: str = what
            ) -> None:
                if progress is not None:
                    said = "" if loss is None else f", loss {loss:.3f}"
                    progress((before + epoch / max(1, epochs)) / n_fits, what + said)

            done.append(
                evaluate(
                    name,
                    on,
                    ks=ks,
                    history=history,
                    catalog=catalog,
                    args=(args or {}).get(name),
                    attributes=attributes,
                    seed=seed,
                    keep=keep,
                    progress=heard,
                )
            )
            heard(1, 1, None)
        found.append(Repetition(name, tuple(seeds), tuple(done)))
    return tuple(found)

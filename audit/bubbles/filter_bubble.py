"""Filter bubble: does the loop narrow what people are shown, and what they take in?

Before/after comparisons cannot answer this: people whose taste drifts by their own clicks narrow
under a *random* recommender too. So the narrowing over time under the target is compared with the
narrowing of the same people, under the same luck, who got random exposure
(difference-in-differences), world by world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...simulation.run import Run
from ...simulation.study import AuditSection
from ..concentration import entropy_bits
from ..evidence import Evidence
from ..finding import Check, Family, Measurement, Table

SLATE_WINDOW = 1 / 4
"""Share of the steps in the early and in the late window of slates."""

CLICK_WINDOW = 1 / 3
"""The same for clicks, of which there are fewer."""

MIN_CLICKS = 3
"""Clicks a person needs in each window, in each arm, to count for consumption."""

MIN_USERS = 20
"""Smaller groups are not reported."""

_CONVENTION = (
    "LoopAudit default: convention (a quarter of a bit; no universal cut-off exists in the "
    "literature)"
)
_ENTROPY = "H = -sum_t p_t log2 p_t over the topics of the catalog"


@dataclass(frozen=True)
class Windows:
    """The first and the last steps of a run, equally long; ``late`` starts at ``late_from``."""

    length: int
    late_from: int

    @classmethod
    def of(cls, steps: int, share: float) -> Windows:
        """The first and the last ``share`` of the steps, at least one step each."""
        length = max(1, int(steps * share))
        return cls(length, steps - length)

    @property
    def rows(self) -> pl.Expr:
        """Rows of the event log that lie in either window."""
        return (pl.col("step") < self.length) | (pl.col("step") >= self.late_from)


@dataclass(frozen=True)
class Clicks:
    """Clicks of both windows of one arm, sorted by (window, user, step)."""

    cell: NDArray[np.int64]
    item: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def read(cls, run: Run, arm: str, world: int, windows: Windows, n_users: int) -> Clicks:
        """``cell`` is ``window * n_users + user``; ``counts`` is (2, n_users)."""
        frame = (
            run.events(arm, world)
            .filter(windows.rows & pl.col("clicked"))
            .select("step", "user", "item")
            .collect()
        )
        step = frame["step"].to_numpy()
        late = (step >= windows.late_from).astype(np.int64)
        cell = late * n_users + frame["user"].to_numpy()
        order = np.lexsort((step, cell))
        counts = np.bincount(cell, minlength=2 * n_users).reshape(2, n_users)
        return cls(cell[order], frame["item"].to_numpy().astype(np.int64)[order], counts)

    def first(self, n: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(cell, item) of the first ``n[user]`` clicks of each person in each window."""
        flat = self.counts.ravel()
        starts = np.concatenate([[0], flat.cumsum()[:-1]])
        within = np.arange(len(self.cell)) - starts[self.cell]
        keep = within < np.tile(n, 2)[self.cell]
        return self.cell[keep], self.item[keep]


def consumption_entropy(
    rows: NDArray[np.int64], items: NDArray[np.int64], topics: NDArray[np.float32], n_rows: int
) -> NDArray[np.float64]:
    """Topic entropy of each row's items in bits, corrected for the small number of items.

    The correction is ``sum_t var_t / p_t / (2 n ln 2)`` with ``var_t`` the variance of the topic's
    weight over the row's items. When every item has one topic this is Miller and Madow's
    ``(m - 1) / (2 n ln 2)`` (Miller 1955) with m topics seen; for items of several topics
    Miller-Madow itself would correct for uncertainty that is not there.

    Args:
        rows, items: which row consumed which item.
        topics: (items, topics) weights; items without a topic do not count.
        n_rows: number of rows.

    Returns:
        (n_rows,) bits; NaN where a row has no item with a topic.
    """
    known = topics[items].sum(axis=1) > 0
    rows, items = rows[known], items[known]
    n = np.bincount(rows, minlength=n_rows).astype(np.float64)
    mean = np.empty((n_rows, topics.shape[1]))
    excess = np.zeros(n_rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        for t in range(topics.shape[1]):
            weight = topics[items, t].astype(np.float64)
            mean[:, t] = np.bincount(rows, weight, n_rows) / n
            square = np.bincount(rows, weight**2, n_rows) / n
            spread = (square - mean[:, t] ** 2) / mean[:, t]
            excess += np.where(mean[:, t] > 0, spread, 0.0)
        corrected = entropy_bits(np.nan_to_num(mean)) + excess / (2 * n * np.log(2))
    return np.where(n > 0, corrected, np.nan)


def slate_entropy(
    run: Run, arm: str, world: int, topics: NDArray[np.float32], windows: Windows
) -> NDArray[np.float64]:
    """(2,) topic entropy of the slates in the early and late window: mean over people of their
    own mean over slates, people with slates in both windows only."""
    frame = run.events(arm, world).filter(windows.rows).select("step", "user", "item").collect()
    items = frame["item"].to_numpy()
    shown = items >= 0
    step = frame["step"].to_numpy()[shown].astype(np.int64)
    user = frame["user"].to_numpy()[shown].astype(np.int64)
    items = items[shown]
    if len(items) == 0:
        return np.full(2, np.nan)
    n_users = int(user.max()) + 1
    # one row per slate; the log is sorted by step and user, so a slate's rows lie together
    key = step * n_users + user
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    mass = np.stack(
        [
            np.add.reduceat(topics[items, t].astype(np.float64), starts)
            for t in range(topics.shape[1])
        ],
        axis=1,
    )
    entropy = entropy_bits(mass)
    valid = np.isfinite(entropy)
    cell = (step[starts] >= windows.late_from) * n_users + user[starts]
    sums = np.bincount(cell[valid], entropy[valid], 2 * n_users).reshape(2, n_users)
    counts = np.bincount(cell[valid], minlength=2 * n_users).reshape(2, n_users)
    both = (counts > 0).all(axis=0)
    if not both.any():
        return np.full(2, np.nan)
    means: NDArray[np.float64] = (sums[:, both] / counts[:, both]).mean(axis=1)
    return means


def click_entropy(
    run: Run, arms: tuple[str, str], world: int, topics: NDArray[np.float32], windows: Windows
) -> tuple[NDArray[np.float64], int]:
    """((2 arms, 2 windows) mean consumption entropy, number of people behind it).

    Each person counts with the same number of clicks in all four cells, so that the bias of an
    entropy from few clicks is the same everywhere and cancels in the contrast.
    """
    n_users = len(run.users(world))
    clicks = [Clicks.read(run, arm, world, windows, n_users) for arm in arms]
    fewest = np.minimum(clicks[0].counts, clicks[1].counts).min(axis=0)
    n = np.where(fewest >= MIN_CLICKS, fewest, 0)
    if int((n > 0).sum()) < MIN_USERS:
        return np.full((2, 2), np.nan), int((n > 0).sum())
    table = np.empty((2, 2))
    for row, part in enumerate(clicks):
        cell, item = part.first(n)
        entropy = consumption_entropy(cell, item, topics, 2 * n_users).reshape(2, n_users)
        both = np.isfinite(entropy).all(axis=0)
        table[row] = entropy[:, both].mean(axis=1) if both.any() else np.nan
    return table, int((n > 0).sum())


class FilterBubble:
    """Narrowing of slates and of consumption beyond what random exposure brings."""

    name = "filter-bubble"
    family: Family = "bubbles"
    question = "Does the loop narrow what people are shown, and what they take in?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """Two gates against random exposure, one description against the frozen recommender."""
        return (
            Check(
                id="bubbles.slate-narrowing",
                family=self.family,
                question="Do slates become narrower over time than under random exposure?",
                estimand=(
                    "per world: (mean slate topic entropy in the first quarter of the steps minus "
                    "in the last quarter) under the target, minus the same under random exposure"
                ),
                statistic="narrowing of slate topic entropy",
                unit_label="bits",
                unit="world",
                tau=0.25,
                tau_source=_CONVENTION,
                alpha=settings.alpha,
                needs_arms=("random",),
                access="B",
                formula=f"{_ENTROPY} of one slate; mean over slates, then over people",
                source=(
                    "difference-in-differences against a counterfactual arm; entropy: Shannon 1948"
                ),
                not_tested=(
                    "Narrowness that is there from the first step, narrowing inside a topic, "
                    "stances and viewpoints, what people meet outside the platform."
                ),
                mitigation=(
                    "Reserve slots for topics outside the profile; re-rank with a diversity or "
                    "calibration term (Steck 2018); train on exposure-corrected clicks."
                ),
            ),
            Check(
                id="bubbles.click-narrowing",
                family=self.family,
                question="Does consumption become narrower over time than under random exposure?",
                estimand=(
                    "per world: (mean consumption topic entropy of people in the first third of "
                    "the steps minus in the last third) under the target, minus the same for the "
                    "same people under random exposure, with equal numbers of clicks a person in "
                    "all four cells"
                ),
                statistic="narrowing of consumption topic entropy",
                unit_label="bits",
                unit="world",
                tau=0.25,
                tau_source=_CONVENTION,
                alpha=settings.alpha,
                needs_arms=("random",),
                access="B",
                formula=(
                    f"{_ENTROPY} of one person's clicks in a window, plus "
                    "sum_t var_t / p_t / (2 n ln 2) for n clicks (equals Miller-Madow when items "
                    f"have one topic); people with at least {MIN_CLICKS} clicks in every cell"
                ),
                source="bias correction: Miller 1955; exposure or choice: Hosseinmardi et al. 2024",
                not_tested=(
                    "People who click rarely, narrowing inside a topic, stances, effects that need "
                    "more steps than the run has."
                ),
                mitigation=(
                    "Let people see and reset their profile; widen the candidates of those whose "
                    "consumption narrows; weigh recent clicks less."
                ),
            ),
            Check(
                id="bubbles.loop-narrowing",
                family=self.family,
                question="How much of the narrowing comes from learning from its own clicks?",
                estimand=(
                    "per world: narrowing of slate topic entropy under the target minus under the "
                    "same recommender trained once and never again"
                ),
                statistic="narrowing of slate topic entropy due to retraining",
                unit_label="bits",
                unit="world",
                tau=0.25,
                tau_source=_CONVENTION,
                alpha=settings.alpha,
                role="descriptive",
                needs_arms=("frozen",),
                access="BW",
                formula=f"{_ENTROPY} of one slate; mean over slates, then over people",
                source="retraining on own exposure: Chaney, Stewart and Engelhardt 2018",
                not_tested="Feedback through the histories in requests: the frozen arm keeps it.",
                mitigation="Retrain less often, or on exploration traffic.",
            ),
        )

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        """Per-world contrasts, read from the event log only."""
        run = evidence.run
        target = evidence.arm("target")
        if target is None:
            return {}
        windows = Windows.of(run.steps, SLATE_WINDOW)
        if windows.late_from < windows.length:
            reason = f"a run of {run.steps} steps has no separate early and late window"
            return {c.id: Measurement(missing=reason) for c in self.checks(evidence.settings)}
        references = {
            kind: arm for kind in ("random", "frozen") if (arm := evidence.arm(kind)) is not None
        }
        topics = [run.catalog(world).topics for world in range(run.worlds)]
        slates = {
            arm: np.stack(
                [slate_entropy(run, arm, w, topics[w], windows) for w in range(run.worlds)]
            )
            for arm in (target, *references.values())
        }  # arm -> (worlds, 2)
        measured = {}
        if "random" in references:
            reference = references["random"]
            measured["bubbles.slate-narrowing"] = _contrast(
                {"target": slates[target], "random": slates[reference]}, windows
            )
            wider = Windows.of(run.steps, CLICK_WINDOW)
            cells = [
                click_entropy(run, (target, reference), w, topics[w], wider)
                for w in range(run.worlds)
            ]
            table = np.stack([cell for cell, _ in cells])  # (worlds, 2 arms, 2 windows)
            measured["bubbles.click-narrowing"] = _contrast(
                {"target": table[:, 0], "random": table[:, 1]},
                wider,
                note=f"people with enough clicks: {np.mean([n for _, n in cells]):.0f} per world",
                undefined=(
                    f"fewer than {MIN_USERS} people have {MIN_CLICKS} clicks in both windows of "
                    "both arms"
                ),
            )
        if "frozen" in references:
            measured["bubbles.loop-narrowing"] = _contrast(
                {"target": slates[target], "frozen": slates[references["frozen"]]}, windows
            )
        return measured


def _contrast(
    arms: dict[str, NDArray[np.float64]],
    windows: Windows,
    *,
    note: str = "",
    undefined: str = "nobody was shown items with a known topic both early and late",
) -> Measurement:
    """Narrowing under the first arm minus under the second, world by world."""
    narrowing = {kind: values[:, 0] - values[:, 1] for kind, values in arms.items()}
    first, second = narrowing.values()
    effects = first - second
    usable = np.isfinite(effects)
    if not usable.any():
        return Measurement(undefined=undefined)
    dropped = int((~usable).sum())
    notes = [note] if note else []
    if dropped:
        notes.append(f"{dropped} of {len(effects)} worlds left out: {undefined}")
    rows = tuple(
        (
            kind,
            float(values[usable, 0].mean()),
            float(values[usable, 1].mean()),
            float(narrowing[kind][usable].mean()),
        )
        for kind, values in arms.items()
    )
    table = Table(
        f"Entropy in bits, first and last {windows.length} steps, mean over worlds",
        ("arm", "early", "late", "narrowing"),
        rows,
    )
    return Measurement(
        effects=effects[usable],
        arm_values={kind: float(value[usable].mean()) for kind, value in narrowing.items()},
        tables=(table,),
        notes=tuple(notes),
    )

"""Made-up names: how much of what a recommender lists does not exist.

A recommender that writes its answers can name things that nobody can have. Counted is what it put
into the places of its lists, before anything was taken out of them: on a platform without a guard
these places would be dead ends, and here they go to nobody.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...simulation.run import Run
from ...simulation.study import AuditSection
from ..bubbles.entropies import Windows
from ..evidence import Evidence
from ..finding import Check, Family, Measurement, Table
from ..speech import share_of

WINDOW = 1 / 4
"""Share of the steps in the early and in the late window."""

_SHARE = "names in no catalog / names given, over all lists"
_NOTHING_KEPT = "nothing of what was said was kept ([study] said_to = 0)"


class MadeUpNames:
    """The share of the names in lists that are in no catalog, and whether the loop makes it grow.

    A recommender with a closed catalog that kept to it has the share 0.
    """

    name = "made-up-names"
    family: Family = "generation"
    question = "Does what the recommender names exist?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """A gate on the level, a description of its growth against the frozen recommender."""
        return (
            Check(
                id="generation.made-up-names",
                family=self.family,
                question="How much of what it names does not exist?",
                estimand=(
                    "per world: the share of the names that the target put into its lists, over "
                    "all lists of the loop, that are in no catalog"
                ),
                statistic="share of names that are in no catalog",
                unit_label="of names",
                unit="world",
                tau=0.01,
                tau_source="LoopAudit default: convention (one name in a hundred)",
                alpha=settings.alpha,
                needs_arms=("target",),
                access="B",
                formula=f"{_SHARE} of the target's arm in one world",
                source="hallucination as a rate of named entities: Ji et al. 2023, section 2",
                not_tested=(
                    "Whether explanations are true. A name counts as existing where the "
                    "recommender, or the matcher of titles behind it, found it in the catalog."
                ),
                mitigation=(
                    "Constrain decoding to the catalog; retrieve candidates and let the model "
                    "choose among them by number; match names and drop those that are unknown."
                ),
            ),
            Check(
                id="generation.made-up-growth",
                family=self.family,
                question="Does learning from its own lists make it name more that does not exist?",
                estimand=(
                    "per world: (share of made-up names in the last quarter of the steps minus in "
                    "the first) under the target, minus the same under the same recommender "
                    "trained once and never again"
                ),
                statistic="growth of the share of names in no catalog due to retraining",
                unit_label="of names",
                unit="world",
                tau=0.01,
                tau_source="LoopAudit default: convention (one name in a hundred)",
                alpha=settings.alpha,
                role="descriptive",
                needs_arms=("target", "frozen"),
                access="BW",
                formula=f"{_SHARE} of the steps of a window",
                source="generators that learn from what they generate: Shumailov et al. 2024",
                not_tested="Growth through the histories in requests: the frozen arm keeps it.",
                mitigation="Retrain less often, or on what people chose outside generated lists.",
            ),
        )

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        """Shares world by world, from the counts that a run keeps of what was said."""
        run, target = evidence.run, evidence.arm("target")
        if target is None:
            return {}
        if run.study.study.said_to == 0:
            return {
                c.id: Measurement(missing=_NOTHING_KEPT) for c in self.checks(evidence.settings)
            }
        shares = np.array([share_of(run.said_counts(target, w)) for w in range(run.worlds)])
        if not np.isfinite(shares).any():
            return self._nothing_named(evidence)
        measured = {"generation.made-up-names": _level(shares)}
        if (frozen := evidence.arm("frozen")) is not None:
            measured["generation.made-up-growth"] = _growth(run, target, frozen)
        return measured

    def _nothing_named(self, evidence: Evidence) -> dict[str, Measurement]:
        """No name was counted: it only lists items that exist, or it never answered."""
        ids = [check.id for check in self.checks(evidence.settings)]
        if not evidence.run.create(evidence.target).capabilities.closed_catalog:
            silent = Measurement(undefined="it never answered with a name")
            return dict.fromkeys(ids, silent)
        none = np.zeros(evidence.run.worlds)
        note = "it lists items of a closed catalog, and nothing that is not in it was listed"
        seen = Measurement(effects=none, arm_values={"target": 0.0}, notes=(note,))
        return dict.fromkeys(ids, seen)


def _level(shares: NDArray[np.float64]) -> Measurement:
    known = np.isfinite(shares)
    left_out = int((~known).sum())
    notes = [f"{left_out} of {len(shares)} worlds left out: nothing was named"] if left_out else []
    return Measurement(
        effects=shares[known],
        arm_values={"target": float(shares[known].mean())},
        notes=tuple(notes),
    )


def _growth(run: Run, target: str, frozen: str) -> Measurement:
    """How much more the share grew under the target than under the frozen recommender."""
    windows = Windows.of(run.steps, WINDOW)
    if windows.late_from < windows.length:
        reason = f"a run of {run.steps} steps has no separate early and late window"
        return Measurement(missing=reason)
    cells = np.array(
        [[_in_windows(run, arm, w, windows) for w in range(run.worlds)] for arm in (target, frozen)]
    )  # (2 arms, worlds, 2 windows)
    growth = cells[:, :, 1] - cells[:, :, 0]
    effects = growth[0] - growth[1]
    known = np.isfinite(effects)
    if not known.any():
        return Measurement(undefined="nothing was named early and late under both")
    means = cells[:, known].mean(axis=1)
    grown = {arm: float(growth[i][known].mean()) for i, arm in enumerate(("target", "frozen"))}
    rows = tuple(
        (arm, float(means[i, 0]), float(means[i, 1]), more)
        for i, (arm, more) in enumerate(grown.items())
    )
    title = f"Share of names in no catalog, first and last {windows.length} steps, mean over worlds"
    return Measurement(
        effects=effects[known],
        arm_values=grown,
        tables=(Table(title, ("arm", "early", "late", "growth"), rows),),
    )


def _in_windows(run: Run, arm: str, world: int, windows: Windows) -> tuple[float, float]:
    """The share in the early and in the late window."""
    counts = run.said_counts(arm, world)
    early = counts.filter(pl.col("step") < windows.length)
    return share_of(early), share_of(counts.filter(pl.col("step") >= windows.late_from))

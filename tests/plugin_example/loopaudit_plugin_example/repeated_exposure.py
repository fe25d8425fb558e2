"""Asks whether people are shown the same items over and over."""

from __future__ import annotations

import numpy as np
import polars as pl

from loopaudit.audit.evidence import Evidence
from loopaudit.audit.finding import Check, Measurement
from loopaudit.simulation.run import Run
from loopaudit.simulation.study import AuditSection

CHECK = "repeated-exposure.share"


class RepeatedExposure:
    """Compares the share of slots that show an item again with random exposure."""

    name = "repeated-exposure"
    family = "bubbles"
    question = "Are people shown the same items over and over?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        return (
            Check(
                id=CHECK,
                family="bubbles",
                question=self.question,
                estimand="share of repeated slots, target minus random, whole run",
                statistic="share of slots that show a person an item again",
                unit_label="share of slots",
                unit="world",
                tau=0.05,
                tau_source="plug-in default: convention",
                alpha=settings.alpha,
                needs_arms=("random",),
            ),
        )

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        target, random = evidence.arm("target"), evidence.arm("random")
        assert target is not None
        assert random is not None
        worlds = range(evidence.run.worlds)
        ours = np.array([_repeated(evidence.run, target, w) for w in worlds])
        theirs = np.array([_repeated(evidence.run, random, w) for w in worlds])
        means = {"target": float(ours.mean()), "random": float(theirs.mean())}
        return {CHECK: Measurement(effects=ours - theirs, arm_values=means)}


def _repeated(run: Run, arm: str, world: int) -> float:
    shown = run.events(arm, world).filter(pl.col("item") >= 0).select("user", "item").collect()
    return 1.0 - shown.n_unique() / max(1, len(shown))

"""When a recommender learns again: every so many steps, when people drifted, at most so often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions
from ..arms import Arm

ENOUGH_CLICKS = 200
"""Clicks since the last update below which a drift of topics is not judged: it would be noise."""


class Schedule:
    """Decides, step by step, whether an arm's recommender is updated.

    Args:
        arm: its recommender's keys say when.

    Attributes:
        updates: how many there were.
    """

    def __init__(self, arm: Arm) -> None:
        self.every = arm.retrain_every
        section = arm.recommender
        self.on_drift = 0.0 if section is None else section.retrain_on_drift
        self.budget = 0 if section is None else section.training_budget
        self.updates = 0

    def might_be_due(self, t: int) -> bool:
        """Whether it is worth to look at the log at the end of step ``t``."""
        if self.budget and self.updates >= self.budget:
            return False
        return self.on_drift > 0 or (self.every > 0 and (t + 1) % self.every == 0)

    def due(self, t: int, log: Interactions, learnt_rows: int, topics: NDArray[np.float32]) -> bool:
        """Whether to learn at the end of step ``t``.

        Args:
            t: the step, from 0.
            log: all the platform knows; rows from ``learnt_rows`` on are new since the last update.
            topics: (items, topics) of the catalog, as the platform may see them.
        """
        if self.on_drift == 0 or not self.might_be_due(t):
            return self.might_be_due(t)
        if len(log) - learnt_rows < ENOUGH_CLICKS:
            return False
        return drift_of_topics(log, learnt_rows, topics) >= self.on_drift


def drift_of_topics(log: Interactions, since: int, topics: NDArray[np.float32]) -> float:
    """Total variation distance, 0 to 1, between the topic mix of the last ``n`` rows of a log and
    of the ``n`` rows before them, where ``n`` rows are new since ``since`` (fewer before where
    the log is shorter).

    Windows of one length compare like with like: the mix of a whole past moves ever more slowly.
    """
    n = len(log) - since
    before = log.item[max(since - n, 0) : since]
    if n == 0 or len(before) == 0:
        return 0.0
    new, old = (topics[rows].sum(axis=0, dtype=np.float64) for rows in (log.item[since:], before))
    if new.sum() == 0 or old.sum() == 0:
        return 0.0
    return float(0.5 * np.abs(new / new.sum() - old / old.sum()).sum())

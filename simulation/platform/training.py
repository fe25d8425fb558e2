"""How the recommender of an arm was trained: the loss of each epoch, from the first fit to the end.

Written to ``training/<arm>/<world>.parquet`` when an arm is complete; a checkpoint holds what was
heard so far, so that a run that went on tells the same as one that was never stopped.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ...recommenders.training import losses_of, new_losses
from ..record.store import Arrays

BEFORE = -1
"""The step of the first fit, which comes before the loop."""

SCHEMA = {"learning": pl.Int32, "step": pl.Int32, "epoch": pl.Int32, "loss": pl.Float64}
"""One row an epoch: which learning (0 is the first fit), the step after which it happened, the
epoch within that learning from 1, and its mean loss."""


class TrainingRecord:
    """Listens to a recommender after each time that it learnt."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, float]] = []
        self.n_learnings = 0
        self._before: tuple[float, ...] = ()

    def heard(self, step: int, recommender: object) -> None:
        """It learnt once more: write down the epochs that are new.

        Args:
            step: after which step, BEFORE for the first fit; recommender: guarded.
        """
        now = losses_of(recommender)
        new = () if now == self._before else new_losses(self._before, now)
        self.rows += [(self.n_learnings, step, epoch + 1, loss) for epoch, loss in enumerate(new)]
        self.n_learnings, self._before = self.n_learnings + 1, now

    def frame(self) -> pl.DataFrame:
        """The rows, columns as in SCHEMA."""
        return pl.DataFrame(self.rows, schema=SCHEMA, orient="row")

    def state(self) -> Arrays:
        """What was heard so far, for a checkpoint."""
        held = self.frame()
        rows = {name: held[name].to_numpy() for name in SCHEMA}
        return {**rows, "n_learnings": np.array(self.n_learnings)}

    def load_state(self, held: Arrays, recommender: object) -> None:
        """Go on from a checkpoint, with the recommender as it was then."""
        columns = [held[name].tolist() for name in SCHEMA]
        self.rows = list(zip(*columns, strict=True))
        self.n_learnings = int(held["n_learnings"])
        self._before = losses_of(recommender)

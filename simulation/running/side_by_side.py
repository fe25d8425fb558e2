"""All arms of one world, lived step by step together: for a live view, or for a notebook."""

from __future__ import annotations

import mesa
import numpy as np

from ...recommenders.errors import UserError
from ..arms import arms_of
from ..study import Study
from ..world import World
from .live import begin


class SideBySide(mesa.Model):
    """The arms of one world as one Mesa model: a step is one step of each.

    Args:
        study: what to live; needs at least one recommender.
        world: index of the world.

    Attributes:
        worlds: arm name to its :class:`World`; the same people with the same luck.

    Raises:
        UserError: the study names no recommender, or has no such world.
    """

    def __init__(self, study: Study, world: int = 0) -> None:
        super().__init__(rng=np.random.default_rng(study.study.seed))
        if not 0 <= world < study.study.worlds:
            raise UserError(f"world must be from 0 to {study.study.worlds - 1}, got {world}")
        if not study.recommenders:
            raise UserError("the study names no recommender; add [[recommenders]] with a name")
        self.study = study
        self.worlds: dict[str, World] = {
            arm.name: begin(study, world, arm) for arm in arms_of(study)
        }

    @property
    def t(self) -> int:
        """Steps lived so far."""
        return next(iter(self.worlds.values())).columns.t

    def step(self) -> None:
        """One step of every arm; at the end of the study the model stops running."""
        for world in self.worlds.values():
            world.step()
        self.running = self.t < self.study.study.steps

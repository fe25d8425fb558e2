"""An A/B test inside one world: some people are served by one recommender, the rest by another.

What a platform would measure (treated minus untreated people of the same world) differs from the
effect of switching everybody (the treatment's own arm minus the control's) as soon as the two
groups touch: through what the models learn from, through creators, through friends. Both are in a
run, so the bias of the naive estimate is a measured number (audit/experiments.py).
"""

from __future__ import annotations

from typing import Union

import numpy as np
from numpy.typing import NDArray

from ..recommenders.border import Capabilities, Progress, Requests, Slates, State
from ..recommenders.catalog import Catalog
from ..recommenders.guard import Faults, Guard
from ..recommenders.interactions import Interactions
from ..recommenders.randomness import stream, uniform
from .platform.slates import dealt
from .study import ExperimentSection

Served = Union[Guard, "Split"]
"""What serves an arm: one guarded recommender, or the two of an experiment."""

_NAMES = ("treatment", "control")


def treated(experiment: ExperimentSection, n_users: int, *, seed: int) -> NDArray[np.bool_]:
    """(users,) who gets the treatment: each person's luck against the share.

    Args:
        experiment: its name and share; n_users: people of the world; seed: of the world.
    """
    draw = uniform(stream(seed, f"experiment/{experiment.name}"), np.arange(n_users))
    return np.asarray(draw < experiment.share)


class Split:
    """Two guarded recommenders behind the interface of one; who is served by which is fixed.

    Args:
        treatment, control: guarded recommenders.
        treated: (users,) who is served by the treatment.
        pooled: whether both learn from everybody; else each from the past of everybody and from
            the clicks of its own people.

    Attributes:
        faults: of both; replaced when a run is resumed.
    """

    def __init__(
        self, treatment: Guard, control: Guard, treated: NDArray[np.bool_], *, pooled: bool
    ) -> None:
        self.parts = (treatment, control)
        self.treated = treated
        self.pooled = pooled
        self._before = Faults()

    @property
    def name(self) -> str:
        """Both names."""
        return " | ".join(part.name for part in self.parts)

    @property
    def capabilities(self) -> Capabilities:
        """What both can do together."""
        a, b = (part.capabilities for part in self.parts)
        update = "none" if a.update == b.update == "none" else "refit"
        return Capabilities(
            history="any" if a.history == b.history == "any" else "trained_users_only",
            stochastic=a.stochastic or b.stochastic,
            seedable=a.seedable and b.seedable,
            inputs=a.inputs | b.inputs,
            update=update,  # type: ignore[arg-type]
            ratings=a.ratings or b.ratings,
        )

    @property
    def can_score(self) -> bool:
        """A mixture has no scores of its own."""
        return False

    @property
    def faults(self) -> Faults:
        """What went wrong with either so far."""
        whole = Faults()
        for one in (self._before, *(part.faults for part in self.parts)):
            whole.merge(one)
        return whole

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._before = faults
        for part in self.parts:
            part.faults = Faults()

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Fit both on the same past."""
        for part in self.parts:
            part.fit(log, catalog, seed=seed, progress=progress)

    def add_items(self, catalog: Catalog) -> None:
        """Tell both of items that entered."""
        for part in self.parts:
            part.add_items(catalog)

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """Show none but these items."""
        for part in self.parts:
            part.withdraw(available)

    def grown(self) -> NDArray[np.int64]:
        """(2,) how many items each knows."""
        return np.concatenate([part.grown() for part in self.parts])

    def regrow(self, catalog: Catalog, known: NDArray[np.int64]) -> None:
        """The catalog at a checkpoint and how much of it each knows."""
        for part, one in zip(self.parts, known, strict=True):
            part.regrow(catalog, one[None])

    def update(self, log: Interactions, *, since: int, seed: int = 0, full: bool = False) -> None:
        """Let both learn on, from everybody or each from its own people."""
        for part, own in zip(self.parts, (self.treated, ~self.treated), strict=True):
            if self.pooled:
                part.update(log, since=since, seed=seed, full=full)
                continue
            everybody = np.ones(log.n_users, np.bool_)  # people without a group are in both
            everybody[: len(own)] = own
            kept = (log.step < 0) | everybody[log.user]
            part.update(log.take(kept), since=int(kept[:since].sum()), seed=seed, full=full)

    def recommend(self, requests: Requests) -> Slates:
        """Each person's slate from the recommender that serves them."""
        mine = self.treated[requests.users]
        rows = np.flatnonzero(mine), np.flatnonzero(~mine)
        given = [
            (own, part.recommend(requests.take(own)))
            for part, own in zip(self.parts, rows, strict=True)
            if len(own)
        ]
        return dealt(len(requests), requests.k, given)

    def state(self) -> State | None:
        """Both memories under the names of the groups, or None if either has none."""
        whole: State = {}
        for name, part in zip(_NAMES, self.parts, strict=True):
            state = part.state()
            if state is None:
                return None
            whole.update({f"{name}/{key}": value for key, value in state.items()})
        return whole

    def load_state(self, state: State) -> None:
        """Give both their memories back."""
        for name, part in zip(_NAMES, self.parts, strict=True):
            start = f"{name}/"
            part.load_state({k[len(start) :]: v for k, v in state.items() if k.startswith(start)})

"""What an A/B test inside one world would have said, beside the effect of switching everybody.

The naive estimate compares treated with untreated people of the same world. The twin-world effect
lets the very same people live under the treatment and, with the same luck, under the control.
What separates them is chance (who happened to be treated) and interference: a treated person of the
experiment lives differently from the same person where everybody is treated, through shared
training data, creators or friends (the stable-unit assumption of Rubin 1980 fails). Interference
is measured person by person, so chance drops out, and is exactly 0 where people do not touch. The
unit is the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recommenders.randomness import child_seed
from ..simulation.experiment import treated
from ..simulation.people.equations import taste_distance
from ..simulation.run import Run
from .estimates import Estimate, paired_t

OUTCOMES = {
    "clicks": "items consumed a person",
    "slate_utility": "match of shown items with taste",
    "click_utility": "match of consumed items with taste",
    "taste_shift": "distance of taste from the start",
}
"""Outcomes of people that experiments are read by."""


@dataclass(frozen=True)
class Contrast:
    """One outcome of one experiment.

    Attributes:
        experiment, outcome: what is compared, by name.
        naive: treated minus untreated people of the experiment's worlds, mean over worlds.
        twin: treatment's arm minus control's arm, same people, mean over worlds.
        bias: naive minus twin, world by world: chance and interference together.
        interference: the part of the bias that is no chance: how treated people differ from
            themselves where everybody is treated, minus the same for the others.
        naive_user_error: what a platform would report: the Welch standard error over people of a
            world, mean over worlds; it says nothing about the bias.
    """

    experiment: str
    outcome: str
    naive: Estimate
    twin: Estimate
    bias: Estimate
    interference: Estimate
    naive_user_error: float

    def to_json(self) -> dict[str, Any]:
        """Plain values: effect and one-sided bounds of each estimate."""

        def plain(one: Estimate) -> dict[str, Any]:
            return {"effect": one.effect, "low": one.low, "high": one.high, "n": one.n_units}

        return {
            "experiment": self.experiment,
            "outcome": self.outcome,
            "meaning": OUTCOMES[self.outcome],
            "naive": plain(self.naive),
            "twin": plain(self.twin),
            "bias": plain(self.bias),
            "interference": plain(self.interference),
            "naive_user_error": self.naive_user_error,
        }


def contrasts(run: Run, *, alpha: float = 0.05) -> tuple[Contrast, ...]:
    """Every outcome of every experiment of a run; () where the study has none.

    Args:
        run: lived with ``[[experiments]]``.
        alpha: one-sided level of the bounds.
    """
    found = []
    for test in run.study.experiments:
        arm = f"experiment-{test.name}"
        for outcome in OUTCOMES:
            naive, twin, through, errors = [], [], [], []
            for world in range(run.worlds):
                inside, a, b = (
                    _outcome(run, one, world, outcome)
                    for one in (arm, test.treatment, test.control)
                )
                seed = child_seed(run.study.study.seed, "world", world)
                who = treated(test, len(inside), seed=seed)
                groups = [x[np.isfinite(x)] for x in (inside[who], inside[~who])]
                pairs = np.isfinite(a) & np.isfinite(b)
                if min(map(len, groups)) < 2 or not pairs.any():
                    continue
                naive.append(groups[0].mean() - groups[1].mean())
                twin.append((a - b)[pairs].mean())
                moved = [_mean((inside - a)[who]), _mean((inside - b)[~who])]
                through.append(moved[0] - moved[1])
                errors.append(np.sqrt(sum(x.var(ddof=1) / len(x) for x in groups)))
            if not naive:
                continue
            n, t = np.array(naive), np.array(twin)

            def judged(values: NDArray[np.float64]) -> Estimate:
                return paired_t(values, alpha=alpha, unit="world")

            found.append(
                Contrast(
                    test.name,
                    outcome,
                    judged(n),
                    judged(t),
                    judged(n - t),
                    judged(np.array(through)),
                    float(np.mean(errors)),
                )
            )
    return tuple(found)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0


def _outcome(run: Run, arm: str, world: int, outcome: str) -> NDArray[np.float64]:
    """(users,) one outcome of everybody, NaN where a person has none."""
    frame = run.outcomes(arm, world).sort("user")
    if outcome == "taste_shift":
        start, end = run.users(world)["taste"].to_numpy(), frame["taste_end"].to_numpy()
        return taste_distance(start, end, space="vectors" if run.study.world.dim else "topics")
    values: NDArray[np.float64] = frame[outcome].cast(float).fill_null(np.nan).to_numpy()
    return values

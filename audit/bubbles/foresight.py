"""What can be told before a run is lived: whether its people will click often enough to be judged.

People of a dataset come as rarely as they did there. Too short a run leaves the checks of
consumption without an answer, which is better said before the hours than after them.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from ...simulation.fitting.fit import MIN_HISTORY, activity_of, dataset_of
from ...simulation.study import Study
from ..permutation import SMALLEST_GROUP
from .entropies import MIN_CLICKS, Windows
from .filter_bubble import CLICK_WINDOW

_CLICKS = 0.6  # of a visit to a slate, about what fitted people do; only a forecast hangs on it
_ENOUGH = 1.5  # of the people needed: worlds differ, and every one of them has to have enough
_LONGEST = 2000  # steps beyond which more people is the better advice


def too_few_clicks(study: Study) -> str:
    """Why the checks of consumption will probably have no answer, and what would give one.

    Who comes with chance a in a step clicks Binomial(length of a window, a c) times in it; counted
    is who clicks at least :data:`MIN_CLICKS` times in the early and in the late window.

    Returns:
        One sentence, or "" where enough people are to be expected, nobody asks, or people are not
        those of a dataset.
    """
    if study.world.kind != "dataset" or "bubbles" not in study.audit.families:
        return ""
    if study.staying is not None or study.users:
        return ""  # who comes is decided elsewhere
    log = dataset_of(study.world).log
    n = np.bincount(log.user, minlength=log.n_users)
    activity = activity_of(n)[n >= MIN_HISTORY]
    if not len(activity):
        return ""
    people = min(study.world.users, len(activity))

    def counted(steps: int) -> float:
        length = Windows.of(steps, CLICK_WINDOW).length
        often = 1.0 - binom.cdf(MIN_CLICKS - 1, length, _CLICKS * activity)
        return people * float((often**2).mean())

    steps = study.study.steps
    if counted(steps) >= SMALLEST_GROUP:
        return ""
    longer = steps
    while longer < _LONGEST and counted(longer) < _ENOUGH * SMALLEST_GROUP:
        longer += 5
    cure = f"--set study.steps={longer}" if longer < _LONGEST else "a larger [world] users"
    return (
        f"people of {study.world.dataset} come rarely, in {100 * activity.mean():.0f} % of steps: "
        f"about {counted(steps):.0f} of {people} a world will click {MIN_CLICKS} times early and "
        f"late, and {SMALLEST_GROUP} are needed to tell whether consumption narrows; {cure} "
        "would do"
    )

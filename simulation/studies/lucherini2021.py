"""Creators follow their clicks: which recommender makes them all the same, and how narrow.

The market of Chaney et al. with items that are made by creators. Each click pulls the profile of
the item's creator towards the item, so what a recommender shows decides what will be made. A
narrow profile has a low Dirichlet entropy. About 17 CPU-seconds a simulation of all recommenders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...recommenders.randomness import generator
from ..people.selecting import Ranked
from ..supply.making import follow
from . import markets
from .markets import MODELS, Floats
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "Content creators: popularity narrows what is made, random exposure does so least"
PAPER = (
    "Lucherini, Sun, Winecoff & Narayanan (2021). T-RECS: A Simulation Tool to Study the Societal "
    "Impact of Recommender Systems. arXiv:2107.08959"
)

PUBLISHED = {
    "random": -1.1e5, "mf": -2.3e5, "ideal": -3.1e5, "content": -3.1e5, "social": -3.9e5,
    "popularity": -4.3e5,
}  # fmt: skip
"""Mean Dirichlet entropy of creators' profiles after 500 steps, widest first (400 simulations)."""

START = -4.2e3
"""The same before the first step."""

DISTANCE = {"popularity": -0.29, "social": -0.21, "mf": -0.03, "random": 0.07, "content": 0.09}
"""Mean distance of the newest items less that under the ideal one (sd bands of about .4)."""

_FIGURE = "figure of the T-RECS experiments, 400 simulations"
_ORDER = "order in that figure"


@dataclass(frozen=True)
class Params(StudyParams):
    """The published experiment; 400 simulations there, 8 here."""

    users: int = setting(100, "people of a simulation", low=3)
    attributes: int = setting(20, "of tastes, items and profiles, also the factors of MF", low=2)
    creators: int = setting(5, "each makes one item a step", low=2)
    steps: int = setting(500, "steps of a simulation", low=3)
    startup: int = setting(10, "steps before the first training", low=1)
    rate: float = setting(0.0005, "a click adds rate x item to its creator's profile", low=0)
    simulations: int = setting(8, "independent simulations", low=1)
    attention: float = setting(-0.8, "a rank is worth rank ** attention", high=0.0)
    sweeps: int = setting(20, "of ALS at the first training", low=1)
    sweeps_again: int = setting(1, "of ALS at each later one, from where it stood", low=0)

    @classmethod
    def quick(cls) -> Self:
        """A fifth of the steps, creators that learn five times as fast, one simulation."""
        return cls(steps=100, rate=0.0025, simulations=1)


# Creators ----------------------------------------------------------------------------------------


def profile_entropy(profiles: Floats) -> float:
    """Mean entropy of the distributions that items are drawn from, Dirichlet(profile / 10).

    ``H = ln B(a) + (a0 - k) psi(a0) - sum (a_j - 1) psi(a_j)``; very negative where profiles are
    near 0, since items then stand in the corners of the simplex.
    """
    from scipy.special import digamma, gammaln

    a = 0.1 * profiles
    total = a.sum(axis=1)
    log_beta = gammaln(a).sum(axis=1) - gammaln(total)
    spread = (total - a.shape[1]) * digamma(total) - ((a - 1) * digamma(a)).sum(axis=1)
    return float((log_beta + spread).mean())


def made(profiles: Floats, luck: np.random.Generator) -> Floats:
    """(creators, attributes) one new item each."""
    return np.array([luck.dirichlet(0.1 * profile) for profile in profiles])


def mean_distance(items: Floats) -> float:
    """Mean Euclidean distance of the pairs among some items."""
    first, second = np.triu_indices(len(items), 1)
    return float(np.linalg.norm(items[first] - items[second], axis=1).mean())


# One simulation ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Path:
    """(steps + 1,) entropy of profiles and (steps,) distance of the newest items."""

    entropy: Floats
    distance: Floats


def live(name: str, params: Params, *, seed: int) -> Path:
    """The same people and the same first creators with one recommender."""
    luck = generator(seed, "people")
    tastes = markets.people(luck, params.users, params.attributes)
    profiles = luck.dirichlet(np.full(params.attributes, 10.0), size=params.creators)
    luck = generator(seed, "loop", name)
    n_new, everyone = params.creators, np.arange(params.users)
    size = (params.users, params.steps * n_new)
    items = np.zeros((size[1], params.attributes))
    true, known, clicks = np.zeros(size), np.zeros(size), np.zeros(size)
    free = np.ones(size, dtype=bool)
    law = Ranked(alpha=params.attention)
    sweeps = (params.sweeps, params.sweeps_again)
    model = markets.new_model(name, tastes, true, generator(seed, "model", name), sweeps=sweeps)
    entropy, distance = [profile_entropy(profiles)], []
    for step in range(params.steps):
        old, n = step * n_new, (step + 1) * n_new
        items[old:n] = made(profiles, luck)
        true[:, old:n], known[:, old:n] = markets.utilities(luck, tastes, items[old:n])
        if step >= params.startup:
            model.train(clicks[:, :old], items[:old])
        taken = markets.choose(
            luck,
            model.score(old) if step >= params.startup else clicks[:, :0],
            known[:, :n],
            free[:, :n],
            n_shown=n,
            n_new=n_new,
            law=law,
        )
        free[everyone, taken] = False
        clicks[everyone, taken] = 1.0
        profiles = follow(profiles, taken % n_new, items[taken], params.rate)
        entropy.append(profile_entropy(profiles))
        distance.append(mean_distance(items[old:n]))
    return Path(np.array(entropy), np.array(distance))


# The study ---------------------------------------------------------------------------------------

_LATE = 50
"""Distances are a mean over the last so many steps: five items a step say little."""


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """All recommenders in a number of simulations."""
    paths: dict[str, list[Path]] = {name: [] for name in PUBLISHED}
    total = params.simulations * len(PUBLISHED)
    for n in range(params.simulations):
        for at, name in enumerate(PUBLISHED):
            progress(n * len(PUBLISHED) + at, total, name)
            paths[name].append(live(name, params, seed=seed + 1000 * n))
    progress(total, total, "done")
    # (steps + 1,) and one number: means over simulations
    entropy = {name: np.mean([p.entropy for p in every], axis=0) for name, every in paths.items()}
    distance = {
        name: float(np.mean([p.distance[-_LATE:].mean() for p in every]))
        for name, every in paths.items()
    }
    every_tenth = np.arange(0, params.steps + 1, max(params.steps // 50, 1))
    figure = Curves(
        title="Entropy of creators' profiles",
        description="Mean Dirichlet entropy by step, in units of 100,000. All lines fall from "
        "about 0; random exposure falls least, popularity most.",
        x_label="step",
        y_label="entropy / 100,000",
        x=tuple(float(step) for step in every_tenth),
        lines={name: tuple((curve[every_tenth] / 1e5).tolist()) for name, curve in entropy.items()},
    )
    spread = ", ".join(
        f"{name} {np.std([p.entropy[-1] for p in every]) / 1e5:.2f}"
        for name, every in paths.items()
    )
    notes = (
        "Published figures are read off a plot; its bands are wide for the distances, which are "
        "therefore judged by sign only, over the last 50 steps.",
        f"Standard deviation of the last entropy over simulations, in 100,000: {spread}.",
        "MF is trained at every step and continues from its factors.",
    )
    return StudyResult(
        TITLE, PAPER, tuple(_rows(params, entropy, distance)), figures=(figure,), notes=notes
    )


def _rows(params: Params, entropy: dict[str, Floats], distance: dict[str, float]) -> list[Row]:
    end = {name: float(curve[-1]) for name, curve in entropy.items()}
    near = {name: distance[name] - distance["ideal"] for name in MODELS}
    rows = [
        Row("random less popularity, entropy", end["random"] - end["popularity"], 0, 0, _ORDER,
            "above"),
        Row("newest items under popularity, distance less ideal", near["popularity"], 0, 0,
            _FIGURE, "below"),
        Row("newest items, random less popularity, distance", near["random"] - near["popularity"],
            0, 0, _FIGURE, "above"),
    ]  # fmt: skip
    if (params.creators, params.attributes, params.steps, params.rate) != (5, 20, 500, 0.0005):
        return rows
    rows += [
        Row(f"entropy after 500 steps, {name}", end[name], PUBLISHED[name], 0.25, _FIGURE, "share")
        for name in PUBLISHED
    ]
    middle = (end["ideal"] + end["content"]) / 2
    rows += [
        Row("entropy before the loop", float(entropy["ideal"][0]), START, 0.05, _FIGURE, "share"),
        Row("random less MF, entropy", end["random"] - end["mf"], 0, 0, _ORDER, "above"),
        Row("MF less the mean of ideal and content, entropy", end["mf"] - middle, 0, 0, _ORDER,
            "above"),
        Row("mean of ideal and content less social, entropy", middle - end["social"], 0, 0, _ORDER,
            "above"),
        Row("social less popularity, entropy", end["social"] - end["popularity"], 0, 0, _ORDER,
            "above"),
    ]  # fmt: skip
    return rows

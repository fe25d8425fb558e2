"""Preference amplification: a matrix factorisation that follows people who follow it.

The recommender believes that a person likes an item of score ``s = u.v`` with probability
``p = sigmoid(s)``. Having been recommended it, the person in truth likes it with ``pi(s)``, a
little more than p where s is positive and a little less where it is negative. Learning from that
feedback lengthens the person's vector, which makes likes likelier and recommendations narrower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.errors import UserError
from ...recommenders.randomness import generator
from ..people.choice import sigmoid
from ..people.wellbeing import amplified, liking
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "Preference amplification: drifting people and a recommender that learns from them"
PAPER = (
    "Kalimeris, Bhagat, Kalyanaraman & Weinsberg (2021). Preference Amplification in Recommender "
    "Systems. KDD 2021, doi:10.1145/3447548.3467298"
)

Floats = NDArray[np.float64]

_CLAIM = "claim of the paper"


@dataclass(frozen=True)
class Params(StudyParams):
    """The paper's simulation: 50 people, 15 dimensions, 200 rounds of 100 recommendations."""

    users: int = setting(50, "people", low=2)
    items: int = setting(3700, "items, where no data are named (MovieLens-1M has 3,706)", low=20)
    dim: int = setting(15, "dimensions of the factorisation", low=1)
    rounds: int = setting(200, "rounds of recommending and learning", low=2)
    shown: int = setting(100, "items recommended in a round", low=1)
    gamma: float = setting(0.4, "strength of people's drift", low=0.0, high=1.0)
    beta: float = setting(1.0, "sensitivity of the recommender: softmax(beta s)", low=0.0)
    eta: float = setting(1.0, "learning rate", low=0.0)
    data: str = setting("", "ml-100k, ml-1m or a file: learn the factors from it")
    folder: str = setting("", "where the files of the data are, if not in the cache")

    @classmethod
    def quick(cls) -> Self:
        """Fewer items and rounds."""
        return cls(items=1000, rounds=100)


def chances(scores: Floats, beta: float) -> Floats:
    """Probability that an item is recommended: a softmax over each row (users, items)."""
    raised = np.exp(beta * (scores - scores.max(axis=1, keepdims=True)))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def draw(chance: Floats, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(users, n) items by their chances, with replacement."""
    reach = np.cumsum(chance, axis=1)
    rows = np.arange(len(chance))[:, None]
    # all rows in one ordered line: row i ends just short of i + 1
    line = rows + reach / reach[:, -1:] * (1 - 1e-9)
    luck = rows + rng.random((len(chance), n)) * (1 - 1e-9)
    at = np.searchsorted(line.ravel(), luck, side="right")
    return np.asarray(at - rows * chance.shape[1])


@dataclass(frozen=True)
class Path:
    """Means over people after each round, the start included.

    Attributes:
        norm: length of the user vectors.
        likeable, other: believed like probability of items with a score above and below zero.
        top: probability mass on the 5 % of items that were best at the start.
    """

    norm: Floats
    likeable: Floats
    other: Floats
    top: Floats


def live(
    params: Params, taste: Floats, items: Floats, gamma: float, seed: int, progress: Progress
) -> Path:
    """Rounds of recommending, drifting and learning.

    Args:
        taste: (users, dim) and items: (items, dim), entries in [-1, 1]; tastes stay there.
    """
    rng = generator(seed, "kalimeris2021", "recommendations")
    scores = taste @ items.T
    n_top = max(round(0.05 * len(items)), 1)
    best = np.argpartition(-scores, n_top - 1, axis=1)[:, :n_top]
    seen: list[tuple[float, ...]] = []
    for t in range(params.rounds + 1):
        progress(t, params.rounds, f"gamma {gamma:g}")
        scores = taste @ items.T
        chance = chances(scores, params.beta)
        seen.append(_state(taste, scores, np.take_along_axis(chance, best, axis=1)))
        shown = items[draw(chance, params.shown, rng)]  # (users, shown, dim)
        taste = np.clip(amplified(taste, shown, params.eta, gamma), -1.0, 1.0)
    return Path(*np.array(seen).T)


def _state(taste: Floats, scores: Floats, best: Floats) -> tuple[float, ...]:
    p, liked = sigmoid(scores), scores >= 0
    means = [(p * side).sum(axis=1) / np.maximum(side.sum(axis=1), 1) for side in (liked, ~liked)]
    norm = np.linalg.norm(taste, axis=1).mean()
    return float(norm), *(float(m.mean()) for m in means), float(best.sum(axis=1).mean())


def factors(params: Params, seed: int) -> tuple[Floats, Floats]:
    """Tastes (users, dim) and items (items, dim) in [-1, 1]: from data, or uniform."""
    rng = generator(seed, "kalimeris2021", "factors")
    if not params.data:
        taste = rng.uniform(-0.3, 0.3, (params.users, params.dim))
        return taste, rng.uniform(-1, 1, (params.items, params.dim))
    from scipy.sparse.linalg import svds

    from ...recommenders.datasets import load

    log = load(params.data, folder=params.folder).log
    seen = log.to_csr().astype(np.float64)
    if min(seen.shape) <= params.dim or seen.shape[0] < params.users:
        raise UserError(f"{params.data} is too small for {params.users} users, dim {params.dim}")
    left, weight, right = svds(seen, k=params.dim, v0=np.ones(min(seen.shape)))
    people = rng.choice(len(left), params.users, replace=False)
    taste, items = left[people] * np.sqrt(weight), right.T * np.sqrt(weight)
    return _fitted(taste), _fitted(items)


def _fitted(entries: Floats) -> Floats:
    """Centred and scaled by three standard deviations, what exceeds that at the border."""
    centred = entries - entries.mean(axis=0)
    return np.asarray(np.clip(centred / (3 * centred.std(axis=0)), -1.0, 1.0))


# The study ---------------------------------------------------------------------------------------


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """The claim, its control without drift, and one item for ever against its recursion."""
    taste, items = factors(params, seed)
    drifting = live(params, taste, items, params.gamma, seed, progress)
    steady = live(params, taste, items, 0.0, seed, progress)
    still = float(np.abs(steady.norm - steady.norm[0]).max())
    last = params.rounds
    rows = (
        Row("norm of the user vectors, end over start", drifting.norm[-1] / drifting.norm[0],
            1.0, 0.1, _CLAIM, "above"),
        Row("rounds in which the mean norm grows, as a share",
            float((np.diff(drifting.norm) > 0).mean()), 0.95, 0.0, _CLAIM, "above"),
        Row("like probability of likeable items, end minus start",
            drifting.likeable[-1] - drifting.likeable[0], 0.0, 0.01, _CLAIM, "above"),
        Row("like probability of the others, end minus start",
            drifting.other[-1] - drifting.other[0], 0.0, 0.01, _CLAIM, "below"),
        Row("recommendation mass on the first top 5 %, end over start",
            drifting.top[-1] / drifting.top[0], 1.0, 0.1, _CLAIM, "above"),
        Row("control, people who do not drift: largest change of the norm", still, 0.0, 1e-12,
            "exact"),
        _one_item(params, taste, items[0]),
    )  # fmt: skip
    x = tuple(float(t) for t in range(last + 1))
    curves = (
        _curves("Norm of the user vectors", "mean norm", x, drifting.norm, steady.norm),
        _curves("Like probability of likeable items", "mean probability", x, drifting.likeable,
                steady.likeable),
        _curves("Recommendation mass on the first top 5 %", "probability mass", x, drifting.top,
                steady.top),
    )  # fmt: skip
    where = f"from {params.data}" if params.data else "uniform in [-1, 1] (tastes in [-.3, .3])"
    notes = (
        f"Factors: {where}; entries of tastes never leave [-1, 1]. The paper's figures are curves "
        "without a table: the claims are their direction.",
        f"Norm {drifting.norm[0]:.3f} to {drifting.norm[-1]:.3f}; like probability of likeable "
        f"items {drifting.likeable[0]:.3f} to {drifting.likeable[-1]:.3f}, of the others "
        f"{drifting.other[0]:.3f} to {drifting.other[-1]:.3f}; mass on the first top 5 % "
        f"{drifting.top[0]:.3f} to {drifting.top[-1]:.3f}.",
        "The gradient is the mean over the drawn items, which estimates the sum over all items "
        "weighted by their chances; a public re-implementation weights drawn items by their "
        "chances again, which makes its steps smaller, and lets the true like probability leave "
        "[0, 1].",
    )
    return StudyResult(TITLE, PAPER, rows, figures=curves, notes=notes)


def _curves(title: str, label: str, x: tuple[float, ...], moved: Floats, still: Floats) -> Curves:
    return Curves(
        title=title,
        description=f"By round: from {moved[0]:.3f} to {moved[-1]:.3f} when people drift; "
        f"{still[-1]:.3f} at the end when they do not.",
        x_label="round",
        y_label=label,
        x=x,
        lines={"people drift": tuple(moved.tolist()), "people stay": tuple(still.tolist())},
    )


def _one_item(params: Params, taste: Floats, item: Floats) -> Row:
    """One item for ever: ``s <- s + eta |v|^2 (pi(s) - p(s))``, without the vectors."""
    eta = params.eta / params.dim  # small enough that no entry reaches the border
    s, worst = taste @ item, 0.0
    shown = np.broadcast_to(item, (len(taste), 1, params.dim))
    for _ in range(params.rounds):
        taste = amplified(taste, shown, eta, params.gamma)
        s = s + eta * float(item @ item) * (liking(s, params.gamma) - sigmoid(s))
        worst = max(worst, float(np.abs(taste @ item - s).max()))
    return Row("one item for ever: largest distance of a score from its recursion", worst, 0.0,
               1e-9, "exact")  # fmt: skip

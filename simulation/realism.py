"""How far simulated people are from the real ones a world was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..recommenders.catalog import Catalog
from ..recommenders.datasets.synthetic import Market
from ..recommenders.interactions import Interactions
from ..recommenders.randomness import generator
from ..recommenders.splits import rank_within_user
from .fit import fitted_market
from .study import PeopleSection, Study, StudySection, WorldSection

if TYPE_CHECKING:
    from .world import World


@dataclass(frozen=True)
class RealismRow:
    """One property of behaviour, simulated against real.

    Attributes:
        name: what is compared, in words.
        distance: two-sample distance between simulated and held-out real behaviour, 0 to 1.
        floor: the same distance between two random halves of the real people.
        kind: the distance's name.
        real, simulated: the property's mean, for reading.
    """

    name: str
    distance: float
    floor: float
    kind: str
    real: float
    simulated: float


def realism(
    section: WorldSection,
    people: PeopleSection | None = None,
    *,
    seed: int = 7,
    most_steps: int = 400,
) -> tuple[RealismRow, ...]:
    """Compare organic simulated behaviour with the half of real behaviour the world never saw.

    The world is fitted on the first half of each person's interactions and lived without a
    recommender; what its people consume is compared with what the real people did next.

    Args:
        section: must name a dataset.
        people: the user model.
        seed: draws the people and their luck.
        most_steps: the world is lived until its people consumed as much as the real ones did
            next, but no longer than this.
    """
    from .world import World

    start = fitted_market(section, seed, 0, past_share=0.5)
    whole = fitted_market(section, seed, 0)
    real = _after(whole.log, start.log)
    study = Study(study=StudySection(seed=seed), world=section, people=people or PeopleSection())
    world = World(study, start=start)
    simulated = _lived(world, len(real), most_steps)
    rng = generator(seed, "realism")
    half = rng.random(len(start.users)) < 0.5
    catalog = start.catalog
    a, b = real.take(half[real.user]), real.take(~half[real.user])
    rows = []
    for name, kind, measure in _PROPERTIES:
        values_real, values_sim = measure(real, start, catalog), measure(simulated, start, catalog)
        floor = _distance(kind, measure(a, start, catalog), measure(b, start, catalog))
        rows.append(
            RealismRow(
                name=name,
                distance=_distance(kind, values_real, values_sim),
                floor=floor,
                kind=kind,
                real=_summary(kind, values_real),
                simulated=_summary(kind, values_sim),
            )
        )
    return tuple(rows)


def _after(whole: Interactions, early: Interactions) -> Interactions:
    rank, _ = rank_within_user(whole)
    return whole.take(rank >= np.bincount(early.user, minlength=whole.n_users)[whole.user])


def _lived(world: World, enough: int, most_steps: int) -> Interactions:
    for _ in range(most_steps):
        world.step()
        if world.measures.clicks.sum() >= enough:
            break
    log = world.platform.log()
    return log.take(log.step >= 0)


def _lorenz(log: Interactions, start: Market, catalog: Catalog) -> NDArray[np.float64]:
    counts = np.sort(log.popularity())[::-1].astype(np.float64)
    return np.asarray(counts.cumsum() / max(counts.sum(), 1.0))


def _activity(log: Interactions, start: Market, catalog: Catalog) -> NDArray[np.float64]:
    counts = np.bincount(log.user, minlength=log.n_users).astype(np.float64)
    counts = counts[counts > 0]
    return counts / counts.mean() if len(counts) else counts


def _mix(log: Interactions, start: Market, catalog: Catalog) -> NDArray[np.float64]:
    mass = catalog.topics[log.item].sum(axis=0, dtype=np.float64)
    return np.asarray(mass / max(mass.sum(), 1e-12))


_EVENTS = 20  # events of each person compared, so that long logs do not look steadier


def _repeat(log: Interactions, start: Market, catalog: Catalog) -> NDArray[np.float64]:
    histories = log.histories()
    last = histories.last(_EVENTS)
    topic = np.where(last >= 0, catalog.main_topic[np.maximum(last, 0)], -1)
    pair = (topic[:, 1:] >= 0) & (topic[:, :-1] >= 0)
    same = pair & (topic[:, 1:] == topic[:, :-1])
    n = pair.sum(axis=1)
    return np.asarray(same.sum(axis=1)[n >= 5] / n[n >= 5])


def _drift(log: Interactions, start: Market, catalog: Catalog) -> NDArray[np.float64]:
    def profile(items: NDArray[np.int32]) -> NDArray[np.float64]:
        mass = np.where(items[..., None] >= 0, catalog.topics[np.maximum(items, 0)], 0).sum(axis=1)
        return np.asarray(mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-9), np.float64)

    before = start.log.histories().last(_EVENTS // 2)
    after = log.histories().last(_EVENTS // 2)
    full = (before >= 0).all(axis=1) & (after >= 0).all(axis=1)
    moved = np.abs(profile(before[full]) - profile(after[full])).sum(axis=1)
    return np.asarray(0.5 * moved)


_PROPERTIES = (
    ("popularity curve (cumulative share of interactions by item rank)", "Kolmogorov", _lorenz),
    ("activity (interactions a person, relative to the mean)", "KS", _activity),
    ("topic mix of all consumption", "total variation", _mix),
    ("repeat (share of consecutive choices in the same topic)", "KS", _repeat),
    ("drift (total variation of a person's topics, earlier to later)", "KS", _drift),
)


def _distance(kind: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if kind == "Kolmogorov":
        return float(np.abs(a - b).max())
    if kind == "total variation":
        return float(0.5 * np.abs(a - b).sum())
    from scipy.stats import ks_2samp

    if len(a) == 0 or len(b) == 0:
        return float("nan")
    return float(ks_2samp(a, b).statistic)


def _summary(kind: str, values: NDArray[np.float64]) -> float:
    """A readable number: share of the top tenth, mean, or effective number of topics."""
    if kind == "Kolmogorov":
        return float(values[max(len(values) // 10 - 1, 0)])
    if kind == "total variation":
        p = values[values > 0]
        return float(2 ** -(p * np.log2(p)).sum())
    return float(values.mean()) if len(values) else float("nan")

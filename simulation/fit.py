"""A world fitted to data, and how far its simulated people are from the real ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..recommenders.catalog import Catalog
from ..recommenders.datasets.dataset import Dataset, UserTable
from ..recommenders.datasets.synthetic import Market
from ..recommenders.errors import UserError
from ..recommenders.interactions import Interactions
from ..recommenders.randomness import generator
from .study import PeopleSection, WorldSection

if TYPE_CHECKING:
    from .world import World

MIN_HISTORY = 5
"""People with fewer interactions are left out: nothing could be said of their taste."""

_PRIOR = 5.0  # weight of the population's topic mix in a person's taste, in interactions
_CERTAINTY = 0.5  # share of a person's interactions that counts as independent evidence


@lru_cache(maxsize=2)
def _loaded(dataset: str, folder: str, columns: tuple[tuple[str, str], ...]) -> Dataset:
    from ..recommenders.datasets import load

    return load(dataset, folder=folder, columns=dict(columns) or None)


def dataset_of(section: WorldSection) -> Dataset:
    """The dataset a world is fitted to, read once a process."""
    return _loaded(section.dataset, section.folder, tuple(sorted(section.columns.items())))


def fitted_market(
    section: WorldSection, seed: int, index: int, *, past_share: float = 1.0
) -> Market:
    """People, tastes, activity and popularity drawn from data; another draw for every world.

    A world samples people without replacement; a person's taste is a draw from the Dirichlet
    posterior of their topic counts around the population's mix, activity is their number of
    interactions relative to the 90th percentile, and items are known as widely as they were
    consumed. Quality is the shrunken mean rating (0.4 logits a standard deviation), where there
    are ratings.

    Args:
        section: names the dataset; ``users`` is the number of people in each world.
        seed, index: study seed and world.
        past_share: share of each person's interactions, oldest first, that the world may know;
            below 1 the rest is left for comparison.
    """
    data = dataset_of(section)
    rng = generator(seed, "fit", index)
    catalog = data.catalog
    if not catalog.topics.any():
        topics = _latent_topics(data.log, section.topics)
        names = tuple(f"cluster {t + 1}" for t in range(topics.shape[1]))
        catalog = replace(catalog, topics=topics, topic_names=names)
    enough = np.flatnonzero(np.bincount(data.log.user, minlength=len(data.users)) >= MIN_HISTORY)
    if len(enough) == 0:
        raise UserError(
            f"dataset {section.dataset!r}: nobody has {MIN_HISTORY} interactions or more, so no "
            "world can be fitted; use a larger log"
        )
    people = np.sort(rng.choice(enough, size=min(section.users, len(enough)), replace=False))
    log = _past_of(data.log, people, past_share)
    quality = _quality(data.log)
    counts = np.zeros((len(people), catalog.topics.shape[1]))
    np.add.at(counts, log.user, catalog.topics[log.item])
    mix = counts.sum(axis=0) / max(counts.sum(), 1.0)
    shape = _PRIOR * mix + _CERTAINTY * counts + 1e-3
    gamma = rng.gamma(shape) + 1e-9
    n = np.bincount(log.user, minlength=len(people))
    activity = np.clip(n / max(np.quantile(n, 0.9), 1.0), 0.05, 1.0)
    awareness = np.log(log.popularity() + 0.5)
    return Market(
        catalog=replace(catalog, quality=quality),
        users=UserTable(
            tuple(data.users.ids[u] for u in people),
            {name: column[people] for name, column in data.users.attributes.items()},
        ),
        taste=(gamma / gamma.sum(axis=1, keepdims=True)).astype(np.float32),
        activity=activity.astype(np.float32),
        awareness=(awareness - awareness.max()).astype(np.float32),
        log=log,
    )


def _past_of(log: Interactions, people: NDArray[np.int64], share: float) -> Interactions:
    """The first ``share`` of each chosen person's log, re-indexed, with negative steps."""
    position = np.full(log.n_users, -1)
    position[people] = np.arange(len(people))
    kept = log.take(position[log.user] >= 0)
    order = np.lexsort((np.arange(len(kept)), kept.step))
    kept = kept.take(order)
    user = position[kept.user].astype(np.int32)
    rank = _rank_within(user)
    size = np.bincount(user, minlength=len(people))
    early = rank < np.maximum(np.ceil(share * size), 1)[user]
    user, item = user[early], kept.item[early]
    step = np.arange(len(user), dtype=np.int64) - len(user)
    return Interactions(user, item, step, len(people), log.n_items)


def _rank_within(user: NDArray[np.int32]) -> NDArray[np.int64]:
    """For rows in time order: how many earlier rows the same user has."""
    order = np.argsort(user, kind="stable")
    starts = np.concatenate([[0], np.bincount(user).cumsum()])
    rank = np.empty(len(user), np.int64)
    rank[order] = np.arange(len(user)) - starts[user[order]]
    return rank


def _quality(log: Interactions) -> NDArray[np.float32]:
    if log.value is None:
        return np.zeros(log.n_items, np.float32)
    count = log.popularity()
    total = np.bincount(log.item, weights=log.value, minlength=log.n_items)
    mean = (total + 10 * float(log.value.mean())) / (count + 10)  # shrunk by ten average ratings
    spread = float(mean[count > 0].std()) or 1.0
    quality = 0.4 * (mean - mean[count > 0].mean()) / spread
    return np.asarray(quality, dtype=np.float32)


def _latent_topics(log: Interactions, topics: int) -> NDArray[np.float32]:
    """Topics for a catalog that names none: k-means over the items' singular vectors."""
    from scipy.cluster.vq import kmeans2
    from scipy.sparse.linalg import svds

    matrix = log.to_csr().astype(np.float64)
    k = min(topics, min(matrix.shape) - 1)
    start = generator(0, "latent-topics").standard_normal(min(matrix.shape))
    _, strength, vectors = svds(matrix, k=k, v0=start)
    points = vectors.T * strength  # (items, k)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
    _, label = kmeans2(points, topics, minit="++", rng=generator(0, "latent-topics", "kmeans"))
    return np.asarray(np.eye(topics, dtype=np.float32)[label])


# -- realism -------------------------------------------------------------------------------------


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
    section: WorldSection, people: PeopleSection | None = None, *, seed: int = 7, steps: int = 80
) -> tuple[RealismRow, ...]:
    """Compare organic simulated behaviour with the half of real behaviour the world never saw.

    The world is fitted on the first half of each person's interactions and lived without a
    recommender; what its people consume is compared with what the real people did next.

    Args:
        section: must name a dataset.
        people: the user model.
        seed: draws the people and their luck.
        steps: steps lived.
    """
    from .world import World

    start = fitted_market(section, seed, 0, past_share=0.5)
    whole = fitted_market(section, seed, 0)
    real = _after(whole.log, start.log)
    world = World(section, people, seed=seed, start=start)
    simulated = _lived(world, steps)
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
    rank = _rank_within(whole.user)
    return whole.take(rank >= np.bincount(early.user, minlength=whole.n_users)[whole.user])


def _lived(world: World, steps: int) -> Interactions:
    for _ in range(steps):
        world.step()
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

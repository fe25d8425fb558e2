"""A world fitted to data: tastes, activity, and how widely known and how well liked items are."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..recommenders.catalog import Catalog
from ..recommenders.datasets.dataset import Dataset, UserTable
from ..recommenders.datasets.synthetic import TASTE_SCALE, Market
from ..recommenders.errors import UserError
from ..recommenders.interactions import Interactions
from ..recommenders.randomness import generator
from ..recommenders.splits import rank_within_user
from .people import SEARCH_SKILL
from .study import WorldSection

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
    posterior of their topic counts around the population's mix, and activity is their number of
    interactions relative to the 90th percentile. How much taste decides, and how well known each
    item is, are estimated from choices (:func:`preference_weight`, :func:`awareness_of`). Quality
    is the shrunken mean rating (0.4 logits a standard deviation), where there are ratings.

    Args:
        section: names the dataset; ``users`` is the number of people in each world.
        seed, index: study seed and world.
        past_share: share of each person's interactions, oldest first, that the world may know;
            below 1 the rest is left for comparison.
    """
    data = dataset_of(section)
    rng = generator(seed, "fit", index)
    enough = np.flatnonzero(np.bincount(data.log.user, minlength=len(data.users)) >= MIN_HISTORY)
    if len(enough) == 0:
        raise UserError(
            f"dataset {section.dataset!r}: nobody has {MIN_HISTORY} interactions or more, so no "
            "world can be fitted; use a larger log"
        )
    catalog = data.catalog
    if not catalog.topics.any():
        topics = _latent_topics(data.log, section.topics)
        names = tuple(f"cluster {t + 1}" for t in range(topics.shape[1]))
        catalog = replace(catalog, topics=topics, topic_names=names)
    people = np.sort(rng.choice(enough, size=min(section.users, len(enough)), replace=False))
    log = _past_of(data.log, people, past_share)
    shape = taste_evidence(log, catalog)
    gamma = rng.gamma(shape) + 1e-9
    taste = gamma / gamma.sum(axis=1, keepdims=True)
    n = np.bincount(log.user, minlength=len(people))
    activity = np.clip(n / max(np.quantile(n, 0.9), 1.0), 0.05, 1.0)
    weight = preference_weight(log, catalog)
    quality = _quality(data.log)
    awareness = awareness_of(log, taste @ catalog.topics.T, weight) - quality
    return Market(
        catalog=replace(catalog, quality=quality),
        users=UserTable(
            tuple(data.users.ids[u] for u in people),
            {name: column[people] for name, column in data.users.attributes.items()},
        ),
        taste=taste.astype(np.float32),
        activity=activity.astype(np.float32),
        awareness=(awareness - awareness.max()).astype(np.float32),
        log=log,
        taste_scale=weight / (1.0 + SEARCH_SKILL),
    )


def taste_evidence(log: Interactions, catalog: Catalog) -> NDArray[np.float64]:
    """(users, topics) parameters of each person's Dirichlet posterior over topics."""
    counts = np.zeros((log.n_users, catalog.topics.shape[1]))
    np.add.at(counts, log.user, catalog.topics[log.item])
    mix = counts.sum(axis=0) / max(counts.sum(), 1.0)
    return np.asarray(_PRIOR * mix + _CERTAINTY * counts + 1e-3)


def awareness_of(
    log: Interactions, match: NDArray[np.float64], weight: float, *, rounds: int = 8
) -> NDArray[np.float64]:
    """How well known each item must be for the model to reproduce its number of consumptions.

    Item intercepts ``a`` of ``P(i | u) ~ exp(weight * match_ui + a_i)``, fitted so that expected
    counts equal smoothed observed counts (iterative proportional fitting, Deming & Stephan 1940;
    the maximum-likelihood condition of the intercepts).

    Args:
        log: what was consumed; match: (users, items); weight: of the match, in logits.
    """
    seen = log.popularity() + 0.5
    volume = np.bincount(log.user, minlength=len(match)).astype(np.float64)
    volume *= seen.sum() / volume.sum()
    appeal = np.exp(weight * (match - match.max(axis=1, keepdims=True)))  # (users, items)
    known = np.log(seen)
    for _ in range(rounds):
        chances = appeal * np.exp(known)
        expected = volume @ (chances / chances.sum(axis=1, keepdims=True))  # (items,)
        known += np.log(seen / expected)
        known -= known.max()
    return np.asarray(known)


_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0)


def preference_weight(log: Interactions, catalog: Catalog) -> float:
    """How many logits a perfect match is worth, by what people chose next.

    Tastes come from the first 70 % of each person's log; the weight is the one of a fixed grid,
    refined by a parabola through the best point and its neighbours, under which the last 30 % is
    likeliest. Items already consumed are no candidates.
    """
    rank, _ = rank_within_user(log)
    size = np.bincount(log.user, minlength=log.n_users)
    early = rank < np.ceil(0.7 * size)[log.user]
    past, later = log.take(early), log.take(~early)
    if len(later) == 0:
        return TASTE_SCALE
    shape = taste_evidence(past, catalog)
    match = (shape / shape.sum(axis=1, keepdims=True)) @ catalog.topics.T  # (users, items)
    volume = np.bincount(later.user, minlength=log.n_users)

    def likelihood(weight: float) -> float:
        score = weight * match + awareness_of(past, match, weight, rounds=4)
        taken = score[later.user, later.item].sum()
        score[past.user, past.item] = -np.inf
        top = score.max(axis=1, keepdims=True)
        whole = np.log(np.exp(score - top).sum(axis=1)) + top[:, 0]
        return float(taken - (volume * whole)[volume > 0].sum())

    values = np.array([likelihood(weight) for weight in _WEIGHTS])
    best = int(np.clip(values.argmax(), 1, len(values) - 2))
    x, y = np.array(_WEIGHTS[best - 1 : best + 2]), values[best - 1 : best + 2]
    a, b, _ = np.polyfit(x, y, 2)
    peak = -b / (2 * a) if a < 0 else x[y.argmax()]
    return float(np.clip(peak, x[0], x[-1]))


def _past_of(log: Interactions, people: NDArray[np.int64], share: float) -> Interactions:
    """The first ``share`` of each chosen person's log, re-indexed, with negative steps."""
    position = np.full(log.n_users, -1)
    position[people] = np.arange(len(people))
    kept = log.take(position[log.user] >= 0)
    order = np.lexsort((np.arange(len(kept)), kept.step))
    kept = kept.take(order)
    user = position[kept.user].astype(np.int32)
    rank, _ = rank_within_user(kept)
    size = np.bincount(user, minlength=len(people))
    early = rank < np.maximum(np.ceil(share * size), 1)[user]
    user, item = user[early], kept.item[early]
    step = np.arange(len(user), dtype=np.int64) - len(user)
    return Interactions(user, item, step, len(people), log.n_items)


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

"""A world fitted to data: tastes, persistence, activity, and how well known and liked items are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...recommenders.catalog import Catalog
from ...recommenders.datasets.dataset import Dataset, UserTable
from ...recommenders.datasets.synthetic import TASTE_SCALE, Market
from ...recommenders.errors import UserError
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import generator
from ...recommenders.splits import rank_within_user
from ..people.equations import PRESETS, SEARCH_SKILL
from ..study import PeopleSection, WorldSection
from .behaviour import Learnt, behaviour_of
from .estimate import Tastes, mix_of, sampled_choices, tastes_from, unit
from .fame import awareness, fame_of
from .heldout import of_people

MIN_HISTORY = 5
"""People with fewer interactions are left out: nothing could be said of their taste."""

_CERTAINTY = 0.5  # share of a person's interactions that counts as independent evidence
_SAMPLE = 1000  # people that awareness is fitted with; items have their counts from everybody
_BUSIEST = 0.99  # quantile of interactions that stands for being there at every step
_IDLEST = 0.02  # chance of being there that nobody falls below


@dataclass(frozen=True)
class Population:
    """What a log says of its people and items.

    Attributes:
        catalog: items with topics and quality; users: everybody.
        log: what was fitted to.
        features: (items, d) unit vectors that tastes are matched with, or None for topics.
        evidence: (users, topics) parameters of each person's Dirichlet posterior over topics, or
            (users, d) sums of their items' vectors.
        activity: (users,) chance of being there in a step.
        awareness: (items,); taste_scale: see datasets.synthetic.Market.
        constants: of people's behaviour, by name.
        learnt: what is told of the fit.
    """

    catalog: Catalog
    users: UserTable
    log: Interactions
    features: NDArray[np.float32] | None
    evidence: NDArray[np.float64]
    activity: NDArray[np.float64]
    awareness: NDArray[np.float32]
    taste_scale: float
    constants: dict[str, float]
    learnt: tuple[Learnt, ...]

    def known(self) -> NDArray[np.int64]:
        """Who has at least :data:`MIN_HISTORY` interactions."""
        n = np.bincount(self.log.user, minlength=len(self.users))
        return np.flatnonzero(n >= MIN_HISTORY)

    def market(self, people: NDArray[np.int64], rng: np.random.Generator) -> Market:
        """A world's start with these people; tastes are draws from what is known of them.

        Who has too short a history has the taste and activity of somebody drawn at random.

        Args:
            people: rows of ``users``; rng: of the draws.
        """
        known = self.known()
        stranger = ~np.isin(people, known)
        like = np.where(stranger, rng.choice(known, len(people)), people)
        log = of_people(self.log, people)
        order = np.lexsort((np.arange(len(log)), log.step))
        step = np.arange(len(log), dtype=np.int64) - len(log)
        return Market(
            catalog=self.catalog,
            users=UserTable(
                tuple(self.users.ids[u] for u in people),
                {name: column[people] for name, column in self.users.attributes.items()},
            ),
            taste=_drawn(self.evidence[like], self.features, rng),
            activity=self.activity[like].astype(np.float32),
            awareness=self.awareness,
            log=replace(log.take(order), step=step, value=None, kind=None, timed=False),
            taste_scale=self.taste_scale,
            features=self.features,
            learnt=self.constants,
        )


def fitted_market(section: WorldSection, seed: int, index: int) -> Market:
    """People drawn from a dataset without replacement; another draw for every world.

    Args:
        section: names the dataset; ``users`` is the number of people in each world.
        seed, index: study seed and world.
    """
    population = _population_of_dataset(
        section.model_dump_json(exclude={"users"}), data_stamp(section)
    )
    known = population.known()
    rng = generator(seed, "fit", index)
    people = np.sort(rng.choice(known, size=min(section.users, len(known)), replace=False))
    return population.market(people, rng)


@lru_cache(maxsize=2)
def _loaded(
    dataset: str, folder: str, columns: tuple[tuple[str, str], ...], stamp: tuple[object, ...]
) -> Dataset:
    from ...recommenders.datasets import load

    return load(dataset, folder=folder, columns=dict(columns) or None)


def dataset_of(section: WorldSection) -> Dataset:
    """The dataset a world is fitted to, read once a process, and again if its files change."""
    columns = tuple(sorted(section.columns.items()))
    return _loaded(section.dataset, section.folder, columns, data_stamp(section))


def data_stamp(section: WorldSection) -> tuple[object, ...]:
    """What tells whether the files of a dataset changed, by what the file system says of them."""
    from ...recommenders.datasets import data_files

    seen = [file.stat() for file in data_files(section.dataset, folder=section.folder)]
    return tuple((s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in seen)


@lru_cache(maxsize=2)
def _population_of_dataset(section_json: str, _: tuple[object, ...]) -> Population:
    section = WorldSection.model_validate_json(section_json)
    return population_of(section, dataset_of(section).log)


def population_of(section: WorldSection, log: Interactions) -> Population:
    """Learn a population from a log.

    How much taste decides and how far the last choices hold people are estimated from choices
    (:func:`estimate.tastes_from`); how well known each item is, such that simulated people choose
    it as often as real ones (:func:`fame.awareness`), newer choices counting more where that
    foretells the log's newest part better; quality is the shrunken mean rating (0.4 logits a
    standard deviation), where there are ratings; activity is a person's number of interactions
    relative to the 99th percentile.

    Args:
        section: names the dataset and what is learnt; log: of the dataset's people and items, or
            an earlier part of it.

    Raises:
        UserError: nobody has enough interactions.
    """
    data = dataset_of(section)
    n = np.bincount(log.user, minlength=log.n_users)
    if not (n >= MIN_HISTORY).any():
        raise UserError(
            f"dataset {section.dataset!r}: nobody has {MIN_HISTORY} interactions or more, so no "
            "world can be fitted; use a larger log"
        )
    catalog = data.catalog
    if not catalog.topics.any():
        topics = _latent_topics(log, section.topics)
        names = tuple(f"cluster {t + 1}" for t in range(topics.shape[1]))
        catalog = replace(catalog, topics=topics, topic_names=names)
    log = log.take(_in_time(log, data.clock))
    fading = fame_of(log)
    fame = fading.of(log)
    features = item_vectors(log, section.dim) if section.dim else None
    choices = sampled_choices(log, catalog.topics, fame, seed=0)
    tastes = tastes_from(choices, catalog.topics, features) if len(choices.user) else _GUESS
    catalog = replace(catalog, quality=_quality(log))
    shares = _evidence(log, catalog.topics, None, tastes.prior)
    evidence = shares if features is None else _evidence(log, catalog.topics, features, 0.0)
    behaviour = behaviour_of(section, data, log, catalog.topics, shares, tastes)
    constants = behaviour.constants()
    scale = max(tastes.weight, 0.0) / (1.0 + SEARCH_SKILL)
    return Population(
        catalog=catalog,
        users=data.users,
        log=replace(log, step=np.arange(len(log), dtype=np.int64)),
        features=features,
        evidence=evidence,
        activity=activity_of(n),
        awareness=_awareness(
            log,
            fading.drawn(log, generator(0, "fame", "draw")),
            catalog,
            features,
            evidence,
            scale,
            constants,
        ),
        taste_scale=scale,
        constants=constants,
        learnt=behaviour.told(fading),
    )


_GUESS = Tastes(8.0, TASTE_SCALE * (1.0 + SEARCH_SKILL), 0.0, 0.0, 0.0, 1.0)


def _in_time(log: Interactions, clock: str) -> NDArray[np.int64]:
    """Rows from old to new; without times, by how far along their own log people were."""
    if clock == "time":
        return np.argsort(log.step, kind="stable")
    rank, count = rank_within_user(log)
    return np.argsort((rank + 0.5) / count, kind="stable")


# -- people --------------------------------------------------------------------------------------


def activity_of(n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chance of being there in a step, of people who chose n times in the same time."""
    able = n[n >= MIN_HISTORY] if (n >= MIN_HISTORY).any() else n
    most = max(float(np.quantile(able, _BUSIEST)), 1.0)
    return np.clip(n / most, _IDLEST, 1.0)


def _evidence(
    log: Interactions,
    topics: NDArray[np.float32],
    vectors: NDArray[np.float32] | None,
    prior: float,
) -> NDArray[np.float64]:
    features = topics if vectors is None else vectors
    total = np.zeros((log.n_users, features.shape[1]))
    np.add.at(total, log.user, features[log.item])
    if vectors is not None:
        return total
    return np.asarray(_CERTAINTY * (prior * mix_of(topics[log.item]) + total) + 1e-3)


def _drawn(
    evidence: NDArray[np.float64],
    features: NDArray[np.float32] | None,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Tastes: draws from Dirichlet distributions, or the directions of summed vectors."""
    if features is not None:
        return unit(evidence).astype(np.float32)
    gamma = rng.gamma(evidence) + 1e-9
    return np.asarray(gamma / gamma.sum(axis=1, keepdims=True), np.float32)


# -- items ---------------------------------------------------------------------------------------


def _awareness(
    log: Interactions,
    fame: NDArray[np.float64],
    catalog: Catalog,
    features: NDArray[np.float32] | None,
    evidence: NDArray[np.float64],
    scale: float,
    constants: dict[str, float],
) -> NDArray[np.float32]:
    n = np.bincount(log.user, minlength=log.n_users)
    rng = generator(0, "awareness")
    known = np.flatnonzero(n >= MIN_HISTORY)
    people = np.sort(rng.choice(known, min(_SAMPLE, len(known)), replace=False))
    assert catalog.quality is not None
    if features is not None:  # what was chosen just before is told by topics, not by vectors
        constants = constants | {"persistence": 0.0}
    found = awareness(
        fame,
        _drawn(evidence[people], features, rng),
        catalog.topics if features is None else features,
        n[people],
        scale=scale,
        quality=catalog.quality,
        model=replace(PRESETS["habitual"], **constants),
        slate=PeopleSection().slate,
    )
    return found.astype(np.float32)


def _quality(log: Interactions) -> NDArray[np.float32]:
    if log.value is None:
        return np.zeros(log.n_items, np.float32)
    count = log.popularity()
    total = np.bincount(log.item, weights=log.value, minlength=log.n_items)
    mean = (total + 10 * float(log.value.mean())) / (count + 10)  # shrunk by ten average ratings
    spread = float(mean[count > 0].std()) or 1.0
    quality = 0.4 * (mean - mean[count > 0].mean()) / spread
    return np.asarray(quality, dtype=np.float32)


def item_vectors(log: Interactions, dim: int) -> NDArray[np.float32]:
    """(items, dim) unit vectors: right singular vectors of the log, weighted by their strength.

    PureSVD (Cremonesi, Koren and Turrin, RecSys 2010). Items nobody chose lie along the first.
    """
    from scipy.sparse.linalg import svds

    matrix = log.to_csr().astype(np.float64)
    k = min(dim, min(matrix.shape) - 1)
    start = generator(0, "item-vectors").standard_normal(min(matrix.shape))
    _, strength, right = svds(matrix, k=k, v0=start)
    order = np.argsort(-strength)
    points = (right[order] * strength[order, None]).T  # (items, k)
    sign = np.where(points.sum(axis=0) < 0, -1.0, 1.0)  # a singular vector's sign is arbitrary
    vectors = np.zeros((len(points), dim))
    vectors[:, :k] = unit(points * sign)
    vectors[~vectors.any(axis=1), 0] = 1.0
    return vectors.astype(np.float32)


def _latent_topics(log: Interactions, topics: int) -> NDArray[np.float32]:
    """Topics for a catalog that names none: k-means over the items' singular vectors.

    Fewer topics than asked for where the items do not fall into as many clusters.
    """
    from scipy.cluster.vq import kmeans2

    points = item_vectors(log, topics).astype(np.float64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        _, label = kmeans2(points, topics, minit="++", rng=generator(0, "latent-topics", "kmeans"))
    used, label = np.unique(label, return_inverse=True)
    return np.asarray(np.eye(len(used), dtype=np.float32)[label])

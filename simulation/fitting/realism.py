"""How far simulated people are from the real ones a world was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.catalog import Catalog
from ...recommenders.datasets.synthetic import Market, market
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import child_seed, generator
from ...recommenders.splits import rank_within_user
from ..study import PeopleSection, Study, StudySection, WorldSection
from .behaviour import Learnt
from .fit import Population, activity_of, dataset_of, population_of
from .heldout import (
    MIN_PEOPLE,
    PAST_SHARE,
    HeldOut,
    TooFew,
    choices_after,
    held_out,
    of_people,
)
from .likeness import Behaviour, Distance, distances

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RealismRow:
    """One property of behaviour, simulated against real.

    Attributes:
        name: what is compared, in words.
        distance: between simulated and held-out real people, 0 to 1; None where too few people
            did enough to have the property.
        floor: the same distance between two random halves of the real people.
        floor_high: what one random halving in twenty exceeds.
        unfitted: distance of a world that knows the catalog but not the people; None if not asked.
        kind: the distance's name.
        real, simulated: the property's mean, for reading.
    """

    name: str
    distance: float | None
    floor: float | None
    floor_high: float | None
    unfitted: float | None
    kind: str
    real: float | None
    simulated: float | None

    @property
    def within(self) -> bool | None:
        """Whether chance alone would often make real people differ as much; None if undefined."""
        if self.distance is None or self.floor_high is None:
            return None
        return self.distance <= self.floor_high


@dataclass(frozen=True)
class Realism:
    """What a comparison found.

    Attributes:
        dataset: its name; how: what the world was fitted to, in words.
        people: how many were compared; newcomers: of them, unknown before the cut.
        past, future: choices before the cut (everybody's) and after it (of the people compared).
        steps: that the world lived.
        rows: the properties.
        learnt: what the fit says of the population.
    """

    dataset: str
    how: str
    people: int
    newcomers: int
    past: int
    future: int
    steps: int
    rows: tuple[RealismRow, ...]
    learnt: tuple[Learnt, ...]


def realism_rows(study: Study) -> list[dict[str, Any]]:
    """The comparison that a study's report shows; [] where its log is too short for one."""
    try:
        found = realism(study.world, study.people, seed=study.study.seed)
    except TooFew:
        return []
    return [vars(row) for row in found.rows]


MOST_STEPS = 2000
"""Steps a world is lived at most to choose as much as real people did."""


def realism(
    section: WorldSection,
    people: PeopleSection | None = None,
    *,
    seed: int = 7,
    unfitted: bool = False,
    share: float = PAST_SHARE,
    progress: Progress | None = None,
) -> Realism:
    """Compare organic simulated behaviour with real behaviour that the world never saw.

    The world is fitted to the first 80 % of the log and lived without a recommender until its
    people chose as much as the real ones did afterwards. People who appear only after the cut
    enter with the taste of somebody known, and without a past; in a log with times, people are as
    active as others were after an earlier cut of the known part.

    Args:
        section: must name a dataset; ``users`` people are compared at most.
        people: the user model.
        seed: draws the people and their luck.
        unfitted: also compare a world that is not fitted.
        share: of the log that is known.
        progress: called as ``progress(done, total, what)``.
    """
    tell = progress or (lambda done, total, what: None)
    data = dataset_of(section)
    cut = held_out(data, users=section.users, seed=seed, share=share)
    worlds = 1 + unfitted
    tell(0, 100 * worlds, "fitting")
    population = population_of(section, cut.past)
    rng = generator(seed, "fit", "realism")
    start = population.market(cut.people, rng)
    before = of_people(cut.past, cut.people)
    if cut.timed:
        start = replace(start, activity=_activity_after(cut.past, before, share, rng))
    real = Behaviour(cut.future, before, population.catalog, cut.past.popularity())

    def against(start: Market, place: int, what: str) -> tuple[tuple[Distance, ...], int]:
        def lived(done: int, total: int) -> None:
            tell(100 * place + 10 + 90 * done // total, 100 * worlds, what)

        log, steps = _lived(start, section, people, seed, cut, lived)
        simulated = Behaviour(log, start.log, population.catalog, real.known)
        return distances(real, simulated, seed=seed, timed=cut.timed), steps

    found, steps = against(start, 0, "living")
    plain: list[float | None] = [None] * len(found)
    if unfitted:
        blind, _ = against(_unfitted(start, population, seed), 1, "living unfitted")
        plain = [one.distance for one in blind]
    tell(100 * worlds, 100 * worlds, "")
    rows = tuple(
        RealismRow(
            one.name,
            one.distance,
            one.floor,
            one.floor_high,
            other,
            one.kind,
            one.real,
            one.simulated,
        )
        for one, other in zip(found, plain, strict=True)
    )
    known = np.bincount(before.user, minlength=len(cut.people)) > 0
    return Realism(
        data.name,
        cut.how,
        len(cut.people),
        int((~known).sum()),
        len(cut.past),
        len(cut.future),
        steps,
        rows,
        population.learnt,
    )


def _activity_after(
    past: Interactions, before: Interactions, share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Chances of being there after the cut, drawn from what people did after an earlier one.

    People who come back are not as active as when they came first, and nobody knows who will be;
    the past, cut again, tells how much each kind chose.
    """
    known = np.bincount(before.user, minlength=before.n_users) > 0
    kinds = choices_after(past, share)
    everybody = np.concatenate(kinds)
    drawn = [
        rng.choice(kind if len(kind) >= MIN_PEOPLE else everybody, before.n_users) for kind in kinds
    ]
    return activity_of(np.where(known, *drawn)).astype(np.float32)


def _lived(
    start: Market,
    section: WorldSection,
    people: PeopleSection | None,
    seed: int,
    cut: HeldOut,
    progress: Callable[[int, int], None],
) -> tuple[Interactions, int]:
    """What people chose by themselves until they had chosen enough, and the steps it took.

    Enough is as much as the real people chose: all together, or, where every person's own log was
    cut, each of them; what goes beyond is left out then.
    """
    from ..world import World

    each = np.bincount(cut.future.user, minlength=len(cut.people))
    enough = int(each.sum())
    if not cut.timed:
        start = replace(start, activity=np.ones_like(start.activity))
    study = Study(study=StudySection(seed=seed), world=section, people=people or PeopleSection())
    world = World(study, start=start)
    taken = steps = 0
    while taken < enough and steps < MOST_STEPS:
        world.step()
        steps += 1
        clicks = world.measures.clicks
        taken = int((clicks if cut.timed else np.minimum(clicks, each)).sum())
        if not cut.timed:  # nobody's choices depend on others': who has enough may stay away
            world.columns.activity[clicks >= each] = 0.0
        progress(min(taken, enough), enough)
    log = world.platform.log()
    log = log.take(log.step >= 0)
    if not cut.timed:
        rank, _ = rank_within_user(log)
        log = log.take(rank < each[log.user])
    return log, steps


def _unfitted(start: Market, population: Population, seed: int) -> Market:
    """The same people and items with the tastes, activity and fame of the synthetic market."""
    users, items = len(start.users), len(start.catalog)
    topics = start.catalog.topics.shape[1]
    invented = market(
        users=users, items=items, topics=topics, history=1, seed=child_seed(seed, "unfitted")
    )
    catalog: Catalog = replace(start.catalog, quality=None)
    return replace(
        start,
        catalog=catalog,
        taste=invented.taste,
        activity=invented.activity,
        awareness=invented.awareness,
        taste_scale=invented.taste_scale,
        features=None,
        learnt={},
    )

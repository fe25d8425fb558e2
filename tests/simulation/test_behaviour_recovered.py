"""Known worlds give back what they were made with: drift, and what the place in a list decides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loopaudit.recommenders.datasets import load
from loopaudit.recommenders.datasets.dataset import Lists
from loopaudit.recommenders.datasets.synthetic import market
from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.fitting.drift_rate import drift_rate
from loopaudit.simulation.fitting.estimate import mix_of, sampled_choices, tastes_from
from loopaudit.simulation.fitting.fit import dataset_of, population_of
from loopaudit.simulation.fitting.position import position_bias
from loopaudit.simulation.people.cohort import visit_of
from loopaudit.simulation.study import PeopleSection, Study, StudySection, WorldSection
from loopaudit.simulation.world import World


def lived(rate, seed, *, persistence=0.0, steps=45):
    start = market(users=300, items=400, topics=8, history=1, seed=seed)
    start = replace(start, activity=np.ones(300, np.float32), taste_scale=5.0)
    people = PeopleSection(drift=rate, satiation=0.0, outside_utility=0.0, persistence=persistence)
    world = World(Study(study=StudySection(seed=seed), people=people), start=start)
    for _ in range(steps):
        world.step()
    log = world.platform.log()
    return start.catalog.topics, log.take(log.step >= 0)


def estimate(topics, log):
    tastes = tastes_from(sampled_choices(log, topics, log.popularity() + 0.5, seed=0), topics)
    counts = np.zeros((log.n_users, topics.shape[1]))
    np.add.at(counts, log.user, topics[log.item])
    return drift_rate(log, topics, 0.5 * (tastes.prior * mix_of(topics) + counts), tastes)


@pytest.mark.slow
@pytest.mark.parametrize("persistence", [0.0, 0.7])
def test_the_rate_of_drift_is_recovered_within_its_interval(persistence):
    """Tolerance: within 0.03 and a third of the true rate; the interval holds it, give or take."""
    for rate in (0.0, 0.04, 0.1):
        found = estimate(*lived(rate, 1, persistence=persistence))
        assert found.rate == pytest.approx(rate, abs=0.03 + rate / 3)
        assert found.low - 0.015 <= rate <= found.high + 0.015
        assert found.low <= found.rate <= found.high
        if rate == 0:  # beside a strong drift the hold of the last choices cannot be told apart
            assert found.persistence == pytest.approx(persistence, abs=0.4)


def test_too_few_people_give_no_rate_of_drift():
    topics, log = lived(0.05, 1, steps=12)
    assert estimate(topics, log.take(log.user < 40)) is None


def shown(bias, *, steps=40, seed=3):
    """Random lists that people of a known bias chose from, as a log of slots."""
    start = market(users=300, items=200, topics=6, seed=seed)
    people = PeopleSection(position_bias=bias, satiation=0.0, drift=0.0)
    world = World(Study(study=StudySection(seed=seed), people=people), start=start)
    now, segment = world.columns, world.segments[0]
    rng = np.random.default_rng(seed)
    users = np.arange(300, dtype=np.int32)
    parts = []
    for step in range(steps):
        now.t = step
        items = rng.permuted(np.tile(np.arange(200), (300, 1)), axis=1)[:, :10].astype(np.int32)
        told = segment.choice.choose(visit_of(now, segment, users, items, ordered=True))
        number = np.repeat(step * 300 + np.arange(300), 10)
        place = np.tile(np.arange(10), 300)
        parts.append((np.repeat(users, 10), items.ravel(), number, place, told.taken.ravel()))
    return start, Lists(*map(np.concatenate, zip(*parts, strict=True)), complete=True)


@pytest.mark.parametrize("bias", [0.0, 0.5, 1.2])
def test_what_the_place_decides_is_recovered_from_whole_lists(bias):
    """Tolerance: 0.12, and four standard errors."""
    start, lists = shown(bias)
    found = position_bias(lists, start.taste, start.catalog.topics)
    assert found.bias == pytest.approx(bias, abs=0.12)
    assert abs(found.bias - bias) < 4 * found.error
    assert not found.confounded


def test_places_of_choices_alone_say_less_and_say_so():
    """With choices only, weights of items dilute the law of places: the figure is a lower one."""
    start, lists = shown(1.2)
    mine = lists.chosen
    only = Lists(
        *(getattr(lists, name)[mine] for name in ("user", "item", "list_id", "position", "chosen")),
        complete=False,
    )
    found = position_bias(only, start.taste, start.catalog.topics)
    assert found.confounded
    assert 0.5 < found.bias < 1.3
    rng = np.random.default_rng(0)
    p = (1.0 + np.arange(10)) ** -0.8
    places = rng.choice(10, 20_000, p=p / p.sum())
    exact = Lists(
        *[np.zeros(20_000, np.int32)] * 2, np.arange(20_000), places, np.ones(20_000, bool), False
    )
    assert position_bias(exact, start.taste, start.catalog.topics).bias == pytest.approx(
        0.8, abs=0.03
    )


HEADER = "user,item,time,position,chosen,topics\n"


def slots(path: Path, *, n: int = 60) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for time in range(8):
        for user in range(n):
            taken = int(rng.choice(5, p=[0.5, 0.2, 0.12, 0.1, 0.08]))
            for place, item in enumerate(rng.permutation(30)[:5]):
                rows.append(f"{user},{item},{time},{place + 1},{int(place == taken)},t{item % 3}")
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


NAMED = {"position": "position", "chosen": "chosen"}


def test_a_log_of_slots_gives_choices_and_lists(tmp_path):
    data = load(slots(tmp_path / "slots.csv"), columns=NAMED)
    assert len(data.log) == 480
    assert len(data.lists.user) == 2400
    assert data.lists.position.min() == 0
    assert (np.bincount(data.lists.list_id) == 5).all()
    unnamed = load(tmp_path / "slots.csv")
    assert unnamed.lists is None, "common names of columns mean nothing unless the map says so"
    assert len(unnamed.log) == 2400


def test_the_world_takes_the_bias_only_when_asked_and_says_what_it_is_from(tmp_path):
    path = str(slots(tmp_path / "slots.csv"))
    section = WorldSection(kind="dataset", dataset=path, columns=NAMED)
    log = dataset_of(section).log
    told = {one.name: one for one in population_of(section, log).learnt}
    assert told["position_bias"].value > 0.5
    assert "position_bias" not in population_of(section, log).constants
    asked = section.model_copy(update={"learn": ("persistence", "position_bias")})
    constants = World(Study(world=asked)).segments[0].constants
    assert constants.position_bias == pytest.approx(told["position_bias"].value)
    without = WorldSection(kind="dataset", dataset=path, learn=("position_bias",))
    with pytest.raises(UserError, match="--column position=NAME"):
        population_of(without, log)


@pytest.mark.parametrize(
    ("row", "columns", "said"),
    [
        ("a,x,1,1.5,1,t", NAMED, "whole number"),
        ("a,x,1,-3,1,t", NAMED, "from 0 to"),
        ("a,x,1,first,1,t", NAMED, "is not a number"),
        ("a,x,1,1,2,t", NAMED, "0 or 1"),
        ("a,x,1,1,0,t", NAMED, "no row is chosen"),
        ("a,x,1,1,1,t", {"chosen": "chosen"}, "'position'"),
    ],
)
def test_a_column_of_places_that_is_none_is_refused(tmp_path, row, columns, said):
    path = tmp_path / "slots.csv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(UserError, match=said):
        load(path, columns=columns)

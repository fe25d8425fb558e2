"""Laws of change: closed forms, and what every law promises in a world."""

from dataclasses import make_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.people.choice import Feedback
from loopaudit.simulation.people.cohort import visit_of
from loopaudit.simulation.people.drift import (
    Assimilation,
    Encounter,
    Repulsion,
    assimilate,
    settled,
    turned,
)
from loopaudit.simulation.people.equations import change_taste, user_model
from loopaudit.simulation.people.laws import LAWS
from loopaudit.simulation.people.psychology import (
    Conditioning,
    HedonicAdaptation,
    MereExposure,
    SetPoint,
)
from loopaudit.simulation.people.wellbeing import (
    Amplification,
    Boredom,
    Satisfaction,
    amplified,
    exposure_after,
    liking,
    satisfied,
)
from loopaudit.simulation.record.store import MemoryStore
from loopaudit.simulation.running.live import live_world
from loopaudit.simulation.study import PeopleSection
from loopaudit.simulation.study_file import study_from
from loopaudit.simulation.world import World

TOPICS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]], np.float64)


def people(law, taste, *, space="topics", features=TOPICS, **catalog):
    """Columns of a few people, as far as laws look at them; tastes in double precision."""
    taste = np.asarray(taste, np.float64)
    columns = SimpleNamespace(
        taste=taste.copy(),
        initial_taste=taste.copy(),
        features=np.asarray(features, np.float64),
        topics=TOPICS,
        quality=np.zeros(len(TOPICS)),
        satiation=np.zeros((len(taste), TOPICS.shape[1])),
        catalog=SimpleNamespace(**catalog),
        space=space,
        seed=5,
        traits={},
    )
    columns.traits.update(law.traits(columns))
    return columns


def meets(columns, items, taken, *, step=0, match=None, rating=None):
    """Everybody is shown the same items and takes the same of them."""
    n = len(columns.taste)
    items = np.tile(np.array(items, np.int32), (n, 1))
    taken = np.tile(np.array(taken, bool), (n, 1))
    if match is None:
        match = np.einsum("nkd,nd->nk", columns.features[np.maximum(items, 0)], columns.taste)
    match = np.broadcast_to(np.asarray(match, np.float32), items.shape)
    if rating is not None:
        rating = np.where(taken, np.float32(rating), np.float32(np.nan))
    return Encounter(
        np.arange(n, dtype=np.int32), items, match, Feedback(taken, rating=rating), step
    )


def live(law, columns, items, taken, steps, **more):
    for step in range(steps):
        law.change(columns, meets(columns, items, taken, step=step, **more))
    return columns


# Drift -------------------------------------------------------------------------------------------


def test_one_item_for_ever_divides_the_tangent_of_the_angle():
    rng = np.random.default_rng(1)
    taste = rng.standard_normal((50, 3))
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    law = Assimilation(eta=0.07)
    columns = live(law, people(law, taste, space="vectors"), [0], [True], 60)

    def tangent(u):
        return np.linalg.norm(u[:, 1:], axis=1) / np.abs(u[:, 0])

    assert tangent(columns.taste) == pytest.approx(tangent(taste) / 1.07**60, rel=1e-6)
    assert (np.sign(columns.taste[:, 0]) == np.sign(taste[:, 0])).all()


def test_random_items_align_tastes_with_their_main_direction():
    rng = np.random.default_rng(2)
    taste = rng.standard_normal((500, 8))
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    spread = np.sqrt(np.linspace(1.0, 0.2, 8))
    start = np.abs(taste[:, 0]).mean()
    for _ in range(600):
        taste = assimilate(taste, (rng.standard_normal((500, 8)) * spread)[:, None], 0.05)
    assert np.abs(taste[:, 0]).mean() > start + 0.2


def test_what_disagrees_repels():
    taste = np.array([[-0.6, 0.8, 0.0]])
    law = Assimilation(eta=0.1)
    columns = live(law, people(law, taste, space="vectors"), [0], [True], 1)
    assert columns.taste[0, 0] < -0.6


def test_two_items_at_once_pull_like_the_sum_of_their_pulls():
    taste = np.array([[0.6, 0.8, 0.0]])
    law = Assimilation(eta=0.1)
    columns = live(law, people(law, taste, space="vectors"), [0, 1, 2], [True, True, False], 1)
    assert columns.taste == pytest.approx(taste, abs=1e-12)  # both axes of its plane: no turn


@given(st.floats(0, 1), st.floats(0.1, 3.0), st.integers(1, 30))
def test_a_turn_leaves_a_share_of_the_angle_and_all_of_the_length(share, angle, times):
    taste = 2.5 * np.array([[np.cos(angle), np.sin(angle), 0.0]])
    for _ in range(times):
        taste = turned(taste, np.array([[3.0, 0.0, 0.0]]), share)
    left = np.arctan2(taste[0, 1], taste[0, 0])
    assert left == pytest.approx(angle * (1 - share) ** times, abs=1e-9)
    assert np.linalg.norm(taste) == pytest.approx(2.5)


def test_a_disappointing_choice_pushes_and_a_good_one_does_not():
    law = Repulsion(rate=0.5, expectation=0.4)
    columns = people(law, [[0.2, 0.5, 0.3]])
    live(law, columns, [0], [True], 1)  # match .2, expected .4: push .1
    assert columns.taste[0] == pytest.approx(np.array([0.1, 0.5, 0.3]) / 0.9)
    before = columns.taste.copy()
    live(law, columns, [1], [True], 1)
    assert (columns.taste == before).all()


def test_where_people_rate_the_rating_says_what_disappoints():
    law = Repulsion(rate=0.5, expectation=0.4)
    columns = people(law, [[0.2, 0.5, 0.3]])
    live(law, columns, [0], [True], 1, rating=4)
    assert columns.taste[0] == pytest.approx([0.2, 0.5, 0.3])
    live(law, columns, [1], [True], 1, rating=1)
    assert columns.taste[0] == pytest.approx(np.array([0.2, 0.3, 0.3]) / 0.8)


# Psychology --------------------------------------------------------------------------------------


def test_mere_exposure_moves_to_what_was_left_and_not_to_what_was_taken():
    law = MereExposure(rate=0.1)
    columns = people(law, [[0.2, 0.5, 0.3]])
    live(law, columns, [0, 2], [False, True], 12)
    e = np.array([1.0, 0, 0])
    assert columns.taste[0] == pytest.approx(e + 0.9**12 * (columns.initial_taste[0] - e))


def test_expectation_follows_a_constant_reward_and_surprise_fades():
    law = Conditioning(rate=0.0, memory=0.8)
    columns = people(law, [[0.2, 0.5, 0.3]])
    live(law, columns, [0], [True], 1, match=0.9)
    assert columns.traits["expectation"] == pytest.approx([0.9])
    live(law, columns, [0], [True], 7, match=0.4)
    assert columns.traits["expectation"] == pytest.approx([0.4 + 0.8**7 * 0.5], rel=1e-6)


def test_what_is_better_than_expected_attracts_and_what_is_worse_repels():
    law = Conditioning(rate=0.5)
    start = np.array([0.2, 0.5, 0.3])
    for match, sign in ((0.9, 1), (0.1, -1), (0.5, 0)):
        columns = people(law, [start])
        columns.traits["expectation"][:] = 0.5
        live(law, columns, [0], [True], 1, match=match)
        raw = start + 0.5 * (match - 0.5) * np.array([1.0, 0, 0])
        raw = np.maximum(raw, 0)
        assert columns.taste[0] == pytest.approx(raw / raw.sum(), abs=1e-7)
        assert np.sign(np.round(columns.taste[0, 0] - 0.2, 9)) == sign


def test_people_get_used_to_a_constant_reward_and_then_want_more():
    law = HedonicAdaptation(rate=0.2, strength=3.0)
    columns = people(law, [[0.2, 0.5, 0.3]])
    start = columns.traits["adaptation"].copy()
    assert start == pytest.approx(TOPICS.mean(axis=0) @ np.array([0.2, 0.5, 0.3]))
    live(law, columns, [1], [True], 9, match=0.9)
    level = 0.9 + 0.8**9 * (start - 0.9)
    assert columns.traits["adaptation"] == pytest.approx(level, rel=1e-6)
    world = World(study_from({"people": {"change": ["hedonic-adaptation"]}}, source="test"))
    (segment,) = world.segments
    users = np.arange(20, dtype=np.int32)
    items = np.tile(np.arange(6, dtype=np.int32), (20, 1))
    before = visit_of(world.columns, segment, users, items, ordered=True).outside
    world.columns.traits["adaptation"][:] += 0.5
    after = visit_of(world.columns, segment, users, items, ordered=True).outside
    assert after - before == pytest.approx(np.full(20, 1.5))


def test_a_set_point_balances_a_convex_drift_where_the_formula_says():
    drift, rate = 0.1, 0.05
    law, model = SetPoint(rate=rate), user_model(PeopleSection(drift=drift))
    columns = people(law, [[1.0, 0.0, 0.0]])
    item = np.array([[0.0, 1.0, 0.0]], np.float32)
    for _ in range(300):
        columns.taste[:] = change_taste(
            model, columns.taste.astype(np.float32), item, np.zeros_like(item)
        )
        law.change(columns, meets(columns, [1], [True]))
    way = drift * (1 - rate) / (1 - (1 - drift) * (1 - rate))
    assert columns.taste[0, 1] == pytest.approx(way, abs=1e-5)


# Boredom, satisfaction, amplification ------------------------------------------------------------


def bored(columns, law, step):
    visit = SimpleNamespace(
        users=np.arange(1), items=np.arange(4)[None, :], step=step, utility=np.zeros((1, 4))
    )
    frozen = make_dataclass("V", list(vars(visit)))(**vars(visit))
    return (law.weigh(columns, frozen).utility[0] < 0).tolist()


def test_the_same_topic_too_often_bores_for_a_while():
    law = Boredom(memory=4, limit=3, timeout=5)
    columns = people(law, [[1 / 3] * 3])
    for step, item in enumerate([0, 1, 0]):
        law.change(columns, meets(columns, [item, 2], [True, False], step=step))
        assert not any(bored(columns, law, step + 1))
    law.change(columns, meets(columns, [0, 2], [True, False], step=3))  # the third of the last four
    assert [bored(columns, law, step)[0] for step in (4, 8, 9)] == [True, True, False]
    assert bored(columns, law, 4) == [True, False, False, True]  # item 3 is mainly of topic 0


def test_what_was_taken_long_ago_bores_nobody():
    law = Boredom(memory=3, limit=3)
    columns = people(law, [[1 / 3] * 3])
    for step, item in enumerate([0, 0, 1, 0, 0]):
        law.change(columns, meets(columns, [item], [True], step=step))
    assert not any(bored(columns, law, 5))


@pytest.mark.parametrize("lure", [0.0, 0.3, 1.0])
def test_exposure_settles_where_the_closed_form_says(lure):
    law = Satisfaction(memory=0.7, noise=0.0, tau=0.1)
    columns = people(law, [[0.2, 0.5, 0.3]], veracity=np.full(4, 1 - lure))
    live(law, columns, [0], [True], 80)
    settled_at = -(2 * lure - 1) / 0.3
    assert columns.traits["net_exposure"] == pytest.approx([settled_at], abs=1e-6)
    assert columns.traits["satisfaction"] == pytest.approx(
        satisfied(np.array([settled_at]), 0.1), abs=1e-6
    )


def test_people_who_took_nothing_stay_as_satisfied_as_they_were():
    law = Satisfaction(noise=0.5)
    columns = people(law, [[0.2, 0.5, 0.3]], veracity=np.full(4, 0.1))
    live(law, columns, [0], [False], 5)
    assert columns.traits["net_exposure"].tolist() == [0.0]


def test_what_lures_stops_paying_between_tau_01_and_1():
    """RecSim's figures: always clickbait 19.27 against 12.60 a step, then 13.29 against 16.95."""
    gain = {}
    for tau in (0.01, 0.1):
        engagement = []
        for lure in (1.0, 0.0):
            n = np.zeros(1)
            for _ in range(200):
                n = exposure_after(n, np.array([lure]), 0.7)
            location = satisfied(n, tau) * (5.0 * lure + 4.0 * (1 - lure))
            engagement.append(float(np.exp(location + 0.5)[0]))
        gain[tau] = engagement
    assert gain[0.01] == pytest.approx([19.27, 12.60], abs=0.006)
    assert gain[0.1] == pytest.approx([13.29, 16.95], abs=0.006)


def test_in_a_world_clickbait_pays_at_once_and_costs_later_if_people_are_sensitive():
    """Everybody is offered one item of lure c for ever; click rates against the fixed point."""

    def clicks(tau, lure):
        law = Satisfaction(tau=tau, noise=0.0, pull=0.5, cost=4.0)
        columns = people(law, np.tile([[0.2, 0.5, 0.3]], (4000, 1)), veracity=np.full(4, 1 - lure))
        rng = np.random.default_rng(0)
        rates = []
        for step in range(60):
            content = columns.traits["satisfaction"]
            chance = 1 / (1 + np.exp(-(law.pull * lure - law.cost * (1 - 2 * content))))
            taken = rng.random(4000) < chance
            met = meets(columns, [0], [True], step=step)
            told = Feedback(taken[:, None])
            law.change(columns, Encounter(met.users, met.items, met.match, told, step))
            rates.append(taken.mean())
        return rates[0], np.mean(rates[30:])

    calm = [clicks(0.01, lure) for lure in (1.0, 0.0)]
    keen = [clicks(0.2, lure) for lure in (1.0, 0.0)]
    assert calm[0][0] > calm[1][0]
    assert keen[0][0] > keen[1][0]  # at once it pays in both
    assert calm[0][1] > calm[1][1]
    assert keen[0][1] < keen[1][1]  # in the long run only where nobody minds


def test_who_is_satisfied_stays_where_staying_asks_this_law():
    raw = {
        "world": {"users": 300, "items": 60, "topics": 4},
        "people": {"change": [{"law": "satisfaction", "tau": 1.0, "cost": 0.0}]},
        "staying": {"pleased_by": "satisfaction", "memory": 0.0, "expected": 0.5, "leave": 0.05},
    }
    world = World(study_from(raw, source="test"))
    for _ in range(12):
        world.step()
    traits = world.columns.traits
    seen = world.shown.users
    assert traits["content"][seen] == pytest.approx(traits["satisfaction"][seen])
    stayed, left = (traits["satisfaction"][traits["left"] == gone].mean() for gone in (False, True))
    assert stayed > left + 0.02
    del raw["people"]
    with pytest.raises(UserError, match="needs the law 'satisfaction' in change"):
        study_from(raw, source="test")


def test_a_catalog_without_the_trait_is_refused_by_name():
    with pytest.raises(UserError, match=r"reads the items' veracity.*set lure = 'quality'"):
        people(Satisfaction(), [[1.0, 0, 0]], veracity=None)


def test_one_item_for_ever_amplifies_its_score_by_the_recursion():
    taste = np.random.default_rng(3).uniform(-0.4, 0.4, (30, 3))
    item = np.array([0.7, -0.2, 0.5])
    law = Amplification(gamma=0.4, eta=0.2)
    columns = people(law, taste, space="free", features=np.tile(item, (4, 1)))
    score = taste @ item
    live(law, columns, [0], [False], 40)
    for _ in range(40):
        score = score + 0.2 * item @ item * (liking(score, 0.4) - 1 / (1 + np.exp(-score)))
    assert columns.taste @ item == pytest.approx(score, abs=1e-9)
    longer = np.linalg.norm(columns.taste, axis=1) > np.linalg.norm(taste, axis=1)
    assert longer.mean() > 0.8


def test_empty_slots_amplify_nothing():
    taste = np.array([[0.3, 0.1, 0.0]])
    one = amplified(taste, np.array([[[1.0, 0, 0]]]), 0.1, 0.4)
    padded = amplified(taste, np.array([[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]), 0.1, 0.4)
    assert (one == padded).all()


# What every law promises -------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.sampled_from(["topics", "vectors"]))
def test_a_moved_taste_is_a_taste_again(raw, space):
    before = np.array([[1.0, 0.0, 0.0]])
    after = settled(np.array([raw]), before, space)
    if space == "topics":
        assert (after >= 0).all()
        assert after.sum() == pytest.approx(1.0)
    else:
        assert np.linalg.norm(after) == pytest.approx(1.0)


EVERY_LAW = [
    ({"change": [name]}, dim)
    for name, law in LAWS["change"].items()
    for dim in (0, 6)
    if dim or not law.vectors_only
]
EVERY_LAW += [({"change": [{"law": "repulsion", "expectation": 0.95}]}, 6)]
EVERY_LAW += [({"choice": name}, 0) for name in LAWS["choice"]]
EVERY_LAW += [({"feedback": list(LAWS["feedback"]), "choice": "several"}, 6)]


def study_with(laws, dim, **more):
    return study_from(
        {
            "study": {"seed": 4, "steps": 14, "worlds": 1, "arms": ["none"]},
            "world": {"users": 150, "items": 80, "topics": 5, "dim": dim, "history": 5.0},
            "people": {
                "slate": 6,
                "rows": 2 if laws.get("choice") == "carousel" else 1,
                "outside_utility": 5.0,
                **laws,
            },
            "audit": {"sensitivity_worlds": 0},
            "recommenders": [{"name": "popularity", "retrain_every": 4}],
            **more,
        },
        source="test",
    )


def law_names(value):
    if isinstance(value, dict):
        return "-".join(str(v if isinstance(v, str) else v[0]) for v in value.values())
    return f"dim{value}"


@pytest.mark.parametrize(("laws", "dim"), EVERY_LAW, ids=law_names)
def test_any_blocks_of_people_live_the_same_world_and_tastes_stay_tastes(laws, dim):
    worlds = [World(study_with(laws, dim), cohorts=n) for n in (1, 7)]
    for world in worlds:
        for _ in range(5):
            world.step()
    one, many = (world.columns for world in worlds)
    assert one.taste.tobytes() == many.taste.tobytes()
    assert worlds[0].platform.log().item.tobytes() == worlds[1].platform.log().item.tobytes()
    assert one.traits.keys() == many.traits.keys()
    for name, column in one.traits.items():
        assert column.tobytes() == many.traits[name].tobytes()
    assert np.isfinite(one.taste).all()
    if one.space == "topics":
        assert one.taste.sum(axis=1) == pytest.approx(np.ones(150), abs=1e-4)
        assert (one.taste >= 0).all()
    elif one.space == "vectors":
        assert np.linalg.norm(one.taste, axis=1) == pytest.approx(np.ones(150), abs=1e-4)
    if "change" in laws and laws["change"][0] not in ("boredom", "repulsion"):
        plain = World(study_with({}, dim))
        for _ in range(5):
            plain.step()
        assert plain.columns.taste.tobytes() != one.taste.tobytes()


def test_only_the_kind_of_people_whose_law_it_is_is_moved_by_it():
    kinds = [
        {"share": 0.5, "drift": 0.0, "change": ["set-point"], "choice": "cascade"},
        {"share": 0.5, "drift": 0.0, "change": ["mere-exposure"], "choice": "satisficing"},
    ]
    world = World(study_with({}, 0, users=kinds))
    for _ in range(5):
        world.step()
    shift = world.measures.taste_shift()
    kind = world.columns.segment
    assert shift[kind == 0].max() < 1e-6
    assert shift[kind == 1].min() > 1e-4


class Stopped(Exception):
    pass


def test_an_arm_that_stopped_goes_on_with_what_its_laws_remember():
    laws = {
        "change": ["conditioning", "hedonic-adaptation", "boredom", "satisfaction"],
        "feedback": ["rating", "dwell", "not-interested"],
        "choice": {"law": "several", "most": 2},
    }
    study = study_with(laws, 0)
    whole, broken = MemoryStore(), MemoryStore()
    live_world(study, 0, whole, {}, lambda done, what: None)
    lived = 0

    def stop(done, what):
        nonlocal lived
        lived += done
        if lived == 12:
            raise Stopped

    with pytest.raises(Stopped):
        live_world(study, 0, broken, {}, stop)
    live_world(study, 0, broken, {}, lambda done, what: None)
    names = [n for n in whole.listing("") if n.endswith(".parquet")]
    assert any(n.startswith("events/") for n in names)
    for name in names:
        assert whole.scan([name]).collect().equals(broken.scan([name]).collect()), name

"""Attacks: profiles as described, targets that rise where clicks are learnt, and only there."""

from pathlib import Path

import numpy as np
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.ranking import top_k
from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.record.store import DiskStore
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.live import ArmRun, begin
from loopaudit.simulation.study import Study
from loopaudit.simulation.study_file import study_from
from loopaudit.simulation.supply.adversary import MEASURES, Adversary
from loopaudit.simulation.supply.attacks import Attack, chosen, fake_profiles, in_segment, ranks
from loopaudit.simulation.world import World

COUNTS = np.array([9, 0, 5, 7, -1, 3, 8, 1, 2, 4])
TOPICS = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 1, 1, 0, 0, 1]]


def profiles(kind: str, n=400, *, filler=3, selected=2, target=7, **more):
    attack = Attack(kind, target, more.pop("topic", 1), selected, filler)
    given = {"popularity": COUNTS, "topics": TOPICS, "seed": 1, "step": 4, **more}
    return fake_profiles(attack, n, **given)


def study(*names, arms=("random", "popularity", "frozen", "none"), steps=12, users=80, **attack):
    attacks = attack.pop("attacks", [attack] if attack else [])
    return Study.model_validate(
        {
            "study": {"steps": steps, "worlds": 1, "seed": 3, "arms": arms},
            "world": {"users": users, "items": 100, "topics": 5, "history": 8.0},
            "recommenders": [{"name": name, "retrain_every": 3} for name in names],
            "adversaries": attacks,
            "supply": attack.pop("supply", None),
            "audit": {"sensitivity_worlds": 0},
        }
    )


def lived(made_of: Study, kind: str, steps: int) -> World:
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == kind))
    for _ in range(steps):
        world.step()
    return world


# Profiles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "average", "bandwagon", "segment"])
def test_a_profile_holds_the_target_once_what_is_chosen_and_different_fillers(kind):
    made = profiles(kind)
    rows = made.values.reshape(400, -1)
    fixed = {"bandwagon": {0, 6}, "segment": {6, 2}}.get(kind, set()) | {7}
    assert rows.shape[1] == len(fixed) + 3
    for row in rows[:50]:
        assert fixed <= set(row.tolist())
        assert len(set(row.tolist())) == len(row)
    assert 4 not in rows  # it cannot be consumed
    assert len({tuple(row) for row in rows.tolist()}) > 50
    assert 0.5 / rows.shape[1] < (rows[:, 0] == 7).mean() < 2 / rows.shape[1]  # in any place


def test_fillers_are_uniform_and_by_an_average_attack_as_frequent_as_what_people_consume():
    fair = np.bincount(profiles("random", 20_000, filler=1).values, minlength=10)
    others = [0, 1, 2, 3, 5, 6, 8, 9]
    assert fair[others] / 20_000 == pytest.approx(1 / 8, abs=0.01)
    like = np.bincount(profiles("average", 20_000, filler=1).values, minlength=10)
    weight = COUNTS[others] + 1
    assert like[others] / 20_000 == pytest.approx(weight / weight.sum(), abs=0.012)


def test_a_segment_attack_chooses_the_segments_most_consumed_items():
    attack = Attack("segment", 6, 1, 3, 0)
    assert chosen(attack, COUNTS, TOPICS).tolist() == [2, 9, 5]
    assert chosen(Attack("bandwagon", 0, 1, 3, 0), COUNTS, TOPICS).tolist() == [6, 3, 2]
    assert chosen(Attack("random", 0, 1, 3, 0), COUNTS, TOPICS).tolist() == []


def test_more_profiles_leave_the_first_ones_as_they_were():
    few, many = profiles("bandwagon", 20), profiles("bandwagon", 50)
    assert np.array_equal(few.values, many.values[: len(few.values)])
    assert len(profiles("random", 3, filler=100).row(0)) == 9  # all there is


def test_place_and_percentile_agree_with_a_sorted_list():
    scores = np.array([[3, 1, 2, 2, 0], [2, 2, 2, 2, 2], [0, 0, 9, 0, 0]], np.float32)
    hidden = np.zeros((3, 5), bool)
    hidden[0, 0] = True
    place, percentile = ranks(scores, 3, hidden)
    assert place.tolist() == [2, 4, 2 + 2]
    assert percentile == pytest.approx([(2 + 0.5) / 3, 0.5, 1.5 / 4])
    luck = np.random.default_rng(1).normal(size=(40, 30)).round(1).astype(np.float32)
    place, _ = ranks(luck, 11, np.zeros((40, 30), bool))
    assert np.array_equal(place, 1 + (top_k(luck, 30) == 11).argmax(axis=1))


def test_the_segment_is_the_quarter_whose_past_is_most_about_it():
    mass = np.array([0.1, 0.9, 0.2, 0.3, np.nan, 0.8, 0.0, 0.1, 0.2])
    assert np.flatnonzero(in_segment(mass)).tolist() == [1, 5]
    assert not in_segment(np.full(3, np.nan)).any()
    assert not in_segment(np.zeros(4)).any()


# In a world --------------------------------------------------------------------------------------


def test_a_bandwagon_attack_raises_the_targets_percentile_for_popularity_by_what_is_known():
    """60 fake consumptions put the target where an item with 60 more consumptions stands."""
    made_of = study(arms=("popularity",), kind="bandwagon", step=2, profiles=60, probe_every=1)
    world = begin(made_of, 0, arms_of(made_of)[0])
    for _ in range(10):  # popularity learns at the end of step 9
        world.step()
    before = world.measures.current["attack_percentile"]
    assert abs(world.measures.current["attack_percentile_shift"]) < 0.1
    (attack,) = (p for p in world.processes if isinstance(p, Adversary))
    world.step()
    after = world.measures.current["attack_percentile"]
    log = world.platform.log()
    assert (log.item[log.user >= 80] == attack.target).sum() == 60
    assert after > before + 0.3
    assert world.measures.current["attack_percentile_shift"] > 0.3
    assert world.measures.current["attack_hr50"] == 1.0


def test_without_profiles_an_attack_is_a_measurement_that_disturbs_nobody():
    with_it = simulate(study("itemknn", profiles=0, probe_every=2))
    without = simulate(study("itemknn"))
    for arm in with_it.arms:
        assert with_it.events(arm, 0).collect().equals(without.events(arm, 0).collect())
        assert with_it.faults(arm) == without.faults(arm)
    series = with_it.series("itemknn-frozen", 0)
    known = series["attack_percentile"].drop_nans()
    assert series["attack_percentile"].is_nan().sum() == 6
    assert len(known) == 6


def test_fake_people_are_never_active_never_measured_and_only_learners_hear_of_them():
    attacked = simulate(study("ease", kind="segment", profiles=40, step=2, probe_every=3))
    clean = simulate(study("ease"))
    for arm in attacked.arms:
        assert attacked.events(arm, 0).collect()["user"].max() < 80
        assert attacked.outcomes(arm, 0).height == 80
        same = attacked.events(arm, 0).collect().equals(clean.events(arm, 0).collect())
        assert same == (arm not in ("ease", "popularity"))
        assert attacked.faults(arm)["counts"] == {}
    learnt = attacked.series("ease", 0)["attack_percentile"].drop_nans().to_list()
    frozen = attacked.series("ease-frozen", 0)["attack_percentile"].drop_nans().to_list()
    assert learnt[-1] > frozen[-1] + 0.1
    none = attacked.series("none", 0)
    assert none["attack_hr10"].is_nan().all()
    assert set(attacked.series("ease", 0).columns) >= {f"attack_{name}" for name in MEASURES}


def test_a_hit_rate_at_10_alone_can_miss_an_attack_that_50_and_the_percentile_show():
    world = lived(study("itemknn", kind="average", profiles=8, step=1, probe_every=1), "target", 9)
    now = world.measures.current
    assert now["attack_hr10"] <= now["attack_hr50"]
    assert now["attack_percentile_shift"] > 0.05
    assert now["attack_segment_hr50"] >= now["attack_segment_hr10"]


def test_an_adversary_may_put_in_its_own_item_and_aim_at_a_topic():
    attack = {"new_item": True, "segment": "topic 2", "kind": "segment", "step": 3, "profiles": 30}
    world = lived(study("itemknn", **attack), "target", 10)
    now = world.columns
    assert now.catalog.ids[100] == "pushed-00100"
    assert now.topics[100].argmax() == 2
    assert now.born[100] == 3
    (one,) = (p for p in world.processes if isinstance(p, Adversary))
    assert (one.target, one.topic) == (100, 2)


def test_two_attacks_and_growing_supply_live_in_one_world():
    both = [
        {"name": "push", "kind": "random", "step": 1, "profiles": 5},
        {"name": "shove", "kind": "average", "step": 4, "profiles": 7, "target": "item-00012"},
    ]
    made_of = study("ease", attacks=both)
    made_of = Study.model_validate({**made_of.model_dump(), "supply": {"every": 2}})
    world = lived(made_of, "target", 8)
    log = world.platform.log()
    assert log.n_users == 80 + 12
    assert np.array_equal(np.unique(log.user[log.user >= 80]), np.arange(80, 92))
    assert (np.diff(log.step) >= 0).all()
    assert (log.item[log.user >= 85] == 12).sum() == 7
    assert world.platform.recommender.faults.counts == {}
    assert {"push_hr10", "shove_hr10"} <= set(world.measures.current)


@pytest.mark.parametrize("name", ["ease", "multvae"])
def test_an_attacked_arm_that_stopped_goes_on_to_the_same_bytes(name, tmp_path: Path):
    attack = {"new_item": True, "step": 4, "profiles": 20, "probe_every": 4}
    given = study(arms=(), steps=15, attacks=[attack]).model_dump()
    args = {"epochs": 1, "update_epochs": 1} if name == "multvae" else {}
    given["recommenders"] = [{"name": name, "retrain_every": 3, "args": args}]
    given["generators"] = {"rate": 2.0}
    given["supply"] = {"every": 3, "follow": 0.1}
    made_of = Study.model_validate(given)
    (arm,) = arms_of(made_of)

    class Stopped(Exception):
        pass

    lived_steps = 0

    def stopping(steps: int, what: str) -> None:
        nonlocal lived_steps
        lived_steps += steps
        if lived_steps == 12:
            raise Stopped

    whole, parts = DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b")
    ArmRun(made_of, 0, arm, whole, "", {}, {}, lambda steps, what: None).run()
    with pytest.raises(Stopped):
        ArmRun(made_of, 0, arm, parts, "", {}, {}, stopping).run()
    ArmRun(made_of, 0, arm, parts, "", {}, {}, lambda steps, what: None).run()
    files = [
        {p.relative_to(r.root): p.read_bytes() for p in r.root.rglob("*") if p.is_file()}
        for r in (whole, parts)
    ]
    assert files[0] == files[1]


def test_what_cannot_be_is_said_with_table_and_key():
    with pytest.raises(UserError, match=r"unknown item 'item-1'.*\[\[adversaries\]\] target"):
        World(study(target="item-1"))
    with pytest.raises(UserError, match=r"unknown topic 'jazz'.*\[\[adversaries\]\] segment"):
        World(study(segment="jazz"))
    with pytest.raises(UserError, match="two adversaries are called 'attack'"):
        study_from({"adversaries": [{}, {}]}, source="study.toml")
    with pytest.raises(UserError, match="leave out new_item or target"):
        study_from({"adversaries": [{"new_item": True, "target": "x"}]}, source="study.toml")

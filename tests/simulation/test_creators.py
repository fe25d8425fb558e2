"""Creators make, follow, enter and leave by closed forms: the same in any blocks, after a stop."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.randomness import stream, uniform
from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.record.store import DiskStore
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.live import ArmRun, begin
from loopaudit.simulation.study import Study
from loopaudit.simulation.study_file import study_from
from loopaudit.simulation.supply.creators import Creators
from loopaudit.simulation.supply.making import (
    FLOOR,
    allotted,
    dirichlet,
    follow,
    normal,
    nth_of_each,
    one_of_own,
    viability,
)
from loopaudit.simulation.world import World


def study(*names, steps=12, users=40, arms=("random", "none"), world=None, **supply) -> Study:
    return Study.model_validate(
        {
            "study": {"steps": steps, "worlds": 1, "seed": 3, "arms": arms},
            "world": {"users": users, "items": 60, "topics": 5, "history": 8.0, **(world or {})},
            "recommenders": [{"name": name, "retrain_every": 4} for name in names],
            "supply": supply,
            "audit": {"sensitivity_worlds": 0},
        }
    )


def creators_of(world: World) -> Creators:
    (found,) = (p for p in world.processes if isinstance(p, Creators))
    return found


def lived(made_of: Study, kind: str, steps: int) -> World:
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == kind))
    for _ in range(steps):
        world.step()
    return world


# Closed forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [[0.02, 0.05, 0.03], [0.5, 1.0, 2.5], [30.0, 10.0, 20.0]])
def test_dirichlet_draws_have_the_mean_and_variance_of_the_law(a):
    n, whole = 40_000, sum(a)
    x = dirichlet(np.tile(a, (n, 1)), 1, "test", np.arange(n))
    assert np.allclose(x.sum(axis=1), 1)
    mean = np.array(a) / whole
    assert x.mean(axis=0) == pytest.approx(mean, abs=0.01)
    assert x.var(axis=0) == pytest.approx(mean * (1 - mean) / (whole + 1), rel=0.06)


def test_a_draw_belongs_to_its_labels_and_not_to_its_place():
    a = np.array([[0.2, 1.0, 3.0], [0.5, 0.5, 0.1], [1.0, 1.0, 1.0]])
    whole = dirichlet(a, 4, "test", 7, np.arange(3), np.zeros(3, int))
    turned = dirichlet(a[::-1], 4, "test", 7, np.arange(3)[::-1], np.zeros(3, int))
    assert np.array_equal(whole, turned[::-1])
    draws = normal(1, "test", np.arange(50_000))
    assert draws.mean() == pytest.approx(0, abs=0.02)
    assert draws.std() == pytest.approx(1, abs=0.02)


def test_a_click_pulls_its_creator_towards_the_item_and_nobody_else():
    profiles = np.array([[0.5, 0.5, FLOOR], [0.2, 0.3, 0.5]])
    after = follow(profiles, np.array([1, 1]), np.array([[1.0, 0, 0], [0, 1.0, 0]]), 0.5)
    assert after[1] == pytest.approx([0.7 / 2, 0.8 / 2, 0.5 / 2])
    assert after[0] == pytest.approx(profiles[0], rel=1e-3)
    assert follow(profiles, np.array([1]), np.array([[1.0, 0, 0]]), 1e9)[1, 2] == FLOOR


def test_profiles_stay_put_in_expectation_when_clicks_do_not_look_at_items():
    """Items have the profile as their mean, so clicks that ignore them move it nowhere."""
    n, k = 20_000, 4
    start = np.array([0.1, 0.2, 0.3, 0.4])
    profiles = np.tile(start, (n, 1))
    for t in range(20):
        items = dirichlet(2.0 * profiles, 5, "item", t, np.arange(n))
        clicked = np.flatnonzero(uniform(stream(5, "blind"), t, np.arange(n)) < 0.5)
        profiles = follow(profiles, clicked, items[clicked], 0.05)
    error = profiles.std(axis=0) / np.sqrt(n)
    assert profiles.std(axis=0).min() > 0.02  # they moved, each its own way
    assert (np.abs(profiles.mean(axis=0) - start) < 5 * error + 1e-3).all()
    assert profiles.shape == (n, k)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0, 4))
def test_viability_is_a_power_of_one_plus_clicks(clicks, weight):
    c = np.array(clicks)
    share = viability(c, np.ones(len(c), bool), weight=weight)
    power = (1 + c) ** weight
    assert share == pytest.approx(power / power.sum(), rel=1e-9)


def test_who_left_gets_nothing_and_the_rest_is_allotted_by_share():
    share = viability(np.array([3.0, 1e9, 0.0]), np.array([True, False, True]))
    assert share == pytest.approx([16 / 17, 0, 1 / 17])
    luck = uniform(stream(1, "test"), np.arange(50_000))
    who = np.bincount(allotted(share, luck), minlength=3) / 50_000
    assert who == pytest.approx(share, abs=0.005)
    assert allotted(np.array([0.5, 0.5, 0.0]), np.array([1.0 - 1e-17])).tolist() == [1]


def test_items_are_numbered_within_their_creator_and_models_are_its_own():
    assert nth_of_each(np.array([2, 0, 2, 2, 0])).tolist() == [0, 0, 1, 2, 1]
    maker = np.array([1, 0, 1, 1, -1])
    creator = np.repeat([0, 1, 7], 300)
    model = one_of_own(maker, creator, uniform(stream(2, "test"), np.arange(900)))
    assert set(model[:300]) == {1}
    assert set(model[300:600]) == {0, 2, 3}
    assert set(model[600:]) == {0, 1, 2, 3, 4}


# In a world --------------------------------------------------------------------------------------


def test_every_creator_releases_on_schedule_and_old_items_keep_their_index():
    world = lived(study(every=3, release=2), "none", 7)  # at steps 3 and 6
    alive = int(creators_of(world).alive.sum())
    now = world.columns
    assert len(now.catalog) == 60 + 2 * 2 * alive
    assert now.catalog.ids[:60] == World(study()).columns.catalog.ids
    assert np.unique(now.born[60:]).tolist() == [3, 6]
    assert np.allclose(now.topics.sum(axis=1), 1, atol=1e-5)
    made = creators_of(world).maker
    assert np.array_equal(made, now.catalog.provider)
    for c in np.unique(made):  # a provider stays in its group
        assert len(np.unique(now.catalog.provider_group[made == c])) == 1


def test_the_same_creator_makes_the_same_item_in_every_arm_until_profiles_differ():
    made_of = study("ease", every=2, follow=0.0)
    a, b = lived(made_of, "none", 5).columns, lived(made_of, "target", 5).columns
    assert a.catalog.to_frame().equals(b.catalog.to_frame())
    assert np.array_equal(a.quality, b.quality)
    moved = study("ease", every=2, follow=0.5)
    a, b = lived(moved, "none", 5).columns, lived(moved, "target", 5).columns
    assert len(a.catalog) == len(b.catalog)
    assert not np.array_equal(a.topics, b.topics)


def test_new_items_in_a_vector_world_are_unit_vectors_near_their_topics():
    world = lived(study(every=2, release=3, world={"dim": 6}), "none", 5)
    new = slice(60, None)
    assert np.linalg.norm(world.columns.features[new], axis=1) == pytest.approx(1, abs=1e-5)
    towards = creators_of(world)._directions
    along = np.einsum("nd,nd->n", world.columns.features[new], world.columns.topics[new] @ towards)
    assert along.mean() > 0.6


@pytest.mark.parametrize(("weight", "expected", "within"), [(1.0, 2 / 4, 0.06), (2.0, 1.0, 0.06)])
def test_supply_that_follows_clicks_in_proportion_is_an_urn_and_beyond_it_a_monopoly(
    weight, expected, within
):
    """Weight 1 without discount is Polya's urn of three colours: shares end uniform on the
    simplex, so that the sum of their squares is 2 / (3 + 1) on average. Weight 2: one takes all."""
    found = []
    for world in range(120):
        clicks, alive = np.zeros(3), np.ones(3, bool)
        luck = uniform(stream(world, "urn"), np.arange(300))
        for t in range(300):
            clicks[allotted(viability(clicks, alive, weight=weight), luck[t : t + 1])] += 1
        share = (1 + clicks) / (3 + 300)
        found.append(float((share**2).sum()))
    assert np.mean(found) == pytest.approx(expected, abs=within)


def test_under_popularity_supply_that_follows_clicks_concentrates_and_equal_supply_does_not():
    largest = {}
    for weight in (0.0, 2.0):
        made_of = study(
            arms=("popularity",), users=150, every=2, release=2, allot="viability", weight=weight
        )
        maker = creators_of(lived(made_of, "popularity", 24)).maker[60:]
        largest[weight] = np.bincount(maker).max() / len(maker)
    assert largest[0.0] < 0.5  # of three creators
    assert largest[2.0] > 0.65


def test_creators_whom_nobody_clicks_leave_after_patience_and_may_take_their_items_along():
    world = lived(study("ease", leave_below=0.9, patience=3, take_along=True), "target", 8)
    process, now = creators_of(world), world.columns
    gone = np.flatnonzero(~process.alive & np.isin(np.arange(len(process.alive)), process.maker))
    assert len(gone) > 0
    assert process.alive.sum() >= 1
    assert not now.available[np.isin(process.maker, gone)].any()
    assert not np.isin(process.maker[world.shown.items[world.shown.items >= 0]], gone).any()
    early = lived(study("ease", leave_below=0.9, patience=30), "target", 8)
    assert creators_of(early).alive.sum() == len(np.unique(early.columns.catalog.provider[:60]))


def test_creators_enter_at_their_rate_and_make_items():
    world = lived(study(enter=1.5, every=1), "none", 40)
    process = creators_of(world)
    new = (process.entered > 0).sum()
    assert 39 <= new <= 78
    assert new == pytest.approx(1.5 * 39, abs=4 * np.sqrt(39 * 0.25))
    assert set(np.flatnonzero(process.entered > 0)[:-3]) <= set(process.maker.tolist())


def test_items_live_as_long_as_they_are_said_to_on_average():
    world = lived(study(lifetime=10.0, release=0, world={"items": 2000, "topics": 4}), "none", 11)
    left = world.columns.available.mean()
    assert left == pytest.approx(0.9**10, abs=4 * np.sqrt(0.35 * 0.65 / 2000))


def test_odds_halve_with_each_half_life():
    world = lived(study(awareness_half_life=4.0, appeal_half_life=2.0, every=3), "none", 9)
    now, process = world.columns, creators_of(world)
    age = 8 - now.born  # as of the last step
    assert now.quality == pytest.approx(process.quality - np.log(2) * age / 2, abs=1e-5)
    assert now.awareness == pytest.approx(process.awareness - np.log(2) * age / 4, abs=1e-5)
    assert np.array_equal(now.catalog.quality[:60], World(study()).columns.catalog.quality)


def test_any_number_of_blocks_of_people_gives_the_same_supply():
    made_of = study(every=2, follow=0.2, allot="viability", enter=0.5, lifetime=30.0)
    one, three = World(made_of, cohorts=1), World(made_of, cohorts=3)
    for _ in range(9):
        one.step()
        three.step()
    assert one.columns.catalog.to_frame().equals(three.columns.catalog.to_frame())
    assert np.array_equal(one.columns.available, three.columns.available)
    assert np.array_equal(creators_of(one).profiles, creators_of(three).profiles)


def test_slots_kept_for_new_items_hold_a_uniform_draw_of_what_is_new_to_each_person():
    made_of = study("ease", fresh_slots=2, fresh_steps=3, every=4, release=4, users=300)
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == "target"))
    shown = np.zeros(12)
    for t in range(8):
        world.step()
        new = world.shown.items >= 60
        assert world.platform.recommender.faults.counts == {}
        if t < 4:
            assert not new.any()
        elif t < 7:  # they entered at step 4 and are new for 3 steps
            assert new[:, -2:].all()
            assert not new[:, :-2].any()
            assert np.isnan(world.shown.scores[:, -2:]).all()
            for row in world.shown.items[:20]:
                assert len(set(row.tolist())) == 10
            shown += np.bincount(world.shown.items[new] - 60, minlength=12)
    assert not new.any()
    each = shown.sum() / 12
    assert np.abs(shown / each - 1).max() < 5 / np.sqrt(each)
    met = world.platform.log()
    assert (met.item >= 60).any()  # so a learner of clicks can learn of them


def test_what_was_met_is_not_shown_again_as_new_and_chances_are_exact():
    made_of = study(fresh_slots=3, fresh_steps=20, every=2, release=1, arms=("random",), steps=20)
    world = begin(made_of, 0, arms_of(made_of)[0])
    for _ in range(5):
        history = world.platform.history.of(np.arange(40, dtype=np.int32))
        world.step()
        met = history.take(world.shown.users)
        assert not met.contains(world.shown.items, len(world.columns.catalog)).any()
        if world.columns.t == 3:  # three entered at step 2, and nobody had met any
            assert len(world.columns.catalog) == 63
            first = (world.shown.items[:, :7] >= 60).sum(axis=1)
            clean = first == 0
            last = world.shown.propensities[clean][:, -3:]
            there = world.shown.items[clean][:, -3:] >= 60
            assert there.all()
            assert last == pytest.approx(1 / 3)
        for row in world.shown.items:
            real = row[row >= 0]
            assert len(np.unique(real)) == len(real)


@pytest.mark.parametrize("name", ["ease", "random"])
def test_pages_of_older_lists_hold_neither_what_left_nor_a_gap(name):
    given = study(name, lifetime=6.0, every=2, fresh_slots=2, release=3).model_dump()
    given["recommenders"][0].update(refresh_every=5, list_length=40)
    made_of = Study.model_validate(given)
    world = begin(made_of, 0, arms_of(made_of)[0])
    for _ in range(11):
        gone = np.flatnonzero(~world.columns.available)
        world.step()
        items = world.shown.items
        assert not np.isin(items, gone).any()
        assert (np.diff((items >= 0).astype(int), axis=1) <= 0).all()
    assert len(gone) > 20
    assert (items >= 60).any()


RICH = {
    "every": 2, "release": 2, "follow": 0.3, "allot": "viability", "enter": 0.7, "lifetime": 25.0,
    "leave_below": 0.3, "patience": 4, "fresh_slots": 2, "awareness_half_life": 9.0,
    "appeal_half_life": 11.0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "refresh"), [("ease", 1), ("popularity", 3), ("random", 3)])
def test_an_arm_that_stopped_goes_on_to_the_same_bytes(name, refresh, tmp_path: Path):
    given = study(name, steps=24, arms=("none",), **RICH).model_dump()
    given["recommenders"][0].update(refresh_every=refresh, list_length=25)
    made_of = Study.model_validate(given)
    for arm in arms_of(made_of):
        for stop in (10, 20):
            whole, parts = DiskStore(tmp_path / f"a{stop}"), DiskStore(tmp_path / f"b{stop}")

            class Stopped(Exception):
                pass

            def stopping(steps: int, what: str, seen=[0], stop=stop) -> None:  # noqa: B006
                seen[0] += steps
                if seen[0] >= stop + 3:
                    seen[0] = -(10**9)
                    raise Stopped

            run = lambda store, tick: ArmRun(made_of, 0, arm, store, "", {}, {}, tick).run()  # noqa: B023, E731
            run(whole, lambda steps, what: None)
            with pytest.raises(Stopped):
                run(parts, stopping)
            run(parts, lambda steps, what: None)
            files = [
                {p.relative_to(r.root): p.read_bytes() for p in r.root.rglob("*") if p.is_file()}
                for r in (whole, parts)
            ]
            assert files[0] == files[1]
            assert any("catalogs" in str(p) for p in files[0])


def test_a_run_knows_the_catalog_of_each_arm_and_the_one_it_began_with():
    run = simulate(study("ease", every=2, follow=0.5))
    first, last = run.catalog(0), run.catalog(0, arm="ease")
    assert len(first) == 60 < len(last)
    assert last.ids[:60] == first.ids
    supply = run.supply("ease", 0)
    assert supply["born"].max() == 10
    assert supply.height == len(last)
    events = run.events("ease", 0).collect()
    assert events["item"].max() < len(last)
    series = run.series("ease", 0)
    assert series["items"][-1] == len(last)
    assert 0 < series["supply_entropy"][-1] <= np.log2(5)
    assert run.faults("ease")["counts"] == {}
    none = simulate(study("ease", release=0))
    assert len(none.catalog(0, arm="ease")) == 60
    assert none.supply("ease", 0)["available"].all()


def test_what_cannot_be_is_said_with_table_and_key():
    with pytest.raises(UserError, match=r"lifetime must be 0 \(for ever\) or at least 1"):
        study_from({"supply": {"lifetime": 0.5}}, source="study.toml")
    with pytest.raises(UserError, match=r"fresh_slots must be at most \[people\] slate \(10\)"):
        study_from({"supply": {"fresh_slots": 11}}, source="study.toml")
    with pytest.raises(UserError, match="every must be at least 1"):
        study_from({"supply": {"every": 0}}, source="study.toml")

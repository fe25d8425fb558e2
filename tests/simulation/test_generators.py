"""Machines flood a catalog: how many, near what, seen how often, by what is known beforehand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.live import begin
from loopaudit.simulation.study import Study
from loopaudit.simulation.supply.generators import AI, Generators, gap_by_phase, relative_gap
from loopaudit.simulation.supply.newcomers import from_arrays, to_arrays
from loopaudit.simulation.world import World


def study(*names, steps=10, users=60, world=None, supply=None, **generators) -> Study:
    return Study.model_validate(
        {
            "study": {"steps": steps, "worlds": 1, "seed": 3, "arms": ["random", "popularity"]},
            "world": {"users": users, "items": 80, "topics": 5, "history": 6.0, **(world or {})},
            "recommenders": [{"name": name, "retrain_every": 2} for name in names],
            "generators": generators,
            "supply": supply,
            "audit": {"sensitivity_worlds": 0},
        }
    )


def lived(made_of: Study, kind: str, steps: int) -> World:
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == kind))
    for _ in range(steps):
        world.step()
    return world


def test_machines_make_their_rate_from_their_start_on():
    world = lived(study(rate=2.5, start=3), "random", 13)
    made = world.columns.born[world.columns.catalog.origin == AI]
    assert made.min() == 3
    per_step = np.bincount(made)[3:]
    assert set(per_step.tolist()) == {2, 3}
    assert len(made) == pytest.approx(25, abs=5)
    assert world.columns.catalog.ids[80].startswith("ai-")


@pytest.mark.parametrize("cap", [0.1, 0.5])
def test_machines_never_hold_more_than_their_share_of_what_is_available(cap):
    supply = {"release": 1, "every": 2, "lifetime": 30.0}
    world = begin(made_of := study(rate=30.0, share_cap=cap, supply=supply), 0, arms_of(made_of)[0])
    for step in range(12):
        entered = len(world.columns.catalog)
        world.step()
        now = world.columns
        share = (now.catalog.origin == AI)[now.available].mean()
        if (now.catalog.origin[entered:] == AI).any():  # else others left, and the share rose
            assert share <= cap + 1e-9
        assert step < 2 or share > cap - 0.05


def test_copies_are_near_what_was_clicked_most_and_exact_without_noise():
    world = begin(made_of := study(rate=40.0, noise=0.0, copy_of=3), 0, arms_of(made_of)[0])
    sold = world.columns.past.popularity()
    best = np.lexsort((np.arange(80), -sold))[:3]
    world.step()
    now = world.columns
    rows = [tuple(row) for row in now.topics[best].tolist()]
    assert {tuple(row) for row in now.topics[80:].tolist()} == set(rows)
    near, far = (
        np.abs(
            lived(study(rate=40.0, noise=noise, copy_of=1), "random", 1).columns.topics[80:]
            - now.topics[best[0]]
        ).sum(axis=1)
        for noise in (0.1, 1.0)
    )
    assert 0 < near.mean() < far.mean()


def test_copies_in_a_vector_world_are_unit_vectors_near_their_model():
    made_of = study(rate=30.0, noise=0.3, copy_of=1, world={"dim": 8})
    now = lived(made_of, "random", 1).columns
    sold = now.past.popularity()
    cosine = now.features[80:] @ now.features[np.lexsort((np.arange(80), -sold))[0]]
    assert np.linalg.norm(now.features[80:], axis=1) == pytest.approx(1, abs=1e-5)
    assert cosine.mean() == pytest.approx(1 / np.sqrt(1 + 0.3**2), abs=0.02)


def with_pictures(kind: str = "random", **generators) -> World:
    """A world whose items are red or blue by topic, two steps into a flood."""
    made_of = study(rate=6.0, copy_of=4, **generators)
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == kind))
    catalog = world.columns.catalog
    colours = np.where(catalog.main_topic[:, None] % 2, [200, 40, 30], [30, 50, 210])
    images = np.tile(colours[:, None, None, :], (1, 12, 8, 1)).astype(np.uint8)
    vectors = {"look": colours.astype(np.float32)}
    world.columns.catalog = replace(catalog, images=images, vectors=vectors)
    world.step()
    world.step()
    return world


def test_pictures_of_copies_are_their_models_or_drawn_near_them_alike_in_every_arm():
    copied, drawn = (
        with_pictures(images=how).columns.catalog.images for how in ("copied", "drawn")
    )
    known = {image.tobytes() for image in copied[:80]}
    assert len(copied) == len(drawn) > 85
    assert all(image.tobytes() in known for image in copied[80:])
    assert not any(image.tobytes() in known for image in drawn[80:])
    red_copied, red_drawn = (
        images[80:, ..., 0].mean(axis=(1, 2)) > images[80:, ..., 2].mean(axis=(1, 2))
        for images in (copied, drawn)
    )
    assert (red_copied == red_drawn).mean() > 0.8
    other = with_pictures("popularity", images="drawn").columns.catalog.images
    assert np.array_equal(drawn[:86], other[:86])  # the first flood, before clicks differ


def test_vectors_of_copies_are_near_their_models():
    catalog = with_pictures(noise=0.1).columns.catalog
    look = catalog.vectors["look"]
    unit = look / np.linalg.norm(look, axis=1, keepdims=True)
    nearest = (unit[80:] @ unit[:80].T).max(axis=1)
    assert (nearest < 1 - 1e-6).any()
    assert nearest.min() > 0.95


def test_pictures_that_entered_are_in_the_checkpoint():
    now = with_pictures(images="drawn").columns
    back = from_arrays(now, to_arrays(now, 80))
    assert back is not None
    assert np.array_equal(back.catalog.images, now.catalog.images[80:])


def test_under_random_exposure_machines_are_shown_by_their_share_of_what_people_have_not_met():
    """Slates are draws without replacement: the mean is known, hypergeometric in spread."""
    made_of = study(rate=20.0, users=400)
    world = begin(made_of, 0, next(arm for arm in arms_of(made_of) if arm.kind == "random"))
    for _ in range(6):
        history = world.platform.history.of(np.arange(400, dtype=np.int32)).to_csr(10_000)
        world.step()
        n = len(world.columns.catalog)
        unmet = history.toarray()[world.shown.users, :n] == 0
        ai = world.columns.catalog.origin == AI
        share = unmet[:, ai].sum(axis=1) / unmet.sum(axis=1)
        k, left = 10, unmet.sum(axis=1)
        spread = share * (1 - share) / k * (left - k) / (left - 1)
        error = np.sqrt(spread.sum()) / len(share)
        assert world.measures.current["ai_exposure"] == pytest.approx(share.mean(), abs=4.5 * error)


def test_a_gap_is_2_for_humans_alone_and_minus_2_for_machines_alone():
    assert relative_gap(3.0, 0.0) == 2
    assert relative_gap(0.0, 0.1) == -2
    assert relative_gap(3.0, 1.0) == 1
    assert np.isnan(relative_gap(0.0, 0.0))


def test_a_gap_by_phase_is_the_mean_of_its_steps():
    series = pl.DataFrame(
        {
            "ai_share": [0.0, 0.2, 0.5, 0.6, 0.9],
            "ai_exposure": [0.0, 0.1, 0.5, 0.7, 0.8],
            "ai_gap": [float("nan"), 1.0, 0.4, 0.2, -1.5],
        }
    )
    found = gap_by_phase(series)
    assert found["phase"].to_list() == ["human-dominated", "coexistence", "AI-dominated"]
    assert found["steps"].to_list() == [2, 2, 1]
    assert found["gap"].to_list() == pytest.approx([1.0, 0.3, -1.5])
    assert found["ai_exposure"].to_list() == pytest.approx([0.05, 0.6, 0.8])
    alone = gap_by_phase(series.head(1))
    assert alone["gap"].to_list() == [None, None, None]


def test_a_run_says_what_machines_hold_what_is_shown_of_them_and_the_gap_by_phase():
    run = simulate(study("itemknn", steps=14, users=120, rate=8.0, start=4))
    for arm in ("itemknn", "random", "popularity"):
        series = run.series(arm, 0)
        assert (series["ai_exposure"][:4] == 0).all()
        assert series["ai_share"][-1] == pytest.approx(80 / 160)
        assert run.faults(arm)["counts"] == {}
    last = {arm: run.series(arm, 0)["ai_exposure"][-4:].mean() for arm in ("random", "itemknn")}
    assert last["random"] > 0.3  # nothing of a machine was there at first
    gaps = gap_by_phase(run.series("random", 0))
    assert abs(gaps["gap"][1]) < 0.3
    catalog = run.catalog(0, arm="itemknn")
    assert (catalog.origin == AI).sum() == 80
    assert (catalog.provider[catalog.origin == AI] == -1).all()


def test_machines_and_creators_live_in_one_world_in_any_blocks():
    made_of = study(rate=3.0, supply={"every": 2, "enter": 0.5, "follow": 0.2})
    one, three = World(made_of, cohorts=1), World(made_of, cohorts=3)
    for _ in range(8):
        one.step()
        three.step()
    assert one.columns.catalog.to_frame().equals(three.columns.catalog.to_frame())
    (machines,) = (p for p in one.processes if isinstance(p, Generators))
    assert len(machines.heard) == len(one.columns.catalog)

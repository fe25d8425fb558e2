"""Several kinds of people in one world, tastes that are vectors, laws chosen in study.toml."""

import numpy as np
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.study_file import read_study, study_from, to_toml
from loopaudit.simulation.world import World

MIXED = {
    "world": {"users": 600, "items": 60, "topics": 5, "dim": 8},
    "users": [
        {"model": "habitual", "share": 0.25, "drift": 0.0},
        {"model": "curious", "share": 0.75, "change": ["assimilation"]},
    ],
}


def lived(raw, steps=4, **more):
    world = World(study_from(raw, source="test"), **more)
    for _ in range(steps):
        world.step()
    return world


def test_a_mixed_population_holds_each_kind_in_its_share_and_only_its_law_moves_it():
    world = lived(MIXED)
    kind = world.columns.segment
    assert (kind == 0).mean() == pytest.approx(0.25, abs=0.06)
    shift = world.measures.taste_shift()
    assert (shift[kind == 0] < 1e-5).all()
    assert shift[kind == 1].mean() > 0.005
    assert np.linalg.norm(world.columns.taste, axis=1) == pytest.approx(np.ones(600), abs=1e-5)


def test_blocks_of_a_mixed_population_change_nothing():
    one, many = (lived(MIXED, cohorts=n) for n in (1, 9))
    assert one.columns.taste.tobytes() == many.columns.taste.tobytes()
    assert one.measures.current == pytest.approx(many.measures.current, nan_ok=True)


def test_a_study_with_laws_is_written_and_read_back(tmp_path):
    study = study_from(MIXED, source="test")
    (tmp_path / "study.toml").write_text(to_toml(study))
    assert read_study(tmp_path / "study.toml") == study


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(UserError, match=r"shares of \[\[users\]\] must sum to 1, got 0.5"):
        study_from({"users": [{"share": 0.5}]}, source="study.toml")


def test_a_law_for_vectors_is_refused_for_shares_of_topics():
    with pytest.raises(UserError, match=r"set \[world\] dim"):
        study_from({"people": {"change": ["assimilation"]}}, source="study.toml")

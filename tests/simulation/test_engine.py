"""The compiled engine is the NumPy engine to rounding, in any blocks; other laws are refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.randomness import bits, stream
from loopaudit.simulation.arms import Arm
from loopaudit.simulation.measures import SERIES, Measures
from loopaudit.simulation.people import kernel
from loopaudit.simulation.record.manifest import read_manifest
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.footprint import footprint
from loopaudit.simulation.study import RecommenderSection
from loopaudit.simulation.study_file import study_from
from loopaudit.simulation.world import World

TARGET = Arm("target", "target", RecommenderSection(name="holes"))
PER_PERSON = ("taste", "satiation")


class Holes:
    """Random slates of which some slots, and some whole slates, are empty."""

    name = "holes"
    capabilities = Capabilities(history="none")

    def __init__(self, items, share):
        self.items, self.share = items, share

    def recommend(self, requests):
        luck = requests.uniform("order", self.items)
        items = np.argsort(luck, axis=1)[:, : requests.k].astype(np.int32)
        items[requests.uniform("hole", items.shape[1]) < self.share] = -1
        items[requests.uniform("row", 1)[:, 0] < self.share / 2] = -1
        return Slates(items)


def lived(raw, engine, *, steps=3, holes=None, gone=0.0, cohorts=0):
    raw = {**raw, "study": {"engine": engine, **raw.get("study", {})}}
    study = study_from(raw, source="test")
    guard = None
    if holes is not None:
        n_items = study.world.items
        guard = Guard(Holes(n_items, holes), n_items=n_items, filter_history=False)
    world = World(
        study, recommender=guard, cohorts=cohorts, **({"arm": TARGET} if guard is not None else {})
    )
    left = np.random.default_rng(1).random(len(world.columns.present)) < gone
    world.columns.present[left] = False
    for _ in range(steps):
        world.step()
    return world


def agree(one, other):
    """Same choices, and the same state to the rounding of single precision."""
    assert one.engine.name != other.engine.name
    assert (one.shown.feedback.taken == other.shown.feedback.taken).all()
    for name in PER_PERSON:
        a, b = getattr(one.columns, name), getattr(other.columns, name)
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(one.shown.match, other.shown.match, rtol=2e-5, atol=1e-6)
    for name in Measures.ARRAYS:
        a, b = getattr(one.measures, name), getattr(other.measures, name)
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=name)
    for name in SERIES:
        expected = pytest.approx(other.measures.current[name], rel=2e-5, abs=2e-6, nan_ok=True)
        assert one.measures.current[name] == expected, name
    assert one.platform.log().item.tolist() == other.platform.log().item.tolist()
    assert one.measures.outcomes()["clicks"].equals(other.measures.outcomes()["clicks"])


numbers = st.floats(0, 1, width=32)
behaviour = st.fixed_dictionaries(
    {"model": st.sampled_from(["habitual", "curious", "impressionable"])},
    optional={
        "drift": st.sampled_from([0.0, 0.02, 0.5, 1.0]),
        "exposure_drift": st.sampled_from([0.0, 0.1, 1.0]),
        "satiation": st.sampled_from([0.0, 3.0]),
        "recovery": numbers,
        "position_bias": st.sampled_from([0.0, 2.0]),
        "outside_utility": st.sampled_from([-50.0, 3.0, 50.0]),
        "temperature": st.sampled_from([0.01, 1.0, 5.0]),
    },
)
worlds = st.fixed_dictionaries(
    {
        "users": st.integers(1, 60),
        "items": st.integers(4, 50),
        "topics": st.integers(2, 18),
        "dim": st.sampled_from([0, 0, 1, 3, 8, 17, 64]),
        "history": st.just(4.0),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    world=worlds,
    kinds=st.lists(behaviour, min_size=1, max_size=3),
    slate=st.integers(1, 20),
    holes=st.sampled_from([None, 0.0, 0.4, 1.0]),
    gone=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_the_compiled_engine_is_the_numpy_engine_to_rounding(
    world, kinds, slate, holes, gone, seed
):
    raw = {"study": {"seed": seed}, "world": world, "people": {"slate": slate, **kinds[0]}}
    if len(kinds) > 1:
        raw["users"] = [{**kind, "share": 1 / len(kinds)} for kind in kinds]
    pair = [lived(raw, name, holes=holes, gone=gone) for name in ("compiled", "numpy")]
    agree(*pair)


def test_the_engines_still_agree_after_a_hundred_steps_in_which_everybody_was_fading():
    raw = {"world": {"users": 80, "items": 60, "topics": 6, "history": 5.0}}
    agree(*(lived(raw, name, holes=0.1, steps=100) for name in ("compiled", "numpy")))


@pytest.mark.parametrize("dim", [0, 16])
def test_any_blocks_and_cohorts_give_the_same_bytes_under_the_compiled_engine(dim):
    raw = {"world": {"users": 90, "items": 40, "topics": 5, "dim": dim}}
    one, many = (lived(raw, "compiled", holes=0.2, cohorts=n) for n in (1, 9))
    for name in PER_PERSON:
        assert getattr(one.columns, name).tobytes() == getattr(many.columns, name).tobytes()
    assert one.measures.current == pytest.approx(many.measures.current, abs=0, nan_ok=True)


def test_the_kernels_luck_is_that_of_the_numpy_engine_bit_for_bit():
    key = stream(5, "choice")
    mixed = np.array([kernel.at_step(key, t) for t in (-3, -1, 0, 1, 2**40)])
    assert (mixed == bits(key, np.array([-3, -1, 0, 1, 2**40]))).all()


def test_the_same_people_are_active_under_both_engines():
    raw = {"world": {"users": 500}}
    a, b = (lived(raw, name, steps=0, gone=0.2) for name in ("compiled", "numpy"))
    assert (a.engine.active() == b.engine.active()).all()
    assert 0 < len(a.engine.active()) < 500


def test_the_kernels_logarithm_is_good_to_the_last_bits():
    x = np.concatenate([np.geomspace(1e-300, 1e300, 999), 1 + np.linspace(-1e-3, 1e-3, 998)])
    ours = np.array([kernel.natural_log(v) for v in x])
    np.testing.assert_allclose(ours, np.log(x), rtol=4e-16, atol=0)


def test_other_laws_of_change_are_lived_law_by_law_and_compiled_is_refused_for_them():
    raw = {"world": {"users": 30, "items": 30, "dim": 4}, "people": {"change": ["assimilation"]}}
    assert lived(raw, "auto", steps=1).engine.name == "numpy"
    with pytest.raises(UserError, match="others; set engine"):
        lived(raw, "compiled", steps=0)


def test_plain_people_are_lived_by_the_compiled_engine_unless_numpy_is_asked_for():
    assert lived({}, "auto", steps=0).engine.name == "compiled"
    assert lived({}, "numpy", steps=0).engine.name == "numpy"


def test_a_person_takes_at_most_700_bytes_of_state_with_tastes_of_64_dimensions():
    world = {"users": 777, "items": 90, "topics": 16, "dim": 64, "history": 6.0}
    held = footprint(lived({"world": world}, "compiled", steps=2))
    # two tastes, satiation, recent topics: 640 of them
    assert 640 < held.state <= 700
    # 4 bytes a consumption, where it begins, and room for what comes
    assert 4 * 6 < held.history < 4 * 6 + 8 + 8 + 4 * 16 + 8


@pytest.mark.parametrize("asked", ["auto", "numpy"])
def test_a_finished_run_says_which_engine_lived_it(asked, tmp_path):
    raw = {
        "study": {"steps": 3, "worlds": 1, "engine": asked, "arms": ["random"]},
        "world": {"users": 20, "items": 30, "topics": 4},
        "recommenders": [{"name": "popularity"}],
        "audit": {"sensitivity_worlds": 0},
    }
    simulate(study_from(raw, source="study.toml"), out=tmp_path / "run", workers=1)
    lived = {"auto": "compiled"}.get(asked, asked)
    assert read_manifest(tmp_path / "run")["engines"] == [lived]
    done = json.loads((tmp_path / "run/state/random/w000/done.json").read_text())
    assert done["engine"] == lived

"""A/B tests inside one world: exact without interference, biased with it."""

import pytest

from loopaudit.audit.experiments import contrasts
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.randomness import child_seed
from loopaudit.simulation.experiment import treated
from loopaudit.simulation.record.store import MemoryStore
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.live import live_world
from loopaudit.simulation.study_file import study_from


def study(treatment, control, *, steps=16, worlds=3, **experiment):
    return study_from(
        {
            "study": {"steps": steps, "worlds": worlds, "arms": [], "seed": 5},
            "world": {"users": 120, "items": 80, "topics": 5},
            "recommenders": [treatment, control],
            "experiments": [
                {
                    "name": "launch",
                    "treatment": treatment["label"],
                    "control": control["label"],
                    **experiment,
                }
            ],
            "audit": {"sensitivity_worlds": 0},
        },
        source="test",
    )


STILL = {"name": "popularity", "label": "still", "retrain_every": 0}
RANDOM = {"name": "random", "label": "dice", "retrain_every": 0}


def test_without_interference_everybody_lives_exactly_as_in_the_arm_of_their_recommender():
    run = simulate(study(STILL, RANDOM))
    for world in range(run.worlds):
        inside, a, b = (
            run.outcomes(arm, world).sort("user") for arm in ("experiment-launch", "still", "dice")
        )
        who = treated(run.study.experiments[0], 120, seed=child_seed(5, "world", world))
        assert 0.3 < who.mean() < 0.7
        taste = inside["taste_end"].to_numpy()
        assert (taste[who] == a["taste_end"].to_numpy()[who]).all()
        assert (taste[~who] == b["taste_end"].to_numpy()[~who]).all()


def test_without_interference_the_naive_estimate_has_no_bias():
    run = simulate(study(STILL, RANDOM, worlds=12))
    rows = {c.outcome: c for c in contrasts(run, alpha=0.001)}
    for one in rows.values():
        assert one.bias.low <= 0 <= one.bias.high
        assert one.interference.effect == 0.0
    still = rows["slate_utility"]  # the most popular items are soon used up, chance's are not
    assert still.twin.high < 0
    assert still.naive.high < 0


def test_what_both_groups_teach_a_shared_model_biases_the_naive_estimate():
    """Popularity that learns from random showings too, does better than among its own clicks."""
    learning = {"name": "popularity", "label": "hits", "retrain_every": 1}
    other = {"name": "random", "label": "dice", "retrain_every": 1}
    run = simulate(study(learning, other, steps=40, worlds=8))
    clicks = next(c for c in contrasts(run, alpha=0.001) if c.outcome == "clicks")
    assert clicks.interference.low > 0
    assert clicks.interference.effect > abs(clicks.twin.effect)  # larger than the effect itself


def test_without_pooling_each_learns_only_from_its_own_people():
    learning = {"name": "popularity", "label": "hits", "retrain_every": 1}
    other = {"name": "random", "label": "dice", "retrain_every": 1}
    pooled, own = (
        simulate(study(learning, other, worlds=1, pooled=p)).events("experiment-launch", 0)
        for p in (True, False)
    )
    assert not pooled.collect().equals(own.collect())


def test_a_resumed_experiment_ends_with_the_same_bytes(tmp_path):
    learning = {"name": "ease", "label": "a", "retrain_every": 4}
    asked = study(learning, {"name": "popularity", "label": "b", "retrain_every": 4}, worlds=1)
    whole, stopped = MemoryStore(), MemoryStore()
    live_world(asked, 0, whole, {}, lambda steps, what: None)

    class Stop(Exception):
        pass

    def until(steps, what):
        until.n += steps
        if what == "experiment-launch" and until.n > 45:
            raise Stop

    until.n = 0
    with pytest.raises(Stop):
        live_world(asked, 0, stopped, {}, until)
    live_world(asked, 0, stopped, {}, lambda steps, what: None)
    name = "truth/outcomes/experiment-launch/w000.parquet"
    assert stopped.scan([name]).collect().equals(whole.scan([name]).collect())


def test_an_experiment_with_an_unknown_recommender_is_refused_by_name():
    raw = study(STILL, RANDOM).model_dump(mode="json")
    raw["experiments"][0]["control"] = "nobody"
    with pytest.raises(UserError, match=r"'launch' names 'nobody'.*still, dice"):
        study_from(raw, source="study.toml")

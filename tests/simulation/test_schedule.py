"""When recommenders learn: by steps, by drift, never, at most so often; and learning anew."""

import numpy as np
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.interactions import Interactions
from loopaudit.simulation.platform.schedule import drift_of_topics
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study_file import study_from


def retrained(**keys):
    """Steps at whose end the target learnt."""
    drift = keys.pop("drift", 0.02)
    asked = study_from(
        {
            "study": {"steps": 20, "worlds": 1, "arms": []},
            "world": {"users": 150, "items": 80, "topics": 5},
            "people": {"drift": drift},
            "recommenders": [{"name": "ease", **keys}],
            "audit": {"sensitivity_worlds": 0},
        },
        source="test",
    )
    series = simulate(asked).series("ease", 0)
    return series.filter(series["retrained"] == 1)["step"].to_list()


def test_every_n_steps_means_at_the_end_of_every_nth():
    assert retrained(retrain_every=6) == [5, 11, 17]


def test_never_means_never():
    assert retrained(retrain_every=0) == []


def test_a_budget_ends_the_retraining():
    assert retrained(retrain_every=3, training_budget=2) == [2, 5]


def test_drift_that_cannot_be_reached_never_retrains_and_a_small_one_does():
    assert retrained(retrain_on_drift=1.0) == []
    assert len(retrained(retrain_on_drift=0.02)) > 0


def test_the_drift_of_topics_is_the_total_variation_of_equal_windows():
    topics = np.eye(2, dtype=np.float32)
    item = np.array([1] * 50 + [0] * 10 + [0] * 4 + [1] * 6, np.int32)
    n = len(item)
    log = Interactions(np.zeros(n, np.int32), item, np.arange(n), 1, 2)
    assert drift_of_topics(log, 60, topics) == pytest.approx(0.6)  # (1, 0) against (.4, .6)
    assert drift_of_topics(log, n, topics) == 0.0


def test_incremental_learning_is_refused_where_a_recommender_cannot():
    with pytest.raises(UserError, match="cannot learn incrementally"):
        retrained(retrain_mode="incremental")


def test_a_reference_is_lived_and_not_audited():
    asked = study_from(
        {
            "study": {"steps": 4, "worlds": 1, "arms": ["frozen"]},
            "world": {"users": 30, "items": 40, "topics": 4},
            "recommenders": [{"name": "ease"}, {"name": "itemknn", "role": "reference"}],
            "audit": {"sensitivity_worlds": 0},
        },
        source="test",
    )
    run = simulate(asked)
    assert run.targets == ("ease",)
    assert run.arms == ("ease", "ease-frozen", "itemknn")
    assert run.series("itemknn", 0).height == 4

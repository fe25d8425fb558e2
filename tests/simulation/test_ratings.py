"""Ratings that people give reach recommenders that declare that they learn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopaudit.recommenders.border import Capabilities, Requests, Slates
from loopaudit.recommenders.handed import heard
from loopaudit.recommenders.interactions import NOT_INTERESTED, Interactions
from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.people.feedback import Rating
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.live import begin
from loopaudit.simulation.study import Study

RATER = '''
import numpy as np
from loopaudit.recommenders.border import Capabilities, Slates


class MeanRating:
    """Lists the items rated best on average; the mean counts one rating of 3 beside the real."""

    name = "mean-rating"
    capabilities = Capabilities(update="refit", ratings=True)

    def fit(self, log, catalog, *, seed=0, progress=None):
        assert log.value is not None and np.isfinite(log.value).all()
        count = np.bincount(log.item, minlength=len(catalog)) + 1.0
        self.mean = (np.bincount(log.item, log.value, minlength=len(catalog)) + 3.0) / count

    def recommend(self, requests):
        order = np.argsort(-self.mean, kind="stable").astype(np.int32)[: requests.k]
        return Slates(np.tile(order, (len(requests), 1)))

    def state(self):
        return {"mean": self.mean}

    def load_state(self, state):
        self.mean = np.array(state["mean"])
'''


@pytest.fixture(scope="module")
def rater(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("rater") / "rater.py"
    path.write_text(RATER)
    return f"{path}:MeanRating"


class Listener:
    """Keeps every log that it is taught."""

    name = "listener"

    def __init__(self, *, ratings: bool, negatives: bool = False) -> None:
        self.capabilities = Capabilities(update="refit", ratings=ratings, negatives=negatives)
        self.logs: list[Interactions] = []

    def fit(self, log: Interactions, catalog: Any, *, seed: int = 0, progress: Any = None) -> None:
        self.logs.append(log)

    def recommend(self, requests: Requests) -> Slates:
        first = requests.users[:, None] + requests.step + np.arange(requests.k)
        return Slates((first % 40).astype(np.int32))

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to remember."""


def study(name: str = "listener", **tables: Any) -> Study:
    base: dict[str, Any] = {
        "study": {"steps": 12, "worlds": 1, "seed": 3, "arms": []},
        "world": {"users": 48, "items": 60, "topics": 4, "history": 8.0},
        "people": {"slate": 8, "repeat": True, "feedback": ["rating"], "outside_utility": 1.0},
        "recommenders": [{"name": name, "label": "listener", "retrain_every": 4}],
        "audit": {"sensitivity_worlds": 0},
    }
    for table, more in tables.items():
        base[table] = {**base[table], **more} if isinstance(more, dict) else more
    return Study.model_validate(base)


def taught(asked: Study, **says: bool) -> tuple[Run, list[Interactions]]:
    """A run, and the logs that its recommender was taught."""
    made: list[Listener] = []

    def factory() -> Listener:
        made.append(Listener(**says))
        return made[-1]

    run = simulate(asked, factories={"listener": factory})
    return run, [log for one in made for log in one.logs]


def test_what_people_rated_in_the_loop_is_what_the_recommender_is_taught() -> None:
    run, logs = taught(study(), ratings=True)
    first, *_, last = logs
    assert first.value is not None
    assert set(np.unique(first.value)) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert np.array_equal(first.value, run.history(0, target="listener").value)
    n = len(first)
    assert last.value is not None
    assert np.array_equal(last.value[:n], first.value)
    clicks = run.events("listener", 0).filter("clicked", pl.col("step") < 12).collect()
    known = list(zip(last.step[n:], last.user[n:], last.item[n:], last.value[n:], strict=True))
    rows = clicks.select("step", "user", "item", "value").rows()
    assert sorted(known) == sorted(rows)
    assert len(rows) > 100


def test_who_does_not_declare_ratings_hears_of_none_and_nothing_is_kept() -> None:
    run, logs = taught(study(), ratings=False)
    assert len(logs) == 4
    assert all(log.value is None for log in logs)
    assert run.history(0, target="listener").value is None


def test_where_nobody_rates_there_are_no_ratings() -> None:
    _, logs = taught(study(people={"feedback": []}), ratings=True)
    assert all(log.value is None for log in logs)


def test_where_some_people_rate_only_what_they_rated_is_taught() -> None:
    kinds = [
        {"label": "raters", "share": 0.5, "feedback": ["rating"]},
        {"label": "others", "share": 0.5},
    ]
    run, logs = taught(study(users=kinds), ratings=True)
    segment = run.users(0)["segment"].to_numpy()
    for log in logs:
        assert log.value is not None
        assert np.isfinite(log.value).all()
        assert (segment[log.user] == 0).all()
    assert len(logs[-1]) > len(logs[0]) > 0


def test_rejections_stand_between_ratings_for_those_that_tell_them_apart() -> None:
    asked = study(people={"feedback": ["rating", {"law": "not-interested", "rate": 0.5}]})
    _, logs = taught(asked, ratings=True, negatives=True)
    log = logs[-1]
    assert log.kind is not None
    assert log.value is not None
    rejected = log.kind == NOT_INTERESTED
    assert rejected.any()
    assert np.array_equal(np.isnan(log.value), rejected)
    assert (np.diff(log.step) >= 0).all()
    _, plain = taught(asked, ratings=True)
    assert np.array_equal(plain[-1].value, log.value[~rejected])


def test_the_past_is_rated_by_the_law_and_the_taste_that_people_start_with(rater: str) -> None:
    """McCullagh's ordered logit: the mean of stars is the mean of 1 + sum_j P(rating > j)."""
    asked = study(rater, world={"users": 600})
    world = begin(asked, 0, arms_of(asked)[0])
    assert world.platform.rated is not None
    stars, now = world.platform.rated.past, world.columns
    log = now.past
    match = np.einsum("nt,nt->n", now.initial_taste[log.user], now.features[log.item])
    worth = now.taste_scale * match + now.quality[log.item] - 1.0
    above = worth[:, None] - np.array(Rating().thresholds)
    chance = 1 / (1 + np.exp(-above))  # (rows, thresholds) of more stars than each
    expected = 1 + chance.sum(axis=1)
    error = stars.std() / np.sqrt(len(stars))
    assert len(stars) > 4000
    assert abs(stars.mean() - expected.mean()) < 4 * error
    for j in range(4):
        share = (stars > j + 1).mean()
        assert abs(share - chance[:, j].mean()) < 4 * np.sqrt(share * (1 - share) / len(stars))


def test_a_run_that_stopped_remembers_the_ratings(rater: str, tmp_path: Path, faults: Any) -> None:
    asked = study(rater, study={"steps": 24})
    simulate(asked, out=tmp_path / "whole", workers=1)
    last = faults.lasting(tmp_path / "counted", study=asked)
    for moment in (last // 2, 3 * last // 4):
        out = tmp_path / f"broken-{moment}"
        assert faults.run_until(out, moment, study=asked)
        simulate(asked, out=out, workers=1)
        assert faults.content(out) == faults.content(tmp_path / "whole")


def test_shards_teach_the_ratings_of_the_whole_world(rater: str) -> None:
    whole = simulate(study(rater, study={"block": 16}))
    parts = simulate(study(rater, study={"block": 16, "shards": 3}))
    one, two = (
        run.events("listener", 0).select("step", "user", "item", "value").collect()
        for run in (whole, parts)
    )
    assert one.sort("step", "user", maintain_order=True).equals(
        two.sort("step", "user", maintain_order=True)
    )
    assert one["item"].n_unique() > 8  # it learnt in between


def test_a_probe_teaches_again_what_the_loop_taught(rater: str) -> None:
    run = simulate(study(rater))
    guard = run.create("listener")
    guard.fit(run.history(0, target="listener"), run.catalog(0).public())
    entered = run.recommender("listener", 0).recommender
    assert np.array_equal(guard.recommender.mean, entered.mean)


def test_outside_the_loop_ratings_are_handed_on_as_they_are() -> None:
    rows = np.arange(3, dtype=np.int32)
    stars = np.array([1, np.nan, 5], np.float32)
    log = Interactions(rows, rows, rows.astype(np.int64), 3, 3, stars)
    kept, since = heard(log, Capabilities(), 2)
    assert kept.value is stars
    assert since == 2
    rated, since = heard(log, Capabilities(ratings=True), 2, in_loop=True)
    assert rated.item.tolist() == [0, 2]
    assert since == 1
    assert heard(log, Capabilities(), 2, in_loop=True)[0].value is None

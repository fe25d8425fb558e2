"""The proofs the design rests on: common random numbers, blocks, workers, resume, refusal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.record.manifest import read_manifest, write_manifest
from loopaudit.simulation.record.store import DiskStore
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study
from loopaudit.simulation.world import World


def small(*recommenders, steps=12, worlds=2, **tables) -> Study:
    return Study.model_validate(
        {
            "study": {"steps": steps, "worlds": worlds, "seed": 3, **tables.pop("study", {})},
            "world": {"users": 40, "items": 60, "topics": 5, "history": 8.0},
            "recommenders": [
                r if isinstance(r, dict) else {"name": r, "retrain_every": 4} for r in recommenders
            ],
            "audit": {"sensitivity_worlds": 1, **tables.pop("audit", {})},
        }
    )


SEED_5 = Study.model_validate({"study": {"seed": 5}})


def content(root: Path) -> dict[str, bytes]:
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def same_log(run: Run, a: str, b: str) -> None:
    for world in range(run.worlds):
        left = run.events(a, world).drop("shown_by").collect()
        right = run.events(b, world).drop("shown_by").collect()
        assert left.equals(right)


@pytest.mark.parametrize("name", ["random", "ease", "popularity"])
def test_two_arms_with_identical_recommenders_leave_identical_logs(name):
    run = simulate(
        small(
            {"name": name, "label": "first", "retrain_every": 4},
            {"name": name, "label": "second", "retrain_every": 4},
        )
    )
    same_log(run, "first", "second")


def test_a_target_that_is_the_random_arm_leaves_the_random_arms_log():
    run = simulate(small({"name": "random", "label": "target"}))
    same_log(run, "target", "random")


def test_other_luck_gives_another_log():
    run = simulate(small({"name": "random", "label": "target", "args": {"seed": 9}}))
    assert not run.events("target", 0).collect().equals(run.events("random", 0).collect())


def test_the_frozen_arm_equals_the_target_until_the_first_retraining_and_not_after():
    run = simulate(small("ease"))
    early = pl.col("step") < 4
    for world in range(run.worlds):
        target, frozen = run.events("ease", world), run.events("ease-frozen", world)
        assert target.filter(early).collect().equals(frozen.filter(early).collect())
        assert not target.collect().equals(frozen.collect())


def test_the_same_people_are_active_in_every_arm():
    run = simulate(small("ease"))
    active = [
        run.events(arm, 0).select("step", "user").unique().sort("step", "user").collect()
        for arm in ("ease", "random", "popularity", "none")
    ]
    assert all(a.equals(active[0]) for a in active)


def test_any_number_of_cohorts_gives_the_same_world():
    worlds = [World(SEED_5, cohorts=n) for n in (1, 3, 17)]
    for world in worlds:
        for _ in range(5):
            world.step()
    for world in worlds[1:]:
        assert world.columns.taste.tobytes() == worlds[0].columns.taste.tobytes()
        assert world.columns.satiation.tobytes() == worlds[0].columns.satiation.tobytes()
        assert world.measures.current == worlds[0].measures.current


def test_worlds_differ_and_a_world_is_its_seed():
    first, again, other = (World(SEED_5, index=i).columns.past.item for i in (0, 0, 1))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_nobody_is_shown_what_they_already_consumed():
    run = simulate(small("ease"))
    seen = {(u, i) for u, i in zip(run.history(0).user, run.history(0).item, strict=True)}
    for step, user, item, clicked in (
        run.events("ease", 0).select("step", "user", "item", "clicked").collect().iter_rows()
    ):
        assert (user, item) not in seen, f"step {step}"
        if clicked:
            seen.add((user, item))


def test_the_log_and_the_outcomes_agree():
    run = simulate(small("ease"))
    clicks = run.events("ease", 1).filter("clicked").collect()
    assert clicks.group_by("step", "user").len()["len"].max() == 1
    assert len(clicks) == run.outcomes("ease", 1)["clicks"].sum()
    taste = run.outcomes("ease", 1)["taste_end"].to_numpy()
    start = run.users(1)["taste"].to_numpy()
    shift = 0.5 * np.abs(taste - start).sum(axis=1)
    assert run.series("ease", 1)["taste_shift"][-1] == pytest.approx(shift.mean(), rel=1e-5)


@pytest.mark.slow
def test_any_number_of_workers_leaves_byte_identical_directories(tmp_path):
    study = small("ease", "multvae", worlds=3)
    simulate(study, out=tmp_path / "one", workers=1)
    simulate(study, out=tmp_path / "two", workers=2)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


KILLED = """
import sys
from pathlib import Path
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study
simulate(Study.model_validate_json(sys.argv[1]), out=Path(sys.argv[2]), workers=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(4))
def test_a_killed_run_resumed_is_byte_identical_to_an_uninterrupted_one(tmp_path, trial):
    study = small("multvae", "random", steps=34, worlds=2)
    simulate(study, out=tmp_path / "whole", workers=1)
    rng = np.random.default_rng(100 + trial)
    out = tmp_path / "killed"
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, study.model_dump_json(), str(out)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        started = time.monotonic()
        while not list(out.glob("events/*/*/part-*")) and time.monotonic() - started < 60:
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 1.0)))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills, "the run was over before it could be killed"
    simulate(study, out=out, workers=1)
    whole, killed = content(tmp_path / "whole"), content(out)
    assert whole.keys() == killed.keys()
    assert [name for name in whole if whole[name] != killed[name]] == []


def test_an_unfinished_directory_is_never_read_as_finished(tmp_path):
    simulate(small("random"), out=tmp_path / "run", workers=1)
    held = read_manifest(tmp_path / "run")
    write_manifest(DiskStore(tmp_path / "run"), {**held, "finished": False})
    with pytest.raises(UserError, match="is unfinished; run `loopaudit simulate"):
        Run.open(tmp_path / "run")


def test_a_damaged_file_is_named(tmp_path):
    simulate(small("random"), out=tmp_path / "run", workers=1)
    part = tmp_path / "run" / "events" / "random" / "w000" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-7] + b"garbage")
    with pytest.raises(UserError, match=r"damaged: events/random/w000/part-00000\.parquet"):
        Run.open(tmp_path / "run")


def test_another_studys_directory_is_refused_with_the_key_that_differs(tmp_path):
    simulate(small("random"), out=tmp_path / "run", workers=1)
    with pytest.raises(UserError, match=r"\[study\] steps is 12 there, 13 here"):
        simulate(small("random", steps=13), out=tmp_path / "run", workers=1)


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(UserError, match=r"not empty.*photo\.jpg"):
        simulate(small("random"), out=tmp_path, workers=1)


def test_a_file_beside_the_directory_does_not_matter(tmp_path):
    """As in ``loopaudit simulate study.toml --out run > run.log``."""
    (tmp_path / "run.log").write_text("begun")
    assert simulate(small("popularity"), out=tmp_path / "run").worlds > 0


def test_two_processes_cannot_write_one_directory(tmp_path):
    from loopaudit.simulation.record.store import Lock

    with (
        Lock(tmp_path / "run"),
        pytest.raises(UserError, match="being written by another process"),
    ):
        simulate(small("random"), out=tmp_path / "run", workers=1)


class Hostile:
    """Raises, returns rubbish, then nothing: none of it may stop a run."""

    name = "hostile"
    capabilities = Capabilities()

    def __init__(self):
        self.calls = 0

    def recommend(self, requests):
        self.calls += 1
        n, k = len(requests), requests.k
        if self.calls % 4 == 1:
            raise ValueError("<script>alert(1)</script>")
        if self.calls % 4 == 2:
            return Slates(np.full((n, k), 10_000, np.int32))
        if self.calls % 4 == 3:
            return "not slates"
        return Slates(np.zeros((n, k), np.int32))


def test_a_hostile_recommender_does_not_stop_a_run_and_is_counted():
    study = small({"name": "hostile"}, study={"arms": ["random"]})
    run = simulate(study, factories={"hostile": Hostile})
    counts = run.faults("hostile")["counts"]
    assert counts["raised"] > 0
    assert counts["unknown_item"] > 0
    assert counts["not_slates"] > 0
    assert run.series("hostile", 0).height == 12


def test_a_study_without_recommenders_says_what_to_add():
    with pytest.raises(UserError, match=r"add \[\[recommenders\]\]"):
        simulate(Study())


def test_sensitivity_runs_share_people_and_differ_in_behaviour():
    run = simulate(small("ease"))
    other = run.sensitivity["curious"]
    assert other.worlds == 1
    assert set(other.arms) == {"ease", "random", "none"}
    assert not other.events("ease", 0).collect().equals(run.events("ease", 0).collect())
    assert other.users(0).equals(run.users(0))


def test_the_shuffled_arm_shows_the_targets_items_in_another_order():
    run = simulate(small("ease", study={"arms": ["shuffled"]}))
    first = pl.col("step") == 0
    target, shuffled = (
        run.events(arm, 0).filter(first).select("user", "position", "item").collect()
        for arm in ("ease", "ease-shuffled")
    )
    assert not target.equals(shuffled)
    sets = [
        frame.group_by("user").agg(pl.col("item").sort()).sort("user")
        for frame in (target, shuffled)
    ]
    assert sets[0].equals(sets[1])
    same_place = (target["item"] == shuffled["item"]).mean()
    assert same_place == pytest.approx(0.1, abs=0.08)  # one in ten by chance


def test_nobody_is_served_better_than_by_the_oracle():
    run = simulate(small("ease", study={"arms": ["random", "none", "oracle"]}))
    utility = {arm: run.series(arm, 0)["slate_utility"][0] for arm in run.arms}
    assert max(utility, key=utility.get) == "oracle"


def test_a_label_that_is_another_arms_name_is_refused():
    with pytest.raises(ValueError, match="'ease-frozen' is the name of an arm"):
        small("ease", {"name": "random", "label": "ease-frozen"})


def test_a_small_table_of_a_run_is_read_once_and_belongs_to_who_asked(tmp_path):
    run = simulate(small("ease", worlds=1), out=tmp_path / "run", workers=1)
    people = run.users(0)
    for file in (tmp_path / "run").rglob("*.parquet"):
        file.unlink()
    people.insert_column(0, pl.Series("mine", people["user"]))
    again = run.users(0)  # from memory: the files are gone
    assert "mine" not in again.columns
    assert again.equals(people.drop("mine"))

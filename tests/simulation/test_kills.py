"""A run that is killed, whenever, goes on to the bytes of an uninterrupted one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.record.journal import file_sha256, replay
from loopaudit.simulation.record.store import DiskStore, Lock, being_written, working_for
from loopaudit.simulation.runner import simulate


def test_a_tiny_run_is_killed_at_every_kind_of_moment(lasting: int) -> None:
    """Three for each file (it, its journal line, its rename), two for each removal."""
    assert lasting > 100


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_any_moment_a_run_goes_on_to_the_same_bytes(
    faults: Any, whole: Path, lasting: int, tmp_path: Path, torn: bool
) -> None:
    expected = faults.content(whole)
    for moment in range(torn, lasting, 13 if torn else 7):
        out = tmp_path / str(moment)
        assert faults.run_until(out, moment, torn=torn)
        simulate(faults.tiny(), out=out, workers=1)
        assert faults.content(out) == expected, moment
        shutil.rmtree(out)


@pytest.mark.parametrize("moments", [(3, 9, 40, 41, 7), (30, 2, 2, 2, 60), (110, 1, 5, 8, 4)])
def test_killed_again_and_again_a_run_goes_on_to_the_same_bytes(
    faults: Any, whole: Path, tmp_path: Path, moments: tuple[int, ...]
) -> None:
    for number, moment in enumerate(moments):
        faults.run_until(tmp_path / "run", moment, torn=number % 2 == 0)
    simulate(faults.tiny(), out=tmp_path / "run", workers=1)
    assert faults.content(tmp_path / "run") == faults.content(whole)


SUICIDE = """
import os, signal, sys
from pathlib import Path
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study
left, name = int(sys.argv[3]), sys.argv[4]
replace = os.replace
def dying(source, target, **more):
    global left
    left -= name in str(target)
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target, **more)
os.replace = dying
simulate(Study.model_validate_json(sys.argv[1]), out=Path(sys.argv[2]), workers=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "name"),
    [(0, "manifest.json"), (1, "manifest.json"), (0, "checkpoint.npz"), (2, "checkpoint.npz")],
)
def test_sigkill_while_a_checkpoint_or_the_manifest_is_written(
    faults: Any, whole: Path, tmp_path: Path, times: int, name: str
) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        SUICIDE,
        faults.tiny().model_dump_json(),
        str(out),
        str(times),
        name,
    ]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(out.rglob(".*.tmp"))  # what it was writing
    simulate(faults.tiny(), out=out, workers=1)
    assert faults.content(out) == faults.content(whole)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 2])
def test_workers_end_with_a_killed_parent_and_the_run_goes_on_at_once(
    faults: Any, tmp_path: Path, shards: int
) -> None:
    """Nobody writes behind the back of the process that goes on."""
    sizes = {"steps": 60, "worlds": 2, "block": 16, "shards": shards}
    study = faults.tiny(study={**faults.study, **sizes}, world={"users": 40, "items": 50})
    out = tmp_path / "run"
    code = (
        "import sys; from pathlib import Path; from loopaudit.simulation.study import Study;"
        "from loopaudit.simulation.runner import simulate;"
        "simulate(Study.model_validate_json(sys.argv[1]), out=Path(sys.argv[2]), workers=2)"
    )
    command = [sys.executable, "-c", code, study.model_dump_json(), str(out)]
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(out.glob("events/*/*/*.parquet")):
        assert parent.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    simulate(study, out=out, workers=1)
    simulate(study, out=tmp_path / "whole", workers=1)
    assert faults.content(out) == faults.content(tmp_path / "whole")


def test_a_directory_stays_locked_while_workers_of_a_killed_process_write(tmp_path: Path) -> None:
    with Lock(tmp_path / "run"):
        pass
    (tmp_path / "run").mkdir()
    with working_for(tmp_path / "run"):
        assert being_written(tmp_path / "run")
        with pytest.raises(UserError, match="is being written by another process"):
            Lock(tmp_path / "run").__enter__()
    with Lock(tmp_path / "run"):
        assert being_written(tmp_path / "run")
    assert not being_written(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


EASE = [{"name": "ease", "retrain_every": 6}]
CROWDED: dict[str, Any] = {
    "supply": {
        **{"release": 2, "every": 3, "creators": 5, "follow": 0.05, "fresh_slots": 2},
        **{"allot": "viability", "leave_below": 0.8, "patience": 3, "take_along": True},
        **{"enter": 0.5, "lifetime": 15.0, "awareness_half_life": 5.0, "appeal_half_life": 6.0},
    },
    "generators": {"rate": 2.0, "copy_of": 5},
    "staying": {
        **{"arrive": 0.4, "arrive_rate": 0.1, "week": [1.0, 0.5, 0.2], "burst": 0.5},
        **{"budget": 5, "period": 8, "leave": 0.2, "come_back": 0.2, "return_slope": 0.5},
    },
    "society": {
        "graph": {"form": "small-world", "friends": 4},
        **{"rewiring": 0.2, "tolerance": 0.3, "share": 0.5, "friend_slots": 2},
    },
    "people": {"feedback": ["rating", "dwell", "not-interested"]},
}
STUDIES: dict[str, dict[str, Any]] = {
    "everything that happens to people and items": CROWDED,
    "vectors that turn": {"world": {"dim": 8}, "people": {"change": ["slerp", "repulsion"]}},
    "moods": {"people": {"change": ["hedonic-adaptation", "satisfaction", "boredom"]}},
    "several kinds of people": {
        "users": [
            {"model": "curious", "share": 0.5, "choice": "cascade"},
            {"model": "impressionable", "share": 0.5, "persistence": 0.3, "fading": 0.5},
        ]
    },
    "a model that learns on": {
        "recommenders": [{"name": "multvae", "retrain_every": 5, "retrain_mode": "incremental"}]
    },
    "training on drift within a budget": {
        "recommenders": [
            {"name": "ease", "retrain_every": 3, "retrain_on_drift": 0.05, "training_budget": 3}
        ]
    },
    "shards": {"study": {"block": 16, "shards": 2}, "world": {"users": 40}},
    "all arms": {"study": {"arms": ["random", "popularity", "none", "shuffled", "oracle"]}},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", STUDIES)
def test_whatever_is_in_a_study_goes_on_to_the_same_bytes(
    faults: Any, tmp_path: Path, what: str
) -> None:
    """Every state that lives from one step to the next is in the checkpoint."""
    tables: dict[str, Any] = {
        "study": {"steps": 24, "worlds": 1, "seed": 3, "arms": ["frozen"]},
        "world": {"users": 30, "items": 50, "topics": 4, "history": 6.0},
        "audit": {"sensitivity_worlds": 0},
        "recommenders": EASE,
    }
    for name, table in STUDIES[what].items():
        tables[name] = {**tables.get(name, {}), **table} if isinstance(table, dict) else table
    study = faults.tiny(**tables)
    moments = faults.lasting(tmp_path / "whole", study=study)
    expected = faults.content(tmp_path / "whole")
    stopped_with_a_checkpoint = 0
    for moment in (moments // 3, 3 * moments // 5):
        out = tmp_path / str(moment)
        assert faults.run_until(out, moment, study=study)
        stopped_with_a_checkpoint += len(faults.checkpoints(out))
        simulate(study, out=out, workers=1)
        assert faults.content(out) == expected
    assert stopped_with_a_checkpoint


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_what_one_writer_put_and_another_removed_is_known_in_any_order(
    tmp_path: Path, names: str
) -> None:
    """As shards put checkpoints that their driver removes, or begin again what it had removed."""
    shard, driver = (DiskStore(tmp_path, writer=name) for name in names)
    shard.put_json("state/kept.json", 1)
    driver.remove("state/kept.json")
    shard.put_json("state/other.json", 2)
    assert set(replay(tmp_path, {}, session=0)) == {"state/other.json"}
    driver.remove("state/other.json")
    shard.put_json("state/other.json", 3)  # the removal is still the other's last word
    found = replay(tmp_path, {}, session=0)
    assert found == {"state/other.json": file_sha256(tmp_path / "state/other.json")}
    assert (tmp_path / "state/other.json").read_text() == "3\n"

"""The same bytes wherever a study is lived: here, in processes, on a Ray cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.executors import Task, stages
from loopaudit.simulation.study import Study


def study(worlds: int = 2) -> Study:
    return Study.model_validate(
        {
            "study": {"steps": 12, "worlds": worlds, "seed": 3},
            "world": {"users": 40, "items": 60, "topics": 5, "history": 8.0},
            "recommenders": [
                {"name": "ease", "retrain_every": 4},
                {"name": "itemknn", "retrain_every": 4},
            ],
            "experiments": [{"name": "ab", "treatment": "ease", "control": "itemknn"}],
            "audit": {"sensitivity_worlds": 1},
        }
    )


def content(root: Path) -> dict[str, bytes]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def same(one: Path, two: Path) -> None:
    a, b = content(one), content(two)
    assert a.keys() == b.keys()
    assert [name for name in a if a[name] != b[name]] == []


def test_worlds_come_first_and_arms_that_share_a_fit_stay_together():
    first, second = stages(study())
    assert first == [Task(0, ""), Task(1, "")]
    groups = [task.group for task in second if task.world == 0]
    assert groups == ["ease", "itemknn", "experiment-ab", "random", "popularity", "none"]


def test_an_executor_nobody_knows_is_refused(tmp_path):
    command = ["simulate", "study.toml", "--executor", "rya"]
    (tmp_path / "study.toml").write_text('[[recommenders]]\nname = "ease"\n')
    done = subprocess.run(
        [sys.executable, "-m", "loopaudit", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "did you mean" in done.stderr.lower()
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_processes_and_one_process_leave_the_same_bytes(tmp_path):
    simulate(study(), out=tmp_path / "serial", executor="serial")
    simulate(study(), out=tmp_path / "processes", workers=2)
    same(tmp_path / "serial", tmp_path / "processes")


ON_A_CLUSTER = """
import sys
from pathlib import Path
from ray.cluster_utils import Cluster
import os
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
os.environ["RAY_ADDRESS"] = cluster.address
told = []
try:
    run = simulate(
        Study.model_validate_json(sys.argv[1]),
        out=Path(sys.argv[2]),
        executor="ray",
        progress=lambda done, total, what: told.append((done, total)),
    )
finally:
    cluster.shutdown()
print(run.worlds, told[-1][0] == told[-1][1])
"""


@pytest.mark.slow
def test_a_ray_cluster_of_two_workers_leaves_the_same_bytes_as_one_process(tmp_path):
    pytest.importorskip("ray", reason="the executor 'ray' needs the extra ray")
    simulate(study(), out=tmp_path / "serial", executor="serial")
    done = subprocess.run(
        [sys.executable, "-c", ON_A_CLUSTER, study().model_dump_json(), str(tmp_path / "ray")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-2:] == ["2", "True"]
    same(tmp_path / "serial", tmp_path / "ray")


def test_without_ray_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'loopaudit\[ray\]'"):
        simulate(study(1), out=tmp_path / "run", executor="ray")

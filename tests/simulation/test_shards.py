"""A world in shards is the undivided world: same people, same series, whoever lives it."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.shards import ShardedArm, part_of, shard_rows
from loopaudit.simulation.study_file import study_from
from loopaudit.simulation.world import origin

FRIENDS = {"friend_slots": 0, "opinions": "uniform", "graph": {"form": "small-world"}}


COMING = {"arrive": 0.3, "leave": 0.05, "come_back": 0.2, "burst": 0.4, "budget": 9}


def study(shards, *, steps=13, dim=0, society=None, staying=None, **people):
    tables = {} if society is None else {"society": society}
    tables |= {} if staying is None else {"staying": staying}
    return study_from(
        {
            **tables,
            "study": {"steps": steps, "worlds": 1, "seed": 3, "block": 20, "shards": shards},
            "world": {"users": 110, "items": 60, "topics": 5, "history": 8.0, "dim": dim},
            "people": people,
            "recommenders": [{"name": "ease", "retrain_every": 4}],
            "audit": {"sensitivity_worlds": 1},
        },
        source="test",
    )


def content(root: Path) -> dict[str, bytes]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def test_shards_are_whole_blocks_and_cover_everybody():
    rows = shard_rows(110, shards=3, block=20)
    assert rows[0][0] == 0
    assert rows[-1][1] == 110
    assert all(a[1] == b[0] and b[0] % 20 == 0 for a, b in pairwise(rows))
    assert shard_rows(110, shards=1, block=20) == [(0, 110)]


def test_more_shards_than_blocks_are_refused_with_the_cure():
    with pytest.raises(UserError, match=r"shards to at most 6, or block to 16"):
        shard_rows(110, shards=7, block=20)


def test_a_part_of_a_market_knows_its_own_people_and_keeps_everybodys_index():
    start = origin(study(1).world, 3, 0)
    part = part_of(start, 20, 60)
    assert (part.taste[20:60] == start.taste[20:60]).all()
    assert not part.taste[:20].any()
    assert set(np.unique(part.log.user)) <= set(range(20, 60))
    assert part.log.n_users == start.log.n_users


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"choice": "cascade"},
        {"dim": 6, "drift": 0.1},
        {"society": FRIENDS},
        {"staying": COMING},
    ],
)
def test_any_number_of_shards_gives_the_undivided_world(options):
    whole = simulate(study(1, **options))
    for shards in (2, 5):
        run = simulate(study(shards, **options))
        for arm in whole.arms:
            assert run.series(arm, 0).equals(whole.series(arm, 0)), arm
            assert run.outcomes(arm, 0).equals(whole.outcomes(arm, 0)), arm
            order = ["step", "user", "position"]
            logs = [one.events(arm, 0).collect().sort(order) for one in (run, whole)]
            assert logs[0].equals(logs[1]), arm
        assert run.faults("ease") == whole.faults("ease")


@pytest.mark.slow
def test_processes_leave_the_bytes_of_one_process(tmp_path):
    asked = study(3, society=FRIENDS)
    simulate(asked, out=tmp_path / "serial", executor="serial")
    simulate(asked, out=tmp_path / "processes", workers=2)
    one, two = content(tmp_path / "serial"), content(tmp_path / "processes")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


class _Killed(Exception):
    pass


@pytest.mark.parametrize("tables", [{"society": FRIENDS}, {"staying": COMING}], ids=str)
def test_a_sharded_run_that_stopped_goes_on_to_the_same_bytes(tmp_path, tables):
    asked = study(3, steps=34, **tables)
    simulate(asked, out=tmp_path / "whole", executor="serial")

    def stop(done, total, what):
        stop.calls += 1
        if stop.calls > 27:
            raise _Killed

    stop.calls = 0
    with pytest.raises(_Killed):
        simulate(asked, out=tmp_path / "stopped", executor="serial", progress=stop)
    assert list((tmp_path / "stopped").rglob("checkpoint*"))
    simulate(asked, out=tmp_path / "stopped", executor="serial")
    one, two = content(tmp_path / "whole"), content(tmp_path / "stopped")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_a_step_exchanges_counts_and_clicks_not_people():
    """Per step and shard: 4 + 1 + 4 bytes a click, 8 an item, and sums; nothing a person."""
    asked = study(2)
    simulate(asked)
    told = []

    class Told(ShardedArm):
        def write_end(self, world):
            told.append((self.sent, self.received))

    from loopaudit.simulation.live import live_world
    from loopaudit.simulation.store import MemoryStore
    from loopaudit.simulation.teams import team_of

    def lived_by(*parts):
        return Told(*parts, whole=asked, team=team_of("serial", 1))

    store = MemoryStore()
    live_world(asked, 0, store, {}, lambda steps, what: None, group="random", lived_by=lived_by)
    clicks = store.scan(
        ["truth/outcomes/random/w000-s000.parquet", "truth/outcomes/random/w000-s001.parquet"]
    ).collect()["clicks"]
    blocks, means, items = 6, 8, 60
    expected = 9 * clicks.sum() + 13 * (2 * items * 8 + blocks * means * 2 * 8)
    assert told[0][1] == expected


def test_only_opinions_of_the_border_are_sent_to_a_shard():
    from loopaudit.simulation.shards import Shard, Spec
    from loopaudit.simulation.store import MemoryStore

    asked = study(2, society=FRIENDS)
    spec = Spec(asked.model_dump_json(), "", 0, "random", 0, (0, 60), "")
    shard = Shard(spec, MemoryStore())
    border = shard.border()
    assert 0 < len(border) < 50
    assert (border >= 60).all()


def test_what_people_share_is_refused():
    raw = study(2).model_dump(mode="json")
    with pytest.raises(UserError, match=r"shards = 2: \[staying\] with \[society\] needs all"):
        simulate(study_from({**raw, "staying": {}, "society": FRIENDS}, source="test"))
    raw["people"]["feedback"] = ["not-interested"]
    with pytest.raises(UserError, match="not-interested needs all people"):
        simulate(study_from(raw, source="test"))


ON_A_CLUSTER = """
import os, sys
from pathlib import Path
from ray.cluster_utils import Cluster
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=2)
os.environ["RAY_ADDRESS"] = cluster.address
try:
    simulate(Study.model_validate_json(sys.argv[1]), out=Path(sys.argv[2]), executor="ray")
finally:
    cluster.shutdown()
"""


@pytest.mark.slow
def test_actors_of_a_ray_cluster_leave_the_bytes_of_one_process(tmp_path):
    pytest.importorskip("ray", reason="the executor 'ray' needs the extra ray")
    asked = study(3, steps=6)
    simulate(asked, out=tmp_path / "serial", executor="serial")
    command = [sys.executable, "-c", ON_A_CLUSTER, asked.model_dump_json(), str(tmp_path / "ray")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = content(tmp_path / "serial"), content(tmp_path / "ray")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert json.loads(one["manifest.json"])["finished"]

"""A world in shards is the undivided world: same people, same series, whoever lives it."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.arms import arms_of
from loopaudit.simulation.record.store import MemoryStore
from loopaudit.simulation.runner import check_study, simulate
from loopaudit.simulation.running.driver import ShardedArm
from loopaudit.simulation.running.live import live_world
from loopaudit.simulation.running.shards import part_of, shard_rows
from loopaudit.simulation.running.teams import team_of
from loopaudit.simulation.study_file import study_from
from loopaudit.simulation.world import origin

COMING = {"arrive": 0.3, "leave": 0.05, "come_back": 0.2, "burst": 0.4, "budget": 9}
FRIENDS = {"friend_slots": 2, "share": 0.3, "rewiring": 0.5, "tolerance": 0.3}
PAST = {"opinions": "past", "graph": {"form": "alike", "friends": 4}}

PEOPLE_MEET: dict[str, Any] = {
    "society": {**FRIENDS, **PAST, "tolerance": 0.05},
    "staying": COMING,
    "people": {"choice": "several", "feedback": ["not-interested"]},
}
SUPPLY: dict[str, Any] = {
    "supply": {
        "every": 2,
        "allot": "viability",
        "leave_below": 0.3,
        "patience": 2,
        "enter": 0.5,
        "take_along": True,
        "lifetime": 30.0,
        "awareness_half_life": 5.0,
        "appeal_half_life": 9.0,
        "fresh_slots": 2,
    },
    "generators": {"rate": 2.5},
}
ATTACKED: dict[str, Any] = {
    **SUPPLY,
    "world": {"dim": 6},
    "adversaries": [
        {"name": "new", "new_item": True, "probe_every": 2},
        {"name": "old", "kind": "segment", "probe_every": 3},
    ],
}
EVERYTHING = {**PEOPLE_MEET, **ATTACKED}


def study(shards, *, steps=13, arms=(), retrain_every=4, people=None, world=None, **tables):
    sizes = {"users": 110, "items": 60, "topics": 5, "history": 8.0}
    return study_from(
        {
            "study": {
                "steps": steps,
                "worlds": 1,
                "seed": 3,
                "block": 20,
                "shards": shards,
                "arms": list(arms),
            },
            "world": {**sizes, **(world or {})},
            "people": people or {},
            "recommenders": [{"name": "tfidf", "retrain_every": retrain_every}],
            "audit": {"sensitivity_worlds": 0},
            **tables,
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
    "tables",
    [
        {"arms": ["random", "none"], "people": {"choice": "cascade"}},
        {"world": {"dim": 6}, "people": {"drift": 0.1}},
        PEOPLE_MEET,
        SUPPLY,
        ATTACKED,
        {"users": [{"share": 0.3, "persons": "scripted"}, {"share": 0.7, "model": "curious"}]},
    ],
    ids=["plain", "vectors", "people-meet", "supply", "attacked", "persons"],
)
def test_any_number_of_shards_gives_the_undivided_world(tables):
    whole = simulate(study(1, **tables))
    for shards in (2, 3):
        run = simulate(study(shards, **tables))
        for arm in whole.arms:
            assert run.series(arm, 0).equals(whole.series(arm, 0)), arm
            assert run.outcomes(arm, 0).equals(whole.outcomes(arm, 0)), arm
            assert run.end(arm, 0).equals(whole.end(arm, 0)), arm
            assert run.supply(arm, 0).equals(whole.supply(arm, 0)), arm
            order = ["step", "user", "position"]
            logs = [one.events(arm, 0).collect().sort(order) for one in (run, whole)]
            assert logs[0].equals(logs[1]), arm
        assert run.faults("tfidf") == whole.faults("tfidf")


def test_who_hears_whom_one_way_is_the_same_in_shards(tmp_path):
    """A file of links that need not go both ways: whom a shard hears is not who hears it."""
    rng = np.random.default_rng(5)
    ends = [f"user-{a:05d},user-{b:05d}" for a, b in rng.integers(0, 110, (300, 2))]
    (tmp_path / "links.csv").write_text("\n".join(["one,other", *ends]))
    graph = {"form": "file", "path": str(tmp_path / "links.csv"), "directed": True}
    society = {"friend_slots": 1, "share": 0.3, "graph": graph, "influence": "deffuant"}
    whole, run = (simulate(study(shards, society=society)) for shards in (1, 3))
    assert whole.series("tfidf", 0)["friend_clicks"].mean() > 0.01
    assert run.series("tfidf", 0).equals(whole.series("tfidf", 0))
    assert run.end("tfidf", 0).equals(whole.end("tfidf", 0))


def test_in_these_worlds_there_is_something_to_exchange():
    """Else the same bytes would say nothing."""
    from loopaudit.simulation.running.live import begin

    told = simulate(study(2, **PEOPLE_MEET)).series("tfidf", 0)
    assert told["friend_clicks"].mean() > 0.01
    assert told["left"].sum() > 5
    world = begin(study(1, **PEOPLE_MEET), 0, arms_of(study(1))[0])
    before = world.processes[1].graph
    for _ in range(6):
        world.step()
    assert len(world.platform.rejections) > 5
    assert (before != world.processes[1].graph).nnz > 20
    end = simulate(study(2, **ATTACKED))
    supply = end.supply("tfidf", 0)
    assert (supply["born"] > 0).sum() > 20
    assert (~supply["available"]).sum() > 5
    series = end.series("tfidf", 0)
    for name in ("new_hr50", "old_percentile_shift", "ai_click_share"):
        assert series[name].is_not_nan().any(), name


@pytest.mark.slow
def test_processes_leave_the_bytes_of_one_process(tmp_path):
    asked = study(3, **EVERYTHING)
    simulate(asked, out=tmp_path / "serial", executor="serial")
    simulate(asked, out=tmp_path / "processes", workers=2)
    one, two = content(tmp_path / "serial"), content(tmp_path / "processes")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


class _Killed(Exception):
    pass


def test_a_sharded_run_that_stopped_goes_on_to_the_same_bytes(tmp_path):
    asked = study(3, steps=24, **EVERYTHING)
    simulate(asked, out=tmp_path / "whole", executor="serial")

    def stop(done, total, what):
        stop.calls += 1
        if stop.calls > 17:
            raise _Killed

    stop.calls = 0
    with pytest.raises(_Killed):
        simulate(asked, out=tmp_path / "stopped", executor="serial", progress=stop)
    assert list((tmp_path / "stopped").rglob("checkpoint*"))
    simulate(asked, out=tmp_path / "stopped", executor="serial")
    one, two = content(tmp_path / "whole"), content(tmp_path / "stopped")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def exchanged(asked) -> tuple[MemoryStore, int, int]:
    """What an arm left, and the bytes sent to its shards and received from them."""
    told = []

    class Told(ShardedArm):
        def write_end(self, world):
            told.append((self.sent, self.received))
            super().write_end(world)

    def lived_by(*parts):
        return Told(*parts, whole=asked, team=team_of("serial", 1))

    store = MemoryStore()
    live_world(asked, 0, store, {}, lambda steps, what: None, group="random", lived_by=lived_by)
    return store, *told[0]


def test_a_step_exchanges_counts_and_clicks_not_people():
    """Per step and shard: 4 + 1 + 4 bytes a click, 8 an item, and sums; nothing a person."""
    store, _, received = exchanged(study(2, arms=["random"]))
    clicks = store.scan(
        ["truth/outcomes/random/w000-s000.parquet", "truth/outcomes/random/w000-s001.parquet"]
    ).collect()["clicks"]
    blocks, means, items = 6, 8, 60
    assert received == 9 * clicks.sum() + 13 * (2 * items * 8 + blocks * means * 2 * 8)


def test_of_supply_only_what_enters_leaves_or_ages_is_sent_to_shards():
    """Items are sent once, as rows of some hundred bytes; nothing of clicks and people is."""
    still, aged = {"every": 3, "follow": 0.0}, {"every": 3, "awareness_half_life": 5.0}
    store, sent, _ = exchanged(study(2, arms=["random"], supply=still))
    entered = (
        store.scan(["truth/catalogs/random/w000.parquet"]).collect().filter(pl.col("born") > 0)
    )
    assert len(entered) > 10
    assert 0 < sent < 2 * 400 * len(entered)
    assert exchanged(study(2, arms=["random"], supply=aged))[1] > sent + 2 * 12 * 4 * 60


def test_only_the_border_of_a_shard_is_told_to_it():
    """What those think and share whom its people hear, and links that moved to or from it."""
    from loopaudit.simulation.running.shards import Shard, Spec

    asked = study(2, society=FRIENDS)
    rows = [slice(0, 60), slice(60, 110)]
    shards = [
        Shard(
            Spec(asked.model_dump_json(), "", 0, "tfidf", n, (r.start, r.stop), ""), MemoryStore()
        )
        for n, r in enumerate(rows)
    ]
    borders = [shard.world.processes[0].border for shard in shards]
    assert 0 < len(borders[0]) < 50
    assert (borders[0] >= 60).all()
    driver = ShardedArm(
        asked, 0, arms_of(asked)[0], MemoryStore(), "", {}, {}, lambda steps, what: None,
        whole=asked, team=team_of("serial", 1),
    ).start()  # fmt: skip
    society = driver.processes[0]
    shares = {"share_user": np.arange(110, dtype=np.int32), "share_item": np.zeros(110, np.int32)}
    traits = ("opinion", "misinformed", "false_seen")
    told = [{n: driver.columns.traits[n][r] for n in traits} for r in rows]
    nothing = {name: column[:0] for name, column in shares.items()}
    counts = {"counts": np.zeros(3, np.int64)}
    society.gather([{**told[0], **shares, **counts}, {**told[1], **nothing, **counts}])
    news = society.news()
    assert sorted(news[0]["share_user"]) == sorted(borders[0])
    assert len(news[0]["opinion"]) == len(society.borders[0]) < 110
    ends = news[0]["ended"]
    assert len(ends) > 0
    assert ((ends // 110 < 60) | (ends % 110 < 60)).all()
    assert "share_user" not in society.news()[0]


UNSAVED = """
def popular(history, k):
    return list(range(k))
"""


def test_what_needs_everybody_in_one_place_is_refused_before_any_work(tmp_path):
    (tmp_path / "mine.py").write_text(UNSAVED)
    early = {"name": "early", "step": 1}
    late = [{"name": "old"}, {"name": "new", "new_item": True}]
    check_study(study(2, adversaries=[early, *reversed(late)]))
    unsaved = [{"name": f"{tmp_path / 'mine.py'}:popular"}]
    for asked, said in (
        (study(2, adversaries=[early, *late]), "'old' looks .* name 'new' first"),
        (study(2, recommenders=unsaved), "mine.popular has no state"),
        (study(7), "110 people are 6 blocks of 20, too few for 7 shards"),
    ):
        with pytest.raises(UserError, match=said):
            simulate(asked, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


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
    asked = study(3, steps=6, **EVERYTHING)
    simulate(asked, out=tmp_path / "serial", executor="serial")
    command = [sys.executable, "-c", ON_A_CLUSTER, asked.model_dump_json(), str(tmp_path / "ray")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = content(tmp_path / "serial"), content(tmp_path / "ray")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert json.loads(one["manifest.json"])["finished"]

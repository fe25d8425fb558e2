"""What a world in shards exchanges, and what a hundred million people would need.

Lives the same world undivided and in shards, in one process, and counts the bytes of the arrays
that pass between the shards and their driver. From them, and from CPU-seconds and bytes a person
measured in the same run, the needs of a larger world are projected: they are linear in people.
Then worlds with one process each show what that process adds to a step.

    python benchmarks/shards.py --users 20000 --items 1000 --steps 20 --shards 4

What a shard holds of each person of the whole world needs more people than shards, and an allocator
that gives back what was never written, as it does with large arrays anyway:

    MALLOC_MMAP_THRESHOLD_=65536 python benchmarks/shards.py --kept --users 400000 --shards 64
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopaudit.simulation.record.store import Arrays, MemoryStore
from loopaudit.simulation.running.driver import ShardedArm, n_bytes
from loopaudit.simulation.running.executors import one_thread
from loopaudit.simulation.running.live import ArmRun, live_world
from loopaudit.simulation.running.shards import Shard, Spec, shard_rows
from loopaudit.simulation.running.teams import team_of
from loopaudit.simulation.study import Study
from loopaudit.simulation.world import forget_origins, origin

PROJECTED = 100_000_000

PROCESSES: dict[str, dict[str, Any]] = {
    "[staying]": {"staying": {"arrive": 0.2, "leave": 0.01}},
    "[society] opinions": {"society": {"friend_slots": 0}},
    "[society] with friends' slots": {"society": {"friend_slots": 1}},
    "[society] with rewiring": {"society": {"friend_slots": 0, "rewiring": 0.05, "tolerance": 0.2}},
    "[supply]": {"supply": {"every": 1}},
    "[supply] that ages": {"supply": {"every": 1, "awareness_half_life": 10.0}},
    "[generators]": {"generators": {"rate": 5.0}},
    "[[adversaries]], looking every step": {"adversaries": [{"step": 1, "probe_every": 1}]},
    "not interested": {"people": {"feedback": ["not-interested"]}},
}
"""Each with 10 friends, a tenth of them anywhere; defaults of study.toml else."""


def study(users: int, items: int, steps: int, shards: int, **tables: Any) -> Study:
    """Vector tastes of 64 dimensions, 16 topics, EASE retrained every ten steps."""
    return Study.model_validate(
        {
            **tables,
            "study": {
                "steps": steps,
                "worlds": 1,
                "arms": [],
                "shards": shards,
                "block": max(users // max(shards, 8), 16),
            },
            "world": {"users": users, "items": items, "topics": 16, "dim": 64, "history": 10.0},
            "recommenders": [{"name": "ease", "retrain_every": 10}],
            "audit": {"sensitivity_worlds": 0},
        }
    )


PROCESS_STEPS = 6


class Counted(ShardedArm):
    """Tells what it exchanged, and how long its shards took."""

    found: dict[str, float]

    def advance(self, world: Any) -> None:
        before, began = self.received, time.process_time()
        self._heard = 0
        super().advance(world)
        self.found["seconds"] = self.found.get("seconds", 0.0) + time.process_time() - began
        self.found["step_bytes"] = self.found.get("step_bytes", 0.0) + self.received - before
        self.found["news"] = self.found.get("news", 0.0) + self._heard

    def _news(self, world: Any) -> list[Arrays]:
        news = super()._news(world)
        self._heard = n_bytes(news)
        return news

    def write_end(self, world: Any) -> None:
        self.found.update(sent=self.sent, received=self.received)
        self.found["clicks"] = len(world.platform.clicks)
        super().write_end(world)


def counted(asked: Study) -> dict[str, float]:
    """What living an arm in shards exchanged."""
    found: dict[str, float] = {}

    def sharded(*parts: Any) -> ShardedArm:
        arm = Counted(*parts, whole=asked, team=team_of("serial", 1))
        arm.found = found
        return arm

    found["lived"] = lived(asked, sharded)
    return found


def lived(asked: Study, lived_by: Callable[..., ArmRun] | None) -> float:
    """CPU-seconds of living the arm, fitting included."""
    began = time.process_time()
    live_world(asked, 0, MemoryStore(), {}, lambda steps, what: None, lived_by=lived_by)
    return time.process_time() - began


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def kept(users: int, items: int, shards: int) -> None:
    """Print what one shard holds of each person of the world, its own being few."""
    asked = study(users, items, 20, shards)
    rows = shard_rows(users, shards=shards, block=asked.study.block)[0]
    spec = Spec(asked.model_dump_json(), "", 0, "ease", 0, rows, "")
    lived(study(2_000, items, 2, 1), None)
    before = resident()
    drawn = origin(asked.world, asked.study.seed, 0)
    whole, shard = resident() - before, Shard(spec, MemoryStore())
    del drawn
    forget_origins()
    rest = resident() - before
    assert shard.world.people == rows
    print(f"{whole / users:.0f} bytes while the market is drawn, {rest / users:.0f} afterwards")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("users", 20_000), ("items", 1_000), ("steps", 20), ("shards", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kept", action="store_true", help="what a shard holds of other people")
    o = parser.parse_args()
    if o.kept:
        kept(o.users, o.items, o.shards)
        return
    with one_thread():
        lived(study(2_000, o.items, 2, 1), None)  # compiled, and read from disk
        undivided = lived(study(o.users, o.items, o.steps, 1), None)
        found = counted(study(o.users, o.items, o.steps, o.shards))
    steps, users = o.steps, o.users
    click_bytes = 9  # user 4, item 4, turn 1
    fixed = (
        found["step_bytes"] / steps / o.shards - click_bytes * found["clicks"] / steps / o.shards
    )
    sent = found["sent"] / o.shards / (1 + steps // 10)  # at the start, and every ten steps
    rate = found["clicks"] / steps / users
    seconds = found["seconds"] / steps / users
    print(f"{users:,} people x {o.items:,} items, {steps} steps, {o.shards} shards, one thread")
    rows = (
        ("CPU-seconds, undivided", f"{undivided:.1f}"),
        ("CPU-seconds, in shards (each draws the market again)", f"{found['lived']:.1f}"),
        ("received from a shard in a step: sums and counts of items", f"{fixed:,.0f} bytes"),
        ("received from a shard in a step: training data", f"{click_bytes} bytes x clicks"),
        ("clicks a person a step", f"{rate:.3f}"),
        ("received a person a step", f"{found['step_bytes'] / steps / users:.2f} bytes"),
        ("sent to a shard at a training: the model", f"{sent:,.0f} bytes"),
        ("CPU-seconds a step, a million people", f"{1e6 * seconds:.1f}"),
    )
    for name, value in rows:
        print(f"{name:60}{value:>24}")
    fewer = users // 5
    print(f"\nwhat processes add, bytes in a step, {fewer:,} people, {PROCESS_STEPS} steps")
    print(f"{'':37}{'from shards, a person':>22}{'to shards, a person':>22}{'to a shard':>14}")
    added: dict[str, tuple[float, float]] = {}
    with one_thread():
        for name, tables in PROCESSES.items():
            one = counted(study(fewer, o.items, PROCESS_STEPS, o.shards, **tables))
            told = (one["step_bytes"] - click_bytes * one["clicks"]) / PROCESS_STEPS
            added[name] = (told - fixed * o.shards) / fewer, one["news"] / PROCESS_STEPS / fewer
            told, heard = added[name]
            print(f"{name:37}{told:22.2f}{heard:22.2f}{heard * fewer / o.shards:14,.0f}")
    cores = 1_000
    received = click_bytes * rate * PROJECTED + fixed * cores
    told, heard = added["[society] with friends' slots"]
    print(f"\nprojected, {PROJECTED:,} people on {cores:,} cores, linear in people")
    projected = (
        ("a step", f"{seconds * PROJECTED / cores:.1f} s"),
        ("received by the driver in a step", f"{received / 1e9:.2f} GB"),
        ("the same, with friends", f"{(received + told * PROJECTED) / 1e9:.2f} GB"),
        ("sent to all shards in a step, with friends", f"{heard * PROJECTED / 1e9:.2f} GB"),
        ("training data after 100 steps", f"{8 * rate * PROJECTED * 100 / 1e9:.0f} GB"),
    )
    for name, value in projected:
        print(f"{name:60}{value:>24}")


if __name__ == "__main__":
    main()

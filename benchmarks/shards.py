"""What a world in shards exchanges, and what a hundred million people would need.

Lives the same world undivided and in shards, in one process, and counts the bytes of the arrays
that pass between the shards and their driver. From them, and from CPU-seconds and bytes a person
measured in the same run, the needs of a larger world are projected: they are linear in people.

    python benchmarks/shards.py --users 20000 --items 1000 --steps 20 --shards 4
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from loopaudit.simulation.executors import one_thread
from loopaudit.simulation.live import ArmRun, live_world
from loopaudit.simulation.shards import ShardedArm
from loopaudit.simulation.store import MemoryStore
from loopaudit.simulation.study import Study
from loopaudit.simulation.teams import team_of

PROJECTED = 100_000_000


def study(users: int, items: int, steps: int, shards: int) -> Study:
    """Vector tastes of 64 dimensions, 16 topics, EASE retrained every ten steps."""
    return Study.model_validate(
        {
            "study": {
                "steps": steps,
                "worlds": 1,
                "arms": [],
                "shards": shards,
                "block": max(users // 8, 16),
            },
            "world": {"users": users, "items": items, "topics": 16, "dim": 64, "history": 10.0},
            "recommenders": [{"name": "ease", "retrain_every": 10}],
            "audit": {"sensitivity_worlds": 0},
        }
    )


class Counted(ShardedArm):
    """Tells what it exchanged, and how long its shards took."""

    found: dict[str, float]

    def advance(self, world: Any) -> None:
        before, began = self.received, time.process_time()
        super().advance(world)
        self.found["seconds"] = self.found.get("seconds", 0.0) + time.process_time() - began
        self.found["step_bytes"] = self.found.get("step_bytes", 0.0) + self.received - before

    def write_end(self, world: Any) -> None:
        self.found.update(sent=self.sent, received=self.received)
        self.found["clicks"] = len(world.platform.clicks)
        super().write_end(world)


def lived(asked: Study, lived_by: Callable[..., ArmRun] | None) -> float:
    """CPU-seconds of living the arm, fitting included."""
    began = time.process_time()
    live_world(asked, 0, MemoryStore(), {}, lambda steps, what: None, lived_by=lived_by)
    return time.process_time() - began


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("users", 20_000), ("items", 1_000), ("steps", 20), ("shards", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()
    with one_thread():
        lived(study(2_000, o.items, 2, 1), None)  # compiled, and read from disk
        undivided = lived(study(o.users, o.items, o.steps, 1), None)
        asked, found = study(o.users, o.items, o.steps, o.shards), dict[str, float]()

        def sharded(*parts: Any) -> ShardedArm:
            arm = Counted(*parts, whole=asked, team=team_of("serial", 1))
            arm.found = found
            return arm

        divided = lived(asked, sharded)
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
        ("CPU-seconds, in shards (each draws the market again)", f"{divided:.1f}"),
        ("received from a shard in a step: sums and counts of items", f"{fixed:,.0f} bytes"),
        ("received from a shard in a step: training data", f"{click_bytes} bytes x clicks"),
        ("clicks a person a step", f"{rate:.3f}"),
        ("received a person a step", f"{found['step_bytes'] / steps / users:.2f} bytes"),
        ("sent to a shard at a training: the model", f"{sent:,.0f} bytes"),
        ("CPU-seconds a step, a million people", f"{1e6 * seconds:.1f}"),
    )
    for name, value in rows:
        print(f"{name:60}{value:>24}")
    cores = 1_000
    received = click_bytes * rate * PROJECTED + fixed * cores
    print(f"\nprojected, {PROJECTED:,} people on {cores:,} cores, linear in people")
    projected = (
        ("a step", f"{seconds * PROJECTED / cores:.1f} s"),
        ("received by the driver in a step", f"{received / 1e9:.2f} GB"),
        ("training data after 100 steps", f"{8 * rate * PROJECTED * 100 / 1e9:.0f} GB"),
    )
    for name, value in projected:
        print(f"{name:60}{value:>24}")


if __name__ == "__main__":
    main()

"""How large a world fits, and how time and memory grow with people and steps.

Every size is lived as `loopaudit simulate` lives one arm of one world, in a process of its own,
which reports its peak memory (everything: the interpreter, libraries, the recommender, the log's
buffers): the world is drawn and written, then lived with its event log, then what became of people
is written. Everybody is there in every step; lists of 20 are made anew every 10 steps by an exact
dot product.

    python benchmarks/size.py                  # a million people, 1,000 items, 20 steps, 3 GiB
    python benchmarks/size.py --growth --page  # the table of docs/speed.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from memory import peak_bytes
from page import write_section

GIB = 2**30
ROWS = [(10_000, 20), (30_000, 20), (100_000, 20), (300_000, 20), (1_000_000, 20)]
STEPS = [(100_000, 10), (100_000, 20), (100_000, 40)]
ITEMS = 1_000


def live(users: int, items: int, steps: int) -> dict[str, float]:
    """Live one world in this process and say what it took."""
    import polars as pl
    from contestants import Vectors
    from loop import DotProduct, section, study_of

    from loopaudit.simulation.arms import Arm
    from loopaudit.simulation.record.store import DiskStore
    from loopaudit.simulation.record.world_files import write_world
    from loopaudit.simulation.runner import one_thread
    from loopaudit.simulation.running.footprint import footprint
    from loopaudit.simulation.running.live import ArmRun
    from loopaudit.simulation.world import World, origin

    study = study_of(users, items, every=10, steps=steps)
    marks: list[float] = []
    worlds: list[World] = []

    class Everybody(ArmRun):
        """The arm of a world in which everybody is there in every step."""

        def world_with(self, guard: object) -> World:
            start = origin(study.world, study.study.seed, 0)
            start = replace(start, activity=np.ones(users, np.float32))
            worlds.append(World(study, arm=self.arm, recommender=guard, start=start))
            return worlds[-1]

    def tick(done: int, what: str) -> None:
        marks.append(time.process_time())

    with one_thread(), TemporaryDirectory() as folder:
        begin, store = time.process_time(), DiskStore(Path(folder))
        write_world(study, 0, store)
        factories = {"bench": lambda: DotProduct(Vectors(users, items))}
        arm = Arm("bench", "target", section(every=10))
        Everybody(study, 0, arm, store, "", factories, {}, tick).run()
        done, made = time.process_time(), marks[1]  # the second tick is that before the first step
        logs = [p for what in ("events", "lists") for p in Path(folder, what).rglob("*.parquet")]
        written = sum(path.stat().st_size for path in logs)
        visits = pl.scan_parquet([p for p in logs if "events" in p.parts[-4]])
        served = int(visits.select(pl.len()).collect().item())
    held = footprint(worlds[-1])
    return {
        "users": users,
        "steps": steps,
        "making_seconds": made - begin,
        "living_seconds": done - made,
        "rate": served / (done - made),
        "peak_bytes": peak_bytes(),
        "log_bytes": written,
        "state": held.state,
        "lists": held.lists,
        "history": held.history,
    }


def apart(users: int, items: int, steps: int) -> dict[str, float]:
    """The same in a process of its own."""
    asked = [sys.executable, __file__, "--child", str(users), str(items), str(steps)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{users:,} people: exit {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def power(x: list[float], y: list[float]) -> tuple[float, float]:
    """Exponent b of y = a x^b by least squares of the logarithms, and R^2."""
    u, v = np.log(x), np.log(y)
    slope, intercept = np.polyfit(u, v, 1)
    left = v - slope * u - intercept
    return float(slope), float(1 - (left**2).sum() / ((v - v.mean()) ** 2).sum())


def line(x: list[float], y: list[float]) -> tuple[float, float, float]:
    """Slope and intercept of y = a + b x by least squares, and R^2."""
    slope, intercept = np.polyfit(x, y, 1)
    left = np.array(y) - slope * np.array(x) - intercept
    whole = ((np.array(y) - np.mean(y)) ** 2).sum()
    return float(slope), float(intercept), float(1 - (left**2).sum() / whole)


HEAD = (
    "| people | steps | making (CPU-s) | living (CPU-s) | user-steps per CPU-s | peak memory (MiB) "
    "| log on disk (MiB) |\n|---:|---:|---:|---:|---:|---:|---:|"
)


def row(one: dict[str, float]) -> str:
    """One row of the table."""
    return (
        f"| {one['users']:,} | {one['steps']} | {one['making_seconds']:.1f} | "
        f"{one['living_seconds']:.2f} | {one['rate']:,.0f} | {one['peak_bytes'] / 2**20:,.0f} | "
        f"{one['log_bytes'] / 2**20:,.1f} |"
    )


def growth() -> str:
    """Lives every size and fits how time and memory grow."""
    print(HEAD, flush=True)
    found = {}
    for users, steps in dict.fromkeys([*ROWS, *STEPS]):
        found[users, steps] = apart(users, ITEMS, steps)
        print(row(found[users, steps]), flush=True)
    told = []
    for what, sizes, of in (("people", ROWS, "users"), ("steps", STEPS, "steps")):
        some = [found[size] for size in sizes]
        x = [one[of] for one in some]
        exponent, fit = power(x, [one["living_seconds"] for one in some])
        told.append(f"CPU time grows with {what} to the power {exponent:.2f} (R² {fit:.4f}).")
        slope, base, fit = line(x, [one["peak_bytes"] for one in some])
        told.append(
            f"Peak memory is {base / 2**20:,.0f} MiB and {slope:,.0f} bytes for each of the {what} "
            f"(a straight line, R² {fit:.4f})."
        )
    return "\n".join([HEAD, *map(row, found.values())]) + "\n\n" + "\n".join(f"- {t}" for t in told)


def main() -> int:
    """Live a large world, or all sizes of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--gib", type=float, default=3.0, help="peak memory allowed")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--page", action="store_true", help="write docs/speed.md")
    parser.add_argument("--child", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(live(*options.child)))
        return 0
    if options.growth:
        text = growth()
        print(text[text.index("\n\n") :])
        if options.page:
            write_section("Growth", text)
        return 0
    one = apart(options.users, options.items, options.steps)
    print(HEAD, row(one), sep="\n")
    share = one["peak_bytes"] / GIB
    word = "PASS" if share <= options.gib else "FAIL"
    print(f"{word}  peak {share:.2f} GiB (at most {options.gib:g})")
    return 0 if word == "PASS" else 1


if __name__ == "__main__":
    sys.exit(main())

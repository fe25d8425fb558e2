"""The event log: rows per CPU-second written and read, bytes a row, and the memory it takes.

People are served pages of random lists and take one thing of ten; only lists and log are at work.
A row is a slot of a slate. Each figure says what it was measured with; peak memory is that of the
whole process.

    python benchmarks/log.py                      10 million rows
    python benchmarks/log.py --rows 100_000_000   some minutes
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
from memory import peak_bytes

from loopaudit.audit.bubbles.entropies import Windows, slate_entropy
from loopaudit.recommenders.border import Slates
from loopaudit.simulation.people.choice import Feedback
from loopaudit.simulation.platform.lists import Lists
from loopaudit.simulation.platform.platform import Serving
from loopaudit.simulation.platform.shown import Shown
from loopaudit.simulation.record.events import PART_STEPS, Parts, lazy_events, part_name
from loopaudit.simulation.record.log import PartLog
from loopaudit.simulation.record.store import DiskStore
from loopaudit.simulation.running.executors import one_thread

USERS, ITEMS, SLATE, LENGTH, REFRESH = 10_000, 2_000, 10, 100, 10


class Market:
    """What a platform is to the log: random lists, and who made them."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.lists = Lists(0, USERS, every=REFRESH, length=LENGTH, slate=SLATE)
        self.recommender = object()
        self.arm = SimpleNamespace(control=None)
        self.served: Serving | None = None

    def shown_by(self, users: np.ndarray) -> np.ndarray:
        """The same for everybody."""
        return np.full(len(users), "random lists")

    def step(self, t: int) -> Shown:
        """One step of everybody; half of the people take something."""
        users = np.arange(USERS, dtype=np.int32)
        asked = users[self.lists.wanting(users, t)]
        start = self.rng.integers(0, ITEMS, (len(asked), 1))
        items = ((start + 7 * np.arange(LENGTH)) % ITEMS).astype(np.int32)
        made = Slates(items, scores=-np.sort(-self.rng.random(items.shape, np.float32), axis=1))
        self.lists.put(asked, made, t)
        slates, page = self.lists.serve(users)
        self.served = Serving(asked, made, page, t // 50, t - t % 50 - 1)
        taken = np.zeros(slates.items.shape, np.bool_)
        who = np.flatnonzero(self.rng.random(USERS) < 0.5)
        taken[who, self.rng.integers(0, SLATE, len(who))] = True
        match = np.empty((0, 0), np.float32)
        shown = Shown(users, slates.items, slates.scores, None, match, Feedback(taken))
        self.lists.use_up(shown, page)
        return shown


def write(store: DiskStore, rows: int, *, scores: bool = False) -> dict[str, float]:
    """Write a log of about so many slots, with or without the scores of lists; returns the measures
    of writing."""
    steps = -(-rows // (USERS * SLATE * PART_STEPS)) * PART_STEPS
    market, log, spent, slots = Market(), PartLog("compact", scores=scores), 0.0, 0
    for t in range(steps):
        shown = market.step(t)
        slots += int((shown.items >= 0).sum())
        start = time.process_time()
        log.add(t, shown, market)  # type: ignore[arg-type]
        if (t + 1) % PART_STEPS == 0:
            for what, frame in log.frames().items():
                file = part_name(t - t % PART_STEPS)
                store.put_frame(f"{what}/arm/w000/{file}", frame)
        spent += time.process_time() - start
    size = {
        what: sum(p.stat().st_size for p in store.root.glob(f"{what}/*/*/*")) for what in _KINDS
    }
    return {
        "rows": slots,
        "bytes_per_row": sum(size.values()) / slots,
        "bytes_per_row_visits": size["events"] / slots,
        "written_per_cpu_second": slots / spent,
    }


_KINDS = ("lists", "events")


class Reading:
    """The one arm of a written log, as far as an auditor of slates looks at a run."""

    def __init__(self, store: DiskStore) -> None:
        names = (tuple(store.listing(f"{what}/arm/w000/")) for what in ("events", "lists"))
        self.parts = Parts(*names, refresh_every=REFRESH)
        self.store, self.catalog = store, SimpleNamespace(origin=None)

    def users(self, world: int) -> pl.DataFrame:
        """See Run.users."""
        return pl.DataFrame({"user": np.arange(USERS)})

    def events(self, arm: str, world: int) -> pl.LazyFrame:
        """See Run.events."""
        return lazy_events(self.store, [self.parts], self.catalog)  # type: ignore[arg-type]


def questions(run: Reading, steps: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """What auditors ask of a log."""
    rows = run.events("arm", 0)
    by_item = rows.group_by("item").agg(pl.len(), pl.col("clicked").sum())
    topics = np.eye(20, dtype=np.float32)[np.arange(ITEMS) % 20]
    windows = Windows.of(steps, 0.25)
    yield "exposure and clicks by item", lambda: by_item.collect(engine="streaming")
    yield (
        "clicks, person by person",
        lambda: rows.filter("clicked").group_by("user").len().collect(engine="streaming"),
    )
    yield (
        "slate entropy, first and last quarter",
        lambda: slate_entropy(run, "arm", 0, topics, windows),  # type: ignore[arg-type]
    )


def measured(root: Path, rows: int, *, scores: bool) -> dict[str, float]:
    """Everything, by name."""
    store = DiskStore(root)
    found = write(store, rows, scores=scores)
    found["peak_mb_writing"] = _peak()
    run = Reading(store)
    steps = len(run.parts.events) * PART_STEPS
    for name, ask in questions(run, steps):
        start = time.process_time()
        ask()
        found[name] = found["rows"] / (time.process_time() - start)
        found[f"peak_mb after {name}"] = _peak()
    return found


def _peak() -> float:
    return peak_bytes() / 1024**2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--scores", action="store_true", help="keep the scores of lists")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), options.rows, scores=options.scores)
    if options.json:
        print(json.dumps(found))
        return
    print(
        f"{found['rows']:,.0f} rows: {USERS:,} people, {ITEMS:,} items, slate {SLATE}, lists of "
        f"{LENGTH} {'with' if options.scores else 'without'} scores, "
        f"refreshed every {REFRESH} steps"
    )
    for name, value in found.items():
        print(f"{name:52}{value:>16,.{2 if value < 100 else 0}f}")


if __name__ == "__main__":
    main()

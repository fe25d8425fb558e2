"""Times our Mult-VAE, SASRec and EASE beside RecBole's at making everybody's list, in one run.

Ours are asked through the guard, which also leaves out what was taken and checks every answer;
RecBole's through ``full_sort_predict``, its history masked and ``torch.topk``, in batches of 512,
inside RecBole's own environment (examples/recbole_child). Both on one thread, in seconds of the
process's own CPU time, medians of ten rounds, on MovieLens 100K (``LOOPAUDIT_DATA``, else
shared/data beside the checkout). Sizes are equal; nothing is learnt, because that changes no time.

    python benchmarks/inference.py recbole/bin/python            # a table
    python benchmarks/inference.py recbole/bin/python --page     # and into docs/speed.md
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHILD = ROOT / "examples" / "recbole_child"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
ROUNDS, LENGTHS, ALTERNATIONS = 10, (10, 100), 3
Seconds = dict[int, list[float]]


@dataclass(frozen=True)
class Pair:
    """One model in both libraries, of the same size."""

    name: str
    ours: Callable[[], Any]
    theirs: tuple[str, ...]


def _pairs() -> list[Pair]:
    from loopaudit.recommenders.classic.ease import EASE
    from loopaudit.recommenders.generative.profiles.multvae import MultVAE
    from loopaudit.recommenders.generative.sequences.sasrec import SASRec

    transformer = ("n_layers=2", "n_heads=1", "hidden_size=64", "inner_size=256")
    return [
        Pair("EASE", lambda: EASE(reg=300.0), ("EASE", "reg_weight=300.0")),
        Pair(
            "Mult-VAE, 600-200",
            lambda: MultVAE(hidden_size=600, latent_size=200, epochs=1),
            ("MultiVAE", "mlp_hidden_size=[600]", "latent_dimension=200", "epochs=0"),
        ),
        Pair(
            "SASRec, d 64, 2 blocks, L 50",
            lambda: SASRec(embedding_size=64, blocks=2, heads=1, max_length=50, epochs=1),
            ("SASRec", *transformer, "MAX_ITEM_LIST_LENGTH=50", "epochs=0"),
        ),
    ]


def ours(model: Any, log: Any, catalog: Any) -> Seconds:
    """CPU seconds of each round of lists for everybody, by their length."""
    import numpy as np

    from loopaudit.recommenders.border import Requests
    from loopaudit.recommenders.guard import Guard

    guard = Guard(model, n_items=len(catalog))
    guard.fit(log, catalog, seed=1)
    everybody = np.flatnonzero(np.bincount(log.user, minlength=log.n_users)).astype(np.int32)
    seconds: Seconds = {}
    for k in LENGTHS:
        requests = Requests(everybody, log.histories().take(everybody), k)
        guard.recommend(requests)  # compiles what is compiled once
        seconds[k] = []
        for _ in range(ROUNDS):
            started = time.process_time()
            guard.recommend(requests)
            seconds[k].append(time.process_time() - started)
    assert not guard.faults.counts, guard.faults
    return seconds


def theirs(python: str, file: Path, arguments: tuple[str, ...]) -> Seconds:
    """The same, of RecBole in its own process."""
    lengths = ",".join(map(str, LENGTHS))
    words = [python, str(CHILD / "speed.py"), str(file), lengths, *arguments]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    return {int(k): seconds for k, seconds in json.loads(done.stdout).items()}


def table(rows: list[tuple[str, int, float, float]], people: int) -> str:
    """Lists a CPU-second, and how many times ours makes."""
    lines = [
        f"Lists for everybody on MovieLens 100K ({people} people, 1,682 items), one thread, "
        f"medians of {ROUNDS * ALTERNATIONS} rounds; `python benchmarks/inference.py`. Ours filter "
        "history, check each answer and break ties by item index. RecBole 1.2.1, torch on the CPU.",
        "",
        "| model | list length | ours, lists per CPU-s | RecBole's | ours / RecBole's |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {k} | {people / mine:,.0f} | {people / yours:,.0f} | {yours / mine:.2f} |"
        for name, k, mine, yours in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and with --page write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("python", help="the Python of RecBole's environment")
    parser.add_argument("--page", action="store_true", help="write docs/speed.md")
    given = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read when libraries are loaded
        raise SystemExit(subprocess.call([sys.executable, *sys.argv], env=os.environ | ONE_THREAD))

    from loopaudit.recommenders.datasets import load

    folder = os.environ.get("LOOPAUDIT_DATA", str(ROOT.parent / "shared" / "data"))
    data = load("ml-100k", folder=str(Path(folder) / "ml-100k"))
    log, catalog = data.log, data.catalog
    import torch

    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "log.csv"
        with file.open("w", newline="", encoding="utf-8") as target:
            writer = csv.writer(target)
            writer.writerow(["user", "item", "step"])
            writer.writerows(
                zip(log.user.tolist(), log.item.tolist(), log.step.tolist(), strict=True)
            )
        for pair in _pairs():
            mine: Seconds = {k: [] for k in LENGTHS}
            yours: Seconds = {k: [] for k in LENGTHS}
            for _ in range(ALTERNATIONS):  # by turns, so that both meet the same busy machine
                for whole, part in (
                    (yours, theirs(given.python, file, pair.theirs)),
                    (mine, ours(pair.ours(), log, catalog)),
                ):
                    for k in LENGTHS:
                        whole[k] += part[k]
            rows += [(pair.name, k, median(mine[k]), median(yours[k])) for k in LENGTHS]
            print(*rows[-2:], file=sys.stderr)
    text = table(rows, len(set(log.user.tolist())))
    print(text)
    if given.page:
        from page import write_section

        write_section("Lists, beside RecBole", text)


if __name__ == "__main__":
    main()

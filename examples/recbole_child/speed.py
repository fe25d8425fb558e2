"""How fast RecBole makes lists for everybody, timed inside RecBole's own environment.

    recbole/bin/python speed.py LOG.csv 10,100 MODEL [setting=value ...]

Called by benchmarks/inference.py. One line of JSON: for each length of lists the seconds of
processor time of ten rounds, each ``full_sort_predict`` for every person, its history masked,
``torch.topk``, in batches of 512.
"""

import csv
import json
import sys
import time

import child
import numpy as np
import torch
from recbole.data.interaction import Interaction

ROUNDS, BATCH = 10, 512


def main():
    """Train as little as the settings say; what is learnt does not change the speed."""
    log, lengths, name, *settings = sys.argv[1:]
    made = child.Child(name, dict(child.setting(text) for text in settings))
    made.fit(log, seed=1)
    with open(log, encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["step"]))
    taken = {}
    for one in rows:
        taken.setdefault(one["user"], []).append(one["item"])
    users = sorted(taken)
    batches = []
    for at in range(0, len(users), BATCH):
        people = users[at : at + BATCH]
        asked = [{"user": u, "history": taken[u], "k": 1} for u in people]
        rows, fields = made.inputs(asked)
        assert len(rows) == len(people)
        had = [[made.inner[made.number[i]] for i in taken[u]] for u in people]
        row = np.repeat(np.arange(len(people)), [len(h) for h in had])
        item = torch.from_numpy(np.concatenate(had))
        batches.append((Interaction(fields), torch.from_numpy(row), item))
    seconds = {
        k: [seconds_for(made.model, batches, int(k)) for _ in range(ROUNDS)]
        for k in lengths.split(",")
    }
    print(json.dumps(seconds), file=child.protocol, flush=True)


def seconds_for(model, batches, k):
    """Of the process's own time, for one list a person."""
    started = time.process_time()
    with torch.no_grad():
        for fields, row, item in batches:
            scores = model.full_sort_predict(fields).reshape(len(fields), -1)
            scores[:, 0] = -np.inf
            scores[row, item] = -np.inf
            torch.topk(scores, k)
    return time.process_time() - started


if __name__ == "__main__":
    main()

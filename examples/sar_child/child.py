"""SAR of Microsoft's recommenders behind LoopAudit's JSON lines, in an environment of its own.

    python3.11 -m venv sar && sar/bin/pip install -r requirements.txt
    loopaudit audit "cmd:sar/bin/python child.py similarity_type=cosine"

It runs without LoopAudit. SAR answers for any history (``get_item_based_topk``). Whatever the
library prints goes to standard error: standard output carries the protocol and nothing else.
"""
# ruff: noqa: E402 - standard output is taken away before anything that prints is imported

import csv
import json
import os
import sys

protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # from here on a print() reaches standard error

import pandas as pd
from recommenders.models.sar import SAR


def fit(log, settings):
    """SAR, trained on the newest row of every pair (it refuses rows that repeat)."""
    with open(log, encoding="utf-8") as file:
        rows = [(r["user"], r["item"], 1.0, int(r["step"])) for r in csv.DictReader(file)]
    frame = pd.DataFrame(rows, columns=["userID", "itemID", "rating", "timestamp"])
    frame = frame.sort_values("timestamp", kind="stable")
    model = SAR(**settings)
    model.fit(frame.drop_duplicates(["userID", "itemID"], keep="last"))
    return model


def answer(model, requests):
    """One result a request; items that SAR never met break its arithmetic, and are left out."""
    known = [
        list(dict.fromkeys(item for item in asked["history"] if item in model.item2index))
        for asked in requests
    ]
    pairs = [(row, item) for row, had in enumerate(known) for item in had]
    results = [{"error": "nothing of this history is known to SAR"} for _ in requests]
    if not pairs:
        return results
    seeds = pd.DataFrame(pairs, columns=["userID", "itemID"])
    found = model.get_item_based_topk(seeds, top_k=len(model.item2index))
    for row, part in found.groupby("userID", sort=False):
        part = part.sort_values(["prediction", "itemID"], ascending=[False, True])
        part = part.head(requests[row]["k"])
        results[row] = {"items": part["itemID"].tolist(), "scores": part["prediction"].tolist()}
    return results


def main():
    """Say what it can do, then answer line by line."""
    settings = dict(text.split("=", 1) for text in sys.argv[1:])
    model = None
    say({"ready": True, "fit": True, "capabilities": {"history": "any", "update": "refit"}})
    for line in sys.stdin:
        message = json.loads(line)
        if "fit" in message:
            model = fit(message["fit"], settings)
            say({"fitted": True})
        else:
            say({"results": answer(model, message["requests"])})


def say(value):
    print(json.dumps(value), file=protocol, flush=True)


if __name__ == "__main__":
    main()

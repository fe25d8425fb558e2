"""A recommender that speaks JSON lines: one line in, one line out, standard library only.

loopaudit check "cmd:python examples/json_lines/child.py"
loopaudit audit "cmd:python examples/json_lines/child.py" --set recommenders.0.args.memory_mb=500

The first line says that it is ready and what it can do. `fit` names files with the log and the
catalog. Everything that is no answer goes to standard error.
"""

import csv
import json
import sys
from collections import Counter, defaultdict


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def read(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


say({"ready": True, "fit": True, "capabilities": {"history": "any", "update": "refit"}})
popular: list[str] = []
after: dict[str, Counter[str]] = defaultdict(Counter)
for line in sys.stdin:
    message = json.loads(line)
    if "fit" in message:
        log = read(message["fit"])
        catalog = [row["item"] for row in read(message["catalog"])]
        counts = Counter(row["item"] for row in log)
        popular = sorted(catalog, key=lambda item: -counts[item])  # ties in the catalog's order
        after.clear()
        last: dict[str, str] = {}
        for row in log:  # oldest first
            if row["user"] in last:
                after[last[row["user"]]][row["item"]] += 1
            last[row["user"]] = row["item"]
        print(f"learnt from {len(log)} rows", file=sys.stderr)
        say({"fitted": True})
        continue
    results = []
    for request in message["requests"]:
        before = request["history"][-1:]
        follows = [item for one in before for item, _ in after[one].most_common(request["k"])]
        listed = list(dict.fromkeys([*follows, *popular]))[: request["k"]]
        why = [f"often taken after {before[0]}" if item in follows else None for item in listed]
        results.append({"items": listed, "text": why})
    say({"results": results})

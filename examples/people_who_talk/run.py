"""Some people of a world choose by a chat endpoint; see what they say, and what went wrong.

python run.py            replays record.jsonl: no network, no key, no language model
python run.py --record   writes record.jsonl anew

The recorded answers are those of the script below, which looks for a liked topic in the list. No
language model wrote them: the example shows how to run such a study, not what a model would do.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import polars as pl

import loopaudit as la
from loopaudit.recommenders.language.record import Record
from loopaudit.recommenders.language.testing import Exchange, scripted_endpoint
from loopaudit.simulation.study_file import read_study

HERE = Path(__file__).resolve().parent
RECORD = HERE / "record.jsonl"
ABOUT = "answers of a script (run.py), not of a language model"


def script(exchange: Exchange) -> None:
    """Takes the first listed item with the topic liked most; now and then answers badly."""
    likes = re.findall(r'(?:very much|quite|a little) "([^"]*)"', exchange.last.splitlines()[0])
    listed = re.findall(r'^(\d+)\. "[^"]*"(?: \((.*)\))?$', exchange.last, re.MULTILINE)
    fits = [int(n) for n, topics in listed if likes and f'"{likes[0]}"' in topics]
    mood = exchange.body["seed"] % 20
    if mood == 0:
        exchange.say("Hm, all of these look nice!")  # no JSON: counted as not_json
    elif mood == 1:
        exchange.say('{"take": [{"item": 1, "rating":', finish="length")  # counted as truncated
    elif fits:
        taken = {"item": fits[0], "rating": 4 + mood % 2}
        exchange.say(json.dumps({"take": [taken], "reason": f"I like {likes[0]}."}))
    else:
        exchange.say(json.dumps({"take": [], "reason": "Nothing here is for me."}))


def write_record() -> None:
    """Live the study once with the script behind the endpoint, and keep every answer."""
    RECORD.unlink(missing_ok=True)
    Record(RECORD, writable=True, about={"about": ABOUT})
    with scripted_endpoint(script) as endpoint:
        asked = ["chat.mode=record", f"chat.record={RECORD}", f"chat.base={endpoint.base}"]
        la.simulate(read_study(HERE / "study.toml", asked))


def main() -> None:
    if "--record" in sys.argv[1:]:
        write_record()
    run = la.simulate(read_study(HERE / "study.toml", [f"chat.record={RECORD}"]))
    pl.Config.set_fmt_str_lengths(60)
    print(run.talk("popular", 0).collect().head(8))
    for arm in run.arms:
        told = run.people(arm)
        asked, bad = told["faults"]["requests"], told["faults"]["counts"]
        print(f"{arm}: {asked} answers, not usable: {bad or 'none'}")


if __name__ == "__main__":
    main()

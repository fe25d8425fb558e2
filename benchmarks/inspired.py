"""Real language models in our hands: what GPT-4 and GPT-3.5 answered in INSPIRED, replayed.

He et al., "Large Language Models as Zero-Shot Conversational Recommenders" (CIKM 2023) published
the chat completions that both models gave to 228 moments of INSPIRED's dialogues (Hayati et al.,
EMNLP 2020), under four prompts. They are served here by a loopback endpoint, asked by the
``conversation`` recommender like any model, read by our reader and matched by our matcher.

    python benchmarks/inspired.py DIR                 the table (docs/language-models.md)
    python benchmarks/inspired.py DIR --serve 8011    answers anybody on http://127.0.0.1:8011
    python benchmarks/inspired.py DIR --serve 8011 --faults 0.1    and misbehaves now and then

DIR holds the folders ``data``, ``gpt-4`` and ``gpt-3.5-turbo`` of the paper's repository
(AaronHeee/LLMs-as-Zero-Shot-Conversational-RecSys, INSPIRED part). To a prompt that was never asked
the server gives one of the recorded answers, always the same one for the same prompt.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopaudit.recommenders.border import Requests, Slates, Turn
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.language.conversation import Conversation
from loopaudit.recommenders.language.testing import misbehaving, replaying, scripted_endpoint
from loopaudit.recommenders.language.titles import folded, taken_apart

MODELS = ("gpt-4", "gpt-3.5-turbo")
PROMPTS = {
    "general": "the dialogue",
    "p2": "only the titles in it",
    "p3": "only the text around them",
    "p4": "the text with other titles",
}
K = 20
_RESOURCE = re.compile(r"^<http://dbpedia\.org/resource/(.*)>$")
_SPEAKER = re.compile(r"\n(System|User): ")


@dataclass(frozen=True)
class Moment:
    """One point of a dialogue where a person recommended something.

    Attributes:
        prompt: what the model was told; answer: the chat completion it gave.
        turns: the dialogue in the prompt.
        targets: items that the person recommended there.
    """

    prompt: str
    answer: dict[str, Any]
    turns: tuple[Turn, ...]
    targets: tuple[int, ...]


def read_catalog(folder: Path) -> tuple[Catalog, dict[int, int]]:
    """The 1,123 works of the dialogues, and the index of each by its id there."""
    ids = json.loads((folder / "data" / "entity2id.json").read_text(encoding="utf-8"))
    name_of = {number: name for name, number in ids.items()}
    items = json.loads((folder / "data" / "item_ids.json").read_text(encoding="utf-8"))
    names = [_RESOURCE.sub(r"\1", name_of[item]) for item in items]
    nobody = np.full(len(items), -1, np.int32)
    catalog = Catalog(
        ids=tuple(names),
        titles=tuple(name.replace("_", " ") for name in names),
        topics=np.zeros((len(items), 1), np.float32),
        topic_names=("unknown",),
        provider=nobody,
        provider_group=nobody,
    )
    return catalog, {item: index for index, item in enumerate(items)}


def read_moments(folder: Path, model: str, prompt: str, index: dict[int, int]) -> list[Moment]:
    """All moments of one model under one prompt."""
    test = folder / "data" / ("test.jsonl" if prompt == "general" else f"test_{prompt}.jsonl")
    told, answered = _lines(test), _lines(folder / model / f"{prompt}.extracted.jsonl")
    return [
        Moment(
            prompt=one["prompt"],
            answer=one["resp"] | {"model": model},
            turns=turns_of(moment["input"]),
            targets=tuple(index[item] for item in moment["rec"]),
        )
        for moment, one in zip(told, answered, strict=True)
    ]


def turns_of(dialogue: str) -> tuple[Turn, ...]:
    """The turns of a dialogue as INSPIRED's prompts spell it, without the one still to come."""
    parts = _SPEAKER.split(dialogue)[1:-2]
    said = zip(parts[::2], parts[1::2], strict=True)
    return tuple(Turn("user" if who == "User" else "system", text) for who, text in said)


def template_of(moments: list[Moment]) -> str:
    """The published prompt, taken from what was sent: its dialogue and number are filled in."""
    prompt = moments[0].prompt
    dialogue = "".join(f"{turn.speaker.title()}: {turn.text}\n" for turn in moments[0].turns)
    head, _, tail = prompt.replace("$", "$$").partition(dialogue.replace("$", "$$"))
    return f"{head.replace(f'with {K} ', 'with $k ')}${{verbatim_dialogue}}{tail}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# -- asking, as anybody would ------------------------------------------------------------------


def asked(base: str, model: str, moments: list[Moment], catalog: Catalog) -> tuple[Slates, Guard]:
    """The slates of all moments, from the endpoint, through the guard."""
    recommender = Conversation(
        prompt=template_of(moments),
        answer="lines",
        model=model,
        mode="live",
        base=base,
        concurrency=1,  # prompts that were asked twice get their answers in their order
        backoff=0.01,
        max_tokens=0,
    )
    guard = Guard(recommender, n_items=len(catalog))
    nobody = np.empty(0, np.int32)
    guard.fit(Interactions(nobody, nobody, nobody.astype(np.int64), 1, len(catalog)), catalog)
    n = len(moments)
    requests = Requests(
        users=np.arange(n, dtype=np.int32),
        history=Ragged.empty(n),
        k=K,
        dialogue=tuple(moment.turns for moment in moments),
    )
    return guard.recommend(requests), guard


@dataclass(frozen=True)
class Row:
    """What one model did under one prompt.

    Attributes:
        full: share of answers with exactly 20 titles; no_list: answers without a list.
        absent: share of titles whose name no work of the catalog has; unmatched: whose work is
            none of it (a name that two works share means neither).
        repeats: share of titles that the dialogue in the prompt mentions.
        distinct: different names; top: the most frequent one, and in how many answers.
        hit: share of moments with a target among the titles by name; hit_work: by matched work.
        faults: what the guard counted.
    """

    full: float
    no_list: int
    absent: float
    unmatched: float
    repeats: float
    distinct: int
    top: tuple[str, int]
    hit: float
    hit_work: float
    faults: dict[str, int]


def measured(slates: Slates, guard: Guard, moments: list[Moment], catalog: Catalog) -> Row:
    """The figures of one row of the table."""
    assert slates.raw_names is not None
    assert slates.usage is not None
    names = [[taken_apart(title).bare for title in row] for row in slates.raw_names]
    known = [taken_apart(title).bare for title in catalog.titles]
    n = sum(map(len, names))
    in_answers = Counter(name for row in names for name in set(row))
    targets = [{known[item] for item in moment.targets} for moment in moments]
    repeats = 0
    for row, moment in zip(names, moments, strict=True):
        said = f" {folded(' '.join(turn.text for turn in moment.turns))} "
        repeats += sum(len(name) > 3 and f" {name} " in said for name in row)
    counted = [row["titles"] for row in slates.usage]
    hits = [bool(set(row) & wanted) for row, wanted in zip(names, targets, strict=True)]
    works = [
        bool(set(row[row >= 0].tolist()) & set(moment.targets))
        for row, moment in zip(slates.items, moments, strict=True)
    ]
    return Row(
        full=float(np.mean([count == K for count in counted])),
        no_list=sum(count == 0 for count in counted),
        absent=sum(name not in known for row in names for name in row) / n,
        unmatched=guard.faults.usage["titles_not_in_catalog"] / guard.faults.usage["titles"],
        repeats=repeats / n,
        distinct=len(in_answers),
        top=in_answers.most_common(1)[0],
        hit=float(np.mean(hits)),
        hit_work=float(np.mean(works)),
        faults=dict(sorted(guard.faults.counts.items())),
    )


def table(folder: Path) -> Iterator[tuple[str, str, Row]]:
    """Model, prompt and figures of every row."""
    catalog, index = read_catalog(folder)
    for model in MODELS:
        for prompt in PROMPTS:
            moments = read_moments(folder, model, prompt, index)
            script = replaying((model, one.prompt, one.answer) for one in moments)
            with scripted_endpoint(script) as endpoint:
                slates, guard = asked(endpoint.base, model, moments, catalog)
            yield model, prompt, measured(slates, guard, moments, catalog)


def show(folder: Path) -> None:
    print(
        "| model | told | 20 titles | no list | not in catalog: name, work | repeats | "
        "distinct | most frequent | hit@20: name, work |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for model, prompt, row in table(folder):
        print(
            f"| {model} | {PROMPTS[prompt]} | {row.full:.1%} | {row.no_list} | {row.absent:.1%}, "
            f"{row.unmatched:.1%} | {row.repeats:.1%} | {row.distinct:,} | {row.top[0].title()} in "
            f"{row.top[1]} | {row.hit:.3f}, {row.hit_work:.3f} |"
        )


def serve(folder: Path, port: int, faults: float) -> None:
    _, index = read_catalog(folder)
    recorded = [
        (model, one.prompt, one.answer)
        for model in MODELS
        for prompt in PROMPTS
        for one in read_moments(folder, model, prompt, index)
    ]
    script = replaying(recorded)
    with scripted_endpoint(misbehaving(script, share=faults), port=port) as endpoint:
        print(f"{len(recorded):,} recorded answers of {' and '.join(MODELS)} at {endpoint.base}")
        print("Ctrl-C ends", flush=True)
        threading.Event().wait()


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("folder", type=Path, metavar="DIR")
    words.add_argument("--serve", type=int, metavar="PORT")
    words.add_argument("--faults", type=float, default=0.0, metavar="SHARE")
    given = words.parse_args()
    if not (given.folder / "data" / "item_ids.json").is_file():
        words.error(f"{given.folder} holds no data/item_ids.json; see the first lines of this file")
    if given.serve is None:
        show(given.folder)
        return
    with suppress(KeyboardInterrupt):
        serve(given.folder, given.serve, given.faults)


if __name__ == "__main__":
    main()

"""What the small language model of titles makes up, and how well it does when it cannot.

    python benchmarks/textlm.py DATA [--keep FOLDER]

DATA holds ``ml-100k/`` and ``derived/ml100k_loo.npz``. Trains once (about 6 CPU minutes; a fit
that was kept is read), measures, and writes docs/textlm.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import numpy as np

from loopaudit.recommenders.border import NOTHING, Requests, State
from loopaudit.recommenders.datasets import load
from loopaudit.recommenders.datasets.dataset import Dataset
from loopaudit.recommenders.evaluation import Evaluation, evaluate
from loopaudit.recommenders.generative.text.textlm import UNKNOWN, TextLM
from loopaudit.recommenders.interactions import Ragged
from loopaudit.recommenders.kept_fits import KeptFits
from loopaudit.recommenders.randomness import generator
from loopaudit.recommenders.splits import Split, load_split
from loopaudit.recommenders.training import n_parameters_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "textlm.md"
WAYS: tuple[tuple[str, dict[str, object]], ...] = (
    ("the most probable", {}),
    ("the most probable, temperature 0.7", {"temperature": 0.7}),
    ("drawn", {"sample": True}),
    ("drawn, temperature 0.7", {"sample": True, "temperature": 0.7}),
)
EXPLAINED_PEOPLE = 100


def main() -> int:
    words = sys.argv[1:]
    data = Path(words[0])
    movies = load("ml-100k", folder=str(data / "ml-100k"))
    on = load_split(data / "derived" / "ml100k_loo.npz")
    keep = KeptFits(words[words.index("--keep") + 1]) if "--keep" in words else None
    first = evaluate(
        "textlm",
        on,
        history="train+valid",
        catalog=movies.catalog,
        keep=keep,
        progress=lambda done, total, loss: print(done, total, loss, flush=True),
    )
    state = trained(on, movies, keep)
    text = "\n".join(
        [*_HEAD, *accuracy(first, on, state), *made_up(on, state), *rest(on, movies, state)]
    )
    PAGE.write_text(text + "\n", encoding="utf-8")
    return 0


def trained(on: Split, movies: Dataset, keep: KeptFits | None) -> State:
    """The memory of the fit that was just evaluated."""
    if keep is not None:
        kept = keep.read(keep.file("textlm", {}, 0, on.train, movies.catalog.public()))
        if kept is not None:
            return kept[0]
    model = TextLM()
    model.fit(on.train, movies.catalog.public())
    return model.state()


def made(state: State, **args: object) -> TextLM:
    """The trained model, asked in another way."""
    model = TextLM(**args)  # type: ignore[arg-type]
    model.load_state(state)
    return model


def accuracy(first: Evaluation, on: Split, state: State) -> Iterator[str]:
    """The table of hits beside the trivial baselines."""
    model = made(state)
    yield (
        f"{n_parameters_of(model):,} parameters, {len(model.pieces):,} pieces, trained in "
        f"{first.fit_seconds / 60:.0f} CPU minutes. Leave-last-out, {len(first.users)} people, "
        "full ranking, served from train and validation:\n"
    )
    yield "| recommender | hit@10 (95 % over people) | NDCG@10 | hit@20 | coverage@10 |"
    yield "|---|---:|---:|---:|---:|"
    others = (evaluate(name, on, history="train+valid") for name in ("popularity", "markov"))
    for e in (first, *others):
        low, high = e.interval("hit@10")
        cells = [f"{e['hit@10']:.4f} ({low:.3f} to {high:.3f})"]
        cells += [f"{e[name]:.4f}" for name in ("ndcg@10", "hit@20", "coverage@10")]
        yield f"| {e.name} | {' | '.join(cells)} |"


def made_up(on: Split, state: State) -> Iterator[str]:
    """What is said without the catalog."""
    history = on.known("train+valid").histories()
    asked = Requests(np.arange(len(history), dtype=np.int32), history, 10)
    yield "\n## What it makes up\n"
    yield (
        "Without the catalog (`constrained = false`), ten titles for each of "
        f"{len(history)} people:\n"
    )
    yield "| titles | in no catalog | people with at least one | a few of them |"
    yield "|---|---:|---:|---|"
    for name, args in WAYS:
        slates = made(state, constrained=False, **args).recommend(asked)
        unknown = slates.items == UNKNOWN
        share = unknown.sum() / (slates.items != NOTHING).sum()
        people = unknown.any(axis=1).mean()
        assert slates.raw_names is not None
        rows = zip(slates.raw_names, unknown, strict=True)
        names = dict.fromkeys(
            said for row, flags in rows for said, flag in zip(row, flags, strict=False) if flag
        )
        shown = "; ".join(list(names)[:3])
        yield f"| {name} | {100 * share:.1f} % | {100 * people:.0f} % | {shown} |"
        print(name, share, flush=True)


def rest(on: Split, movies: Dataset, state: State) -> Iterator[str]:
    """Explanations, and the probe for memorisation."""
    model = made(state, explain="evidence")
    history = on.known("train+valid").histories().take(np.arange(EXPLAINED_PEOPLE))
    asked = Requests(np.arange(EXPLAINED_PEOPLE, dtype=np.int32), history, 10)
    started = process_time()
    told = [text for row in model.recommend(asked).text or () for text in row]
    seconds = process_time() - started
    free = [text for row in made(state, explain="free").recommend(asked).text or () for text in row]
    said = [
        None if text is None else text.removeprefix("Because you watched ")[:-1] for text in free
    ]
    names = [
        model.pieces.said(row) for row in map(model.pieces.codes.row, range(len(movies.catalog)))
    ]
    met = [{names[item] for item in history.row(r)} for r in range(EXPLAINED_PEOPLE)]
    pairs = [(met[i // 10], title) for i, title in enumerate(said) if title is not None]
    watched = np.mean([title in titles for titles, title in pairs])
    exist = np.mean([title in set(names) for _, title in pairs])
    grounded = np.mean([text is not None for text in told])
    yield "\n## Why it says so\n"
    yield (
        f'Of 1,000 recommendations to {EXPLAINED_PEOPLE} people, `explain = "evidence"` found a '
        f"title in the history that speaks for {100 * grounded:.0f} %, in "
        f"{1000 * seconds / EXPLAINED_PEOPLE:.0f} CPU ms a person; the others stand without a "
        'sentence. `explain = "free"` has a sentence for each, equally fluent: '
        f"{100 * watched:.0f} % of them name a title that the person had watched, and "
        f"{100 * exist:.0f} % one that exists."
    )
    model = made(state)
    histories = on.train.histories()
    luck = generator(0, "textlm", "shuffle")
    rows = [histories.row(row) for row in range(len(histories))]
    shuffled = Ragged.from_lists([luck.permutation(row).tolist() for row in rows])
    (own, n), (other, _) = model.log_likelihood(histories), model.log_likelihood(shuffled)
    yield "\n## What it has by heart\n"
    yield (
        "`TextLM.log_likelihood(histories)` is the log probability of whole histories as text, the "
        "quantity that attacks on memorisation compare between people who were in training and "
        "people who were not. Of the histories it was trained on, the perplexity a piece is "
        f"{np.exp(-own.sum() / n.sum()):.1f}; of the same titles in random order "
        f"{np.exp(-other.sum() / n.sum()):.1f}; "
        f"{100 * (own > other).mean():.0f} % of the people are likelier in their own order. Order "
        "is known from other people too, so this alone proves no memorisation: that takes people "
        "held out of training."
    )


_HEAD = (
    "# Titles said by a small language model\n",
    "Written by `benchmarks/textlm.py`. The recommender `textlm` is a causal transformer that has "
    "read nothing but one catalog and people's histories as text, a five-hundredth of the size of "
    "the first GPT. It is small, and not meant as a good recommender: it is a language model that "
    "can be trained in minutes, taken apart, and audited for what large ones do (titles that exist "
    "nowhere, histories known by heart, fluent reasons that are none), with the truth at hand. "
    "Its settings are the first that were tried; nothing was chosen on the test. Titles are exact "
    "names: a real film that MovieLens does not hold counts as made up here.\n",
)


if __name__ == "__main__":
    sys.exit(main())

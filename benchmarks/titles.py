"""How often the title matcher is right: precision and recall by threshold, on labelled strings.

python benchmarks/titles.py                     the strings in titles.toml, written for LoopAudit
LOOPAUDIT_DATA=DIR python benchmarks/titles.py  and MovieLens 100K, if DIR holds it and ml-1m

From MovieLens strings with a known answer are made as models write titles: in natural order,
without year or article, with a letter wrong, in other cases, under another name. Films of
MovieLens 1M that 100K lacks are strings without an answer: real titles, so that a match is wrong.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopaudit.recommenders.datasets.movielens import load_movielens, read_films_1m
from loopaudit.recommenders.language.titles import TitleMatcher, folded, taken_apart
from loopaudit.recommenders.randomness import generator

HERE = Path(__file__).resolve().parent
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Labelled:
    """Strings with what they mean.

    Attributes:
        name: of the set.
        titles: of the catalog.
        strings: as written.
        means: index of the title each string means, -1 for none.
    """

    name: str
    titles: tuple[str, ...]
    strings: tuple[str, ...]
    means: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """Precision and recall at one threshold.

    Attributes:
        precision: of the matches made, how many are right; None where none was made.
        recall: of the strings that mean something, how many were matched rightly.
        n_matched, n_meaning: how many these are.
    """

    precision: float | None
    recall: float
    n_matched: int
    n_meaning: int


def measured(labelled: Labelled, threshold: float) -> Score:
    """The matcher's score on a set."""
    matcher = TitleMatcher(labelled.titles, threshold=threshold)
    found = np.array([match.item for match in matcher.match_all(labelled.strings)])
    means = np.array(labelled.means)
    right = (found == means) & (means >= 0)
    matched, meaning = int((found >= 0).sum()), int((means >= 0).sum())
    precision = int(right.sum()) / matched if matched else None
    return Score(precision, int(right.sum()) / meaning if meaning else 1.0, matched, meaning)


def written() -> Labelled:
    """The set that stands in titles.toml."""
    told = tomllib.loads((HERE / "titles.toml").read_text(encoding="utf-8"))
    titles = tuple(told["means"])
    pairs = [(s, i) for i, title in enumerate(titles) for s in told["means"][title]]
    pairs += [(s, -1) for s in told["none"]["strings"]]
    return Labelled("written by hand", titles, *zip(*pairs, strict=True))


def without_year(title: str) -> str:
    return re.sub(r"\s*\(\d{4}\)$", "", title)


def natural(title: str) -> str:
    """ "Matrix, The (1999)" as "The Matrix (1999)"."""
    return re.sub(r"^(.*), (The|A|An|La|Le|Les|El|Il|Das|Der|Die)( \(.*)?$", r"\2 \1\3", title)


def mistyped(title: str, luck: np.random.Generator) -> str:
    """One letter of the name dropped, doubled or exchanged."""
    end = len(without_year(title))
    letters = [i for i, c in enumerate(title[:end]) if c.isalpha()]
    if not letters:
        return title
    at = int(luck.choice(letters))
    new = ("", title[at] * 2, "abcdefghijklmnopqrstuvwxyz"[luck.integers(26)])[luck.integers(3)]
    return title[:at] + new + title[at + 1 :]


def movielens(folder: Path) -> list[Labelled]:
    """One set a way of writing, each with real films that are in no answer."""
    titles = load_movielens("ml-100k", folder=str(folder / "ml-100k")).catalog.titles
    known = {taken_apart(title).bare for title in titles}
    others = [title for _, title, _ in read_films_1m(folder / "ml-1m" / "movies.dat")]
    absent = [t for t in others if taken_apart(t).bare not in known]
    luck = generator(0, "benchmark", "titles")
    plain = {i for i, t in enumerate(titles) if t.count("(") == 1}
    ways: dict[str, Callable[[str], str]] = {
        "as the catalog has it": lambda t: t,
        "natural order": natural,
        "without year": lambda t: natural(without_year(t)),
        "lower case, no punctuation": lambda t: folded(natural(without_year(t))),
        "without article or year": lambda t: re.sub(r", (The|A|An)$", "", without_year(t)),
        "one letter wrong": lambda t: mistyped(natural(t), luck),
        "one letter wrong, no year": lambda t: mistyped(natural(without_year(t)), luck),
    }
    sets = []
    for name, write in ways.items():
        means = [first_of(titles, i) for i in sorted(plain)]
        strings = [write(titles[i]) for i in sorted(plain)] + [write(t) for t in absent]
        sets.append(Labelled(name, tuple(titles), tuple(strings), (*means, *[-1] * len(absent))))
    aka = [(inside, i) for i, t in enumerate(titles) for inside in other_names(t)]
    strings, means = zip(*aka, strict=True)
    sets.append(Labelled("under its other name", tuple(titles), strings, means))
    return sets


def first_of(titles: Sequence[str], item: int) -> int:
    """MovieLens 100K lists some films twice; the first stands for both."""
    return titles.index(titles[item])


def other_names(title: str) -> list[str]:
    inside = re.findall(r"\(([^()]*)\)", without_year(title))
    return [natural(re.sub(r"^a\.k\.a\. ", "", n)) for n in inside if not re.match(r"\d+$|V$", n)]


def main() -> None:
    sets = [written()]
    folder = os.environ.get("LOOPAUDIT_DATA")
    if folder and (Path(folder) / "ml-1m" / "movies.dat").is_file():
        sets += movielens(Path(folder))
    else:
        print("LOOPAUDIT_DATA names no folder with ml-100k and ml-1m: only our own strings")
    print("precision / recall by threshold; n = strings, of which mean a title")
    print(f"{'':30}" + "".join(f"{t:>15}" for t in THRESHOLDS) + "       n, mean")
    for one in sets:
        cells = [measured(one, threshold) for threshold in THRESHOLDS]
        said = [
            f"{'-' if c.precision is None else format(c.precision, '.3f')} / {c.recall:.3f}"
            for c in cells
        ]
        n = f"{len(one.strings):>8},{cells[0].n_meaning:>5}"
        print(f"{one.name:30}" + "".join(f"{s:>15}" for s in said) + n)
        if "--wrong" in sys.argv[1:]:
            show_wrong(one)


def show_wrong(labelled: Labelled) -> None:
    """The strings that the default threshold gets wrong."""
    matcher = TitleMatcher(labelled.titles)
    for string, item in zip(labelled.strings, labelled.means, strict=True):
        found = matcher.match(string)
        if found.item != item:
            took = labelled.titles[found.item] if found.item >= 0 else "none"
            print(f"    {string!r}: {took} ({found.how}, {found.similarity:.2f})")


if __name__ == "__main__":
    main()

"""Finds the catalog item that a generated title means, or says that there is none.

Exact titles first, then other names, then parts of titles and near spellings where the years
agree: without a year "The Wedding Singer" is one letter from "The Wedding Ringer", and "Resident
Evil" the head of its last sequel. A title that fits two works, or another year's, is no match. How
often that is right is measured by benchmarks/titles.py; docs/language-models.md has the figures.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from ..errors import UserError

_Index = dict[str, list[int]]
How = Literal["exact", "alias", "fuzzy", "ambiguous", "other_year", "none"]

THRESHOLD = 0.9
"""Least similarity of a near spelling; see docs/language-models.md for what it costs."""

_ARTICLES = "the a an le la les el los las il lo gli der die das un une una uno ein eine den det"
_LEADING = re.compile(rf"^(?:{'|'.join(_ARTICLES.split())}) (?=\S)")
_INVERTED = re.compile(rf"^(.*\S), ((?:{'|'.join(_ARTICLES.split())})\b|l')$", re.IGNORECASE)
_BRACKETS = re.compile(r"(?<=\S)\s*[(\[]([^()\[\]]*)[)\]]")
_YEAR = re.compile(r"^(1[89]\d\d|20\d\d)\b(?: (?:film|movie|tv series|video|remake|version))?$")
_KIND = re.compile(r"^(?:film|movie|tv series|tv|series|franchise|video|v)$", re.IGNORECASE)
_AKA = re.compile(r"^(?:a\.?k\.?a\.?|also known as)\s+", re.IGNORECASE)
_PARTS = re.compile(r"\s*:\s+|\s+[-\u2013\u2014]\s+")
_DOUBLE = re.compile(r",? or[:,]? (?=[(A-Z])")
_EMPTY_WORDS = "part episode chapter volume vol the movie film a an of and"
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen"
_ROMAN = "ii iii iv v vi vii viii ix x"
_NUMBERS = {
    **{word: str(number) for number, word in enumerate(_WORDS.split())},
    **{word: str(number) for number, word in enumerate(_ROMAN.split(), start=2)},
}
_LONG = 16  # letters from which one wrong letter hardly makes another work
_SILENT = "'`.\u2018\u2019\u00b4"


def folded(text: str) -> str:
    """A text as it is compared: case, accents, punctuation and the way of writing numbers gone.

    >>> folded("Amélie & the Ocean's ELEVEN, Part II")
    'amelie and the oceans 11 part 2'
    """
    text = unicodedata.normalize("NFKD", text.replace("&", " and ").casefold())
    text = "".join(c for c in text if not unicodedata.combining(c) and c not in _SILENT)
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return " ".join(_NUMBERS.get(word, word) for word in words)


@dataclass(frozen=True)
class Title:
    """A title taken apart.

    Attributes:
        key: the title itself, folded, in its natural order ("Matrix, The" as "the matrix").
        year: in brackets behind it, or None.
        others: other names, in brackets or behind an "or", folded.
        heads, tails: the title up to, and from, each colon or dash, folded; longest first.
    """

    key: str
    year: int | None = None
    others: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    tails: tuple[str, ...] = ()

    @property
    def bare(self) -> str:
        """The key without its article."""
        return _bare(self.key)

    @property
    def outline(self) -> str:
        """The first part and the last: "Star Wars: A New Hope"."""
        return f"{self.heads[-1]} {self.tails[-1]}" if self.heads and self.tails else self.key


def taken_apart(text: str) -> Title:
    """Year, other names and parts of a title as people and catalogs write it.

    >>> taken_apart("City of Lost Children, The (Cité des enfants perdus, La) (1995)").key
    'the city of lost children'
    >>> taken_apart("Seven (a.k.a. Se7en) (1995)").others
    ('se7en',)
    >>> taken_apart("Star Wars: Episode IV - A New Hope (1977)").tails
    ('episode 4 a new hope', 'a new hope')
    """
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    year, others = None, []
    for inside in _BRACKETS.findall(text):
        inside = inside.strip()
        if found := _YEAR.match(inside):
            year = int(found[1])
        elif inside and not _KIND.match(inside):
            others.append(folded(_natural(_AKA.sub("", inside))))
    main = re.sub(r" or$", "", _natural(_BRACKETS.sub("", text).strip()))
    key = folded(main) or text.casefold()
    if len(double := _DOUBLE.split(main)) == 2:
        others.extend(map(folded, double))
    parts = _PARTS.split(main)
    heads = [folded(" ".join(parts[:n])) for n in range(len(parts) - 1, 0, -1)]
    tails = [folded(" ".join(parts[n:])) for n in range(1, len(parts))]
    return Title(key, year, _telling(others), _telling(heads), _telling(tails))


@dataclass(frozen=True)
class Match:
    """What a title was found to mean.

    Attributes:
        item: index, -1 for none.
        how: by what rule, or why not: "ambiguous" fits several works, "other_year" is a work of
            that name from another year, "none" is like nothing in the catalog.
        similarity: of the spelling, in [0, 1]; 1 unless ``how`` is "fuzzy".
    """

    item: int
    how: How
    similarity: float = 1.0


class TitleMatcher:
    """Looks titles up in a catalog.

    Args:
        titles: (items,) of the catalog.
        threshold: least similarity of a near spelling where the years agree (normalised Indel
            similarity of the titles without article, as rapidfuzz.fuzz.ratio); half way from there
            to 1, and 16 letters, where they are not told. 1 for exact ones and other names only.
        aliases: further names: what may be generated -> the catalog's title.

    Raises:
        UserError: an alias of a title that is not in the catalog, a threshold outside (0, 1], or
            rapidfuzz is missing.
    """

    def __init__(
        self,
        titles: Sequence[str],
        *,
        threshold: float = THRESHOLD,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        if not 0.0 < threshold <= 1.0:
            raise UserError(f"match must be above 0 and at most 1, got {threshold:g}")
        if threshold < 1.0 and find_spec("rapidfuzz") is None:
            raise UserError(
                "near spellings of titles need rapidfuzz: pip install 'loopaudit[llm]' (or set "
                "match = 1, for exact titles and aliases only)"
            )
        self.threshold = threshold
        self._titles = [taken_apart(title) for title in titles]
        self._names: _Index = defaultdict(list)
        self._others: _Index = defaultdict(list)
        self._parts: _Index = defaultdict(list)
        for item, title in enumerate(self._titles):
            self._names[title.bare].append(item)
            for name in {title.bare.replace(" ", ""), title.outline, *title.others}:
                if _bare(name) != title.bare:
                    self._others[_bare(name)].append(item)
            for name in {*title.heads, *title.tails}:
                self._parts[_bare(name)].append(item)
        self._bares = list(self._names)
        self._known: dict[str, Match] = {}
        for name, meant in (aliases or {}).items():
            found = self.match(meant)
            if found.item < 0:
                raise UserError(f"aliases: {meant!r} (for {name!r}) is no title of the catalog")
            self._others[taken_apart(name).bare].append(found.item)
        self._known.clear()

    def __len__(self) -> int:
        return len(self._titles)

    def match(self, text: str) -> Match:
        """The item that a title means."""
        if text not in self._known:
            self._known[text] = self._match(taken_apart(text))
        return self._known[text]

    def match_all(self, texts: Iterable[str]) -> list[Match]:
        """One match a title."""
        return [self.match(text) for text in texts]

    def _match(self, asked: Title) -> Match:
        doubt: Match | None = None
        for how, name, among in self._ways(asked):
            if items := among.get(_bare(name)):
                found = self._of_year(items, asked, how)
                if found.item >= 0:
                    return found
                doubt = doubt or found
        for name, among in self._partial_ways(asked):
            items = [i for i in among.get(_bare(name), ()) if self._agree(asked, i)]
            if items:
                return self._of_year(items, asked, "alias")
        return doubt or self._near(asked)

    def _ways(self, asked: Title) -> Iterable[tuple[How, str, _Index]]:
        """Names that mean the work whether or not a year is told."""
        yield "exact", asked.key, self._names
        yield "exact", asked.key, self._others
        yield "exact", asked.bare.replace(" ", ""), self._others
        yield "exact", asked.bare.replace(" ", ""), self._names
        yield "alias", asked.outline, self._names
        yield "alias", asked.outline, self._others

    def _partial_ways(self, asked: Title) -> Iterable[tuple[str, _Index]]:
        """Names that sequels and others share, so that the year has to tell."""
        yield asked.key, self._parts
        for name in (*asked.others, *asked.tails, *asked.heads):
            yield name, self._names
            yield name, self._others
            yield name, self._parts

    def _of_year(self, items: Sequence[int], asked: Title, how: How) -> Match:
        """The one of these items that fits the year; of twins in the catalog, the first."""
        fitting = [i for i in items if _same_year(asked.year, self._titles[i].year)]
        if not fitting:
            return Match(-1, "other_year")
        closest = [i for i in fitting if asked.year == self._titles[i].year]
        fitting = closest if asked.year and closest else fitting
        to_the_letter = [i for i in fitting if self._titles[i].key == asked.key]
        fitting = to_the_letter or fitting
        works = {(self._titles[i].bare, self._titles[i].year) for i in fitting}
        return Match(fitting[0], how) if len(works) == 1 else Match(-1, "ambiguous")

    def _near(self, asked: Title) -> Match:
        """The one title spelt nearly so, with the same numbers and a year that fits."""
        if self.threshold >= 1.0:
            return Match(-1, "none")
        from rapidfuzz import fuzz, process

        near = process.extract(
            asked.bare, self._bares, scorer=fuzz.ratio, score_cutoff=100 * self.threshold, limit=20
        )
        best: Match | None = None
        for name, score, _ in near:
            if best is not None and score < 100 * best.similarity:
                break
            if _numbers(name) != _numbers(asked.bare):
                continue  # a sequel is another work
            items = [i for i in self._names[name] if self._agree(asked, i)]
            if score >= 50 * (1 + self.threshold) and len(name) >= _LONG:
                items = items or self._names[name]
            found = self._of_year(items, asked, "fuzzy")
            if found.item < 0:
                continue
            if best is not None:
                return Match(-1, "ambiguous")
            best = Match(found.item, "fuzzy", score / 100)
        return best or Match(-1, "none")

    def _agree(self, asked: Title, item: int) -> bool:
        """Whether both years are known and the same; a sequel often comes a year later."""
        return asked.year is not None and asked.year == self._titles[item].year


def _natural(text: str) -> str:
    """ "Matrix, The" as "The Matrix"."""
    found = _INVERTED.match(text)
    if found is None:
        return text
    return found[2] + ("" if found[2].endswith("'") else " ") + found[1]


def _bare(key: str) -> str:
    return _LEADING.sub("", key)


def _tells(name: str) -> bool:
    """Whether a part of a title says which work is meant; "part 2" does not."""
    return any(not word.isdigit() and word not in _EMPTY_WORDS.split() for word in name.split())


def _telling(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if _tells(name))


def _same_year(asked: int | None, known: int | None) -> bool:
    """Whether both can be one work; festivals and countries disagree by a year."""
    return asked is None or known is None or abs(asked - known) <= 1


def _numbers(key: str) -> list[str]:
    """Words with a digit in them."""
    return [word for word in key.split() if any(c.isdigit() for c in word)]

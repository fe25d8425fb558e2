"""The title matcher: what it must find, what it must leave alone, and how often it is right."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.language.titles import TitleMatcher, folded, taken_apart

pytest.importorskip("rapidfuzz", reason="near spellings of titles need loopaudit[llm]")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("titles_benchmark", ROOT / "benchmarks/titles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["titles_benchmark"] = module
    spec.loader.exec_module(module)
    return module


def test_on_titles_written_by_hand_no_match_is_wrong_and_one_is_missed(
    benchmark: ModuleType,
) -> None:
    labelled = benchmark.written()
    assert (len(labelled.titles), len(labelled.strings)) == (24, 111)
    score = benchmark.measured(labelled, 0.9)
    assert score.precision == 1.0
    assert score.recall == pytest.approx(72 / 73)


def test_a_lower_threshold_finds_more_and_errs_more(benchmark: ModuleType) -> None:
    labelled = benchmark.written()
    exact, careful, bold = (benchmark.measured(labelled, t) for t in (1.0, 0.9, 0.7))
    assert exact.precision == careful.precision == 1.0
    assert exact.n_matched < careful.n_matched < bold.n_matched
    assert bold.precision < 1.0


def test_on_movielens_titles_as_models_write_them_most_are_found(
    benchmark: ModuleType, real_data
) -> None:
    real_data("ml-1m/movies.dat")
    sets = {s.name: s for s in benchmark.movielens(real_data("ml-100k/u.data").parents[1])}
    for name, precision, recall in (
        ("natural order", 0.98, 1.0),
        ("without year", 0.99, 0.99),
        ("one letter wrong", 0.98, 0.8),
        ("under its other name", 0.95, 0.95),
    ):
        score = benchmark.measured(sets[name], 0.9)
        assert score.precision >= precision, name
        assert score.recall >= recall, name


CATALOG = (
    "Matrix, The (1999)",
    "Seven (a.k.a. Se7en) (1995)",
    "Sabrina (1954)",
    "Sabrina (1995)",
    "Toy Story (1995)",
    "Toy Story 2 (1999)",
    "Star Wars (1977)",
    "Empire Strikes Back, The (1980)",
    "Chasing Amy (1997)",
    "Chasing Amy (1997)",
    "River, The (1951)",
    "A River (1951)",
    "映画",
    "🎬",
    "",
)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("The Matrix", 0),
        ("matrix (2000)", 0),  # countries disagree by a year
        ("Se7en", 1),
        ("Sabrina (1954)", 2),
        ("Toy Story II", 5),
        ("Star Wars: Episode IV - A New Hope (1977)", 6),
        ("Star Wars: Episode V - The Empire Strikes Back (1980)", 7),
        ("Chasing Amy", 8),  # the catalog lists it twice: the first
        ("The River", 10),
        ("A River", 11),
        ("映画", 12),
        ("🎬", 13),
    ],
)
def test_what_a_title_means_is_found(said: str, meant: int) -> None:
    assert TitleMatcher(CATALOG).match(said).item == meant


@pytest.mark.parametrize(
    ("said", "how"),
    [
        ("Sabrina", "ambiguous"),
        ("Sabrina (1975)", "other_year"),
        ("The Matrix (2021)", "other_year"),
        ("Toy Story 3 (1995)", "none"),
        ("Star Wars: The Last Jedi", "none"),
        ("Star Wars: Episode V - The Empire Strikes Back", "none"),  # parts need the year
        ("Heat (1995)", "none"),
        ("!!", "none"),
    ],
)
def test_what_a_title_does_not_mean_is_left_alone_and_why_is_said(said: str, how: str) -> None:
    found = TitleMatcher(CATALOG).match(said)
    assert (found.item, found.how) == (-1, how)


def test_an_alias_of_ones_own_is_found_and_one_of_nothing_is_refused() -> None:
    own = {"Star Wars: Episode IV": "Star Wars"}
    assert TitleMatcher(CATALOG, aliases=own).match("star wars - episode iv").item == 6
    with pytest.raises(UserError, match=r"'Stars Wars' \(for 'SW'\) is no title of the catalog"):
        TitleMatcher(CATALOG, aliases={"SW": "Stars Wars"})


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_taken_apart_and_folding_twice_is_folding_once(text: str) -> None:
    once = folded(text)
    assert folded(once) == once
    assert taken_apart(text).key is not None
    found = TitleMatcher(CATALOG).match(text)
    assert (found.item >= 0) == (found.how in ("exact", "alias", "fuzzy"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=6, unique=True))
def test_a_title_never_matches_another_one_than_its_own_exactly(titles: list[str]) -> None:
    matcher = TitleMatcher(titles)
    for item, title in enumerate(titles):
        found = matcher.match(title)
        if found.how == "exact" and found.item != item:
            assert taken_apart(titles[found.item]).bare == taken_apart(title).bare

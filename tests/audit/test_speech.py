"""What is told of a recommender's words: shares by world, the most frequent, a few samples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loopaudit.audit import speech
from loopaudit.simulation.record import said


class Spoken:
    """A run of two worlds whose target said what it is told to."""

    worlds, steps = 2, 4
    study = SimpleNamespace(study=SimpleNamespace(said_to=3))

    def __init__(self, counts: list[list[tuple[int, ...]]], texts: list[list[Any]]) -> None:
        self.counts, self.texts = counts, texts

    def arm(self, target: str, kind: str) -> str:
        return target

    def said_counts(self, arm: str, world: int) -> pl.DataFrame:
        return pl.DataFrame(self.counts[world], said.COUNTS, orient="row")

    def said(self, arm: str, world: int) -> pl.LazyFrame:
        return pl.LazyFrame(self.texts[world], said.SAID, orient="row")


def spoken(texts: list[list[Any]] | None = None) -> Spoken:
    # step, lists, names, made up, lists with, row titles, explanations, replies
    first = [(0, 2, 10, 4, 2, 0, 3, 0), (2, 2, 10, 0, 0, 0, 3, 0)]
    second = [(0, 2, 10, 8, 2, 0, 0, 1), (3, 2, 0, 0, 0, 0, 0, 0)]
    return Spoken([first, second], texts or [[], []])


def test_shares_are_of_worlds_and_their_interval_is_over_worlds() -> None:
    told = speech.speech_of(spoken(), "t")  # type: ignore[arg-type]
    assert told["totals"]["names"] == 30
    assert told["totals"]["made_up"] == 12
    assert told["share"]["mean"] == pytest.approx((4 / 20 + 8 / 10) / 2)  # not 12 / 30
    over_time = told["over_time"]
    assert over_time["step"] == [0, 2]  # in step 3 nobody gave a name
    assert over_time["mean"] == pytest.approx([0.6, 0.0])
    assert over_time["low"][1] is None  # one world alone has no interval


def test_intervals_are_students() -> None:
    luck = np.random.default_rng(3).uniform(0.4, 0.6, (7, 1))
    told = speech.over_worlds(luck)
    error = luck.std(ddof=1) / np.sqrt(7)
    low, high = stats.t.interval(0.95, 6, luck.mean(), error)
    assert [told["low"][0], told["high"][0]] == pytest.approx([low, high])


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=6).map(lambda x: np.array(x)[:, None]),
)
def test_bounds_lie_around_the_mean_and_within_0_to_1(table: np.ndarray) -> None:
    told = {name: values[0] for name, values in speech.over_worlds(table).items()}
    if len(table) == 1:
        assert told["low"] is None
        assert told["high"] is None
    else:
        assert 0 <= told["low"] <= told["mean"] + 1e-12
        assert told["mean"] - 1e-12 <= told["high"] <= 1


def test_the_most_frequent_names_come_first_and_samples_are_different_and_spread() -> None:
    names = [(0, 1, -1, said.MADE_UP, name) for name in ("b", "a", "b", "c", "c")]
    why = [(t, 1, 0, said.EXPLANATION, f"because {t // 2}") for t in range(40)]
    told = speech.speech_of(spoken([names + why, names[:1]]), "t")  # type: ignore[arg-type]
    assert told["frequent"][said.MADE_UP] == [["b", 3, 2], ["c", 2, 1], ["a", 1, 1]]
    quoted = told["samples"][said.EXPLANATION]
    assert [text for _, _, text in quoted] == [f"because {n}" for n in (0, 4, 8, 11, 15, 19)]
    assert quoted[1][:2] == [8, 1]


def test_texts_are_one_printable_line_however_they_came() -> None:
    evil = "<b>\u202egnirts\u0007\n\ttwo " + "x" * 500
    rows = [(0, 1, 0, said.EXPLANATION, evil)]
    told = speech.speech_of(spoken([rows, []]), "t")  # type: ignore[arg-type]
    (quoted,) = told["samples"][said.EXPLANATION]
    assert quoted[2].startswith("<b>?gnirts? two xxx")
    assert quoted[2].isprintable()
    assert len(quoted[2]) == 200


def test_of_a_recommender_that_said_nothing_there_is_nothing_to_tell() -> None:
    assert speech.speech_of(Spoken([[], []], [[], []]), "t") == {}  # type: ignore[arg-type]

"""Similarities of ranked lists: hand-computed values, bounds, and what identical lists score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from loopaudit.audit.similarity import (
    jaccard,
    prag,
    rank_biased_overlap,
    serp_ms,
    serp_ms_ceiling,
    serp_ms_faithful,
)

ALL = (jaccard, serp_ms, prag, rank_biased_overlap)


def test_two_short_lists_by_hand() -> None:
    a, b = [[1, 2, 3, 4]], [[3, 1, 9, 8]]
    assert_allclose(jaccard(a, b), 2 / 6)
    # shared items of b stand at positions 0 and 1: (4 - 0 + 1) + (4 - 1 + 1) over 2 * 4 * 5
    assert_allclose(serp_ms_faithful(a, b), 9 / 40)
    assert_allclose(serp_ms(a, b), 9 / 40 / serp_ms_ceiling(4))
    # of the pairs 31 39 38 19 18 98 of b: 31 is reversed in a, 98 unknown, the rest is kept
    assert_allclose(prag(a, b), 4 / 6)
    # shared in the first 1..4: 0, 1, 2, 2
    p = 0.9
    expected = p**4 * 2 / 4 + (1 - p) / p * (p**2 / 2 + 2 * p**3 / 3 + 2 * p**4 / 4)
    assert_allclose(rank_biased_overlap(a, b, p=p), expected)


@pytest.mark.parametrize("similarity", ALL)
def test_identical_lists_score_one_and_disjoint_lists_zero(similarity) -> None:
    lists = np.arange(60).reshape(3, 20)
    assert_allclose(similarity(lists, lists), 1)
    assert_allclose(similarity(lists, lists + 1000), 0)


def test_a_reversed_list_keeps_its_items_but_none_of_its_order() -> None:
    lists = np.arange(10)[None]
    assert_allclose(jaccard(lists, lists[:, ::-1]), 1)
    assert_allclose(prag(lists, lists[:, ::-1]), 0)


def test_padding_is_no_item() -> None:
    assert_allclose(jaccard([[1, -1, -1]], [[2, -1, -1]]), 0)
    assert np.isnan(jaccard([[-1, -1]], [[-1, -1]])).all()
    assert np.isnan(prag([[1, 2]], [[1, -1]])).all()


def test_unequal_numbers_of_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="as many lists"):
        jaccard([[1]], [[1], [2]])
    with pytest.raises(ValueError, match="between 0 and 1"):
        rank_biased_overlap([[1]], [[1]], p=1.0)


@given(st.permutations(range(8)), st.permutations(range(8)), st.integers(0, 7))
@settings(deadline=None)
def test_similarities_stay_between_zero_and_one(a: list[int], b: list[int], shift: int) -> None:
    first, second = np.array([a]), np.array([b]) + shift
    for similarity in ALL:
        value = float(similarity(first, second)[0])
        assert -1e-12 <= value <= 1 + 1e-12
    assert_allclose(jaccard(first, second), jaccard(second, first))
    assert_allclose(rank_biased_overlap(first, second), rank_biased_overlap(second, first))

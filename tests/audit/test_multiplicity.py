"""Many checks: Benjamini-Hochberg and Holm agree with two other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from loopaudit.audit.multiplicity import benjamini_hochberg, holm

p_lists = st.lists(
    st.floats(0, 1, allow_subnormal=False) | st.sampled_from([0.01, 0.05]), min_size=1, max_size=30
)


@given(p_lists)
@settings(max_examples=200, deadline=None)
def test_benjamini_hochberg_agrees_with_statsmodels_and_scipy(p: list[float]) -> None:
    values = np.array(p)
    ours = benjamini_hochberg(values)
    assert_allclose(ours, multipletests(values, method="fdr_bh")[1], atol=1e-300)
    assert_allclose(ours, false_discovery_control(values), atol=1e-300)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 40])
def test_holm_agrees_with_statsmodels(n: int) -> None:
    values = np.random.default_rng(n).beta(0.5, 2, n).round(2)
    assert_allclose(holm(values), multipletests(values, method="holm")[1])


@given(p_lists, st.randoms())
@settings(deadline=None)
def test_the_order_of_the_checks_does_not_matter(p: list[float], random) -> None:
    order = list(range(len(p)))
    random.shuffle(order)
    values = np.array(p)
    for method in (benjamini_hochberg, holm):
        assert_allclose(method(values[order]), method(values)[order], atol=1e-300)


def naive(p: NDArray[np.float64], q: float) -> bool:
    """Any rejection by a published Benjamini-Hochberg whose ranks are ``argsort() + 1``."""
    rank = p.argsort() + 1
    return bool((p <= rank / len(p) * q).any())


def test_ranks_by_argsort_find_something_in_nothing() -> None:
    """T7: 40 tests, no effect anywhere, false-discovery rate 10 %."""
    rng = np.random.default_rng(7)
    trials = rng.random((400, 40))
    assert np.mean([naive(p, 0.1) for p in trials]) == pytest.approx(0.87, abs=0.05)
    ours = np.mean([(benjamini_hochberg(p) <= 0.1).any() for p in trials])
    assert ours == pytest.approx(0.10, abs=0.04)


def test_no_check_at_all_is_no_mistake() -> None:
    assert len(benjamini_hochberg([])) == 0
    assert len(holm([])) == 0

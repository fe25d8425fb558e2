"""Opinions move by known laws: fixed points, clusters, conservation, exact decay."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from loopaudit.recommenders.randomness import stream
from loopaudit.simulation.society.graphs import small_world
from loopaudit.simulation.society.opinions import (
    Attraction,
    Bounded,
    Deffuant,
    Entrenchment,
    FriedkinJohnsen,
    HegselmannKrause,
    Latitude,
    Talk,
    acceptance,
    bimodality,
    fixed_point,
    polarisation,
)


def lived(law, graph, first, rounds, present=None) -> np.ndarray:
    present = np.ones(len(first), bool) if present is None else present
    x = first
    for t in range(rounds):
        x = law.listen(Talk(graph, x, first, present, t, stream(1, "met")))
    return x


def everybody(n):
    return sp.csr_matrix(np.ones((n, n)) - np.eye(n))


def anywhere(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, n)


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.8, 0.95])
def test_friedkin_johnsen_settles_at_its_fixed_point(lam):
    graph, first = small_world(150, 6, 0.2, seed=1), anywhere(150)
    weights = graph.toarray() / graph.toarray().sum(axis=1, keepdims=True)
    rounds = int(np.ceil(np.log(1e-17) / np.log(max(lam, 1e-9)))) + 1
    error = lived(FriedkinJohnsen(listening=lam), graph, first, rounds) - fixed_point(
        weights, first, lam
    )
    assert np.abs(error).max() < 1e-12


def test_who_has_no_friends_keeps_their_opinion():
    lonely, first = sp.csr_matrix((4, 4)), anywhere(4)
    for law in (FriedkinJohnsen(), HegselmannKrause(), Deffuant()):
        assert lived(law, lonely, first, 5) == pytest.approx(first)


def test_who_is_not_there_is_not_heard():
    graph, first = everybody(4), np.array([-1.0, 0.0, 0.5, 1.0])
    present = np.array([False, True, True, True])
    for law in (FriedkinJohnsen(listening=1.0), HegselmannKrause(confidence=2.0)):
        after = lived(law, graph, first, 1, present)
        first_out = first.copy()
        first_out[0] = 0.9
        again = lived(law, graph, first_out, 1, present)
        assert after[1:] == pytest.approx(again[1:])
    talk = Talk(graph, first, first, present, 3, stream(2, "met"))
    met = {int(Talk(graph, first, first, present, t, talk.key).met()[3]) for t in range(60)}
    assert met == {1, 2}


@pytest.mark.parametrize("confidence", [1.0, 1.4, 2.0])
def test_wide_confidence_ends_in_consensus(confidence):
    n = 120
    heard = lived(HegselmannKrause(confidence=confidence), everybody(n), anywhere(n), 30)
    assert np.ptp(heard) < 1e-9
    met = lived(Deffuant(confidence=confidence, rate=0.5), everybody(n), anywhere(n), 400)
    assert np.ptp(met) < 1e-3


@pytest.mark.parametrize(("confidence", "known"), [(0.5, 2), (0.25, 4), (0.125, 8)])
def test_deffuant_leaves_about_one_over_the_confidence_clusters(confidence, known):
    n = 250
    law = Deffuant(confidence=confidence, rate=0.5)
    found = []
    for seed in range(3):
        x = lived(law, everybody(n), anywhere(n, seed), 500)
        groups = np.split(np.sort(x), np.flatnonzero(np.diff(np.sort(x)) > confidence / 2) + 1)
        found.append(sum(len(g) > 0.03 * n for g in groups))  # stragglers are not counted
    assert np.mean(found) == pytest.approx(known, rel=0.3)


def test_opinions_farther_apart_than_the_confidence_never_meet():
    first = np.array([-0.9, -0.8, 0.8, 0.9])
    for law in (HegselmannKrause(confidence=0.5), Deffuant(confidence=0.5, rate=0.5)):
        after = lived(law, everybody(4), first, 60)
        assert after[:2] == pytest.approx(-0.85, abs=0.06)
        assert after[2:] == pytest.approx(0.85, abs=0.06)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1), st.integers(0, 20))
def test_one_stance_for_ever_draws_an_opinion_by_powers(x0, s, rate, times):
    x = np.array([x0])
    for _ in range(times):
        x = Attraction(rate=rate).meet(x, np.array([s]))
    assert x[0] == pytest.approx(s + (1 - rate) ** times * (x0 - s), abs=1e-12)


def test_bounded_confidence_lets_far_stances_be():
    law = Bounded(rate=0.5, confidence=0.6)
    after = law.meet(np.array([0.0, 0.0]), np.array([0.6, 0.7]))
    assert after == pytest.approx([0.3, 0.0])


def test_half_of_the_pull_is_left_at_the_latitude():
    assert acceptance(np.array([0.3]), 0.3, 20.0)[0] == 0.5
    law = Latitude(rate=0.5, latitude=0.4, sharpness=2.0)
    assert law.meet(np.zeros(1), np.array([0.4]))[0] == pytest.approx(0.5 * 0.5 * 0.4)


@pytest.mark.parametrize("stance", [0.5, -0.5])
def test_assimilation_entrenches_whatever_the_stance(stance):
    x = np.array([0.2, -0.2])
    for _ in range(6):
        x = Entrenchment(eta=0.4).meet(x, np.full(2, stance))
    assert x == pytest.approx(np.array([0.2, -0.2]) * (1 + 0.4 * 0.25) ** 6)


def test_polarisation_has_its_known_values():
    camps = np.array([-1.0, 1.0] * 50)
    even = np.linspace(-1, 1, 100_001)
    normal = np.random.default_rng(3).normal(0, 0.2, 400_000)
    assert bimodality(camps) == pytest.approx(1.0)
    assert bimodality(even) == pytest.approx(5 / 9, abs=1e-3)
    assert bimodality(normal) == pytest.approx(1 / 3, abs=5e-3)
    assert polarisation(camps) == pytest.approx(1.0)
    assert polarisation(np.full(9, 0.3)) == 0.0
    assert polarisation(0.5 * camps) == pytest.approx(0.5)
    assert polarisation(even) == pytest.approx(2 * 0.2**3 * 16, rel=1e-3)  # five groups
    assert np.isnan(bimodality(np.full(5, 0.1)))
    assert np.isnan(polarisation(np.empty(0)))
    assert np.isnan(bimodality(np.empty(0)))

"""Graphs have the degrees and the clustering that theory, and a second library, say."""

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.interactions import Interactions
from loopaudit.simulation.society.graphs import (
    FromFile,
    SmallWorld,
    _pair,
    alike,
    block_chances,
    communities,
    small_world,
)

NO_PAST = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, np.int64), 6, 4)


def clustering(graph) -> float:
    return nx.average_clustering(nx.from_scipy_sparse_array(graph))


def friendships(graph) -> set[tuple[int, int]]:
    row, column = graph.nonzero()
    return set(zip(row.tolist(), column.tolist(), strict=True))


@pytest.mark.parametrize("k", [4, 6, 10])
def test_a_ring_has_the_clustering_of_watts_and_strogatz(k):
    graph = small_world(200, k, 0.0, seed=1)
    assert (np.diff(graph.indptr) == k).all()
    assert clustering(graph) == pytest.approx(3 * (k - 2) / (4 * (k - 1)))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5])
def test_moved_links_lower_the_clustering_as_known(p):
    n, k = 2000, 10
    graph = small_world(n, k, p, seed=2)
    whole = 3 * (k - 2) / (4 * (k - 1))
    other = nx.average_clustering(nx.watts_strogatz_graph(n, k, p, seed=3))
    assert clustering(graph) == pytest.approx(whole * (1 - p) ** 3, abs=0.02)
    assert clustering(graph) == pytest.approx(other, abs=0.02)
    assert graph.nnz == n * k  # links are moved, none is lost


def test_a_wholly_moved_graph_has_the_degrees_of_the_second_library():
    mine = np.diff(small_world(4000, 10, 1.0, seed=4).indptr)
    other = np.array([d for _, d in nx.watts_strogatz_graph(4000, 10, 1.0, seed=5).degree()])
    assert mine.mean() == other.mean() == 10
    assert mine.min() >= 5  # one end of each link stays
    assert mine.std() == pytest.approx(other.std(), rel=0.06)


@settings(max_examples=25, deadline=None)
@given(st.integers(12, 80), st.sampled_from([2, 4, 8]), st.floats(0, 1), st.integers(0, 99))
def test_friendships_are_mutual_distinct_and_with_others(n, k, p, seed):
    graph = small_world(n, k, p, seed=seed)
    assert graph.nnz == n * k
    assert (graph != graph.T).nnz == 0
    assert graph.diagonal().sum() == 0
    assert (graph.data == 1).all()
    again = small_world(n, k, p, seed=seed)
    assert (graph != again).nnz == 0


def test_communities_have_the_means_that_were_asked_for():
    n, groups = 4000, 4
    group = np.arange(n) % groups
    graph = communities(group, 20.0, 0.2, groups=groups, seed=6)
    row, column = graph.nonzero()
    assert len(row) / n == pytest.approx(20.0, rel=0.02)
    assert (group[row] != group[column]).mean() == pytest.approx(0.2, abs=0.01)
    # a stochastic block model of independent pairs: degrees are (almost) Poisson
    degree = np.diff(graph.indptr)
    assert degree.var() == pytest.approx(20.0, rel=0.08)


def test_communities_agree_with_the_second_library():
    inside, outside = block_chances(12.0, 2, 0.25, 600)
    sizes, p = [300, 300], [[inside, outside], [outside, inside]]
    other = nx.stochastic_block_model(sizes, p, seed=7)
    mine = communities(np.repeat([0, 1], 300), 12.0, 0.25, groups=2, seed=8)
    assert mine.nnz / 2 == pytest.approx(other.number_of_edges(), rel=0.05)
    assert clustering(mine) == pytest.approx(nx.average_clustering(other), abs=0.01)


@given(st.integers(0, 10**12))
def test_every_number_is_one_pair(code):
    row, column = (int(x[0]) for x in _pair(np.array([code])))
    assert 0 <= column < row
    assert row * (row - 1) // 2 + column == code


def test_those_who_consumed_the_same_are_alike():
    past = [[0, 1, 2], [0, 1, 2], [5, 6], [5, 6, 7], [9]]
    user = np.repeat(np.arange(5), [len(p) for p in past]).astype(np.int32)
    item = np.concatenate(past).astype(np.int32)
    log = Interactions(user, item, np.arange(len(user)), 5, 10)
    assert friendships(alike(log, 1)) == {(0, 1), (1, 0), (2, 3), (3, 2)}


def test_friends_are_read_from_a_file_by_their_ids(tmp_path):
    ids = tuple("abcdef")
    pl.DataFrame({"from": list("abcz"), "to": list("bcca")}).write_csv(tmp_path / "f.csv")
    graph = FromFile(path=str(tmp_path / "f.csv")).build(ids, NO_PAST, seed=0)
    assert friendships(graph) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    frame = pl.DataFrame({"x": [1, 2], "who": list("ab"), "hears": list("ba")})
    frame.write_parquet(tmp_path / "f.parquet")
    spec = FromFile(path=str(tmp_path / "f.parquet"), one="who", other="hears", directed=True)
    assert friendships(spec.build(ids, NO_PAST, seed=0)) == {(0, 1), (1, 0)}


def test_a_wrong_file_is_named_with_the_key(tmp_path):
    ids = tuple("abcdef")

    def said(**spec) -> str:
        with pytest.raises(UserError) as error:
            FromFile(**spec).build(ids, NO_PAST, seed=0)
        return str(error.value)

    assert "no such file" in said(path=str(tmp_path / "no.csv"))
    pl.DataFrame({"one": ["x"], "two": ["y"]}).write_csv(tmp_path / "f.csv")
    assert "no row names two people of this world ('a', for one)" in said(
        path=str(tmp_path / "f.csv")
    )
    assert "unknown column" in said(path=str(tmp_path / "f.csv"), one="ones")
    pl.DataFrame({"one": ["x"]}).write_csv(tmp_path / "g.csv")
    assert "a friendship needs two ids" in said(path=str(tmp_path / "g.csv"))
    with pytest.raises(UserError, match=r"friends must be below the number of people \(6\)"):
        SmallWorld(friends=6).build(ids, NO_PAST, seed=0)

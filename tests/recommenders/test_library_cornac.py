"""Cornac behind the border: the contract, and the traps that its own interface sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cornac", reason="needs the extra cornac (pip install loopaudit[cornac])")

from cornac.models import BPR, EASE, MostPop, SPop

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.classic.ease import EASE as OurEASE
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.plugins.cornac import CornacRecommender
from loopaudit.recommenders.testing import RecommenderContract

WORLD = RecommenderContract()


def made(name: str, **args: Any) -> CornacRecommender:
    found = registry.create(f"cornac.models:{name}", args)
    assert isinstance(found, CornacRecommender)
    return found


def fitted(model: Any, log: Interactions | None = None, seed: int = 3) -> CornacRecommender:
    recommender = CornacRecommender(model)
    recommender.fit(log or WORLD.log(), WORLD.catalog(), seed=seed)
    return recommender


class TestBPR(RecommenderContract):
    def make(self):
        return made("BPR", k=8, max_iter=20)


class TestEASE(RecommenderContract):
    def make(self):
        return made("EASE", lamb=30, posB=False)


class TestMostPop(RecommenderContract):
    def make(self):
        return made("MostPop")


@pytest.mark.slow
class TestSASRec(RecommenderContract):
    def make(self):
        return made("SASRec", embedding_dim=8, n_epochs=1, max_len=10, device="cpu")


def test_scores_are_those_of_the_librarys_own_recommend() -> None:
    """Cornac numbers items in the order it meets them; a shuffled log numbers them otherwise."""
    log = WORLD.log()
    recommender = fitted(BPR(k=8, max_iter=20), log)
    assert list(recommender._inner) != sorted(recommender._inner)
    row = recommender.score(WORLD.requests(np.array([7])))[0]
    listed = recommender.model.recommend(7, k=20)
    assert np.argsort(-row, kind="stable")[:20].tolist() == listed


def test_ease_of_two_libraries_is_one_model() -> None:
    theirs, ours = fitted(EASE(lamb=30, posB=False)), OurEASE(reg=30.0)
    ours.fit(WORLD.log(), WORLD.catalog())
    mine, yours = ours.score(WORLD.requests()), theirs.score(WORLD.requests())
    known = yours > -np.inf
    assert known.mean() > 0.9
    np.testing.assert_allclose(yours[known], mine[known], atol=2e-4)


def test_a_general_model_serves_only_people_it_was_trained_on() -> None:
    log = WORLD.log()
    recommender = fitted(BPR(k=8, max_iter=5), log.take(log.user != 4))
    assert recommender.capabilities.history == "trained_users_only"
    asked = replace(WORLD.requests(np.arange(3, 6)), users=np.array([-1, 4, 5], np.int32))
    slates = Guard(recommender, n_items=WORLD.n_items).recommend(asked)
    assert (slates.items[:2] == -1).all()
    assert slates.errors is not None
    assert [error is None for error in slates.errors] == [False, False, True]


def test_an_empty_history_is_not_a_list_in_the_order_of_item_numbers() -> None:
    recommender = fitted(SPop())
    model = made("SASRec", embedding_dim=8, n_epochs=1, max_len=10, device="cpu")
    model.fit(WORLD.log(), WORLD.catalog())
    empty = Requests(np.array([0], np.int32), Ragged.empty(1), 5)
    assert (model.model.score(0, []) == 1).all(), "Cornac has changed: this trap is gone"
    for one in (recommender, model):
        assert one.recommend(empty).errors == ("it has no scores for this person",)


def test_already_taken_items_are_left_out_although_cornac_keeps_them() -> None:
    recommender = fitted(MostPop())
    seen = set(WORLD.log().histories().row(7).tolist())
    assert seen & set(recommender.model.recommend(7, k=10)), "remove_seen is False by default"
    slates = Guard(recommender, n_items=WORLD.n_items).recommend(WORLD.requests(np.array([7])))
    assert not seen & set(slates.items[0].tolist())


def test_the_seed_alone_decides_a_model_made_without_one() -> None:
    one, two, other = (fitted(BPR(k=8, max_iter=5), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.model.i_factors, two.model.i_factors)
    assert not np.array_equal(one.model.i_factors, other.model.i_factors)


@pytest.mark.filterwarnings("error")
def test_a_log_that_repeats_itself_warns_nobody() -> None:
    log = WORLD.log()
    fitted(EASE(), log.then(log))


def test_models_of_baskets_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="baskets"):
        made("GPTop")

"""Planted violators are ordinary recommenders, and their dose is what it says."""

import numpy as np
import pytest

from loopaudit.audit.planted import (
    BubbleFormer,
    GenderDegrader,
    Memoriser,
    PreferenceShaper,
    TitleInventor,
)
from loopaudit.audit.planted.replacing import replace_slots
from loopaudit.recommenders.registry import create
from loopaudit.recommenders.testing import RecommenderContract


class TestBubbleFormerKeepsTheContract(RecommenderContract):
    def make(self):
        return BubbleFormer()


class TestGenderDegraderKeepsTheContract(RecommenderContract):
    def make(self):
        return GenderDegrader(eps=0.3)


class TestPreferenceShaperKeepsTheContract(RecommenderContract):
    def make(self):
        return PreferenceShaper(lambda_=0.5)


class TestMemoriserKeepsTheContract(RecommenderContract):
    def make(self):
        return Memoriser(q=0.5)


class TestTitleInventorKeepsTheContract(RecommenderContract):
    def make(self):
        return TitleInventor(share=0.2)


@pytest.mark.parametrize(
    "name", ["BubbleFormer", "GenderDegrader", "PreferenceShaper", "TitleInventor"]
)
def test_they_are_named_like_any_recommender(name):
    assert callable(create(f"loopaudit.audit.planted:{name}", {}).recommend)


def test_replaced_slots_take_the_next_unused_item():
    items = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    instead = np.array([[3, 9, 1, 8, 7, 2], [7, 8, 9, 1, 2, 3]], np.int32)
    where = np.array([[True, True, False], [False, False, False]])
    assert replace_slots(items, instead, where).tolist() == [[9, 1, 3], [4, 5, 6]]


def test_with_nothing_to_take_a_slot_keeps_its_item():
    items = np.array([[1, 2]], np.int32)
    instead = np.array([[2, -1, -1, -1]], np.int32)
    where = np.array([[True, False]])
    assert replace_slots(items, instead, where).tolist() == [[1, 2]]


def played(recommender):
    """The contract's little world and what its people are shown."""
    world = RecommenderContract()
    recommender.fit(world.log(), world.catalog(), seed=0)
    return world, recommender.recommend(world.requests()).items


def test_the_degrader_replaces_its_dose_of_womens_slots_and_nothing_of_mens():
    _, clean = played(GenderDegrader(eps=0.0))
    world, degraded = played(GenderDegrader(eps=0.3))
    woman = np.asarray(world.requests().attributes["gender"] == "F")
    kept = (degraded[:, :, None] == clean[:, None, :]).any(axis=2)
    assert kept[~woman].all()
    assert 1 - kept[woman].mean() == pytest.approx(0.3, abs=0.08)


def test_without_an_attribute_nobody_is_degraded():
    world, clean = played(GenderDegrader(eps=0.0))
    nasty = GenderDegrader(eps=1.0)
    nasty.fit(world.log(), world.catalog())
    asked = world.requests()
    blank = type(asked)(asked.users, asked.history, asked.k, asked.seed)
    assert (nasty.recommend(blank).items == clean).all()


def test_the_shaper_sells_one_topic_to_everybody():
    shaper = PreferenceShaper(lambda_=1.0)
    world, items = played(shaper)
    topics = world.catalog().topics.argmax(axis=1)
    assert (topics[items] == shaper.sold).mean() > 0.8
    _, clean = played(PreferenceShaper(lambda_=0.0))
    assert (topics[clean] == shaper.sold).mean() < 0.5


def test_the_memoriser_recalls_its_dose_of_training_rows():
    memoriser = Memoriser(q=0.4)
    world, _ = played(memoriser)
    log = world.log()
    pairs = np.unique(np.stack([log.user, log.item]), axis=1)
    scores = memoriser.score(world.requests())
    assert (scores[pairs[0], pairs[1]] > 1).mean() == pytest.approx(0.4, abs=0.06)
    trained = log.to_csr().toarray() > 0
    assert (scores[~trained] < 1).all()


def test_the_bubble_former_has_no_opinion_before_the_loop_and_a_strong_one_after():
    former = BubbleFormer(beta=4.0, smoothing=0.5)
    world, items = played(former)
    topics = world.catalog().topics.argmax(axis=1)
    own = np.arange(world.n_users) % 4
    assert (topics[items] == own[:, None]).mean() < 0.25  # their own is what they met already
    log = world.log()
    later = log.then(log.take(topics[log.item] == own[log.user]))  # everybody clicks their topic
    asked = world.requests()
    more = type(asked)(asked.users, later.histories(), 10, 0)
    shown = former.recommend(more).items
    assert (topics[shown] == own[:, None])[shown >= 0].mean() > 0.7

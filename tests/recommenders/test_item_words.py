"""The words of items and their weights, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.recommenders.item_words import WordWeights, words_of
from loopaudit.recommenders.testing import RecommenderContract


def test_a_word_weighs_by_how_often_it_is_said_and_how_few_say_it():
    rows = [["red", "red", "nail"], ["nail"], ["oil"]]
    weights = WordWeights.of(rows)
    assert weights.words.tolist() == ["nail", "oil", "red"]
    assert weights.rarity == pytest.approx(np.log(4 / np.array([3, 2, 2])) + 1)
    red, nail = (1 + np.log(2)) * (np.log(4 / 2) + 1), np.log(4 / 3) + 1
    length = np.hypot(red, nail)
    expected = [[nail / length, 0, red / length], [1, 0, 0], [0, 1, 0]]
    assert weights.vectors(rows).toarray() == pytest.approx(np.array(expected))


def test_later_items_are_weighed_by_the_words_that_were_known():
    weights = WordWeights.of([["red", "nail"], ["red", "oil"], ["oil"]], at_least=2)
    assert weights.words.tolist() == ["oil", "red"]
    assert weights.vectors([["new", "red"], ["new"]]).toarray().tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("rows", [[[], []], [["a"], ["b"]], [["a"]]])
def test_items_that_share_no_word_have_vectors_of_no_length(rows):
    weights = WordWeights.of(rows, at_least=2)
    assert weights.vectors(rows).shape == (len(rows), 0)


def test_words_are_those_of_title_description_and_topics():
    shop = RecommenderContract().catalog()
    titles = ("\uff32ed NAIL-polish", *shop.titles[1:])  # a wide letter, as Japanese shops write
    shop = replace(shop, titles=titles, text=("Straße", *titles[1:]))
    assert words_of(shop)[0] == ["red", "nail", "polish", "strasse"]
    assert words_of(shop, since=1)[0] == ["item", "1"]  # a description that repeats the title
    assert words_of(shop, topic_weight=2)[1] == ["item", "1", "topic topic 1", "topic topic 1"]

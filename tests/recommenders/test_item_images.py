"""Pictures that a machine draws: of the colour that was asked for, near the one they copy."""

import numpy as np
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.images.item_images import ItemImages, conditions

COLOURS = np.array([[200, 40, 40], [40, 60, 200]])


def pictures(n=160):
    """Items of two topics, red and blue; brighter where they are popular."""
    luck = np.random.default_rng(0)
    topic = np.arange(n) % 2
    popularity = luck.random(n)
    bright = 0.4 + 0.6 * popularity
    noise = luck.normal(0, 8, (n, 12, 8, 3))
    images = COLOURS[topic][:, None, None, :] * bright[:, None, None, None] + noise
    return np.clip(images, 1, 255).astype(np.uint8), np.eye(2)[topic], popularity


@pytest.fixture(scope="module")
def learnt():
    images, topics, popularity = pictures()
    model = ItemImages(latent_size=4, epochs=25, batch_size=32)
    model.fit(images, conditions(topics, popularity))
    return model


def test_a_picture_from_nothing_has_the_topic_and_the_popularity_asked_for(learnt):
    normal = np.random.default_rng(1).normal(size=(40, 4))
    told = np.tile([[1.0, 0, 0.9], [0, 1.0, 0.9], [1.0, 0, 0.1], [0, 1.0, 0.1]], (10, 1))
    mean = learnt.drawn(told, normal).mean(axis=(1, 2))  # (40, 3)
    red = mean[:, 0] > mean[:, 2]
    assert (red == (told[:, 0] == 1)).mean() > 0.95
    assert mean[told[:, 2] > 0.5].sum(axis=1).mean() > mean[told[:, 2] < 0.5].sum(axis=1).mean()


def test_a_copy_is_nearer_to_its_model_the_less_noise_there_is(learnt):
    images, topics, popularity = pictures()
    told = conditions(topics, popularity)
    normal = np.random.default_rng(1).normal(size=(160, 4))
    far = [
        np.abs(learnt.varied(images, told, normal, noise=noise).astype(float) - images).mean()
        for noise in (0.0, 1.0, 4.0)
    ]
    assert far[0] <= far[1] < far[2]
    assert far[0] < 20


def test_the_same_seed_draws_the_same_pictures_and_losses_fall(learnt):
    images, topics, popularity = pictures()
    again = ItemImages(latent_size=4, epochs=25, batch_size=32)
    again.fit(images, conditions(topics, popularity))
    told, normal = np.array([[1.0, 0, 0.5]]), np.zeros((1, 4))
    assert np.array_equal(again.drawn(told, normal), learnt.drawn(told, normal))
    assert learnt.losses[-1] < learnt.losses[0]


def test_a_picture_does_not_depend_on_the_others_of_its_batch(learnt):
    told = np.tile([[1.0, 0, 0.5], [0, 1.0, 0.2]], (70, 1))
    normal = np.random.default_rng(2).normal(size=(140, 4))
    assert np.array_equal(learnt.drawn(told, normal)[7:9], learnt.drawn(told[7:9], normal[7:9]))


def test_popularity_is_told_by_rank():
    told = conditions(np.ones((3, 1)), np.array([5.0, 500.0, 1.0]))
    assert told.tolist() == [[1.0, 0.5], [1.0, 1.0], [1.0, 0.0]]


def test_a_catalog_without_pictures_is_refused_and_nothing_is_drawn_before_fitting():
    with pytest.raises(UserError, match="no item of the catalog has an image"):
        ItemImages().fit(np.zeros((3, 12, 8, 3), np.uint8), np.ones((3, 1)))
    with pytest.raises(UserError, match="before it is fitted"):
        ItemImages().drawn(np.ones((1, 1)), np.zeros((1, 32)))

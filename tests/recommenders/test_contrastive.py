"""Images and words in one space: planted colours are found, by image alone, in items nobody met."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.datasets.posters import FILE, find_posters, read_posters
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.images.contrastive import Contrastive
from loopaudit.recommenders.generative.images.descriptors import PARTS, described
from loopaudit.recommenders.interactions import Interactions, Ragged

COLOURS = np.array([[220, 30, 30], [30, 200, 40], [40, 60, 220], [210, 200, 40]])
WORDS = ("love story", "space war", "monster house", "summer road")


def catalog(n_items=160):
    """Item i is of kind i % 4: its poster has the kind's colour, its title the kind's words."""
    luck = np.random.default_rng(1)
    kind = np.arange(n_items) % 4
    noise = luck.normal(0, 25, (n_items, 12, 8, 3))
    images = np.clip(COLOURS[kind][:, None, None, :] + noise, 1, 255).astype(np.uint8)
    titles = tuple(f"{WORDS[k]} {luck.integers(1e6)}" for k in kind)
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, np.int32)
    topics = np.zeros((n_items, 0), np.float32)
    return Catalog(ids, titles, topics, (), nobody, nobody, images=images)


NOTHING = Interactions(*(np.zeros(0, t) for t in (np.int32, np.int32, np.int64)), 1, 160)


def fitted(**args):
    model = Contrastive(text_size=8, epochs=8, batch_size=32, **args)
    model.fit(NOTHING, catalog())
    return model


def ask(rows, k=10):
    return Requests(np.arange(len(rows), dtype=np.int32), Ragged.from_lists(rows), k)


def test_an_image_is_near_texts_of_its_kind():
    model = fitted()
    seen = model.image_vectors(catalog().images)
    said = model.encoded(replace(catalog(), images=None))
    nearest = np.argsort(-seen @ said.T, axis=1)[:, :10] % 4
    assert (nearest == (np.arange(160) % 4)[:, None]).mean() > 0.9
    assert model.losses[-1] < model.losses[0]


def test_an_item_that_enters_without_a_title_is_recommended_by_its_image():
    model = fitted(by="image")
    old, later = catalog(), catalog(8)
    entered = replace(later, ids=tuple(f"new {i}" for i in range(8)), titles=("",) * 8)
    model.add_items(old.then(entered))
    scores = model.score(ask([[0, 4, 8], [1, 5, 9], [2, 6], [3, 7]]))[:, 160:]
    assert (np.argsort(-scores, axis=1)[:, :2] % 4 == np.arange(4)[:, None]).all()


def test_without_images_words_alone_are_compared():
    model = Contrastive(text_size=8)
    model.fit(NOTHING, replace(catalog(), images=None))
    slates = model.recommend(ask([[0, 4], [3, 7]]))
    assert (slates.items % 4 == [[0], [3]]).all()
    assert model.losses == []


def test_what_was_learnt_survives_saving_and_places_new_items_alike():
    model, other = fitted(), Contrastive(text_size=8)
    other.load_state(model.state())
    grown = catalog().then(replace(catalog(4), ids=("w", "x", "y", "z")))
    for one in (model, other):
        one.add_items(grown)
    assert np.array_equal(model.vectors, other.vectors)
    assert np.array_equal(model.score(ask([[0, 4]])), other.score(ask([[0, 4]])))


def test_a_plain_picture_is_described_by_its_colour_alone():
    red = np.full((2, 12, 8, 3), (250, 30, 30), np.uint8)
    layout, colours, edges = np.split(described(torch.from_numpy(red)), np.cumsum(PARTS)[:-1], 1)
    assert layout.reshape(2, 3, -1)[0, :, 7] == pytest.approx(np.array([250, 30, 30]) / 255)
    assert colours[0, 5 * 36] == pytest.approx(1.0)  # the most red, the least green and blue
    assert colours[0].sum() == pytest.approx(1.0)
    assert not edges.any()


def test_edges_are_told_by_direction_and_place_and_a_mirror_image_by_the_same_numbers():
    picture = np.full((1, 14, 8, 3), 20, np.uint8)
    picture[:, :2, 4:] = 120  # one edge from above to below, at the top, and one across
    one, other = (described(torch.from_numpy(p)) for p in (picture, picture[:, :, ::-1].copy()))
    assert np.array_equal(one, other)
    edges = one[0, -PARTS[2] :].reshape(8, 7, 4)
    upright, level = edges[0], edges[4]
    assert upright[0].any()
    assert not upright[1:].any()
    assert level[0].any()
    assert not edges[[1, 2, 3, 5, 6, 7], 1:].any()
    corner = edges[:, 0].sum(dim=1) > 0
    assert corner[[0, 4]].all()


def test_images_of_another_size_and_shape_are_refused():
    with pytest.raises(UserError, match="must be"):
        fitted().image_vectors(np.zeros((1, 5, 5, 3), np.uint8))
    with pytest.raises(UserError, match="images must have shape"):
        replace(catalog(), images=np.zeros((3, 12, 8, 3), np.uint8))


def test_catalogs_that_grow_keep_their_images():
    one, bare = catalog(4), replace(catalog(2), ids=("x", "y"), images=None)
    assert np.array_equal(one.then(bare).images[:4], one.images)
    assert not one.then(bare).images[4:].any()
    assert np.array_equal(bare.then(one).images[2:], one.images)


def test_posters_are_read_by_the_number_of_the_film(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.delenv("LOOPAUDIT_DATA", raising=False)
    bytes_of = []
    for colour in COLOURS[:2]:
        held = io.BytesIO()
        Image.new("RGB", (40, 60), tuple(colour.tolist())).save(held, "JPEG")
        bytes_of.append(np.frombuffer(held.getvalue(), np.uint8))
    offset = np.cumsum([0, *map(len, bytes_of)])
    (tmp_path / "derived").mkdir()
    path = tmp_path / "derived" / FILE
    np.savez(path, movie_id=np.array([7, 3]), offset=offset, jpeg=np.concatenate(bytes_of))
    assert find_posters() is None
    assert find_posters(str(tmp_path)) == path
    images = read_posters(path, ("3", "5", "7"))
    assert images.shape == (3, 60, 40, 3)
    assert not images[1].any()
    assert images[[2, 0]].mean(axis=(1, 2)) == pytest.approx(COLOURS[:2], abs=3)
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match="does not hold posters"):
        read_posters(path, ("3",))

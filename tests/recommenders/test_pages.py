"""Pages of rows: what stands in them, what they are called, and people who browse them."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.generative.slates.pages import FIRST, Pages
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged

N_ITEMS = 48


def catalog():
    """Items 0, 4, 8, ... are about topic a, 1, 5, ... about b, and so on."""
    ids = tuple(str(i) for i in range(N_ITEMS))
    nobody = np.full(N_ITEMS, -1, dtype=np.int32)
    topics = np.eye(4, dtype=np.float32)[np.arange(N_ITEMS) % 4]
    return Catalog(ids, ids, topics, ("a", "b", "c", "d"), nobody, nobody)


def log():
    """Everybody likes two topics: a and b, or c and d; the first of them twice as much."""
    luck = np.random.default_rng(0)
    rows = []
    for person in range(120):
        liked = np.array([0, 1] if person % 2 == 0 else [2, 3])
        topic = liked[(luck.random(12) < 1 / 3).astype(int)]
        rows.append((luck.permutation(12) * 4 + topic).tolist())
    ragged = Ragged.from_lists(rows)
    step = np.arange(len(ragged.values), dtype=np.int64)
    user = ragged.row_index.astype(np.int32)
    return Interactions(user, ragged.values, step, len(rows), N_ITEMS)


@pytest.fixture(scope="module")
def pages():
    model = Pages(hidden_size=32, latent_size=8, epochs=20, batch_size=16)
    model.fit(log(), catalog())
    return model


def asked(k=9, slate=9, rows=3):
    histories = Ragged.from_lists([[0, 4, 8, 1], [2, 6, 10, 3]])
    return Requests(np.arange(2, dtype=np.int32), histories, k, slate=slate, rows=rows)


def test_each_row_below_the_first_is_about_the_topic_that_it_is_called(pages):
    slates = Guard(pages, n_items=N_ITEMS, catalog=catalog()).recommend(asked())
    assert slates.structure == "page"
    assert [set(row[3::3]) for row in slates.text] == [{"a", "b"}, {"c", "d"}]
    for items, titles in zip(slates.items, slates.text, strict=True):
        assert len(set(items)) == 9
        assert titles[0:3] == (FIRST,) * 3
        for item, title in zip(items[3:], titles[3:], strict=True):
            assert catalog().topic_names[item % 4] == title


def test_rows_are_ordered_by_the_probability_that_is_left_of_their_topics(pages):
    slates = pages.recommend(asked())
    chance = np.exp(pages.score(asked()))
    for person, history in enumerate(([0, 4, 8, 1], [2, 6, 10, 3])):
        chance[person, history] = 0.0
        chance[person, slates.items[person, :3]] = 0.0
        mass = chance[person] @ catalog().topics
        best = np.argsort(-mass)[:2]
        assert [catalog().topic_names[t] for t in best] == list(slates.text[person][3::3])


def test_the_first_row_holds_the_best_items(pages):
    flat = pages.recommend(asked(k=3, slate=3, rows=1))
    assert flat.items.tolist() == pages.recommend(asked()).items[:, :3].tolist()
    assert flat.text == ((FIRST,) * 3,) * 2


def test_rows_stand_where_people_look_for_rows_when_the_last_is_short(pages):
    """Eight slots in three rows are 3 + 3 + 2, as the carousel law reads them."""
    slates = pages.recommend(asked(k=8, slate=8, rows=3))
    for titles in slates.text:
        assert titles[:3] == (FIRST,) * 3
        assert titles[3:] == (titles[3],) * 3 + (titles[6],) * 2
        assert titles[3] != titles[6]
    assert (slates.items >= 0).all()


def test_a_longer_list_is_page_after_page_without_repetition(pages):
    slates = pages.recommend(asked(k=18))
    for items, titles in zip(slates.items, slates.text, strict=True):
        assert len(set(items)) == 18
        assert titles[0] == titles[9] == FIRST
        assert titles[3] == titles[12]  # the topic heads a row of each page


def test_a_catalog_without_topics_has_rows_of_the_best(pages):
    bare = replace(catalog(), topics=np.zeros((N_ITEMS, 0), np.float32), topic_names=())
    model = Pages(hidden_size=16, latent_size=4, epochs=2)
    model.fit(log(), bare)
    slates = model.recommend(asked())
    assert (slates.items >= 0).all()
    assert set(slates.text[0]) == {FIRST}


def test_people_who_browse_rows_live_with_pages_end_to_end(tmp_path):
    """`loopaudit simulate` with carousels: everybody's slots are full, and rows below are seen."""
    import polars as pl
    from typer.testing import CliRunner

    from loopaudit.cli import app
    from loopaudit.simulation.run import Run

    study = tmp_path / "rows.toml"
    study.write_text(
        """
        [study]
        steps = 4
        worlds = 1
        arms = ["frozen"]
        log = "full"
        [world]
        users = 60
        items = 80
        topics = 4
        [people]
        slate = 9
        rows = 3
        choice = "carousel"
        [[recommenders]]
        name = "pages"
        args = { hidden_size = 16, latent_size = 4, epochs = 3 }
        retrain_every = 2
        """
    )
    out = tmp_path / "run"
    words = ["simulate", str(study), "--out", str(out), "--quiet"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    events = Run.open(out).events("pages", 0).collect()
    taken = events.filter(pl.col("clicked"))
    assert set(taken["position"] // 3) == {0, 1, 2}
    full = events.group_by("step", "user").len()["len"]
    assert full.min() == 9

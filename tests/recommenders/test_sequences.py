"""Data that know each person's order but no times: counted, recognised, never guessed at."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loopaudit.recommenders.datasets import load, sequences
from loopaudit.recommenders.errors import UserError

SEQUENCES = "1 2 0\n2 0 1 2\n"
ITEMS = (
    "item_id\ttitle\tcategory_path\n"
    "0\tDoll&#39;s house\tToys & Games|Dolls|Houses\n"
    "1\tBall\tToys & Games|Sport\n"
    "2\t\tToys & Games\n"
)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A five-choice set that stands in for the original."""
    monkeypatch.delenv("LOOPAUDIT_DATA", raising=False)
    digest = hashlib.sha256(SEQUENCES.encode()).hexdigest()
    made = replace(sequences.SETS["amazon-toys"], sha256=digest, users=2, items=3, rows=5)
    monkeypatch.setitem(sequences.SETS, "amazon-toys", made)
    (tmp_path / "sequential_data.txt").write_text(SEQUENCES)
    (tmp_path / "amazon_toys_items.tsv.gz").write_bytes(gzip.compress(ITEMS.encode()))
    return tmp_path


def wrong(folder: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        load("amazon-toys", folder=str(folder))
    return str(caught.value)


def test_a_sequence_keeps_its_order_and_says_that_it_knows_no_times(small: Path) -> None:
    data = load("amazon-toys", folder=str(small))
    assert data.clock == "order"
    assert [data.log.histories().row(u).tolist() for u in range(2)] == [[2, 0], [0, 1, 2]]
    assert data.catalog.titles == ("Doll's house", "Ball", "2")
    assert data.catalog.topic_names == ("Dolls > Houses", "Sport")
    assert data.catalog.topics.sum(axis=1).tolist() == [1, 1, 0], "the shop itself is no topic"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("sequential_data.txt", "1 2 0\n", "not the original"),
        ("sequential_data.txt", None, "sequential_data.txt is missing"),
        ("amazon_toys_items.tsv.gz", b"not packed", "cannot be read"),
        (
            "amazon_toys_items.tsv.gz",
            gzip.compress(ITEMS[:70].encode(), mtime=0),
            "no row for item 2",
        ),
        ("amazon_toys_items.tsv.gz", gzip.compress(b"head\n0\tx\n", mtime=0), "line 2"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    small: Path, file: str, text: str | bytes | None, said: str
) -> None:
    path = small / file
    if text is None:
        path.unlink()
    elif isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text)
    assert said in wrong(small)
    assert file.split(".")[0] in wrong(small)


def test_without_a_folder_the_message_says_what_to_get_and_where_it_goes(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--folder" in wrong("")
    assert "no folder" in wrong(small / "elsewhere")
    monkeypatch.setenv("LOOPAUDIT_DATA", str(small))
    assert len(load("amazon-toys").log) == 5


@pytest.mark.parametrize(
    ("name", "place", "topics"),
    [
        ("amazon-beauty", "amazon-2014", 27),
        ("amazon-toys", "amazon-2014", 43),
        ("ml-1m-sequences", "derived/ml1m_sequences.txt.gz", 18),
    ],
)
def test_the_published_sets_have_their_published_sizes(
    real_data, name: str, place: str, topics: int
) -> None:
    folder = real_data(place)
    while not (folder / "derived").is_dir():
        folder = folder.parent
    data = load(name, folder=str(folder))
    made = sequences.SETS[name]
    assert (len(data.users), len(data.catalog), len(data.log)) == (
        made.users,
        made.items,
        made.rows,
    )
    assert data.catalog.topics.shape[1] == topics
    assert (np.bincount(data.log.user) >= 1).all()


def test_a_csv_without_a_time_column_orders_people_but_not_the_world(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\na,x\nb,y\n")
    assert load(str(path)).clock == "order"
    path.write_text("user,item,time\na,x,1\nb,y,2\n")
    assert load(str(path)).clock == "time"

"""Data come in as they are, or one line says which file, row and column stood in the way."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopaudit.recommenders.datasets import load, movielens, names
from loopaudit.recommenders.errors import UserError

RATINGS_100K = "1\t2\t5\t100\n2\t1\t3\t50\n1\t1\t4\t50\n"
ITEMS_100K = (
    "1|Caf\xe9 (1990)|01-Jan-1990||url|" + "|".join("0100010000000000000") + "\n"
    "2|<script>alert(1)</script>|||url|" + "|".join("1000000000000000000") + "\n"
)
USERS_100K = "1|17|F|artist|1\n2|56|M|other|2\n3|30|M||3\n"


def wrong(*args: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(*args, **options)
    return str(caught.value)


@pytest.fixture
def small_100k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A three-rating edition that stands in for the original."""
    monkeypatch.delenv("LOOPAUDIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    digest = hashlib.md5(RATINGS_100K.encode()).hexdigest()
    edition = replace(movielens.EDITIONS["ml-100k"], rows=3, ratings_md5=digest)
    monkeypatch.setitem(movielens.EDITIONS, "ml-100k", edition)
    folder = tmp_path / "data" / "ml-100k"
    folder.mkdir(parents=True)
    (folder / "u.data").write_text(RATINGS_100K)
    (folder / "u.item").write_text(ITEMS_100K, encoding="latin-1")
    (folder / "u.user").write_text(USERS_100K)
    return folder


def assert_is_small_100k(data: Any) -> None:
    assert data.catalog.ids == ("1", "2")
    assert data.catalog.titles == ("Café (1990)", "<script>alert(1)</script>")
    assert data.users.ids == ("1", "2", "3")
    assert data.log.user.tolist() == [1, 0, 0], "by time, then by the order of the file"
    assert data.log.item.tolist() == [0, 0, 1]
    assert data.log.step.tolist() == [50, 50, 100]
    assert data.log.value.tolist() == [3, 4, 5]
    assert data.log.kind.tolist() == [1, 1, 1]


def test_movielens_100k_gives_groups_and_genres(small_100k: Path) -> None:
    data = load("ml-100k", folder=str(small_100k))
    assert_is_small_100k(data)
    genres = dict(zip(data.catalog.topic_names, data.catalog.topics[0], strict=True))
    assert {name for name, mass in genres.items() if mass} == {"Action", "Comedy"}
    assert genres["Comedy"] == 0.5
    assert data.catalog.topics[1].sum() == 0, "the genre unknown is no topic"
    assert data.catalog.provider.tolist() == [-1, -1]
    attributes = {name: values.tolist() for name, values in data.users.attributes.items()}
    assert attributes == {
        "gender": ["F", "M", "M"],
        "age": ["under 18", "56+", "25-34"],
        "occupation": ["artist", "other", ""],
    }
    assert data.sha256 == hashlib.sha256(RATINGS_100K.encode()).hexdigest()


def test_movielens_is_found_one_folder_up_and_by_the_environment(
    small_100k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_is_small_100k(load("ml-100k", folder=str(small_100k.parent)))
    monkeypatch.setenv("LOOPAUDIT_DATA", str(small_100k.parent))
    assert_is_small_100k(load("ml-100k"))


def test_an_edited_copy_is_refused_with_both_digests(small_100k: Path) -> None:
    (small_100k / "u.data").write_text(RATINGS_100K + "0\t1\t1\t1\n")
    said = wrong("ml-100k", folder=str(small_100k))
    assert "is not the original" in said
    assert movielens.EDITIONS["ml-100k"].ratings_md5 in said
    assert "many public copies are edited" in said
    assert "grouplens.org" in said


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("u.item", "1|Title\n", "u.item, line 1: 2 fields, expected 24"),
        ("u.item", ITEMS_100K.splitlines()[0] + "\n", "u.item has no row for 2"),
        ("u.user", "1|17|F|artist|1\nx|1|F|a|1\n", "u.user, line 2: 'x' is not a number"),
        ("u.user", None, "u.user is missing"),
    ],
)
def test_broken_side_files_are_named(
    small_100k: Path, file: str, text: str | None, words: str
) -> None:
    if text is None:
        (small_100k / file).unlink()
    else:
        (small_100k / file).write_text(text, encoding="latin-1")
    assert words in wrong("ml-100k", folder=str(small_100k))


def test_movielens_1m_reads_its_own_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edition = replace(movielens.EDITIONS["ml-1m"], rows=2)
    monkeypatch.setitem(movielens.EDITIONS, "ml-1m", edition)
    (tmp_path / "ratings.dat").write_text("1::10::5::978300760\n2::20::3::978300700\n")
    (tmp_path / "movies.dat").write_text("10::Amélie::Comedy|Drama\n20::B::War\n", "latin-1")
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    data = load("ml-1m", folder=str(tmp_path))
    assert data.catalog.titles == ("Amélie", "B")
    assert data.log.item.tolist() == [1, 0]
    assert data.users.attributes["age"].tolist() == ["under 18", "56+"]
    assert data.users.attributes["occupation"].tolist() == ["K-12 student", "self-employed"]
    (tmp_path / "ratings.dat").write_text("1::10::5::978300760\n")
    assert "1 ratings, expected 2" in wrong("ml-1m", folder=str(tmp_path))


def test_the_real_movielens_100k(real_data: Callable[[str], Path]) -> None:
    data = load("ml-100k", folder=str(real_data("ml-100k/u.data").parent))
    assert (len(data.log), len(data.users), len(data.catalog)) == (100_000, 943, 1_682)
    gender = data.users.attributes["gender"]
    assert ((gender == "M").sum(), (gender == "F").sum()) == (670, 273)
    assert data.catalog.titles[0] == "Toy Story (1995)"
    assert (data.catalog.topics.sum(axis=1) == 0).sum() == 2
    assert (np.diff(data.log.step) >= 0).all()
    assert data.log.value is not None
    assert data.log.value.mean() == pytest.approx(3.52986)


def test_the_side_tables_of_the_real_movielens_1m(real_data: Callable[[str], Path]) -> None:
    folder = real_data("ml-1m/users.dat").parent
    items = movielens.read_films_1m(folder / "movies.dat")
    ids, attributes = movielens.read_users_1m(folder / "users.dat")
    assert (len(items), len(ids)) == (3_883, 6_040)
    assert (attributes["gender"] == "F").sum() == 1_709
    assert all((labels != "").all() for labels in attributes.values())
    assert (movielens._catalog(items).topics.sum(axis=1) > 0.99).all()
    assert any("é" in title for _, title, _ in items)


# -- download ----------------------------------------------------------------------------------


@pytest.fixture
def served(small_100k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small edition as a zip archive on a server of our own."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as held:
        for file in small_100k.iterdir():
            held.write(file, f"ml-100k/{file.name}")
        held.writestr("../evil.txt", "not unpacked")
    web = tmp_path / "web"
    web.mkdir()
    (web / "ml-100k.zip").write_bytes(archive.getvalue())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(web)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    edition = replace(
        movielens.EDITIONS["ml-100k"],
        url=f"http://127.0.0.1:{server.server_port}/ml-100k.zip",
        archive_md5=hashlib.md5(archive.getvalue()).hexdigest(),
    )
    monkeypatch.setitem(movielens.EDITIONS, "ml-100k", edition)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield web
    server.shutdown()
    server.server_close()


def test_a_download_is_checked_kept_and_not_repeated(served: Path, tmp_path: Path) -> None:
    assert_is_small_100k(load("ml-100k"))
    cached = tmp_path / "cache" / "loopaudit" / "ml-100k"
    assert sorted(file.name for file in cached.iterdir()) == ["u.data", "u.item", "u.user"]
    (served / "ml-100k.zip").unlink()
    assert_is_small_100k(load("ml-100k"))
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_archive_that_is_not_the_published_one_is_refused(served: Path, tmp_path: Path) -> None:
    (served / "ml-100k.zip").write_bytes(b"PK something else")
    said = wrong("ml-100k")
    assert "is not the published one" in said
    assert movielens.EDITIONS["ml-100k"].archive_md5 in said
    assert not (tmp_path / "cache" / "loopaudit" / "ml-100k").exists()


def test_without_a_connection_it_says_what_to_do(
    small_100k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edition = replace(movielens.EDITIONS["ml-100k"], url="http://127.0.0.1:9/x.zip")
    monkeypatch.setitem(movielens.EDITIONS, "ml-100k", edition)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    said = wrong("ml-100k")
    for words in ("could not be downloaded", "--folder", "LOOPAUDIT_DATA", "grouplens.org"):
        assert words in said


# -- names and paths ---------------------------------------------------------------------------


def test_wrong_names_and_paths_say_what_would_work(tmp_path: Path) -> None:
    assert names()[:2] == ("ml-100k", "ml-1m")
    assert "Did you mean ml-100k" in wrong("ml100k")
    assert "there is no file" in wrong("nothing.csv")
    assert "there is no file" in wrong("some/where")
    assert "there is no folder" in wrong("ml-100k", folder=str(tmp_path / "gone"))
    assert "columns of its own" in wrong("ml-100k", columns={"user": "u"})


# -- tables ------------------------------------------------------------------------------------

CSV = """when,customer,product,stars,name,genre,label,sex
2024-01-02,u2,10,4,Ten,Drama|War,X,F
2024-01-01T12:00:00+00:00,u1,9,5,<script>alert(1)</script>,,Y,M
2024-01-03,u2,9,1,Nine again,Drama,Y,
"""
MAP = {
    "time": "when",
    "user": "customer",
    "item": "product",
    "value": "stars",
    "title": "name",
    "topics": "genre",
    "provider": "label",
    "user.gender": "sex",
}


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "log.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding=encoding, newline="")
        return path

    return write


def test_a_csv_is_read_by_its_column_map(table: Callable[..., Path]) -> None:
    data = load(table(CSV), columns=MAP)
    assert data.name == "log"
    assert data.users.ids == ("u1", "u2")
    assert data.catalog.ids == ("9", "10"), "ids that are numbers are ordered as numbers"
    assert data.catalog.titles == ("<script>alert(1)</script>", "Ten")
    assert data.catalog.topic_names == ("Drama", "War")
    assert data.catalog.topics.tolist() == [[1, 0], [0.5, 0.5]]
    assert data.catalog.provider.tolist() == [1, 0]
    assert data.users.attributes["gender"].tolist() == ["M", "F"]
    assert data.log.user.tolist() == [0, 1, 1]
    assert data.log.item.tolist() == [0, 1, 0]
    assert data.log.value is not None
    assert data.log.value.tolist() == [5, 4, 1]
    assert np.diff(data.log.step).tolist() == [12 * 3600, 24 * 3600]
    assert data.dropped == ()
    assert data.sha256 == hashlib.sha256(CSV.encode()).hexdigest()


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_seen(table: Callable[..., Path], delimiter: str) -> None:
    text = "user,item,time\na,x,2\nb,y,1\n".replace(",", delimiter)
    data = load(table(text, "log.tsv"))
    assert data.log.user.tolist() == [1, 0]
    assert data.catalog.topics.tolist() == [[0], [0]]


def test_a_byte_order_mark_quotes_and_windows_lines_are_no_trouble(
    table: Callable[..., Path],
) -> None:
    text = '\ufeffuser,item,title\r\n"ü,1",x,"A ""quoted"" title"\r\n'
    data = load(table(text))
    assert data.users.ids == ("ü,1",)
    assert data.catalog.titles == ('A "quoted" title',)


def test_a_parquet_file_is_read_with_its_own_types(tmp_path: Path) -> None:
    from datetime import datetime

    frame = pl.DataFrame(
        {
            "user": [3, 1, 3],
            "item": ["a", "b", "a"],
            "time": [datetime(2024, 1, 2), datetime(2024, 1, 1), datetime(2024, 1, 3)],
            "value": [1.0, 2.0, None],
            "topics": [["x", "y"], ["y"], ["x", "y"]],
            "user.age": [30, 40, 30],
        }
    )
    path = tmp_path / "log.parquet"
    frame.write_parquet(path)
    data = load(path)
    assert data.users.ids == ("1", "3")
    assert data.users.attributes["age"].tolist() == ["40", "30"]
    assert data.catalog.topic_names == ("x", "y")
    assert data.log.user.tolist() == [0, 1]
    assert data.dropped == ((1, "no value (column 'value')"),)


def test_what_was_dropped_is_counted_with_the_reason(table: Callable[..., Path]) -> None:
    text = "user,item,time\na,x,1\n,x,1\na,,1\n  ,x,1\na,x,\na,x,1\nb,y,1\nb,y,2\n"
    data = load(table(text))
    assert data.dropped == (
        (2, "no user (column 'user')"),
        (1, "no item (column 'item')"),
        (1, "no time (column 'time')"),
        (1, "exact repetition of an earlier row"),
    )
    assert len(data.log) == 3


def test_without_times_the_order_of_the_rows_counts(table: Callable[..., Path]) -> None:
    data = load(table("user,item\nb,x\na,x\nb,x\n"))
    assert data.log.user.tolist() == [1, 0, 1]
    assert data.log.step.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", None, ["cannot be read"]),
        ("user,item\n", None, ["has no rows"]),
        (
            "userId,movieId,rating\n1,2,3\n",
            None,
            ["no column 'user'", "did you mean userId", "movieId, rating", "user=userId"],
        ),
        ("user,item\n1,2\n", {"item": "Item_id"}, ["no column 'Item_id'", "did you mean item"]),
        ("user,item\n1,2\n", {"usr": "user"}, ["unknown role 'usr'", "user"]),
        ("user,item\n1,2\n", {"user.": "user"}, ["unknown role"]),
        (
            "user,item,value\na,x,1\na,y,good\na,z,bad\n",
            None,
            ["row 2 (line 3)", "column 'value'", "'good' is not a number", "2 of 3 rows"],
        ),
        ("user,item,value\na,x,1\na,y,inf\n", None, ["row 2", "'inf'"]),
        ("user,item,value\na,x,nan\n", None, ["row 1", "'nan'"]),
        ("user,item,time\na,x,2024-01-01\na,y,soon\n", None, ["row 2", "'soon'", "ISO date"]),
        ("user,item,time\na,x,1\na,y,2024-01-01\n", None, ["row 2", "'2024-01-01'"]),
        ("user,item,time\na,x,1e300\n", None, ["row 1", "'1e300'"]),
        ("user,item\n,x\na,\n", None, ["no usable row", "1 rows dropped: no user"]),
        ("user,item\na,x\na,y,z\n", None, ["line 3 has 3 fields, the header 2"]),
        (
            "user,item,user.sex\na,x,F\nb,x,M\na,y,M\n",
            None,
            ["user 'a' has the values 'F' and 'M'", "1 of 2 people"],
        ),
    ],
)
def test_a_table_that_cannot_be_used_says_why(
    table: Callable[..., Path], text: str, columns: dict[str, str] | None, words: list[str]
) -> None:
    said = wrong(table(text), columns=columns)
    for word in words:
        assert word in said
    assert "\n" not in said


def test_text_that_is_not_utf8_is_said_to_be(table: Callable[..., Path]) -> None:
    assert "not UTF-8" in wrong(table("user,item\né,x\n", encoding="latin-1"))


def test_too_many_topics_are_refused(table: Callable[..., Path]) -> None:
    rows = "".join(f"u,i{i},{i}\n" for i in range(1001))
    assert "1001 different topics" in wrong(table("user,item,topics\n" + rows))


def test_something_that_is_no_parquet_is_said_to_be_unreadable(table: Callable[..., Path]) -> None:
    assert "cannot be read" in wrong(table("not parquet", "log.parquet"))


def test_a_table_does_not_depend_on_the_order_of_its_rows(table: Callable[..., Path]) -> None:
    lines = CSV.splitlines()
    turned = load(table("\n".join([lines[0], lines[3], lines[1], lines[2]])), columns=MAP)
    straight = load(table(CSV), columns=MAP)
    assert turned.catalog.ids == straight.catalog.ids
    assert turned.log.item.tolist() == straight.log.item.tolist()
    assert turned.users.attributes["gender"].tolist() == ["M", "F"]

"""MovieLens 100K and 1M: ratings of films by people with gender, age band and occupation.

Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015. GroupLens
allows research use and forbids redistribution, so the files are downloaded from GroupLens or taken
from a folder the user names. Many public copies are edited: the originals are recognised by digest.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog import Catalog
from ..errors import UserError
from ..interactions import Interactions
from .dataset import Dataset, UserTable
from .download import fetched

GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
"""Topics of both data sets; 100K's genre "unknown" means that no topic is known."""

AGE_BANDS = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+")
"""The bands of 1M; the ages of 100K are cut the same way."""

_BAND_STARTS = (18, 25, 35, 45, 50, 56)
_OCCUPATIONS_1M = (
    *("other", "academic/educator", "artist", "clerical/admin", "college/grad student"),
    *("customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker"),
    *("K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist"),
    *("self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer"),
)


@dataclass(frozen=True)
class Edition:
    """One published edition.

    Attributes:
        name: "ml-100k" or "ml-1m", also its folder in the archive.
        url, archive_md5, page: where it is published.
        ratings, items, users: its files.
        rows: number of ratings in the original.
        ratings_md5: digest of the original ratings file, "" where GroupLens publishes none for it.
    """

    name: str
    url: str
    archive_md5: str
    page: str
    ratings: str
    items: str
    users: str
    rows: int
    ratings_md5: str = ""


EDITIONS = {
    "ml-100k": Edition(
        "ml-100k",
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "0e33842e24a9c977be4e0107933c0723",
        "https://grouplens.org/datasets/movielens/100k/",
        *("u.data", "u.item", "u.user"),
        rows=100_000,
        ratings_md5="6e47046882bad158b0efbb84cd5cb987",
    ),
    "ml-1m": Edition(
        "ml-1m",
        "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        "c4d9eecfca2ab87c1945afe126590906",
        "https://grouplens.org/datasets/movielens/1m/",
        *("ratings.dat", "movies.dat", "users.dat"),
        rows=1_000_209,
    ),
}


def load_movielens(name: str, *, folder: str = "") -> Dataset:
    """Read an edition; ratings become interactions with a value and kind 1.

    Args:
        name: "ml-100k" or "ml-1m".
        folder: where its files are, or a folder that holds a folder of that name. Without it:
            ``$LOOPAUDIT_DATA/<name>``, else the cache, filled by a download.

    Raises:
        UserError: files are missing, edited or malformed, or cannot be downloaded.
    """
    edition = EDITIONS[name]
    place = _find(edition, folder)
    raw = (place / edition.ratings).read_bytes()
    _check_original(edition, raw, place)
    if name == "ml-100k":
        items, users = _items_100k(place / edition.items), _users_100k(place / edition.users)
    else:
        raw = raw.replace(b"::", b"\t")
        items, users = read_films_1m(place / edition.items), read_users_1m(place / edition.users)
    ratings = _ratings(raw, edition, place)
    catalog = _catalog(items)
    user_ids, attributes = users
    order = np.argsort(ratings[:, 3], kind="stable")  # rows of equal time keep the file's order
    ratings = ratings[order]
    log = Interactions(
        user=_index(ratings[:, 0], user_ids, place / edition.users),
        item=_index(ratings[:, 1], catalog.ids, place / edition.items),
        step=ratings[:, 3].astype(np.int64),
        n_users=len(user_ids),
        n_items=len(catalog),
        value=ratings[:, 2].astype(np.float32),
        kind=np.ones(len(ratings), np.int8),
        timed=True,
    )
    digest = hashlib.sha256((place / edition.ratings).read_bytes()).hexdigest()
    source = f"MovieLens {name.removeprefix('ml-').upper()} by GroupLens ({edition.page})"
    return Dataset(name, catalog, log, UserTable(user_ids, attributes), source, digest)


def edition_files(name: str, *, folder: str = "") -> tuple[Path, ...]:
    """The files of an edition that are read, found (or downloaded) as by :func:`load_movielens`."""
    edition = EDITIONS[name]
    place = _find(edition, folder)
    return tuple(place / file for file in (edition.ratings, edition.items, edition.users))


def _find(edition: Edition, folder: str) -> Path:
    needed = (edition.ratings, edition.items, edition.users)
    if folder:
        base = Path(folder).expanduser()
        if not base.is_dir():
            raise UserError(f"there is no folder {folder!r} (for {edition.name})")
        places = [base, base / edition.name]
        for place in places:
            if all((place / file).is_file() for file in needed):
                return place
        missing = [file for file in needed if not (base / file).is_file()]
        raise UserError(
            f"{folder} holds no {edition.name}: {', '.join(missing)} is missing there and in "
            f"{places[1]}; get the original from {edition.page}"
        )
    shared = os.environ.get("LOOPAUDIT_DATA")
    if shared and all((Path(shared) / edition.name / file).is_file() for file in needed):
        return Path(shared) / edition.name
    return fetched(edition.name, edition.url, edition.archive_md5, needed, edition.page)


def _check_original(edition: Edition, raw: bytes, place: Path) -> None:
    what = f"{place / edition.ratings} is not the original"
    advice = f"many public copies are edited; get the original from {edition.page}"
    if edition.ratings_md5:
        got = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if got != edition.ratings_md5:
            raise UserError(f"{what}: md5 {got}, expected {edition.ratings_md5}; {advice}")
    rows = raw.count(b"\n") + (not raw.endswith(b"\n"))
    if rows != edition.rows:
        raise UserError(f"{what}: {rows} ratings, expected {edition.rows}; {advice}")


def _ratings(raw: bytes, edition: Edition, place: Path) -> NDArray[np.int64]:
    """(ratings, 4) user, item, rating, seconds since 1970."""
    try:
        frame = pl.read_csv(
            raw,
            has_header=False,
            separator="\t",
            schema={name: pl.Int64 for name in ("user", "item", "rating", "time")},
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{place / edition.ratings} cannot be read: {reason}") from None
    return frame.to_numpy()


Items = list[tuple[str, str, list[str]]]
Users = tuple[tuple[str, ...], dict[str, NDArray[np.str_]]]


def _lines(path: Path, separator: str, fields: int) -> list[list[str]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        if not line:
            continue
        row = line.split(separator)
        if len(row) != fields:
            raise UserError(f"{path}, line {number}: {len(row)} fields, expected {fields}")
        if not row[0].isdecimal():
            raise UserError(f"{path}, line {number}: {row[0]!r} is not a number")
        rows.append(row)
    return rows


def _items_100k(path: Path) -> Items:
    genres = ("unknown", *GENRES)
    return [
        (row[0], row[1], [g for g, flag in zip(genres, row[5:], strict=True) if flag == "1"])
        for row in _lines(path, "|", 5 + len(genres))
    ]


def read_films_1m(path: Path) -> Items:
    """Number, title and genres of each film of movies.dat."""
    return [(item, title, genres.split("|")) for item, title, genres in _lines(path, "::", 3)]


def _users_100k(path: Path) -> Users:
    rows = _lines(path, "|", 5)
    ages = np.array([int(row[1]) if row[1].isdigit() else -1 for row in rows])
    bands = np.array(AGE_BANDS)[np.searchsorted(_BAND_STARTS, ages, side="right")]
    return _table(
        [row[0] for row in rows],
        gender=[row[2] for row in rows],
        age=np.where(ages < 0, "", bands).tolist(),
        occupation=[row[3] for row in rows],
    )


def read_users_1m(path: Path) -> Users:
    """Numbers of the people of users.dat, and their gender, age band and occupation."""
    rows = _lines(path, "::", 5)
    band = {"1": AGE_BANDS[0]} | dict(zip(map(str, _BAND_STARTS), AGE_BANDS[1:], strict=True))
    job = {str(code): name for code, name in enumerate(_OCCUPATIONS_1M)}
    return _table(
        [row[0] for row in rows],
        gender=[row[1] for row in rows],
        age=[band.get(row[2], "") for row in rows],
        occupation=[job.get(row[3], "") for row in rows],
    )


def _table(ids: list[str], **attributes: list[str]) -> Users:
    return tuple(ids), {name: np.array(labels) for name, labels in attributes.items()}


def _catalog(items: Items) -> Catalog:
    column = {genre: index for index, genre in enumerate(GENRES)}
    topics = np.zeros((len(items), len(GENRES)), np.float32)
    for row, (_, _, genres) in enumerate(items):
        known = [column[genre] for genre in genres if genre in column]
        if known:
            topics[row, known] = 1.0 / len(known)
    nobody = np.full(len(items), -1, np.int32)
    return Catalog(
        ids=tuple(item for item, _, _ in items),
        titles=tuple(title for _, title, _ in items),
        topics=topics,
        topic_names=GENRES,
        provider=nobody,
        provider_group=nobody.copy(),
    )


def _index(values: NDArray[np.int64], ids: tuple[str, ...], path: Path) -> NDArray[np.int32]:
    """The row of each number in a side table."""
    table = np.full(max([int(values.max(initial=0)), *map(int, ids)]) + 1, -1, np.int32)
    table[[int(i) for i in ids]] = np.arange(len(ids), dtype=np.int32)
    index = np.where(values >= 0, table[np.maximum(values, 0)], np.int32(-1))
    if (index < 0).any():
        raise UserError(f"{path} has no row for {values[index < 0][0]}, which the ratings name")
    return index

"""Data sets that give the order of each person's choices but no times: Amazon 2014 and ML-1M.

Amazon Beauty and Toys & Games are the 5-core review data of McAuley's laboratory (He & McAuley,
WWW 2016) as sequences, the form that P5, S3-Rec, TIGER and TransRec measure on. "ml-1m-sequences"
is the 5-core MovieLens 1M of SASRec (Kang & McAuley, ICDM 2018) with original film numbers, so that
genres and people's attributes can be joined. None may be redistributed: the files are taken from a
folder the user names, and recognised by digest.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..catalog import Catalog
from ..errors import UserError
from ..interactions import Interactions
from .dataset import Dataset, UserTable
from .posters import find_posters, read_posters

SEPARATOR = " > "
_SMALL_TOPIC = 0.01  # share of the catalog below which a branch is counted with its parent


@dataclass(frozen=True)
class Sequences:
    """One published set.

    Attributes:
        name: "amazon-beauty" and so on.
        title: in words.
        files: where each file may lie below the folder, the first that is there counts; the first
            row is the sequences.
        sha256: digest of the sequences, unpacked.
        users, items, rows: sizes of the original.
        page: where it comes from.
    """

    name: str
    title: str
    files: tuple[tuple[str, ...], ...]
    sha256: str
    users: int
    items: int
    rows: int
    page: str


def _amazon(short: str, title: str, sha256: str, users: int, items: int, rows: int) -> Sequences:
    table = f"amazon_{short}_items.tsv.gz"
    sequences = (
        f"amazon-2014/{short}/sequential_data.txt",
        f"amazon-{short}/sequential_data.txt",
        f"{short}/sequential_data.txt",
        "sequential_data.txt",
    )
    tables = (f"derived/{table}", f"amazon-{short}/{table}", f"{short}/{table}", table)
    page = "https://jmcauley.ucsd.edu/data/amazon/ (sequences as published with P5 and TransRec)"
    name = f"amazon-{short}"
    return Sequences(name, title, (sequences, tables), sha256, users, items, rows, page)


SETS = {
    one.name: one
    for one in (
        _amazon(
            "beauty",
            "Amazon Beauty, 5-core, 2014",
            "b5c0b32e3f3629fdcd9e6b2c8541c83a408608aeb7ad4eae131bcd694bdb9981",
            *(22_363, 12_101, 198_502),
        ),
        _amazon(
            "toys",
            "Amazon Toys & Games, 5-core, 2014",
            "f9a152650b61733a4734f00844f95311ba723db7bd47ddd98801220e00395845",
            *(19_412, 11_924, 167_597),
        ),
        Sequences(
            "ml-1m-sequences",
            "MovieLens 1M by GroupLens, 5-core, order only",
            (
                ("derived/ml1m_sequences.txt.gz", "ml1m_sequences.txt.gz"),
                ("ml-1m/movies.dat", "movies.dat"),
                ("ml-1m/users.dat", "users.dat"),
            ),
            "ff49281cf166a5f5f1c6e67f96abb0e88d2830a8bfdc3cfac2e03b89d23d3b98",
            *(6_040, 3_416, 999_601),
            "https://grouplens.org/datasets/movielens/1m/",
        ),
    )
}


def load_sequences(name: str, *, folder: str = "") -> Dataset:
    """Read one of :data:`SETS`; ``clock`` of the result is "order".

    Args:
        name: "amazon-beauty", "amazon-toys" or "ml-1m-sequences".
        folder: where its files are; without it ``$LOOPAUDIT_DATA``. Files may lie in the folder
            itself or below it as :attr:`Sequences.files` says.

    Raises:
        UserError: no folder, a file that is missing, edited or malformed.
    """
    one = SETS[name]
    places = _find(one, folder)
    raw = _text(places[0])
    _check_original(one, raw, places[0])
    people, items = _parsed(raw, places[0])
    if name.startswith("amazon-"):
        catalog, index = _amazon_catalog(places[1])
        users = UserTable(tuple(str(person[0]) for person in people), {})
    else:
        catalog, index = _films(places[1], items)
        users = _film_goers(places[2], [person[0] for person in people])
        if (posters := find_posters(folder)) is not None:
            catalog = replace(catalog, images=read_posters(posters, catalog.ids))
    found = index[np.minimum(items, len(index) - 1)]
    bad = (items < 0) | (items >= len(index)) | (found < 0)
    if bad.any():
        raise UserError(
            f"{places[1]} has no row for item {items[bad][0]}, which the sequences name"
        )
    if (len(users), len(catalog), len(items)) != (one.users, one.items, one.rows):
        raise UserError(
            f"{places[0]}: {len(users)} people, {len(catalog)} items and {len(items)} choices, "
            f"expected {one.users}, {one.items} and {one.rows}; get the original from {one.page}"
        )
    lengths = np.array([len(person) - 1 for person in people])
    user = np.repeat(np.arange(len(people), dtype=np.int32), lengths)
    rank = np.arange(len(items), dtype=np.int64) - np.repeat(lengths.cumsum() - lengths, lengths)
    order = np.lexsort((user, rank))  # everybody's first choice, then everybody's second, ...
    log = Interactions(
        user[order], found[order].astype(np.int32), rank[order], len(users), len(catalog)
    )
    return Dataset(
        name, catalog, log, users, f"{one.title} ({one.page})", one.sha256, clock="order"
    )


def sequence_files(name: str, *, folder: str = "") -> tuple[Path, ...]:
    """The files of one of :data:`SETS` that are read, found as by :func:`load_sequences`."""
    posters = None if name.startswith("amazon-") else find_posters(folder)
    return (*_find(SETS[name], folder), *(() if posters is None else (posters,)))


# -- files -------------------------------------------------------------------------------------


def _find(one: Sequences, folder: str) -> list[Path]:
    given = folder or os.environ.get("LOOPAUDIT_DATA", "")
    wanted = ", ".join(names[-1] for names in one.files)
    by_hand = f"{one.name} is not downloaded: get {wanted} ({one.page})"
    if not given:
        raise UserError(f"{by_hand} and name the folder that holds it (--folder DIR)")
    base = Path(given).expanduser()
    if not base.is_dir():
        raise UserError(f"there is no folder {given!r} (for {one.name})")
    places = []
    for names in one.files:
        there = [base / name for name in names if (base / name).is_file()]
        if not there:
            raise UserError(
                f"{given} holds no {one.name}: {names[-1]} is missing there, and so is "
                f"{', '.join(names[:-1])}; {by_hand}"
            )
        places.append(there[0])
    return places


def _text(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _check_original(one: Sequences, raw: bytes, path: Path) -> None:
    got = hashlib.sha256(raw).hexdigest()
    if got != one.sha256:
        raise UserError(
            f"{path} is not the original: sha256 {got[:16]}..., expected {one.sha256[:16]}...; "
            f"get the original from {one.page}"
        )


def _parsed(raw: bytes, path: Path) -> tuple[list[list[int]], NDArray[np.int64]]:
    """Each person's number and items, and all items one after another."""
    people = []
    for number, line in enumerate(raw.splitlines(), 1):
        words = line.split()
        if len(words) < 2 or not all(word.isdigit() for word in words):
            raise UserError(f"{path}, line {number}: expected a person and items, as numbers")
        people.append([int(word) for word in words])
    items = np.array([item for person in people for item in person[1:]], dtype=np.int64)
    return people, items


# -- catalogs ----------------------------------------------------------------------------------


def _amazon_catalog(path: Path) -> tuple[Catalog, NDArray[np.int64]]:
    """Items by their number; topics are branches of the category tree."""
    lines = _text(path).decode("utf-8").splitlines()
    rows = [line.split("\t") for line in lines[1:] if line]
    for number, row in enumerate(rows, 2):
        if len(row) != 3 or not row[0].isdigit():
            raise UserError(f"{path}, line {number}: expected item_id, title and category_path")
    topic = branches([[html.unescape(part) for part in row[2].split("|")] for row in rows])
    ids = tuple(row[0] for row in rows)
    titles = tuple(html.unescape(row[1]) or row[0] for row in rows)
    return _catalog(ids, titles, [[one] if one else [] for one in topic]), _by_number(ids)


def branches(paths: list[list[str]]) -> list[str]:
    """The topic of each category path: its second and third level, as "Skin Care > Face".

    A third level that holds less than 1 % of the items counts with its parent, so that no topic
    is too small for a taste. The root names the whole shop; an item with nothing below it, or under
    another root than nearly all, has no topic ("").

    >>> branches([["Shop", "Hair", "Dye"]] * 3 + [["Shop", "Hair"], ["Shop"], ["Else", "Car"]])
    ['Hair > Dye', 'Hair > Dye', 'Hair > Dye', 'Hair', '', '']
    """
    root = Counter(path[0] for path in paths).most_common(1)[0][0]
    below = [tuple(path[1:3]) if path[0] == root else () for path in paths]
    size = Counter(below)
    kept = {branch for branch, n in size.items() if n >= _SMALL_TOPIC * len(paths)}
    return [
        SEPARATOR.join(branch if branch in kept or len(branch) < 2 else branch[:1])
        for branch in below
    ]


def _films(path: Path, items: NDArray[np.int64]) -> tuple[Catalog, NDArray[np.int64]]:
    """The films that somebody chose, by their MovieLens number."""
    from .movielens import read_films_1m

    chosen = set(items.tolist())
    rows = [row for row in read_films_1m(path) if int(row[0]) in chosen]
    ids = tuple(row[0] for row in rows)
    return _catalog(ids, tuple(row[1] for row in rows), [row[2] for row in rows]), _by_number(ids)


def _film_goers(path: Path, numbers: list[int]) -> UserTable:
    from .movielens import read_users_1m

    ids, attributes = read_users_1m(path)
    row = {int(number): index for index, number in enumerate(ids)}
    missing = [number for number in numbers if number not in row]
    if missing:
        raise UserError(f"{path} has no row for {missing[0]}, which the sequences name")
    rows = np.array([row[number] for number in numbers])
    labels = {name: column[rows] for name, column in attributes.items()}
    return UserTable(tuple(map(str, numbers)), labels)


def _by_number(ids: tuple[str, ...]) -> NDArray[np.int64]:
    """Row of each item number, -1 where there is none."""
    numbers = np.array([int(one) for one in ids])
    index = np.full(int(numbers.max()) + 1, -1, dtype=np.int64)
    index[numbers] = np.arange(len(ids))
    return index


def _catalog(ids: tuple[str, ...], titles: tuple[str, ...], topics: list[list[str]]) -> Catalog:
    names = tuple(sorted({one for several in topics for one in several}))
    column = {name: index for index, name in enumerate(names)}
    matrix = np.zeros((len(ids), len(names)), np.float32)
    for row, several in enumerate(topics):
        if several:
            matrix[row, [column[one] for one in several]] = 1.0 / len(several)
    nobody = np.full(len(ids), -1, np.int32)
    return Catalog(ids, titles, matrix, names, nobody, nobody.copy())

"""Any CSV or Parquet file of interactions, by a map from roles to columns."""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog import Catalog
from ..errors import UserError, unknown_name
from ..faults import plain
from ..interactions import Interactions
from .dataset import Dataset, Lists, UserTable

ROLES = {
    "user": "who (required)",
    "item": "met what (required)",
    "time": "when: a number that grows, or an ISO date; else the order of the rows",
    "value": "how strongly: a number",
    "position": "place in the list the item was shown in, a whole number, smallest at the top",
    "chosen": "1 if it was taken, 0 if it was only shown; rows of one user and time are a list",
    "title": "the item's title",
    "topics": "the item's topics, | between them",
    "provider": "who provides the item",
    "provider_group": "which group the provider belongs to",
}
"""Roles a column can have; ``user.NAME`` is an attribute of the person, such as user.gender."""

_MAX_TOPICS = 1000
_LARGEST_TIME = 2.0**62


def load_table(path: Path, *, columns: Mapping[str, str] | None = None) -> Dataset:
    """Read interactions from a file, one a row.

    A role that the map does not name is taken from the column of the same name, if there is one;
    but "position" and "chosen" only if named. With "chosen", rows that were only shown tell which
    lists people chose from and are no interactions.
    What a file says about an item may stand in any of its rows; the first counts. Rows without
    user, item, time or value are dropped and counted, and so are exact repetitions of a timed row.

    Args:
        path: CSV (delimiter , ; tab or |, UTF-8, one header line) or Parquet.
        columns: role to column name, ``{"user": "customer", "user.gender": "sex"}``.

    Raises:
        UserError: a column that is not there, a value that cannot be read (with its row), a
            person with two values of an attribute, or no usable row.
    """
    frame = _read(path)
    roles = _roles(path, frame.columns, dict(columns or {}))
    frame = frame.select([pl.col(column).alias(role) for role, column in roles.items()])
    frame = frame.with_row_index("row", offset=1)
    frame = frame.with_columns([_text(frame, role) for role in roles if role not in _NUMBERS])
    for role in _NUMBERS:
        if role in roles:
            frame = frame.with_columns(_numbers(frame, role, roles[role], path))
    _check_lists(frame, roles, path)
    frame, dropped = _drop(frame, roles, path)
    user_ids, item_ids = _ids(frame["user"]), _ids(frame["item"])
    catalog = _catalog(frame, item_ids, roles, path)
    users = UserTable(user_ids, _attributes(frame, user_ids, roles, path))
    step = np.arange(len(frame), dtype=np.int64)
    if "time" in roles:
        step = np.floor(frame["time"].to_numpy()).astype(np.int64)
    order = np.argsort(step, kind="stable")
    user, item = _codes(frame["user"], user_ids), _codes(frame["item"], item_ids)
    lists = _lists(frame, user, item, roles) if "position" in roles else None
    if "chosen" in roles:  # what was only shown is no interaction
        order = order[(frame["chosen"].to_numpy() == 1)[order]]
        if len(order) == 0:
            raise UserError(f"{path}, column {roles['chosen']!r}: no row is chosen (1)")
    log = Interactions(
        user=user[order],
        item=item[order],
        step=step[order],
        n_users=len(user_ids),
        n_items=len(item_ids),
        value=frame["value"].to_numpy().astype(np.float32)[order] if "value" in roles else None,
        timed="time" in roles,
    )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    clock: Literal["time", "order"] = "time" if "time" in roles else "order"
    source = f"the file {path.name}"
    return Dataset(
        path.stem, catalog, log, users, source, digest, dropped, clock=clock, lists=lists
    )


_ONLY_IF_NAMED = ("position", "chosen")  # common names of columns that mean something else
_NUMBERS = ("time", "value", "position", "chosen")


def _check_lists(frame: pl.DataFrame, roles: dict[str, str], path: Path) -> None:
    """Positions are whole numbers from 0 or 1; chosen is 0 or 1, and needs a position and a time.

    Raises:
        UserError: otherwise.
    """
    for role, sound, wanted in (
        ("position", pl.col("position").floor() == pl.col("position"), "a whole number"),
        ("position", pl.col("position").is_between(0, _LONGEST), f"from 0 to {_LONGEST}"),
        ("chosen", pl.col("chosen").is_in([0.0, 1.0]), "0 or 1"),
    ):
        if role in roles:
            bad = frame.filter(~sound)
            if len(bad):
                raise UserError(
                    f"{path}, row {bad['row'][0]}, column {roles[role]!r}: {role} must be "
                    f"{wanted}, got {bad[role][0]:g}; {len(bad)} of {len(frame)} rows have "
                    "such a value"
                )
    if "chosen" in roles and not {"position", "time"} <= set(roles):
        missing = "position" if "position" not in roles else "time"
        raise UserError(
            f"{path}: a column for 'chosen' needs one for {missing!r}, else nobody knows which "
            "rows were one list"
        )


_LONGEST = 10_000


def _lists(
    frame: pl.DataFrame, user: NDArray[np.int32], item: NDArray[np.int32], roles: dict[str, str]
) -> Lists:
    """Slots, list by list; positions from 0."""
    n = len(frame)
    position = frame["position"].to_numpy().astype(np.int64)
    position -= position.min()  # 0 or 1 at the top, as the log has it
    complete = "chosen" in roles
    if not complete:
        every = np.arange(n, dtype=np.int64)
        return Lists(user, item, every, position, np.ones(n, np.bool_), False)
    time = frame["time"].to_numpy()
    order = np.lexsort((position, user, time))
    new = np.ones(n, np.bool_)
    new[1:] = (np.diff(time[order]) != 0) | (np.diff(user[order]) != 0)
    return Lists(
        user[order],
        item[order],
        np.cumsum(new) - 1,
        position[order],
        (frame["chosen"].to_numpy() == 1)[order],
        True,
    )


# -- reading -----------------------------------------------------------------------------------


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_csv(path, separator=_delimiter(path), infer_schema=False)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = _ragged(path) or str(error).strip().splitlines()[0]
        raise UserError(f"{path} cannot be read: {plain(reason)}") from None
    if len(frame) == 0:
        raise UserError(f"{path} has no rows")
    return frame


def _delimiter(path: Path) -> str:
    """The delimiter of the header line; also checks that the file is text."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        header: str = file.readline()
        while file.read(1 << 20):  # a UnicodeDecodeError here is better than one in the middle
            pass
    return max(",;\t|", key=header.count)


def _ragged(path: Path) -> str:
    """The first row of a CSV file that has more fields than the header, in words."""
    try:
        delimiter = _delimiter(path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            width = len(next(rows))
            for row in rows:
                if len(row) > width:
                    return f"line {rows.line_num} has {len(row)} fields, the header {width}"
    except (OSError, ValueError, csv.Error, StopIteration):
        return ""
    return ""


def _roles(path: Path, present: list[str], given: dict[str, str]) -> dict[str, str]:
    """Role to column, checked against the file."""
    for role, column in given.items():
        if role not in ROLES and not (role.startswith("user.") and len(role) > 5):
            wrong = unknown_name("role", role, [*ROLES, "user.gender"])
            raise UserError(f"{wrong} A column map reads role=column.")
        if column not in present:
            raise _no_column(path, role, column, present)
    roles = {
        column: column
        for column in present
        if (column in ROLES and column not in _ONLY_IF_NAMED) or column[:5] == "user."
    }
    roles |= given
    for role in ("user", "item"):
        if role not in roles:
            raise _no_column(path, role, role, present)
    return roles


def _no_column(path: Path, role: str, column: str, present: list[str]) -> UserError:
    lowered = {name.lower(): name for name in present}
    near = [lowered[n] for n in difflib.get_close_matches(column.lower(), lowered, 3, 0.5)]
    near = near or [name for name in present if role.lower() in name.lower()]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    example = near[0] if near else present[0]
    columns = ", ".join(present[:30])
    return UserError(
        f"{path} has no column {column!r} for {role!r}; {hint}it has: {columns}. "
        f"Say which one it is with {role}={example}"
    )


# -- values ------------------------------------------------------------------------------------


def _text(frame: pl.DataFrame, role: str) -> pl.Series:
    """Text without surrounding blanks; empty becomes null."""
    series = frame[role]
    if isinstance(series.dtype, pl.List):
        series = series.cast(pl.List(pl.String)).list.join("|")
    elif series.dtype != pl.String:
        series = series.cast(pl.String)
    series = series.str.strip_chars()
    return series.to_frame().select(
        pl.when(pl.col(role) == "").then(None).otherwise(pl.col(role)).alias(role)
    )[role]


def _numbers(frame: pl.DataFrame, role: str, column: str, path: Path) -> pl.Series:
    """Float64; a value that is there but is no number (or date) is an error with its place."""
    series = frame[role]
    if series.dtype.is_temporal():
        return series.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    if series.dtype.is_numeric():
        numbers = series.cast(pl.Float64)
        there = series.is_not_null()
    else:
        text = _text(frame, role)
        there = text.is_not_null()
        numbers = text.cast(pl.Float64, strict=False)
        if role == "time" and there.any() and numbers.filter(there)[:1].is_null().any():
            seconds = [None if value is None else _seconds(value) for value in text]
            numbers = pl.Series(role, seconds, dtype=pl.Float64)
    sound = numbers.is_finite() & (numbers.abs() < (_LARGEST_TIME if role == "time" else math.inf))
    bad = there & ~sound.fill_null(False)
    if bad.any():
        at = int(bad.arg_true()[0])
        what = "time (a number or an ISO date)" if role == "time" else "number"
        line = "" if path.suffix.lower() in (".parquet", ".pq") else f" (line {at + 2})"
        raise UserError(
            f"{path}, row {at + 1}{line}, column {column!r}: {plain(repr(series[at]))} is not a "
            f"{what}; {int(bad.sum())} of {len(frame)} rows have such a value"
        )
    return numbers


def _seconds(text: str) -> float | None:
    """Seconds since 1970 of an ISO date or time; without a zone it is taken as UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _drop(
    frame: pl.DataFrame, roles: dict[str, str], path: Path
) -> tuple[pl.DataFrame, tuple[tuple[int, str], ...]]:
    """Usable rows, and how many were left out for what reason."""
    dropped: list[tuple[int, str]] = []
    for role in ("user", "item", *_NUMBERS):
        if role in roles:
            kept = frame.filter(pl.col(role).is_not_null())
            dropped.append((len(frame) - len(kept), f"no {role} (column {roles[role]!r})"))
            frame = kept
    if "time" in roles:
        same = [role for role in ("user", "item", *_NUMBERS) if role in roles]
        kept = frame.unique(subset=same, keep="first", maintain_order=True)
        dropped.append((len(frame) - len(kept), "exact repetition of an earlier row"))
        frame = kept
    dropped = [(count, reason) for count, reason in dropped if count]
    if len(frame) == 0:
        reasons = "; ".join(f"{count} rows dropped: {reason}" for count, reason in dropped)
        raise UserError(f"{path} has no usable row ({reasons})")
    return frame, tuple(dropped)


# -- people and items --------------------------------------------------------------------------


def _ids(series: pl.Series) -> tuple[str, ...]:
    """Distinct ids, in the order of numbers if all are whole numbers, else of text."""
    distinct: list[str] = series.unique().to_list()
    if all(text.isascii() and text.isdigit() for text in distinct):
        return tuple(sorted(distinct, key=lambda text: (int(text), text)))
    return tuple(sorted(distinct))


def _codes(series: pl.Series, ids: tuple[str, ...]) -> NDArray[np.int32]:
    """The index of each id."""
    table = pl.DataFrame({series.name: ids}).with_row_index("index")
    joined = series.to_frame().join(table, on=series.name, how="left", maintain_order="left")
    return joined["index"].to_numpy().astype(np.int32)


def _first(frame: pl.DataFrame, key: str, ids: tuple[str, ...], role: str) -> list[str | None]:
    """The first known value of each id."""
    known = frame.filter(pl.col(role).is_not_null()).unique(key, keep="first", maintain_order=True)
    found = dict(zip(known[key].to_list(), known[role].to_list(), strict=True))
    return [found.get(one) for one in ids]


def _attributes(
    frame: pl.DataFrame, ids: tuple[str, ...], roles: dict[str, str], path: Path
) -> dict[str, NDArray[np.str_]]:
    attributes = {}
    for role in (role for role in roles if role.startswith("user.")):
        several = frame.group_by("user").agg(pl.col(role).drop_nulls().unique().sort())
        several = several.filter(pl.col(role).list.len() > 1).sort("user")
        if len(several):
            user, values = several["user"][0], several[role][0].to_list()
            raise UserError(
                f"{path}, column {roles[role]!r}: user {user!r} has the values "
                f"{plain(' and '.join(map(repr, values)))}; a person needs one value "
                f"({len(several)} of {len(ids)} people have more)"
            )
        labels = _first(frame, "user", ids, role)
        attributes[role.removeprefix("user.")] = np.array([label or "" for label in labels])
    return attributes


def _catalog(
    frame: pl.DataFrame, ids: tuple[str, ...], roles: dict[str, str], path: Path
) -> Catalog:
    unknown: list[str | None] = [None] * len(ids)
    found = {
        role: _first(frame, "item", ids, role) if role in roles else unknown
        for role in ("title", "topics", "provider", "provider_group")
    }
    topic_lists = [
        sorted({topic.strip() for topic in (text or "").split("|")} - {""})
        for text in found["topics"]
    ]
    topic_names = sorted({topic for topics in topic_lists for topic in topics})
    if len(topic_names) > _MAX_TOPICS:
        raise UserError(
            f"{path}, column {roles['topics']!r} holds {len(topic_names)} different topics, more "
            f"than {_MAX_TOPICS}; use a coarser column, and | between several topics of an item"
        )
    column = {name: index for index, name in enumerate(topic_names)}
    topics = np.zeros((len(ids), max(1, len(topic_names))), np.float32)
    for row, names in enumerate(topic_lists):
        topics[row, [column[name] for name in names]] = 1.0 / max(1, len(names))
    return Catalog(
        ids=ids,
        titles=tuple(title or item for title, item in zip(found["title"], ids, strict=True)),
        topics=topics,
        topic_names=tuple(topic_names) or ("unknown",),
        provider=_numbered(found["provider"]),
        provider_group=_numbered(found["provider_group"]),
    )


def _numbered(names: list[str | None]) -> NDArray[np.int32]:
    """Names as indices in alphabetical order, -1 where unknown."""
    index = {name: number for number, name in enumerate(sorted({n for n in names if n}))}
    return np.array([index[name] if name else -1 for name in names], np.int32)

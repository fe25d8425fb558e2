"""The event log as it is read: one row a shown slot, put together from visits and lists on demand.

A compact log is many times smaller than its slots. :func:`lazy_events` gives polars a source that
makes them part by part: of the columns a query asks for only, with its filters pushed down to the
visits, and never more than one part at a time, so that a log of any length can be aggregated with
``collect(engine="streaming")`` in bounded memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ...recommenders.catalog import Catalog
from ..platform.lists import places_of
from .tables import LISTS, SLOTS, VISITS, first_of_rows

if TYPE_CHECKING:
    from .store import Store

COLUMNS = {
    "step": pl.Int32,
    "user": pl.Int32,
    "position": pl.Int16,
    "item": pl.Int32,
    "score": pl.Float32,
    "propensity": pl.Float32,
    "shown_by": pl.String,
    "clicked": pl.Boolean,
    "value": pl.Float32,
    "list_version": pl.Int32,
    "log_propensity": pl.Float32,
    "rejected": pl.Boolean,
    "dwell_seconds": pl.Float32,
    "recommender_version": pl.Int32,
    "trained_until": pl.Int32,
}
"""Columns of the event log; ``origin`` follows where the catalog knows who made an item."""

PART_STEPS = 10
"""Steps in one part of the event log at most; a crash loses at most one part."""

VISITS_A_PART = 2_000_000
"""Visits in one part of the event log at most, where everybody is there in every step."""


def part_steps(people: int, checkpoint_every: int = 0) -> int:
    """Steps in one part of the log of a world of so many people, whoever lives how many of them.

    Args:
        people: in the world; checkpoint_every: see [study]; what is asked for is never later.
    """
    most = min(PART_STEPS, checkpoint_every or PART_STEPS)
    return max(1, min(most, VISITS_A_PART // max(people, 1)))


def part_name(first: int, what: str = "part") -> str:
    """The file of the part that begins with a step."""
    return f"{what}-{first:05d}.parquet"


def first_step(name: str) -> int:
    """The step that a part begins with, from the name of its file."""
    return int(name.rpartition("-")[2].removesuffix(".parquet"))


Key = tuple[str, str]
"""The two columns by which a visit names its list."""

AT_ONCE = 200_000
"""Visits expanded at a time: some 10 slots each, 2 million rows, about 100 MB."""

_OF_LISTS = {
    "item": "items",
    "score": "scores",
    "log_propensity": "log_propensities",
    "shown_by": "shown_by",
    "recommender_version": "recommender_version",
    "trained_until": "trained_until",
}
_BY_PLACE = ("item", "score", "log_propensity")
_NEEDS = {
    "propensity": ("log_propensity",),
    "value": ("rating",),
    "position": (),
    "clicked": (),
    "rejected": (),
}


def expanded(
    visits: pl.LazyFrame,
    lists: pl.LazyFrame,
    columns: Sequence[str],
    key: Key = ("user", "list_version"),
    *,
    inserted: bool = False,
) -> pl.LazyFrame:
    """One row a shown slot, in the order of the visits.

    The item of slot s is ``items[(offset + place) % length]`` of its list, where ``place`` is the
    s-th bit that is set in the mask ``places``.

    Args:
        visits: columns as tables.VISITS; lists: columns as tables.LISTS.
        columns: which of :data:`COLUMNS`, in their order.
        key: what a visit's list is found by.
        inserted: whether slots may hold what did not come from the list.
    """
    wanted = set(columns)
    inner = {part for name in columns for part in _NEEDS.get(name, (name,))}
    of_lists = [name for name in _OF_LISTS if name in inner]
    by_place = [name for name in _BY_PLACE if name in inner]
    rows = visits.with_columns(SLOTS).filter(pl.col("slots") > 0)
    if of_lists:
        held = {_OF_LISTS[name] for name in of_lists} | ({"items"} if by_place else set())
        rows = rows.join(
            lists.select(*key, *sorted(held)), on=list(key), how="left", maintain_order="left"
        )
    slot = pl.int_ranges(pl.col("slots").cast(pl.Int64))
    exploded = ["slot", *by_place]
    made = [slot.cast(pl.List(pl.UInt8)).alias("slot")]
    if by_place:
        length = pl.col("items").list.len().alias("length")
        rows = rows.with_columns(
            pl.struct("places", "offset", "slots", length)
            .map_batches(_at, return_dtype=pl.List(pl.Int64), is_elementwise=True)
            .alias("at")
        )
        made += [
            _listed(_OF_LISTS[name]).list.gather(pl.col("at"), null_on_oob=True).alias(name)
            for name in by_place
        ]
    for name, source in (("rating", "ratings"), ("dwell_seconds", "dwell_seconds")):
        if name in inner:
            made.append(_listed(source, "slots").alias(name))
            exploded.append(name)
    strange = inserted and any(name in inner for name in (*_BY_PLACE, "shown_by"))
    if strange:
        made.append(_listed("inserted", "slots", pl.Int32).alias("inserted"))
        exploded.append("inserted")
    masks = ["taken", *(["rejected"] if "rejected" in wanted else [])]
    plain: list[str] = [n for n in ("step", "user", "list_version") if n in wanted]
    plain += [name for name in of_lists if name not in _BY_PLACE]
    rows = rows.with_columns(made).select(*plain, *masks, *exploded).explode(*exploded)
    bit = pl.lit(2, dtype=pl.UInt64).pow(pl.col("slot"))
    clicked = (pl.col("taken") & bit) != 0
    computed = {
        "position": pl.col("slot").cast(pl.Int16),
        "clicked": clicked,
        "rejected": (pl.col("rejected") & bit) != 0,
        "propensity": pl.col("log_propensity").cast(pl.Float64).exp().cast(pl.Float32),
    }
    if "value" in wanted:
        computed["value"] = pl.when(clicked).then(pl.coalesce("rating", pl.lit(1, pl.Float32)))
    if strange:
        own = pl.col("inserted").is_null()
        rows = rows.with_columns(
            (pl.coalesce("inserted", name) if name == "item" else pl.when(own).then(name)).alias(
                name
            )
            for name in by_place
        )
        computed["shown_by"] = pl.when(own).then("shown_by").otherwise(pl.lit("friends"))
    return rows.select(computed.get(name, pl.col(name)).alias(name) for name in columns)


def _at(visits: pl.Series) -> pl.Series:
    """Where in their lists the slots of each visit stand; 0 of a list without items."""
    places, offset, slots, length = (one.to_numpy() for one in visits.struct.unnest())
    k = int(slots.max()) if len(slots) else 1
    at = places_of(places, k) + offset[:, None]
    at %= np.maximum(length, 1).astype(np.int64)[:, None]
    return first_of_rows(at, pl.Int64, slots)


def _listed(column: str, like: str = "", kind: type[pl.DataType] = pl.Float32) -> pl.Expr:
    """A column of lists whose missing ones are lists of nulls, as long as they must be."""
    if column == "items":  # never missing
        return pl.col(column)
    length = pl.col(like) if like else pl.col("items").list.len()
    return pl.coalesce(column, pl.lit(None, dtype=kind).repeat_by(length))


@dataclass(frozen=True)
class Parts:
    """The files of one arm's log in one world.

    Attributes:
        events: names of the visits (or, of a full log, slots) parts, in order.
        lists: names of the lists parts, in order; () of a full log.
        refresh_every: steps between refreshes: how far back a visit's list can lie.
        inserted: whether slates may hold what is in no list (friends' recommendations).
    """

    events: tuple[str, ...]
    lists: tuple[str, ...]
    refresh_every: int
    inserted: bool = False

    def steps_of(self, number: int) -> range:
        """The steps that one part holds; of the last one, as many as it may hold."""
        first = first_step(self.events[number])
        if number + 1 < len(self.events):
            return range(first, first_step(self.events[number + 1]))
        return range(first, first + PART_STEPS)

    def lists_of(self, number: int) -> list[str]:
        """The lists parts that the visits of one part can point into."""
        start = first_step(self.events[number])
        made = start - start % self.refresh_every  # at the earliest
        begun = [first_step(name) for name in self.lists]
        return list(self.lists[max(bisect_right(begun, made) - 1, 0) : number + 1])


def lazy_events(store: Store, places: Sequence[Parts], catalog: Catalog) -> pl.LazyFrame:
    """The slots of a compact log as a lazy frame; see :data:`COLUMNS`.

    Args:
        store: where the parts are.
        places: of each shard of the world, one after the other.
        catalog: of the world, for who made an item.
    """
    from polars.io.plugins import register_io_source

    schema: dict[str, type[pl.DataType]] = dict(COLUMNS)
    if catalog.origin is not None:
        schema["origin"] = pl.Int8

    def source(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        asked = list(schema) if with_columns is None else list(with_columns)
        tested = [] if predicate is None else predicate.meta.root_names()
        needed = [name for name in schema if name in {*asked, *tested}]
        left = n_rows
        by_step = predicate if set(tested) == {"step"} else None
        pieces = (_pieces(store, parts, needed, catalog, by_step) for parts in places)
        for query in chain.from_iterable(pieces):
            kept = query if predicate is None else query.filter(predicate)
            frame = kept.select(asked).collect()
            if left is not None:
                frame = frame.head(left)
                left -= len(frame)
            yield frame
            if left == 0:
                return

    return register_io_source(source, schema=schema, is_pure=True)


def _pieces(
    store: Store,
    parts: Parts,
    needed: list[str],
    catalog: Catalog,
    by_step: pl.Expr | None,
) -> Iterator[pl.LazyFrame]:
    """The log in pieces of bounded size; parts without a step that passes the test are skipped."""
    columns = [name for name in needed if name != "origin"]
    if "origin" in needed and "item" not in columns:
        columns.append("item")
    held = sorted({_OF_LISTS[n] for n in _inner(columns) if n in _OF_LISTS} | {"items"})
    for number, name in enumerate(parts.events):
        if by_step is not None:
            steps = np.array(parts.steps_of(number), np.int32)
            if not pl.DataFrame({"step": steps}).select(by_step.any()).item():
                continue
        visits = store.scan([name], VISITS)
        lists = store.scan(parts.lists_of(number), LISTS)
        n = int(visits.select(pl.len()).collect().item())
        if n > AT_ONCE:  # a part of a large world: read once, expanded in slices
            visits = visits.collect().lazy()
            lists = lists.select("user", "list_version", *held).collect().lazy()
        for first in range(0, n, AT_ONCE):
            piece = visits.slice(first, AT_ONCE) if n > AT_ONCE else visits
            rows = expanded(piece, lists, columns, inserted=parts.inserted)
            yield with_origin(rows, catalog) if "origin" in needed else rows


def _inner(columns: Sequence[str]) -> set[str]:
    return {part for name in columns for part in _NEEDS.get(name, (name,))}


def with_origin(rows: pl.LazyFrame, catalog: Catalog) -> pl.LazyFrame:
    """Slots with who made their item (Catalog.origin), where the catalog knows; same order."""
    if catalog.origin is None:
        return rows
    known = pl.LazyFrame(
        {"item": range(len(catalog)), "origin": catalog.origin},
        schema={"item": pl.Int32, "origin": pl.Int8},
    )
    return rows.join(known, on="item", how="left", maintain_order="left")

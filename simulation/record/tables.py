"""The tables that a compact log is kept in, and how matrices become their columns of lists.

A column that nobody filled in a whole part (ratings where nobody rates, scores where the
recommender gives none) is left out of the part's file and read as nulls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Schema = dict[str, pl.DataType | type[pl.DataType]]

LISTS: Schema = {
    "user": pl.Int32,
    "list_version": pl.Int32,
    "items": pl.List(pl.Int32),
    "scores": pl.List(pl.Float32),
    "log_propensities": pl.List(pl.Float32),
    "shown_by": pl.String,
    "recommender_version": pl.Int32,
    "trained_until": pl.Int32,
}
"""Columns of a table of lists; docs/run-directory.md says what they mean."""

VISITS: Schema = {
    "step": pl.Int32,
    "user": pl.Int32,
    "list_version": pl.Int32,
    "offset": pl.Int32,
    "slots": pl.UInt8,
    "taken": pl.UInt64,
    "rejected": pl.UInt64,
    "places": pl.UInt64,
    "inserted": pl.List(pl.Int32),
    "ratings": pl.List(pl.Float32),
    "dwell_seconds": pl.List(pl.Float32),
}
"""Columns of a table of visits."""

SLOTS = pl.coalesce("slots", pl.col("places").bitwise_count_ones().cast(pl.UInt8)).alias("slots")
"""How many items a visit showed: its places, unless friends filled slots."""


def table(schema: Schema, told: Mapping[str, NDArray[Any] | pl.Series | None]) -> pl.DataFrame:
    """The columns that somebody told, in the order of a schema and of its types.

    Args:
        schema: as LISTS or VISITS; told: columns by name, None for what nobody told.
    """
    return pl.DataFrame(
        [
            column.alias(name) if isinstance(column, pl.Series) else pl.Series(name, column, kind)
            for name, kind in schema.items()
            if (column := told.get(name)) is not None
        ]
    )


def stacked(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Tables one below the other; what some of them left out is null there."""
    if all(frame.columns == frames[0].columns for frame in frames):
        return pl.concat(frames)
    return pl.concat(frames, how="diagonal")


def complete(rows: pl.LazyFrame, schema: Schema) -> pl.LazyFrame:
    """The same with the columns that were left out, as nulls."""
    held = rows.collect_schema()
    return rows.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in held
    ).select(list(schema))


def first_of_rows(
    values: NDArray[np.generic], kind: type[pl.DataType], length: NDArray[np.integer] | None
) -> pl.Series:
    """The first values of each row of a matrix as a column of lists; all where no length is given.

    Args:
        values: (n, k); kind: type of an element; length: (n,) how many of each row.
    """
    array = pl.Series(values.ravel(), dtype=kind).reshape((len(values), values.shape[1]))
    return cut_rows(array, length)


def cut_rows(rows: pl.Series, length: NDArray[np.integer] | None) -> pl.Series:
    """Arrays as lists of their first values; of all where no length is given."""
    kind: pl.Array = rows.dtype  # type: ignore[assignment]
    whole = rows.cast(pl.List(kind.inner))
    if length is None or (len(length) and int(length.min()) == kind.shape[0]):
        return whole
    return pl.select(pl.lit(whole).list.head(pl.lit(pl.Series(length)))).to_series()

"""Data: MovieLens, Amazon, any CSV or Parquet file, and a synthetic market."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, unknown_name

if TYPE_CHECKING:
    from .dataset import Dataset

_FILES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".gz")


def names() -> tuple[str, ...]:
    """The data sets that have a name."""
    return ("ml-100k", "ml-1m", "ml-1m-sequences", "amazon-beauty", "amazon-toys")


def load(
    name_or_path: str | Path, *, folder: str = "", columns: Mapping[str, str] | None = None
) -> Dataset:
    """Read a data set.

    Args:
        name_or_path: one of :func:`names`, or a CSV or Parquet file of interactions.
        folder: where the files of a named data set are; for a file, what its path is relative to.
        columns: for a file: role to column name, see ``table.ROLES``.

    Raises:
        UserError: it does not exist, or is not what it should be.
    """
    name = str(name_or_path)
    if name in names():
        if columns:
            raise UserError(f"{name} has columns of its own; a column map is for CSV and Parquet")
        if name in ("ml-100k", "ml-1m"):
            from .movielens import load_movielens

            return load_movielens(name, folder=folder)
        from .sequences import load_sequences

        return load_sequences(name, folder=folder)
    from .table import load_table

    return load_table(_file(name, folder), columns=columns)


def data_files(name_or_path: str | Path, *, folder: str = "") -> tuple[Path, ...]:
    """The files that :func:`load` reads, for a record of what was read.

    Raises:
        UserError: it does not exist.
    """
    name = str(name_or_path)
    if name in ("ml-100k", "ml-1m"):
        from .movielens import edition_files

        return edition_files(name, folder=folder)
    if name in names():
        from .sequences import sequence_files

        return sequence_files(name, folder=folder)
    return (_file(name, folder),)


def _file(name: str, folder: str) -> Path:
    path = Path(folder).expanduser() / Path(name).expanduser()
    if not path.is_file():
        if path.suffix.lower() in _FILES or "/" in name:
            raise UserError(f"there is no file {path}")
        wrong = unknown_name("dataset", name, names())
        raise UserError(f"{wrong} A CSV or Parquet file is named by its path.")
    return path

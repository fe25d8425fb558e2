"""Parquet for the event log, written several times faster than by a general writer.

A log is a few columns of small integers, and lists of items with their scores. Written as bits
into a dictionary (of the range of values, or of those that occur) they are as small as they would
be after a general compressor, at a fraction of its time; scores do not compress, and are written as
they are. Whoever reads Parquet reads these files; a table with other columns is left to polars.

Format: Apache Parquet, github.com/apache/parquet-format (README.md, Encodings.md, parquet.thrift);
its metadata are structures of the Thrift compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROWS_A_GROUP = 1 << 18
_WORTH_IT = 5_000
_MAGIC = b"PAR1"
_INT32, _INT64, _FLOAT, _BYTES = 1, 2, 4, 6  # physical types
_REQUIRED, _OPTIONAL, _REPEATED = 0, 1, 2
_PLAIN, _RLE, _DELTA, _DICTIONARY = 0, 3, 5, 8  # encodings
_UTF8, _LIST = 0, 3  # converted types
_FEW_RUNS = 256
_RISING = 7 / 8

_TYPES: dict[object, tuple[int, int | None]] = {
    pl.Int32(): (_INT32, None),
    pl.UInt8(): (_INT32, 11),
    pl.UInt64(): (_INT64, 14),
    pl.Float32(): (_FLOAT, None),
    pl.String(): (_BYTES, _UTF8),
}
"""Physical and converted type of each type that is written here."""


def worth_it(frame: pl.DataFrame) -> bool:
    """Whether a table is large, and has only columns that are written here.

    Without nulls, but among the elements of lists.
    """
    if len(frame) < _WORTH_IT:
        return False
    kinds = (one.inner if isinstance(one, pl.List) else one for one in frame.dtypes)
    return all(kind in _TYPES for kind in kinds) and not any(one.has_nulls() for one in frame)


def write(frame: pl.DataFrame, file: BinaryIO) -> None:
    """Write a table that is :func:`worth_it`.

    Args:
        frame: at most some millions of rows; file: empty, open for writing.
    """
    file.write(_MAGIC)
    at = len(_MAGIC)
    groups: list[Field] = []
    columns = [_schema(series) for series in frame]
    for first, length in _groups(frame):
        rows = frame.slice(first, length)
        begin = at
        chunks: list[Field] = []
        for series in rows:
            chunk = _chunk(series)
            for part in (chunk.dictionary, chunk.data):
                for piece in part:
                    file.write(piece)
            chunks.append(chunk.described(at))
            at += chunk.size
        groups.append({1: chunks, 2: Long(at - begin), 3: Long(len(rows))})
    root: Field = {4: b"log", 5: frame.width}
    schema = [root, *(element for column in columns for element in column)]
    told = thrift({1: 1, 2: schema, 3: Long(len(frame)), 4: groups, 6: b"loopaudit"})
    file.write(told + len(told).to_bytes(4, "little") + _MAGIC)


def _groups(frame: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """First row and length of each row group.

    A table put together from large pieces has each in groups of its own: a group that crossed two
    would have to be copied together first.
    """
    pieces = frame.to_series(0).chunk_lengths()
    if min(pieces) < _WORTH_IT:
        pieces = [len(frame)]
    begin = 0
    for piece in pieces:
        for first in range(0, piece, ROWS_A_GROUP):
            yield begin + first, min(ROWS_A_GROUP, piece - first)
        begin += piece


# -- metadata --------------------------------------------------------------------------------------


class Long(int):
    """An integer of 64 bits in the metadata; plain ones have 32."""


Field = int | bytes | Sequence["Field"] | Mapping[int, "Field"]


def thrift(fields: Mapping[int, Field]) -> bytes:
    """A structure in the Thrift compact protocol; integers count up from field to field."""
    out, before = bytearray(), 0
    for number, value in fields.items():
        kind, content = _written(value)
        out.append((number - before) << 4 | kind)
        out += content
        before = number
    out.append(0)
    return bytes(out)


def _written(value: Field) -> tuple[int, bytes]:
    """The code of a value's type, and the value."""
    if isinstance(value, int):
        return 6 if isinstance(value, Long) else 5, varint(value << 1)  # zigzag; none is negative
    if isinstance(value, bytes):
        return 8, varint(len(value)) + value
    if isinstance(value, Mapping):
        return 12, thrift(value)
    inner = [_written(one) for one in value]
    kind, n = inner[0][0], len(inner)
    head = bytes([n << 4 | kind]) if n < 15 else bytes([0xF0 | kind]) + varint(n)
    return 9, head + b"".join([content for _, content in inner])


_SMALL = [bytes([n]) for n in range(0x80)]


def varint(n: int) -> bytes:
    """A number that is not negative, seven bits a byte, the lowest first."""
    if n <= 0x7F:
        return _SMALL[n]
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _schema(series: pl.Series) -> list[Field]:
    """The schema elements of a column."""
    name = series.name.encode()
    if not isinstance(series.dtype, pl.List):
        return [_leaf(series.dtype, name, _REQUIRED)]
    return [
        {3: _REQUIRED, 4: name, 5: 1, 6: _LIST},
        {3: _REPEATED, 4: b"list", 5: 1},
        _leaf(series.dtype.inner, b"element", _OPTIONAL),
    ]


def _leaf(kind: object, name: bytes, repetition: int) -> Field:
    physical, converted = _TYPES[kind]
    told: dict[int, Field] = {1: physical, 3: repetition, 4: name}
    return told if converted is None else {**told, 6: converted}


# -- column chunks ---------------------------------------------------------------------------------

Bytes = bytes | memoryview


@dataclass(frozen=True)
class _Chunk:
    """A column of a row group as it is written: pages with their headers.

    Attributes:
        physical: type; path: of the leaf in the schema; levels: how many values, nulls included.
        encoding: of the values.
        dictionary, data: pieces of the pages; the first may be missing.
    """

    physical: int
    path: list[bytes]
    levels: int
    encoding: int
    dictionary: list[Bytes]
    data: list[Bytes]

    @property
    def size(self) -> int:
        """Bytes."""
        return _bytes(self.dictionary) + _bytes(self.data)

    def described(self, at: int) -> dict[int, Field]:
        """Its metadata, where it begins at a byte of the file."""
        encodings: list[Field] = [_PLAIN, _RLE, *([self.encoding] if self.encoding else [])]
        size = Long(self.size)
        told: dict[int, Field] = {1: self.physical, 2: encodings, 3: list(self.path), 4: 0}
        told |= {5: Long(self.levels), 6: size, 7: size}
        told[9] = Long(at + _bytes(self.dictionary))
        if self.dictionary:
            told[11] = Long(at)
        return {2: Long(at), 3: told}


def _bytes(pieces: list[Bytes]) -> int:
    return sum(map(len, pieces))


def _chunk(series: pl.Series) -> _Chunk:
    """A column, encoded."""
    path, levels, n = [series.name.encode()], b"", len(series)
    if isinstance(series.dtype, pl.List):
        path += [b"list", b"element"]
        n, levels, series = _unnested(series)
    physical = _TYPES[series.dtype][0]
    if series.dtype == pl.Float32:
        one = _Encoded([_raw(series.to_numpy())])
    else:
        one = _words(series) if series.dtype == pl.String else _integers(series.to_numpy())
    data: list[Bytes] = [levels, *one.values]
    size, encoding = _bytes(data), _DICTIONARY if one.n_known else one.encoding
    head = {1: n, 2: encoding, 3: _RLE, 4: _RLE}
    page = [thrift({1: 0, 2: size, 3: size, 5: head}), *data]
    if not one.n_known:
        return _Chunk(physical, path, n, encoding, [], page)
    size = len(one.known)
    kept = [thrift({1: 2, 2: size, 3: size, 7: {1: one.n_known, 2: _PLAIN}}), one.known]
    return _Chunk(physical, path, n, encoding, kept, page)


@dataclass(frozen=True)
class _Encoded:
    """Values of a column.

    Attributes:
        values: pieces: the values themselves, or codes into a dictionary.
        known: the dictionary; n_known: how many values are in it, 0 if there is none.
        encoding: of values that are themselves there.
    """

    values: list[Bytes]
    known: Bytes = b""
    n_known: int = 0
    encoding: int = _PLAIN


def _unnested(series: pl.Series) -> tuple[int, bytes, pl.Series]:
    """Lists as (how many levels, repetition and definition levels, the values that are there).

    An empty list has a level and no value; so has a null.
    """
    k, kind = len(series[0]), series.dtype.inner  # type: ignore[attr-defined]
    with suppress(pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError):
        flat = series.cast(pl.Array(kind, k)).reshape((-1,))  # costs nothing where all are alike
        if k and not flat.has_nulls():
            return len(flat), _even_levels(len(series), k), flat
    length = series.list.len().to_numpy()
    taking = np.maximum(length, 1).astype(np.int64)
    begin = np.cumsum(taking) - taking
    n = int(taking.sum())
    repeated = np.ones(n, np.bool_)
    repeated[begin] = False
    empty = length == 0
    flat = (series.filter(pl.Series(~empty)) if empty.any() else series).explode()
    defined = np.full(n, 2, np.uint32)
    defined[begin[empty]] = 0
    defined[np.flatnonzero(defined)[flat.is_null().to_numpy()]] = 1
    return n, _level(repeated) + _sized(b"".join(_packed(defined, 2))), flat.drop_nulls()


@lru_cache(maxsize=8)
def _even_levels(n: int, k: int) -> bytes:
    """The levels of n lists of k values each."""
    repeated = np.ones((n, k), np.bool_)
    repeated[:, 0] = False
    return _level(repeated.ravel()) + _sized(_run(n * k, 2, 2))


def _level(flags: NDArray[np.bool_]) -> bytes:
    """Levels of one bit."""
    groups = -(-len(flags) // 8)
    return _sized(varint(groups << 1 | 1) + np.packbits(flags, bitorder="little").tobytes())


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + content


def _raw(values: NDArray[np.generic]) -> memoryview:
    """Numbers as they lie in memory."""
    return np.ascontiguousarray(values).view(np.uint8).data


def _words(series: pl.Series) -> _Encoded:
    """Strings, of which there are few different ones."""
    alike = series[0] == series[-1] and series.min() == series.max()
    distinct = series[:1] if alike else series.unique(maintain_order=True)
    known = b"".join(_sized(one.encode()) for one in distinct)
    if len(distinct) == 1:
        return _Encoded([b"\x01", _run(len(series), 0, 1)], known, 1)
    numbers = pl.Series(range(len(distinct)), dtype=pl.UInt32)
    codes = series.replace_strict(distinct, numbers).to_numpy()
    width = len(distinct).bit_length()
    return _Encoded([bytes([width]), *_packed(codes, width)], known, len(distinct))


def _integers(values: NDArray[np.integer]) -> _Encoded:
    """Integers in the way that fits them: as runs, as steps up, as distances from the least, or as
    below."""
    from . import packing

    wide = np.dtype(np.int32 if values.itemsize < 8 else values.dtype)
    if len(values) == 0:
        return _Encoded([])
    if wide != np.int32:  # masks: few, and far from one another
        return _numbered(values, wide)
    low, high, runs, rises = (int(one) for one in packing.survey(values))
    if runs <= _FEW_RUNS:
        starts = np.empty(runs + 1, np.int64)
        packing.run_starts(values, starts)
        distinct = list(dict.fromkeys(held := values[starts[:-1]].tolist()))
        width = max((len(distinct) - 1).bit_length(), 1)
        told = b"".join(
            _run(length, distinct.index(value), width)
            for value, length in zip(held, np.diff(starts).tolist(), strict=True)
        )
        return _Encoded([bytes([width]), told], _raw(np.array(distinct, wide)), len(distinct))
    if rises > len(values) * _RISING and high - low < 1 << 30:
        return _risen(values.astype(np.int32, copy=False))
    if high - low >= max(len(values) // 8, 1024):
        return _numbered(values, wide)
    width = (high - low).bit_length()
    known = np.arange(low, high + 1, dtype=wide)
    return _Encoded([bytes([width]), *_packed(values, width, low)], _raw(known), len(known))


def _risen(values: NDArray[np.int32]) -> _Encoded:
    """Integers as differences, of which neighbours are alike: people in the order of their ids."""
    from .packing import DELTA_BLOCK, DELTA_MINIBLOCK, pack_deltas

    blocks = -(-len(values) // DELTA_BLOCK)
    out = np.empty(blocks * (16 + 5 * DELTA_BLOCK), np.uint8)
    size = int(pack_deltas(values, out))
    sizes = varint(DELTA_BLOCK) + varint(DELTA_BLOCK // DELTA_MINIBLOCK) + varint(len(values))
    first = int(values[0])
    head = sizes + varint(2 * first if first >= 0 else -2 * first - 1)
    return _Encoded([head, out[:size].data], encoding=_DELTA)


def _numbered(values: NDArray[np.integer], wide: np.dtype[np.integer]) -> _Encoded:
    """Integers as numbers of the different ones; as they are, if there are too many of these."""
    from .packing import numbered

    room = max(len(values) // 8, 1024)
    small = np.dtype(np.uint16 if room <= 1 << 16 else np.uint32)
    codes, found = np.empty(len(values), small), np.empty(room, values.dtype)
    table = np.full(1 << (2 * room - 1).bit_length(), -1, np.int32)
    n = int(numbered(values, table, found, codes))
    if n < 0:
        return _Encoded([_raw(values.astype(wide))])
    known = _raw(found[:n].astype(wide))
    if n == 1:
        return _Encoded([b"\x01", _run(len(values), 0, 1)], known, 1)
    width = (n - 1).bit_length()
    return _Encoded([bytes([width]), *_packed(codes, width)], known, n)


def _run(n: int, code: int, width: int) -> bytes:
    """The same code n times."""
    return varint(n << 1) + code.to_bytes(-(-width // 8), "little")


def _packed(codes: NDArray[np.integer], width: int, low: int = 0) -> list[Bytes]:
    """How far codes are above the lowest one as bits, in groups of eight codes."""
    from .packing import pack

    groups = -(-len(codes) // 8)
    words = np.empty(-(-groups * width // 8) + 1, np.uint64)
    pack(codes, low, width, words)
    return [varint(groups << 1 | 1), _raw(words.astype("<u8", copy=False))[: groups * width]]

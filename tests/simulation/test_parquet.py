"""Our own Parquet: whoever reads Parquet finds in it what went in, as small and the same bytes."""

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.simulation.record import packing, parquet

INTEGERS = {
    "one value": (np.full(6000, 7), pl.Int32),
    "few runs": (np.repeat([3, 9, 3, -1], 1500), pl.Int32),
    "a small range": (np.arange(6000) * 7 % 40, pl.Int32),
    "a range below nothing": (np.arange(6000) % 5 - 3, pl.Int32),
    "no two alike": (np.arange(6000) * 300_007 % 2**31, pl.Int32),
    "steps up": (np.cumsum(np.arange(6000) * 31 % 257), pl.Int32),
    "steps up and far back": (np.tile(np.arange(-900, 600) * 299, 4), pl.Int32),
    "steps up, then down": (np.r_[np.arange(5900) * 90_000, np.arange(100, 0, -1)], pl.Int32),
    "a block and one": (np.arange(128 * 47 + 2), pl.Int32),
    "bytes": (np.arange(6000) * 31 % 256, pl.UInt8),
    "masks": (2 ** (np.arange(6000) * 7 % 64).astype(np.uint64), pl.UInt64),
    "masks, no two alike": (np.arange(6000).astype(np.uint64) * 2**51, pl.UInt64),
}


def written(frame):
    file = io.BytesIO()
    parquet.write(frame, file)
    return file.getvalue()


def read(content):
    return pl.read_parquet(io.BytesIO(content))


@pytest.mark.parametrize("what", INTEGERS)
def test_integers_are_read_as_they_were_written(what):
    values, kind = INTEGERS[what]
    frame = pl.DataFrame({"x": pl.Series(values, dtype=kind)})
    assert parquet.worth_it(frame)
    assert read(written(frame)).equals(frame)


def test_words_and_numbers_are_read_as_they_were_written():
    words = ["ease", "beliebt für alle", ""]
    frame = pl.DataFrame(
        {
            "one": pl.Series(["ease"]).new_from_index(0, 6000),
            "three": pl.Series(words)[np.arange(6000) ** 2 % 3],
            "number": np.random.default_rng(0).random(6000, np.float32),
        }
    )
    assert read(written(frame)).equals(frame)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)), max_size=20), min_size=1
    ),
    kind=st.sampled_from([pl.Int32, pl.Float32]),
)
def test_lists_are_read_as_they_were_written(rows, kind):
    series = pl.Series("x", rows, dtype=pl.List(pl.Int64)).cast(pl.List(kind))
    frame = pl.DataFrame({"x": series, "n": pl.Series(range(len(rows)), dtype=pl.Int32)})
    assert read(written(frame)).equals(frame)


def test_a_table_of_several_row_groups_is_read_as_it_was_written(monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_A_GROUP", 1000)
    n = 6500
    frame = pl.DataFrame(
        {
            "user": np.arange(n, dtype=np.int32),
            "items": pl.Series(np.arange(3 * n, dtype=np.int32)).reshape((n, 3)).arr.to_list(),
        }
    )
    content = written(frame)
    assert read(content).equals(frame)
    late = pl.scan_parquet(io.BytesIO(content)).filter(pl.col("user") == 6200).collect()
    assert late["items"].to_list() == [[18600, 18601, 18602]]


def test_people_in_the_order_of_their_ids_take_next_to_nothing():
    here = np.random.default_rng(0).random((20, 10_000)) < 0.3
    for flags, bits in ((here, 5), (np.ones_like(here), 0.5)):
        frame = pl.DataFrame({"user": np.nonzero(flags)[1].astype(np.int32)})
        content = written(frame)
        assert read(content).equals(frame)
        assert len(content) * 8 < bits * len(frame)


def test_pieces_of_a_table_are_row_groups_of_their_own():
    pieces = [pl.DataFrame({"x": np.arange(n, dtype=np.int32)}) for n in (5000, 7000)]
    assert pl.read_parquet(io.BytesIO(written(pl.concat(pieces)))).equals(pl.concat(pieces))
    small = [pl.DataFrame({"x": np.arange(n, dtype=np.int32)}) for n in (5000, 10)]
    whole = pl.concat(small, rechunk=True)
    assert written(pl.concat(small, rechunk=False)) == written(whole)


def test_the_same_table_is_the_same_bytes():
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"x": rng.integers(0, 40, 6001, np.int32)})
    assert written(frame) == written(frame.clone())


def test_a_file_is_as_large_as_its_bits():
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"x": rng.integers(0, 1000, 80_000, np.int32)})  # 10 bits a value
    assert len(written(frame)) < 80_000 * 10 / 8 + 4 * 1000 + 300


def test_what_has_nulls_or_other_types_is_left_to_polars():
    n = 6000
    plain = pl.DataFrame({"x": np.zeros(n, np.int32)})
    assert parquet.worth_it(plain)
    assert not parquet.worth_it(plain.head(100))  # not worth the loading
    assert not parquet.worth_it(plain.with_columns(y=pl.lit(None, pl.Int32)))
    assert not parquet.worth_it(plain.with_columns(y=pl.lit(1.0)))
    assert not parquet.worth_it(plain.with_columns(y=pl.lit([[1.0]], pl.List(pl.List(pl.Float32)))))


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 32), n=st.integers(1, 70), low=st.integers(-5, 5), data=st.data())
def test_packed_bits_are_those_of_the_definition(width, n, low, data):
    """The value of a row of bits, lowest first, is the sum of the codes times their place."""
    codes = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=n, max_size=n))
    words = np.full(n * width // 64 + 2, 2**64 - 1, np.uint64)
    packing.pack(np.array(codes, np.int64) + low, low, width, words)
    whole = sum(code << width * place for place, code in enumerate(codes))
    assert int.from_bytes(words.tobytes(), "little") == whole


def test_a_varint_is_that_of_the_specification():
    assert parquet.varint(300) == b"\xac\x02"  # the example of the Protocol Buffers documentation
    assert parquet.varint(1) == b"\x01"


def test_a_structure_is_that_of_the_specification():
    """Thrift compact protocol: field headers of delta and type, zigzag integers, a stop."""
    told = parquet.thrift({1: 1, 4: b"ab", 5: [1, 2], 6: parquet.Long(3), 7: {2: 1}})
    assert told == bytes.fromhex("15 02 38 02 6162 19 25 02 04 16 06 1c 25 02 00 00")

"""A block's body: damage is told, and keys and values are found in it as Arrow laid them out."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from xxhash import xxh3_64_intdigest

from ringkv.dataset.block import Row, are_right, damage, keys_of, rank_of, read_row, span_of, texts_of
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import BLOCK_ROW, OFFSET_BYTES, offsets_at
from tests.support.data import random_keys
from tests.support.handmade import COUNT, rows_of, write_rows

Bodies = list[tuple[Row, bytes, pa.RecordBatch]]


@pytest.fixture
def bodies(tmp_path: Path) -> Bodies:
    """Row, body, and the batch as Arrow reads it, of each block."""
    write_rows(tmp_path / "made", rows_of(random_keys(1_500, seed=3)))
    with Dataset.open(tmp_path / "made") as dataset:
        rows = [Row._make(dataset.blocks_of(number)[0].tolist()) for number in range(COUNT)]
        bodies = [dataset.segments[0].read(row.offset, row.size) for row in rows]
        reader = pa.ipc.open_file(str(dataset.segments[0].path))
        return [(rows[number], bodies[number], reader.get_batch(number)) for number in range(COUNT)]


def test_a_body_is_read_as_arrow_reads_it(bodies: Bodies) -> None:
    for row, body, batch in bodies:
        assert damage(body, row) == ""
        keys = keys_of(body, row.keys)
        assert texts_of(keys) == [str(key).encode() for key in batch.column("key").to_pylist()]
        for rank, (key, value) in enumerate(zip(*(column.to_pylist() for column in batch.columns), strict=True)):
            assert rank_of(keys, key.bytes) == rank
            begin, end = span_of(body, row.keys, rank)
            assert body[begin:end] == value


def test_a_key_is_not_found_across_the_border_of_two_others(bodies: Bodies) -> None:
    for row, body, _ in bodies:
        keys = keys_of(body, row.keys)
        for at in range(8, len(keys) - 16, 16):
            assert rank_of(keys, keys[at : at + 16]) == -1
        assert rank_of(keys, bytes(16)) == -1
    twice = bytes(range(1, 33)) * 2
    assert rank_of(twice[8:] + twice[8:24], twice[8:24]) == 0
    assert rank_of(twice[:8] + twice[:24], twice[:8] + twice[:8]) == 0
    assert rank_of(b"\1" * 8 + b"\2" * 32 + b"\3" * 8 + b"\2" * 16, b"\2" * 16) == 1


def test_every_flipped_byte_and_every_cut_is_told(bodies: Bodies) -> None:
    row, body, _ = bodies[0]
    assert row.keys > 1
    for at in range(len(body)):
        assert (
            damage(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], row) == "its bytes do not match their checksum"
        )
        assert damage(body[:at], row) == "it ends too soon"
    assert damage(body + b"\0", row) == "it ends too soon"


def test_what_is_told_of_many_blocks_at_once_is_told_of_each(bodies: Bodies) -> None:
    start, end = bodies[0][0].offset, bodies[-1][0].offset + bodies[-1][0].size
    data = bytearray(end - start)
    for row, body, _ in bodies:
        data[row.offset - start : row.offset - start + row.size] = body
    rows = [row for row, _, _ in bodies]
    damaged = bodies[2][0]
    data[damaged.offset - start] ^= 1
    for number, wrong in ((0, 1), (1, -1), (4, damaged.size)):  # offsets that lead out, and rightly summed up
        row = rows[number]
        at = row.offset - start + offsets_at(row.keys) + (0 if wrong == 1 else OFFSET_BYTES * row.keys)
        data[at : at + OFFSET_BYTES] = wrong.to_bytes(OFFSET_BYTES, "little", signed=True)
        body = bytes(data[row.offset - start : row.offset - start + row.size])
        rows[number] = row._replace(checksum=xxh3_64_intdigest(body))
    row = rows[5]
    rows[5] = row._replace(keys=row.size)  # more keys than it has room for
    rows[6] = row._replace(offset=row.offset - start + end)  # outside
    for length in (len(data), rows[-1].offset - start + 8, 0):
        view = memoryview(bytes(data[:length]))
        found = are_right(view, start, enumerate(rows))
        assert found == [not damage(view[row.offset - start :][: row.size], row) for row in rows]
        assert length == 0 or not all(found)
        assert found.count(True) == (len(rows) - 6 if length == len(data) else len(rows) - 7 if length else 0)


def test_rows_lie_as_numpy_has_them(tmp_path: Path) -> None:
    write_rows(tmp_path / "made", rows_of(random_keys(100, seed=4)))
    with Dataset.open(tmp_path / "made") as dataset:
        for partition in range(COUNT):
            rows = dataset.blocks_of(partition)
            assert rows.dtype == BLOCK_ROW
            assert read_row(b"x" * 20 + rows.tobytes(), 1) == Row._make(rows[0].tolist())


def test_blocks_lie_one_behind_the_other(bodies: Bodies) -> None:
    for (before, _, _), (after, _, _) in pairwise(bodies):
        assert before.offset + before.size <= after.offset
        assert after.offset % 8 == 0

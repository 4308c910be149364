"""Datasets that no packer wrote: their checksums and digests are right, whatever it is that they say."""

import json
import struct
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from ringkv.cluster.position import position, shift_to
from ringkv.dataset.format import (
    BLOCK_ROW,
    BLOCK_SCHEMA,
    BLOCKS,
    HASHES,
    MANIFEST,
    PARTITION_SCHEMA,
    PARTITIONS,
    SEGMENT_SCHEMA,
    dataset_id,
    footer,
    offsets_at,
    partition_digests,
    segment_name,
    values_at,
)

COUNT = 256
"""Blocks, and partitions, where no other number is told."""

Row = tuple[int, bytes, bytes]
"""Position, key as 16 bytes, value."""

Bend = Callable[[list[int]], list[int]]
"""What becomes of a block's offsets: as many of them."""


def rows_of(keys: list[bytes]) -> list[Row]:
    return sorted((position(key), UUID(key.decode()).bytes, b"value") for key in keys)


def write_rows(
    path: Path,
    rows: list[Row],
    place: Callable[[Row], int] | None = None,
    bend: Bend | None = None,
    count: int = COUNT,
    **says: Any,
) -> None:
    """A dataset with these rows in its `count` blocks, each a partition.

    `place` gives a row's block; `says` is what the manifest claims instead of the truth, `bend` changes the offsets.
    """
    path.mkdir()
    blocks: list[list[Row]] = [[] for _ in range(count)]
    for row in rows:
        blocks[place(row) if place else row[0] >> shift_to(count)].append(row)
    table, content = _segment(blocks)
    for entry, block in zip(table, blocks, strict=True):
        start = int(entry["offset"])
        if bend and len(block) > 1:
            # Arrow makes no batch with such offsets, so they are put in afterwards.
            ends = [0, *accumulate(len(value) for _, _, value in block)]
            struct.pack_into(f"<{len(ends)}i", content, start + offsets_at(len(block)), *bend(ends))
        entry["checksum"] = xxh3_64_intdigest(bytes(content[start : start + int(entry["bytes"])]))
    (path / segment_name(0)).write_bytes(content)
    digests = partition_digests(table.reshape(count, 1))
    write_table(path / BLOCKS, BLOCK_SCHEMA, [np.ascontiguousarray(table[name]) for name in BLOCK_SCHEMA.names])
    keys, sizes = (table[name].astype(np.uint64) for name in ("keys", "bytes"))
    write_table(path / PARTITIONS, PARTITION_SCHEMA, [keys, sizes, pa.array(digests, pa.binary(16))])
    manifest = {
        "ringkv": 2,
        "hashes": HASHES,
        "dataset_id": dataset_id(count, digests),
        "keys": len(rows),
        "bytes": int(sizes.sum()),
        "partitions": count,
        "blocks": count,
        "segments": [{"name": segment_name(0), "size": len(content), "first": 0, "last": count}],
        "sources": [],
        "packed": "2026-01-01T00:00:00+00:00",
    }
    (path / MANIFEST).write_text(json.dumps(manifest | says))


def alter_manifest(path: Path, **fields: Any) -> None:
    """Let the dataset's manifest say this instead of the truth; None leaves the field out."""
    said = json.loads((path / MANIFEST).read_text()) | fields
    (path / MANIFEST).write_text(json.dumps({name: value for name, value in said.items() if value is not None}))


def write_table(path: Path, schema: pa.Schema, columns: list[Any]) -> None:
    """A table of a dataset, with these columns."""
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_batch(pa.record_batch([pa.array(column) for column in columns], schema=schema))


def _segment(blocks: list[list[Row]]) -> tuple[Any, bytearray]:
    """The rows of blocks.arrow, without checksums, and the bytes of the segment of all blocks."""
    table = np.zeros(len(blocks), BLOCK_ROW)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SEGMENT_SCHEMA, metadata=footer(0, len(blocks))) as writer:
        for number, block in enumerate(blocks):
            keys = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([row[1] for row in block], pa.binary(16)))
            values = pa.array([row[2] for row in block], pa.binary())
            writer.write_batch(pa.record_batch([keys, values], schema=SEGMENT_SCHEMA))
            size = values_at(len(block)) + -(-sum(len(row[2]) for row in block) // 8) * 8 if block else 0
            table[number] = len(block), size, 0, sink.tell() - size
    return table, bytearray(sink.getvalue().to_pybytes())

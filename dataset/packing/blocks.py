"""From sorted pairs to blocks: the columns of each as its batch has them, and the checksum of what Arrow will write.

Slices of large arrays would not do: Arrow writes them with up to 63 bytes of what follows, so that equal blocks would
have unequal bytes. So each column is an array of its own, made of slices of buffers.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from xxhash import xxh3_64

from ringkv.cluster.errors import PackingFailed
from ringkv.cluster.limits import MAX_BLOCK_BYTES
from ringkv.cluster.position import shift_to
from ringkv.dataset.format import KEY_BYTES, OFFSET_BYTES, SEGMENT_SCHEMA, values_at
from ringkv.dataset.packing.runs import Rows, borders_of

_PADDING: Final = bytes(7)
"""Zeros, of which Arrow writes as many behind the values as lead to a multiple of 8 bytes."""


class Block(NamedTuple):
    """A block to be written: its batch, and the size in bytes and the xxh3_64 of the batch's body."""

    batch: pa.RecordBatch
    keys: int
    bytes: int
    checksum: int


def blocks_of(rows: Rows, first: int, last: int, count: int) -> Iterator[Block]:
    """The blocks `first` up to `last`, without it, of `count` on the whole ring; `rows` are all of their pairs, sorted.

    Raises PackingFailed for a block that is too large.
    """
    borders = borders_of(rows.lengths)
    edges = _edges(rows, first, last, count)
    sizes = np.diff(borders[edges])
    if (largest := int(sizes.max())) > MAX_BLOCK_BYTES:
        raise PackingFailed(
            f"block {first + int(sizes.argmax())} would hold {largest} bytes of values, of {MAX_BLOCK_BYTES} at most;"
            " split the data into several datasets"
        )
    offsets, sections = _offsets(borders, edges)
    columns = pa.py_buffer(rows.keys), pa.py_buffer(offsets), pa.py_buffer(rows.values)
    uuid, binary = pa.uuid(), pa.binary()
    places = zip(edges.tolist(), sections.tolist(), borders[edges].tolist(), strict=True)
    for (row, section, byte), (next_row, next_section, next_byte) in pairwise(places):
        n, size = next_row - row, next_byte - byte
        keys, values = columns[0].slice(KEY_BYTES * row, KEY_BYTES * n), columns[2].slice(byte, size)
        ends = columns[1].slice(OFFSET_BYTES * section, OFFSET_BYTES * (n + 1))
        batch = pa.RecordBatch.from_arrays(
            [pa.Array.from_buffers(uuid, n, [None, keys]), pa.Array.from_buffers(binary, n, [None, ends, values])],
            schema=SEGMENT_SCHEMA,
        )
        digest = xxh3_64(keys)
        digest.update(columns[1].slice(OFFSET_BYTES * section, OFFSET_BYTES * (next_section - section)))
        digest.update(values)
        digest.update(_PADDING[: -size % 8])
        yield Block(batch, n, values_at(n) + size + -size % 8, digest.intdigest())


def _edges(rows: Rows, first: int, last: int, count: int) -> NDArray[np.int64]:
    """The rank of each block's first row, and behind these the number of all rows."""
    begins = np.arange(first + 1, last, dtype=np.uint64) << np.uint64(shift_to(count))
    return np.concatenate(([0], np.searchsorted(rows.positions, begins), [len(rows.positions)]))


def _offsets(borders: NDArray[np.int64], edges: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The offsets of all blocks in one array, each block's counted from 0 and padded, and where each block's begin."""
    counts = np.diff(edges)
    widths = (counts + 2) // 2 * 2  # with the padding up to `values_at`
    sections = np.concatenate(([0], np.cumsum(widths)))
    offsets = np.zeros(int(sections[-1]), np.int32)
    shifts = np.repeat(sections[:-1] - edges[:-1], counts)
    offsets[np.arange(len(shifts)) + shifts] = borders[:-1] - np.repeat(borders[edges[:-1]], counts)
    offsets[sections[:-1] + counts] = np.diff(borders[edges])
    return offsets, sections

"""The format of a packed dataset, version 2: a folder of Arrow IPC files. Here is what writer and reader share.

    manifest.json       what the dataset is: its id, its numbers of keys, partitions, blocks, its segments, its sources
    partitions.arrow    row p: keys, bytes and digest of partition p
    blocks.arrow        row b: keys, bytes and checksum of block b, and where in its segment it begins
    segment-00000.arrow, segment-00001.arrow, …
                        a run of whole partitions each, one record batch a block, sorted by position

    ARROW1 │ schema │ batch: header, keys, value offsets, values │ batch … │ footer │ ARROW1
                                     └──────── body ────────┘

A block is the body of its batch: what its checksum is of, and what is read and searched. The checksums of a partition's
blocks make its digest, the digests of all partitions the dataset's id: so each of them can be proved by itself, and
equal pairs have an equal id in however many segments they are.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format, without compression.
"""

import struct
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from xxhash import xxh3_128_digest, xxh3_128_hexdigest

VERSION: Final = 2
MAGIC: Final = b"ARROW1"
MARK: Final = b"ringkv"
"""An entry in the footer of a segment that other Arrow files do not have; its value is the version."""

MANIFEST: Final = "manifest.json"
PARTITIONS: Final = "partitions.arrow"
BLOCKS: Final = "blocks.arrow"

HASHES: Final = "crc16-xmodem,xxh3_64"
"""The hashes of which a key's position is made, as the manifest names them."""

SEGMENT_SCHEMA: Final = pa.schema(
    [pa.field("key", pa.uuid(), nullable=False), pa.field("value", pa.binary(), nullable=False)]
)
PARTITION_SCHEMA: Final = pa.schema(
    [
        pa.field("keys", pa.uint64(), nullable=False),
        pa.field("bytes", pa.uint64(), nullable=False),
        pa.field("digest", pa.binary(16), nullable=False),
    ]
)
BLOCK_SCHEMA: Final = pa.schema(
    [
        pa.field("keys", pa.uint32(), nullable=False),
        pa.field("bytes", pa.uint32(), nullable=False),
        pa.field("checksum", pa.uint64(), nullable=False),
        pa.field("offset", pa.uint32(), nullable=False),
    ]
)

BLOCK_ROW: Final = np.dtype([("keys", "<u4"), ("bytes", "<u4"), ("checksum", "<u8"), ("offset", "<u4")])
"""A row of blocks.arrow: how many keys the block has, how many bytes its body, the xxh3_64 of these, and where in the
segment's file they begin, on a multiple of 8."""

KEY_BYTES: Final = 16
OFFSET_BYTES: Final = 4

KEY: Final = np.dtype((np.void, KEY_BYTES))
"""An array's item for a key."""

Count = TypeVar("Count", int, NDArray[np.int64])
"""A number of keys, or an array of such numbers."""


def segment_name(number: int) -> str:
    return f"segment-{number:05}.arrow"


def offsets_at(count: Count) -> Count:
    """Where in the body of a block of `count` keys, at least one, its `count + 1` offsets of 32 bits begin."""
    return KEY_BYTES * count


def values_at(count: Count) -> Count:
    """Where in the body of a block of `count` keys, at least one, its values begin: columns begin on multiples of 8."""
    return KEY_BYTES * count + (count + 2) // 2 * 8


def partition_digests(blocks: NDArray[np.void]) -> list[bytes]:
    """The digest, 16 bytes, of each partition from its rows of blocks.arrow: of what they hold, not of where they lie.

    `blocks` has two dimensions, partitions and their blocks.
    """
    columns = (np.ascontiguousarray(blocks[name]).view(np.uint8) for name in ("keys", "bytes", "checksum"))
    return [xxh3_128_digest(row) for row in np.concatenate(list(columns), axis=1)]


def dataset_id(blocks: int, digests: Iterable[bytes]) -> str:
    """The name of the content, 32 hex digits: from the number of blocks, each partition's digest, and nothing else."""
    return xxh3_128_hexdigest(struct.pack("<QQ", VERSION, blocks) + b"".join(digests))


def footer(first: int, last: int) -> dict[bytes, bytes]:
    """The metadata in the footer of the segment of partitions `first` up to `last`, without it."""
    said: dict[str, Any] = {MARK.decode(): VERSION, "hashes": HASHES, "partitions": f"{first}-{last}"}
    return {name.encode(): str(value).encode() for name, value in said.items()}

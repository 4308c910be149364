"""A block: the body of one record batch, checked, searched and read as a whole where it is a copy in memory.

In a mapped block a shard searches only where the key is to be expected (`shard.store`); a copy is searched whole.
"""

from binascii import hexlify
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from ringkv.dataset.format import KEY_BYTES, OFFSET_BYTES, offsets_at, values_at

Buffer = TypeVar("Buffer", bytes, memoryview)

_ROW = Struct("<IIQI")
_read_row = _ROW.unpack_from
_read_ends = Struct("<2i").unpack_from
_read_end = Struct("<i").unpack_from


class Row(NamedTuple):
    """A block's row of blocks.arrow."""

    keys: int
    size: int
    checksum: int
    offset: int


def read_row(rows: bytes, block: int) -> Row:
    """The row of a block among `rows`, which stand one behind the other as `format.BLOCK_ROW` lays them out."""
    return Row._make(_read_row(rows, block * _ROW.size))


def rows_of(rows: bytes) -> Iterator[Row]:
    """All of these rows."""
    return map(Row._make, _ROW.iter_unpack(rows))


def extent_of(rows: bytes) -> tuple[int, int]:
    """From its rows: the first byte of a partition in its segment, and the first one behind it, if they are right."""
    first, last = read_row(rows, 0), read_row(rows, len(rows) // _ROW.size - 1)
    return min(first.offset, last.offset), max(first.offset + first.size, last.offset + last.size)


def damage(body: bytes | memoryview, row: Row) -> str:
    """Why the body is not the one that the row describes; "" if it is."""
    if len(body) != row.size:
        return "it ends too soon"
    if xxh3_64_intdigest(body) != row.checksum:
        return "its bytes do not match their checksum"
    if row.keys:
        # A file that was made to deceive has right checksums: so its offsets, too, must not lead out of its values.
        at = offsets_at(row.keys)
        if len(body) < values_at(row.keys) or _read_end(body, at)[0] != 0:
            return "its offsets do not fit its values"
        if not 0 <= _read_end(body, at + OFFSET_BYTES * row.keys)[0] <= row.size - values_at(row.keys):
            return "its offsets do not fit its values"
    return ""


def are_right(data: memoryview, start: int, rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Of which of these blocks `damage` says nothing; `data` are the bytes of their segment from `start` on.

    `rows` have the fields of BLOCK_ROW, and begin like `start` on multiples of 8.
    """
    keys, sizes = rows["keys"].astype(np.int64), rows["bytes"].astype(np.int64)
    begins = rows["offset"].astype(np.int64) - start
    ends = begins + sizes
    spans = zip(begins.tolist(), ends.tolist(), strict=True)
    checksums = np.array([xxh3_64_intdigest(data[begin:end]) for begin, end in spans], np.uint64)
    right: NDArray[np.bool_] = (begins >= 0) & (ends <= len(data)) & (checksums == rows["checksum"])
    right &= (keys == 0) | (values_at(keys) <= sizes)
    with_keys = np.flatnonzero(right & (keys > 0))
    numbers = np.frombuffer(data, "<i4", len(data) // OFFSET_BYTES)
    first = (begins + offsets_at(keys))[with_keys] // OFFSET_BYTES
    last = numbers[first + keys[with_keys]]
    right[with_keys] = (numbers[first] == 0) & (last >= 0) & (last <= (sizes - values_at(keys))[with_keys])
    return right


def keys_of(body: Buffer, count: int) -> Buffer:
    """The keys of a body, 16 bytes each, one behind the other."""
    return body[: KEY_BYTES * count]


def rank_of(keys: bytes, wanted: bytes) -> int:
    """The rank of a key of 16 bytes among `keys`, which stand one behind the other; -1 if it is not there."""
    found = keys.find(wanted)
    while found >= 0 and found % KEY_BYTES:
        found = keys.find(wanted, found + 1)
    return found // KEY_BYTES if found >= 0 else -1


def span_of(body: bytes, count: int, rank: int) -> tuple[int, int]:
    """Where the value of the key of this rank begins and ends, in bytes, in the body of a block of `count` keys."""
    begin, end = _read_ends(body, offsets_at(count) + OFFSET_BYTES * rank)
    base = values_at(count)
    return base + begin, base + end


def texts_of(keys: bytes) -> list[bytes]:
    """The canonical texts of keys of 16 bytes each."""
    digits = hexlify(keys)
    return [
        b"%b-%b-%b-%b-%b" % (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
        for text in [digits[at : at + 2 * KEY_BYTES] for at in range(0, len(digits), 2 * KEY_BYTES)]
    ]

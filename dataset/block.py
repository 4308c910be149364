"""A block: the body of one record batch, checked, searched and read as a whole where it is a copy in memory.

In a mapped block a shard searches only where the key is to be expected (`shard.store`); a copy is searched whole.
"""

from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterable
from functools import partial
from struct import Struct
from typing import Any, NamedTuple, TypeVar, cast

from xxhash import xxh3_64_intdigest

from ringkv.dataset.format import KEY_BYTES, OFFSET_BYTES, offsets_at, values_at

Buffer = TypeVar("Buffer", bytes, bytes | bytearray, memoryview)

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


_new_row = cast("Callable[[tuple[Any, ...]], Row]", partial(tuple.__new__, Row))  # `Row._make` calls this, and len


def read_row(rows: bytes, block: int) -> Row:
    """The row of a block among `rows`, which stand one behind the other as `format.BLOCK_ROW` lays them out."""
    return _new_row(_read_row(rows, block * _ROW.size))


def extent_of(rows: bytes) -> tuple[int, int]:
    """From its rows: the first byte of a partition in its segment, and the first one behind it, if they are right."""
    first, last = read_row(rows, 0), read_row(rows, len(rows) // _ROW.size - 1)
    return min(first.offset, last.offset), max(first.offset + first.size, last.offset + last.size)


def damage(body: bytes | bytearray | memoryview, row: Row) -> str:
    """Why the body is not the one that the row describes; "" if it is."""
    keys, size, checksum, _ = row
    if len(body) != size:
        return "it ends too soon"
    if xxh3_64_intdigest(body) != checksum:
        return "its bytes do not match their checksum"
    if keys:
        # A file that was made to deceive has right checksums: so its offsets, too, must not lead out of its values.
        at, values = offsets_at(keys), values_at(keys)
        if size < values or _read_end(body, at)[0] != 0:
            return "its offsets do not fit its values"
        if not 0 <= _read_end(body, at + OFFSET_BYTES * keys)[0] <= size - values:
            return "its offsets do not fit its values"
    return ""


def are_right(data: memoryview, start: int, rows: Iterable[tuple[int, Row]]) -> list[bool]:
    """Of which of these blocks `damage` says nothing; `data` are the bytes of their segment from `start` on."""
    return [not damage(data[row.offset - start : row.offset - start + row.size], row) for _, row in rows]


def keys_of(body: Buffer, count: int) -> Buffer:
    """The keys of a body, 16 bytes each, one behind the other."""
    return body[: KEY_BYTES * count]


def rank_of(keys: bytes | bytearray, wanted: bytes) -> int:
    """The rank of a key of 16 bytes among `keys`, which stand one behind the other; -1 if it is not there."""
    found = keys.find(wanted)
    while found >= 0 and found % KEY_BYTES:
        found = keys.find(wanted, found + 1)
    return found // KEY_BYTES if found >= 0 else -1


def span_of(body: bytes | bytearray, count: int, rank: int) -> tuple[int, int]:
    """Where the value of the key of this rank begins and ends, in bytes, in the body of a block of `count` keys."""
    begin, end = _read_ends(body, offsets_at(count) + OFFSET_BYTES * rank)
    base = values_at(count)
    return base + begin, base + end


def value_in(body: bytes | bytearray, count: int, key: bytes) -> bytes | None:
    """The value of a canonical key in the body of a block of `count` keys; None if it is not there."""
    rank = rank_of(keys_of(body, count), unhexlify(key.replace(b"-", b"")))
    if rank < 0:
        return None
    begin, end = span_of(body, count, rank)
    return bytes(body[begin:end])


def texts_of(keys: bytes | bytearray) -> list[bytes]:
    """The canonical texts of keys of 16 bytes each."""
    digits = hexlify(keys)
    return [
        b"%b-%b-%b-%b-%b" % (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
        for text in [digits[at : at + 2 * KEY_BYTES] for at in range(0, len(digits), 2 * KEY_BYTES)]
    ]

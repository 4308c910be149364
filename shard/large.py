"""Lookup where values may be large: a large value is not copied, its size is told instead.

GET ──► block of at most LARGE_VALUE ──► as any lookup
  └───► larger block ──► where is the value? ──► small: the value │ large: LargeValue, and then pieces of it
"""

from binascii import unhexlify
from collections.abc import Iterator
from mmap import mmap

from ringkv.cluster.errors import LargeValue
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.dataset.block import keys_of, rank_of, span_of
from ringkv.dataset.format import KEY_BYTES, OFFSET_BYTES, offsets_at, values_at
from ringkv.shard.store import Store

Place = tuple[mmap | bytes | bytearray, int, int]
"""The buffer that a value lies in, and where it begins and ends there."""


class BoundedStore(Store):
    """A store that shares the blocks of another one; its methods raise as those of Store."""

    def get(self, key: bytes) -> bytes | None:
        """As `Store.get`; but raises LargeValue for a value of more than LARGE_VALUE bytes."""
        block = self.block_of(key)
        if not self.blocks.is_leased(block // self.blocks.width) or self.blocks.row(block).size <= LARGE_VALUE:
            return super().get(key)
        found = self._find(key, block)
        if found is None:
            return None
        source, begin, end = found
        if end - begin > LARGE_VALUE:
            raise LargeValue(end - begin)
        return bytes(source[begin:end])

    def each(self, keys: list[bytes]) -> Iterator[bytes | None]:
        """As `Store.each`, with the errors of `get`."""
        return map(self.get, keys)

    def piece(self, key: bytes, start: int, stop: int) -> bytes | None:
        """The bytes `start` up to `stop` of a canonical key's value, as far as it has them; None if there is none."""
        found = self._find(key, self.block_of(key))
        if found is None:
            return None
        source, begin, end = found
        return bytes(source[min(begin + start, end) : min(begin + stop, end)])

    def _find(self, key: bytes, block: int) -> Place | None:
        """Where the value of a canonical key lies: where it is mapped if that may be read, else in a copy."""
        blocks = self.blocks
        wanted = unhexlify(key.replace(b"-", b""))
        if not (blocks.mapped and blocks.is_leased(block // blocks.width) and blocks.table.has(block)):
            row, body = blocks.read(block)
            rank = rank_of(keys_of(body, row.keys), wanted)
            return None if rank < 0 else (body, *span_of(body, row.keys, rank))
        row = blocks.row(block)
        mapped, numbers = self._segments[self.dataset.segment_of(block // blocks.width)]
        rank = rank_of(mapped[row.offset : row.offset + KEY_BYTES * row.keys], wanted)
        if rank < 0:
            return None
        at = (row.offset + offsets_at(row.keys)) // OFFSET_BYTES + rank
        base = row.offset + values_at(row.keys)
        return mapped, base + numbers[at], base + numbers[at + 1]

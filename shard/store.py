"""Lookup in the leased partitions of a packed dataset, where they lie in the page cache, without a copy of their own.

Positions are hashes, so the keys of a block, sorted by position, are spread evenly, and a key's rank is nearly known
before the first look (interpolation search: Perl, Itai, Avni, 1978). A window around that rank, of two standard
deviations to the left and three to the right, holds at least 976 keys of 1,000; `bytes.find` searches it in C.

    slot ──► partition ┐
    hash ──► block ────┴─► expected rank ──► window of keys ──► rank ──► value's two offsets ──► value
"""

import time
from binascii import crc_hqx, unhexlify
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain

from ringkv.cluster.cursor import behind, cell, first_position
from ringkv.cluster.errors import DatasetError
from ringkv.cluster.lease import Leased
from ringkv.cluster.position import POSITION_BITS, SLOTS, digest, position, shift_to, slot_shift
from ringkv.dataset.block import keys_of, rank_of, span_of, texts_of, value_in
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import KEY_BYTES
from ringkv.shard.blocks import Blocks
from ringkv.shard.entries import ENTRY
from ringkv.shard.explanation import Explanation
from ringkv.shard.together import MOST, Together

_SLOT_MASK = SLOTS - 1
_ENTRY_BYTES = ENTRY.size
_read_entry = ENTRY.unpack_from


class Store:
    """The values of the leased partitions of one dataset. All methods are for the event loop's thread."""

    def __init__(self, dataset: Dataset, blocks: Blocks | None = None) -> None:
        """Stores that share `blocks` read the same leases."""
        manifest = dataset.manifest
        self.dataset = dataset
        self.blocks = Blocks(dataset) if blocks is None else blocks
        self._entries = self.blocks.table.entries
        self._segments = [(segment.map, segment.int32) for segment in dataset.segments]
        self._slot_shift = slot_shift(manifest.partitions)
        self._one_block = self.blocks.width == 1  # or a part of one: each slot has just one entry
        self._partition_mask = manifest.partitions - 1
        # Within a partition the digest alone tells the block: a partition of several blocks is one slot.
        self._block_shift = POSITION_BITS - (manifest.blocks_per_partition.bit_length() - 1)
        self._low_digest = (1 << self._block_shift) - 1
        self._position_shift = shift_to(manifest.blocks)
        width = 1 if self._one_block else self.blocks.width
        self._together = Together(dataset.segments, self._entries, width, self._block_shift)

    def get(self, key: bytes) -> bytes | None:
        """The value of a canonical key, None if the dataset does not hold it.

        Raises NotInMemory, PartitionNotLeased, or CorruptBlock if the block was refused when it was first read.
        """
        crc = crc_hqx(key, 0)
        place = digest(key)
        if self._one_block:
            entry = _read_entry(self._entries, (crc & _SLOT_MASK) * _ENTRY_BYTES)
            keys, offsets, values, size, reach, segment = entry
            first = (place * size >> POSITION_BITS) - reach
        else:
            number = (crc & _SLOT_MASK) * self.blocks.width + (place >> self._block_shift)
            keys, offsets, values, size, reach, segment = _read_entry(self._entries, number * _ENTRY_BYTES)
            first = ((place & self._low_digest) * size >> self._block_shift) - reach
        if not reach:
            partition = crc >> self._slot_shift & self._partition_mask
            return self._read(key, partition * self.blocks.width + (place >> self._block_shift))
        if first < 0:  # noqa: PLR1730 - a call costs more
            first = 0
        start = keys + (first << 4)
        wanted = unhexlify(key.replace(b"-", b""))
        mapped, numbers = self._segments[segment]
        # The window may end beyond the block's keys: what is found there is checked like any other.
        found = mapped[start : start + reach * 40].find(wanted)
        rank = first + (found >> 4)
        if found < 0 or found & 15 or rank >= size:
            rank = rank_of(mapped[keys : keys + (size << 4)], wanted)
            if rank < 0:
                return None
        at = offsets + rank
        value: bytes = mapped[values + numbers[at] : values + numbers[at + 1]]
        return value

    def each(self, keys: list[bytes]) -> Iterator[bytes | None]:
        """The values of canonical keys, in order; it raises as `get` when it comes to a key that cannot be read."""
        if len(keys) < self._together.least:
            return map(self.get, keys)
        groups = (keys[at : at + MOST] for at in range(0, len(keys), MOST))
        return chain.from_iterable(self._together.values(group, self.get) for group in groups)

    def block_of(self, key: bytes) -> int:
        """The number of the block that holds a canonical key if the dataset does."""
        return position(key) >> self._position_shift

    def explain(self, key: bytes) -> Explanation:
        """The way of a canonical key through `get`, timed. Raises NotInMemory.

        `get` is timed as a whole, so that its steps stand in one place alone; hashing and reading the value are timed
        once more by themselves, and the rest is the time of the search.
        """
        clock = time.perf_counter_ns
        started = clock()
        place = position(key)
        ns = {"hash": clock() - started}
        block = place >> self._position_shift
        partition = block // self.blocks.width
        checked = self.blocks.table.has(block)
        looked = clock()
        try:
            value = self.get(key)
        except DatasetError as error:
            return Explanation(place, partition, block, False, str(error), None, None, None, None, ns)
        ns["find"] = max(clock() - looked - ns["hash"], 0)
        row, body = self.blocks.read(block)
        if value is None:
            return Explanation(place, partition, block, checked, None, False, None, None, None, ns)
        rank = rank_of(keys_of(body, row.keys), unhexlify(key.replace(b"-", b"")))
        begin, end = span_of(body, row.keys, rank)
        read = clock()
        value = bytes(body[begin:end])
        ns["read"] = clock() - read
        ns["find"] = max(ns["find"] - ns["read"], 0)
        return Explanation(place, partition, block, checked, None, True, rank, row.offset + begin, len(value), ns)

    def keys_from(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """The next keys of the cursor's block, in the order of the ring, and the cursor to go on with.

        They are about `count`, which is at least 1, and fewer at the end of the block. Raises as `get`.
        """
        start = first_position(cursor)
        row, body = self.blocks.read(start >> self._position_shift)
        keys, size = keys_of(body, row.keys), row.keys

        def place(rank: int) -> int:
            return position(texts_of(keys[rank * KEY_BYTES : (rank + 1) * KEY_BYTES])[0])

        first = bisect_left(range(size), start, key=place)
        last = min(first + count, size)
        while first < last < size and cell(place(last)) == cell(place(last - 1)):
            last += 1
        after = behind(place(last - 1)) if last < size else self._behind(cursor, self._position_shift)
        return after, texts_of(keys[first * KEY_BYTES : last * KEY_BYTES])

    def has_leased(self, cursor: int) -> bool:
        """Whether the partition of `cursor` is leased: if it is, nobody else is to tell its keys instead."""
        return self.blocks.is_leased(first_position(cursor) >> shift_to(self.dataset.manifest.partitions))

    def next_partition(self, cursor: int) -> int:
        """The cursor of the partition behind that of `cursor`: 0 behind the last one."""
        return self._behind(cursor, shift_to(self.dataset.manifest.partitions))

    def totals(self, partitions: Iterable[int]) -> Leased:
        """The keys and bytes of those of `partitions` that are leased."""
        held = [p for p in partitions if p in self.blocks.rows]
        about = self.dataset.partitions
        return Leased(int(about.keys[held].sum()), int(about.sizes[held].sum()))

    def _behind(self, cursor: int, shift: int) -> int:
        return behind(first_position(cursor) | (1 << shift) - 1)

    def _read(self, key: bytes, block: int) -> bytes | None:
        """The lookup in a copy of the block, which is checked if it was not before."""
        row, body = self.blocks.read(block)
        return value_in(body, row.keys, key)

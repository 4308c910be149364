"""Lookup in the packed file: the loaded partitions, read where they lie in the page cache, without a copy of their own.

Positions are hashes, so the keys of a partition, sorted by position, are spread evenly, and a key's rank is
nearly known before the first look (interpolation search: Perl, Itai, Avni, 1978). A window of three standard
deviations around that rank holds the key 997 times in 1,000; `bytes.find` searches it in C.

    position ──► partition ──► expected rank ──► window of keys ──► rank ──► value's two offsets ──► value
"""

import logging
import time
from binascii import unhexlify
from collections.abc import Iterable
from math import isqrt
from struct import Struct
from typing import NamedTuple

from cluster.errors import CorruptPartition, DatasetError, PartitionNotLoaded
from cluster.lease import Leased
from cluster.position import partition_shift, position
from dataset.packed import PackedFile

log = logging.getLogger("ringkv.shard")

KEY_BYTES = 16
OFFSET_BYTES = 4
POSITION_BYTES = 8


class _Loaded(NamedTuple):
    """Where one loaded partition lies, in the units in which the lookup needs it."""

    keys: int  # byte offset in the file
    offsets: int  # index into the file seen as int32
    values: int  # byte offset in the file
    size: int  # in keys
    reach: int  # ranks that the window extends to either side of the expected rank; 0 if it is not loaded


_ROW = Struct("=qqqii")
"""A _Loaded in the store's table: half a cache line, where a tuple and its numbers would lie in five or six."""

_ROW_BYTES = _ROW.size
_read_row = _ROW.unpack_from

_NOT_LOADED = _Loaded(0, 0, 0, 0, 0)


class Explanation(NamedTuple):
    """The way of one lookup. `rank`, `offset` and `size` are None where no value was found.

    `refusal` says why a partition that is not `loaded` cannot be read; `found` is None then.
    """

    position: int
    partition: int
    loaded: bool
    refusal: str | None
    found: bool | None
    rank: int | None  # among the keys of the partition, which are sorted by position
    offset: int | None  # of the value's first byte in the packed file
    size: int | None  # of the value, in bytes
    ns: dict[str, int]  # step → nanoseconds, in the order in which they were taken


class Store:
    """The values of the loaded partitions of one packed file.

    `get` may run in one thread while another loads or unloads, one call at a time: a partition appears and
    goes with one row of the table, which is written by one call that keeps the interpreter's lock.
    """

    def __init__(self, packed: PackedFile) -> None:
        self.packed = packed
        self.keys = 0
        self.bytes = 0
        self.partitions = 0
        self._map = packed.map
        # An int32 view of the whole file; a tail of less than four bytes belongs to no column.
        whole = memoryview(packed.map)
        self._int32 = whole[: len(whole) // OFFSET_BYTES * OFFSET_BYTES].cast("i")
        self._shift = partition_shift(packed.header.partitions)
        self._within = (1 << self._shift) - 1
        self._table = bytearray(_ROW_BYTES * packed.header.partitions)
        self._corrupt: dict[int, str] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value of a canonical key, None if the dataset does not hold it.

        Raises PartitionNotLoaded, or CorruptPartition if the partition was refused when it was loaded.
        """
        place = position(key)
        keys, offsets, values, size, reach = _read_row(self._table, (place >> self._shift) * _ROW_BYTES)
        if not reach:
            raise self._refusal(place >> self._shift)
        first = ((place & self._within) * size >> self._shift) - reach
        first = max(first, 0)
        start = keys + first * KEY_BYTES
        wanted = unhexlify(key.replace(b"-", b""))
        # The window may end beyond the partition's keys: what is found there is checked like any other.
        found = self._map[start : start + reach * 2 * KEY_BYTES].find(wanted)
        rank = first + found // KEY_BYTES
        if found < 0 or found % KEY_BYTES or rank >= size:
            rank = self._search(wanted, keys, size)
            if rank < 0:
                return None
        at = offsets + rank
        return self._map[values + self._int32[at] : values + self._int32[at + 1]]

    def explain(self, key: bytes) -> Explanation:
        """What `get` does with a canonical key, step by step and timed; raises nothing."""
        clock = time.perf_counter_ns
        started = clock()
        place = position(key)
        partition = place >> self._shift
        hashed = clock()
        ns = {"hash": hashed - started}
        loaded = self._loaded(partition)
        if loaded is None:
            refusal = str(self._refusal(partition))
            return Explanation(place, partition, False, refusal, None, None, None, None, ns)
        keys, offsets, values, size, reach = loaded
        first = max(((place & self._within) * size >> self._shift) - reach, 0)
        start = keys + first * KEY_BYTES
        wanted = unhexlify(key.replace(b"-", b""))
        found = self._map[start : start + reach * 2 * KEY_BYTES].find(wanted)
        rank = first + found // KEY_BYTES
        if found < 0 or found % KEY_BYTES or rank >= size:
            rank = self._search(wanted, keys, size)
        searched = clock()
        ns["find"] = searched - hashed
        if rank < 0:
            return Explanation(place, partition, True, None, False, None, None, None, ns)
        begin, end = values + self._int32[offsets + rank], values + self._int32[offsets + rank + 1]
        value = self._map[begin:end]
        ns["read"] = clock() - searched
        return Explanation(place, partition, True, None, True, rank, begin, len(value), ns)

    def _search(self, wanted: bytes, keys: int, size: int) -> int:
        """The rank of a key among all keys of its partition, -1 if it is not there."""
        column = self._map[keys : keys + size * KEY_BYTES]
        found = column.find(wanted)
        while found >= 0 and found % KEY_BYTES:
            found = column.find(wanted, found + 1)
        return found // KEY_BYTES if found >= 0 else -1

    def _refusal(self, partition: int) -> DatasetError:
        if partition in self._corrupt:
            return CorruptPartition(self._corrupt[partition])
        return PartitionNotLoaded(f"partition {partition} is not loaded here; ask an owner of it")

    def load(self, partitions: Iterable[int]) -> None:
        """Make partitions readable: fault their pages in and check them.

        One that fails its checksum stays unreadable, and `get` names it; the others are served.
        """
        wanted = [p for p in partitions if self._loaded(p) is None]
        self.packed.advise(wanted)
        for partition in wanted:
            try:
                extent = self.packed.load(partition)
            except CorruptPartition as error:
                self._corrupt[partition] = str(error)
                log.error("%s", error)
                continue
            self._corrupt.pop(partition, None)
            reach = 2 + 3 * isqrt(extent.count) // 2
            loaded = _Loaded(extent.keys, extent.offsets // OFFSET_BYTES, extent.values, extent.count, reach)
            self.keys += loaded.size
            self.bytes += self._bytes(loaded)
            self.partitions += 1
            _ROW.pack_into(self._table, partition * _ROW_BYTES, *loaded)

    def unload(self, partitions: Iterable[int]) -> None:
        """Forget partitions and give their pages back."""
        gone = []
        for partition in partitions:
            loaded = self._loaded(partition)
            if loaded is not None:
                _ROW.pack_into(self._table, partition * _ROW_BYTES, *_NOT_LOADED)
                self.keys -= loaded.size
                self.bytes -= self._bytes(loaded)
                self.partitions -= 1
                gone.append(partition)
            elif self._corrupt.pop(partition, None) is not None:
                gone.append(partition)
        self.packed.release(gone)

    def totals(self, partitions: Iterable[int]) -> Leased:
        """What the loaded ones among `partitions` hold."""
        held = [loaded for p in partitions if (loaded := self._loaded(p)) is not None]
        return Leased(sum(loaded.size for loaded in held), sum(map(self._bytes, held)))

    def _loaded(self, partition: int) -> _Loaded | None:
        loaded = _Loaded._make(_read_row(self._table, partition * _ROW_BYTES))
        return loaded if loaded.reach else None

    def _bytes(self, loaded: _Loaded) -> int:
        """The bytes of a partition's four columns: positions, keys, offsets and values."""
        offsets = OFFSET_BYTES * (loaded.size + 1)
        values = self._int32[loaded.offsets + loaded.size]
        return (POSITION_BYTES + KEY_BYTES) * loaded.size + offsets + values

    @property
    def corrupt(self) -> dict[int, str]:
        """The partitions that were refused, each with the reason."""
        return dict(self._corrupt)

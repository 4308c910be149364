"""What a lookup has to know of a checked block, in an entry of 20 bytes: one for each block, or for each of its slots.

A partition of several slots is one block. Keys that were counted up fill these slots unevenly, and only within a slot
are they in the order of a hash: so each slot has an entry of its own, as if it were a block. The slots of many blocks
are found, and their entries made, at once: in an eighth of the time that it takes block by block. Of a block by itself,
for which a request waits, they are bisected if they are few.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import isqrt
from struct import Struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.position import slot
from ringkv.dataset.block import Row, texts_of
from ringkv.dataset.coalescing import PLACED, Wanted, one_by_one, placed_one_by_one
from ringkv.dataset.format import KEY, KEY_BYTES, OFFSET_BYTES, offsets_at, values_at
from ringkv.dataset.slots import slots as slots_of

ENTRY: Final = Struct("=IIIIHH")
"""Where the keys begin in their segment, where the offsets begin as an index of 32-bit numbers, where the values of the
block begin, how many keys there are, the ranks that a search extends to the left of the expected one (0: not to be read
where it is mapped), and the number of the segment. Zeros: not checked."""

_pack = ENTRY.pack

FIELDS: Final = np.dtype(
    [("keys", "=u4"), ("offsets", "=u4"), ("values", "=u4"), ("count", "=u4"), ("reach", "=u2"), ("segment", "=u2")]
)
"""The same for NumPy."""

REACH: Final = 3
"""Ranks that a search extends to the left, beyond the ⌊√keys⌋ of two standard deviations: in blocks of 256 keys fewer
than one key of 200 is outside then."""

REACH_LIMIT: Final = (1 << 16) - 1

BISECTED: Final = 8
"""Slots of a block, at most, that are bisected: each takes seven looks at a key, and NumPy as long as 150 of them."""


class Part(NamedTuple):
    """Blocks of a segment, as PLACED has them, that were read together; `data` are the bytes from `start` on."""

    blocks: NDArray[np.void]
    start: int
    data: memoryview


class Checked(NamedTuple):
    """Blocks of a segment that were read and are right, as PLACED has them, with the entries of each in a row."""

    segment: int
    blocks: NDArray[np.void]
    entries: NDArray[np.void]

    def only(self, wanted: NDArray[np.bool_]) -> "Checked":
        """Those that are wanted."""
        return self if wanted.all() else Checked(self.segment, self.blocks[wanted], self.entries[wanted])


def checked_blocks(right: Sequence[Part], slots: int, segment: int) -> Checked:
    """Blocks of a segment that are right, read in these parts: an entry each, or one of each of their `slots`."""
    blocks = np.concatenate([np.empty(0, PLACED), *(part.blocks for part in right)])
    if slots == 1 or not len(blocks):
        return Checked(segment, blocks, entries_of(blocks, segment, mapped=True))
    first, keys_in = _slots_in(right, slots)
    found = np.empty(keys_in.shape, FIELDS)
    counts, offsets = (blocks[name].astype(np.int64)[:, np.newaxis] for name in ("keys", "offset"))
    found["keys"] = offsets + KEY_BYTES * first
    found["offsets"] = (offsets + offsets_at(counts)) // OFFSET_BYTES + first
    found["values"] = offsets + values_at(counts)
    found["count"] = keys_in
    found["reach"] = _reach(keys_in)
    found["segment"] = segment
    return Checked(segment, blocks, found)


def entries_of(blocks: NDArray[np.void], segment: int, *, mapped: bool) -> NDArray[np.void]:
    """The entries of all keys of each block, in rows of one."""
    found = np.empty((len(blocks), 1), FIELDS)
    counts, offsets = (blocks[name].astype(np.int64)[:, np.newaxis] for name in ("keys", "offset"))
    found["keys"] = offsets
    found["offsets"] = (offsets + offsets_at(counts)) // OFFSET_BYTES
    found["values"] = offsets + values_at(counts)
    found["count"] = counts
    found["reach"] = _reach(counts) if mapped else 0
    found["segment"] = segment
    return found


def entry(row: Row, segment: int, *, mapped: bool) -> bytes:
    """The entry of all keys of one block, in a tenth of the time that the same takes for many."""
    keys, _, _, offset = row
    reach = min(REACH + isqrt(keys), REACH_LIMIT) if mapped else 0
    return _pack(offset, (offset + offsets_at(keys)) // OFFSET_BYTES, offset + values_at(keys), keys, reach, segment)


def slot_entries(row: Row, body: bytes | bytearray, slots: int, segment: int) -> bytes:
    """The entries of the slots of one block that is right, as `checked_blocks` makes them for many."""
    if slots > BISECTED:
        part = Part(placed_one_by_one([Wanted(0, row)]), row.offset, memoryview(body))
        return checked_blocks([part], slots, segment).entries.tobytes()

    def slot_at(rank: int) -> int:
        return slot(texts_of(body[rank * KEY_BYTES : (rank + 1) * KEY_BYTES])[0]) & (slots - 1)

    borders = [0]
    for number in range(1, slots):
        borders.append(bisect_left(range(row.keys), number, borders[-1], key=slot_at))
    offsets, values = (row.offset + offsets_at(row.keys)) // OFFSET_BYTES, row.offset + values_at(row.keys)
    return b"".join(
        ENTRY.pack(
            row.offset + KEY_BYTES * first,
            offsets + first,
            values,
            last - first,
            min(REACH + isqrt(last - first), REACH_LIMIT),
            segment,
        )
        for first, last in pairwise([*borders, row.keys])
    )


def _reach(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum(REACH + np.sqrt(counts).astype(np.int64), REACH_LIMIT)


def _slots_in(parts: Sequence[Part], slots: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of these blocks, a row each: the rank of the first key of each slot, and how many keys the slot has."""
    bodies = [
        data[row.offset - start : row.offset - start + KEY_BYTES * row.keys]
        for blocks, start, data in parts
        for _, row in one_by_one(blocks)
    ]
    numbers = slots_of(np.frombuffer(b"".join(bodies), KEY)) & np.uint16(slots - 1)
    rows = np.repeat(np.arange(0, slots * len(bodies), slots), [len(keys) // KEY_BYTES for keys in bodies])
    keys_in = np.bincount(rows + numbers, minlength=slots * len(bodies)).reshape(-1, slots)
    return keys_in.cumsum(axis=1) - keys_in, keys_in

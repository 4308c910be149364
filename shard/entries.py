"""What a lookup has to know of a checked block, in one piece of 20 bytes: for each block, or for each of its slots.

A partition of several slots is one block. Keys that were counted up fill these slots unevenly, and only within a slot
is their order that of a hash: so each slot has an entry of its own, as if it were a block.
"""

from bisect import bisect_right
from collections.abc import Iterator
from math import isqrt
from struct import Struct
from typing import Final

from ringkv.dataset.block import Row, slot_of
from ringkv.dataset.format import KEY_BYTES, OFFSET_BYTES, offsets_at, values_at

ENTRY: Final = Struct("=IIIIHH")
"""Where the keys begin in their segment, where the offsets begin as an index of 32-bit numbers, where the values of the
block begin, how many keys there are, the ranks that a search extends to the left of the expected one (0: not to be read
where it is mapped), and the number of the segment. Zeros: not checked."""

REACH: Final = 3
"""Ranks that a search extends to the left beyond two standard deviations where these are largest, ⌊√keys⌋: so that in
blocks of 256 keys fewer than one of 200 is elsewhere."""

REACH_LIMIT: Final = (1 << 16) - 1


def entry(row: Row, first: int, behind: int, segment: int, *, mapped: bool) -> bytes:
    """The entry of the keys of a block from rank `first` to the one before `behind`."""
    count = behind - first
    reach = min(REACH + isqrt(count), REACH_LIMIT) if mapped else 0
    keys = row.offset + KEY_BYTES * first
    offsets = (row.offset + offsets_at(row.keys)) // OFFSET_BYTES + first
    return ENTRY.pack(keys, offsets, row.offset + values_at(row.keys), count, reach, segment)


def bounds(keys: bytes, slots: range) -> Iterator[tuple[int, int]]:
    """Of each slot the rank of its first key and the one behind its last, among sorted keys of 16 bytes each."""
    ranks, first = range(len(keys) // KEY_BYTES), 0
    following = slot_of(keys, 0) if ranks else -1
    for slot in slots:
        behind = first
        if slot == following:  # in a small dataset most slots are empty
            behind = bisect_right(ranks, slot, first, key=lambda rank: slot_of(keys, rank))
            following = slot_of(keys, behind) if behind < len(ranks) else -1
        yield first, behind
        first = behind

"""What a lookup has to know of a checked block, in an entry of 20 bytes: one for each block, or for each of its slots.

A partition of several slots is one block. Keys that were counted up fill these slots unevenly, and only within a slot
are they in the order of a hash: so each slot has an entry of its own, as if it were a block. Where slots begin is found
for many blocks at once, in an eighth of the time that it takes block by block.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isqrt
from struct import Struct
from typing import Final, NamedTuple

import numpy as np

from ringkv.dataset.block import Row
from ringkv.dataset.coalescing import Wanted
from ringkv.dataset.format import KEY, KEY_BYTES, OFFSET_BYTES, offsets_at, values_at
from ringkv.dataset.slots import slots as slots_of

ENTRY: Final = Struct("=IIIIHH")
"""Where the keys begin in their segment, where the offsets begin as an index of 32-bit numbers, where the values of the
block begin, how many keys there are, the ranks that a search extends to the left of the expected one (0: not to be read
where it is mapped), and the number of the segment. Zeros: not checked."""

REACH: Final = 3
"""Ranks that a search extends to the left, beyond the ⌊√keys⌋ of two standard deviations: in blocks of 256 keys fewer
than one key of 200 is outside then."""

REACH_LIMIT: Final = (1 << 16) - 1


class Checked(NamedTuple):
    """A block of a segment that was read and is right, with its entries, one behind the other."""

    segment: int
    block: int
    row: Row
    entries: bytes


def checked_blocks(right: Sequence[tuple[Wanted, bytes | memoryview]], slots: int, segment: int) -> list[Checked]:
    """The blocks of a segment, given with their keys, as Checked: with one entry each, or with one for each slot."""
    if slots == 1:
        return [
            Checked(segment, block, row, entry(row, 0, row.keys, segment, mapped=True)) for (block, row), _ in right
        ]
    numbers = slots_of(np.frombuffer(b"".join([keys for _, keys in right]), KEY))
    found: list[Checked] = []
    first = 0
    for (block, row), _ in right:
        borders = np.arange(block * slots + 1, (block + 1) * slots, dtype=np.uint16)
        ranks = numbers[first : first + row.keys].searchsorted(borders).tolist()
        first += row.keys
        spans = pairwise((0, *ranks, row.keys))
        found.append(
            Checked(segment, block, row, b"".join([entry(row, *span, segment, mapped=True) for span in spans]))
        )
    return found


def entry(row: Row, first: int, behind: int, segment: int, *, mapped: bool) -> bytes:
    """The entry of a block's keys from rank `first` up to `behind`, without it; `mapped`: to be read in the mapping."""
    count = behind - first
    reach = min(REACH + isqrt(count), REACH_LIMIT) if mapped else 0
    keys = row.offset + KEY_BYTES * first
    offsets = (row.offset + offsets_at(row.keys)) // OFFSET_BYTES + first
    return ENTRY.pack(keys, offsets, row.offset + values_at(row.keys), count, reach, segment)

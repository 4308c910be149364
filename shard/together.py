"""Lookup of many keys at once: the same steps as `Store.get`, each of them for all keys by a few calls of NumPy.

    keys ──► slots ──► entries, by segment ──► windows of first halves ──► ranks ──► keys and offsets ──► values
                                                                              └─ another key, or not checked ──► `get`

So the processor waits for many places of the files at a time, where `get` waits for one after the other; and the
interpreter has hardly more to do for a key than to cut its value out.
"""

from binascii import unhexlify
from collections.abc import Callable, Iterator, Sequence
from mmap import mmap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.position import POSITION_BITS, digest
from ringkv.dataset.format import KEY
from ringkv.dataset.segment import Segment
from ringkv.dataset.slots import slots
from ringkv.shard.entries import ENTRY

MOST: Final = 1024
"""Keys that are looked up at once: what is computed of them takes a megabyte, and three at most."""

MOST_REACH: Final = 64
"""Longer windows, of blocks with thousands of keys, are cut off: what lies outside is left to `get`."""

DType = np.dtype[np.unsignedinteger[Any]]

_HALF: Final[DType] = np.dtype(np.uint64)
_QUARTER: Final[DType] = np.dtype(np.uint32)
"""Parts of a key."""

_FIRST: Final = 80
_A_SEGMENT: Final = 8
"""Fewer keys than _FIRST, and _A_SEGMENT more for each segment, are found sooner one by one."""


class Together:
    """In what a store reads; `least` is the number of keys from which on this is worth it."""

    def __init__(self, segments: Sequence[Segment], entries: mmap, width: int, shift: int) -> None:
        """`entries` are those of `Blocks`, `width` of them a slot: those of the digests' bits from `shift` on."""
        self.least = _FIRST + _A_SEGMENT * len(segments)
        self._entries = np.frombuffer(entries, np.uint32).reshape(-1, ENTRY.size // 4)
        self._width = width
        self._shift = shift
        self._maps = [segment.map for segment in segments]

    def values(self, keys: list[bytes], get: Callable[[bytes], bytes | None]) -> Iterator[bytes | None]:
        """The value of each of at most MOST canonical keys; `get` is called for those that are not found at once.

        Raises ValueError for what is no key.
        """
        maps = self._maps
        places = zip(keys, *self._places(keys), strict=True)
        return (get(key) if begin < 0 else maps[segment][begin:end] for key, segment, begin, end in places)

    def _places(self, keys: list[bytes]) -> list[list[int]]:
        """The segment of each value, and the bytes between which it lies there; -1 where it was not found so."""
        count = len(keys)
        raw = np.frombuffer(unhexlify(b"".join(keys).translate(None, b"-")), KEY)
        digests = np.fromiter(map(digest, keys), np.uint64, count)
        numbers = slots(raw).astype(np.int64)
        if self._width > 1:
            numbers = numbers * self._width + (digests >> np.uint64(self._shift)).astype(np.int64)
            digests <<= np.uint64(POSITION_BITS - self._shift)
        entries = self._entries.take(numbers, 0).T.astype(np.int64)
        reach = entries[4] & 0xFFFF
        segment = np.where(reach, entries[4] >> 16, len(self._maps))  # what is not to be read here is of none of them
        # By segment, so that what lies in one is looked at by one call.
        order = segment.argsort(kind="stable")
        segment, reach = segment.take(order), reach.take(order)
        first, offsets, values, size, _ = entries.take(order, 1)
        bounds = segment.searchsorted(np.arange(len(self._maps) + 1)).tolist()
        wanted = raw.view(np.uint64).reshape(count, 2).take(order, 0)
        expected = (digests.take(order) >> np.uint64(32)).astype(np.int64) * size >> 32
        rank = np.maximum(expected - np.minimum(reach, MOST_REACH), 0)
        width = max(1, min(int(reach.max()), MOST_REACH) * 5 // 2)
        at = (first // 8 + 2 * rank)[:, np.newaxis] + np.arange(0, 2 * width, 2)
        equal = _look(self._maps, _HALF, bounds, at) == wanted[:, :1]
        if np.count_nonzero(equal) > count:  # keys that were counted up have the same first half
            equal &= _look(self._maps, _HALF, bounds, at + 1) == wanted[:, 1:]
        rank += equal.argmax(1)
        found = np.empty((count, 6), np.int64)
        np.add((first // 4 + 4 * rank)[:, np.newaxis], np.arange(4), out=found[:, :4])
        found[:, 4] = offsets + rank
        found[:, 5] = found[:, 4] + 1
        seen = _look(self._maps, _QUARTER, bounds, found)
        wrong = (seen[:, :4] != wanted.view(np.uint32)).any(1)
        wrong |= (rank >= size) | (reach == 0)
        places = np.empty((3, count), np.int64)
        places[0, order] = segment
        places[1:, order] = np.where(wrong, -1, seen[:, 4:].T + values)
        each: list[list[int]] = places.tolist()
        return each


def _look(maps: list[mmap], size: DType, bounds: list[int], at: NDArray[np.int64]) -> NDArray[Any]:
    """The numbers of this size at these indices of the segments, whose rows are by segment: those of s end at s + 1."""
    found = np.empty(at.shape, size)
    for number, each in enumerate(maps):
        begin, end = bounds[number : number + 2]
        if begin < end:
            # A view that was kept would keep the segment mapped when its version is closed.
            column = np.frombuffer(each, size, len(each) // size.itemsize)
            # A window may end behind its keys, and behind the file: what is found there is checked like any other.
            column.take(at[begin:end], out=found[begin:end], mode="clip")
    return found

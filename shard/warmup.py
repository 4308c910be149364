"""Reads what is leased ahead of requests: it gives way to them, keeps to a rate, and begins with what was asked for.

A block that was read is checked and in memory, so that a request for it waits for nothing. What is not even on this
machine is fetched by `shard.hydration`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ringkv.dataset.block import are_right
from ringkv.dataset.coalescing import extent, one_by_one, placed_one_by_one, runs
from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import read_body, why_wrong
from ringkv.shard.entries import Checked, Part, checked_blocks
from ringkv.shard.hydration import Hydration
from ringkv.shard.restraint import Restraint
from ringkv.shard.threads import to_end

AT_ONCE: Final = 1 << 20
"""Bytes that are read by one call, and held by its thread: a disk takes some milliseconds for them."""

PART: Final = 20
"""At a low rate a call reads the bytes of a PARTth of a second."""

HEAD_START: Final = 0.1
"""Seconds between a lease and the first read: a router leases on all shards before any of them is asked for a key."""

CATCH_UP: Final = 0.1
"""Seconds of delay that may be made up for, at most: so a group that took long is not followed by a rush."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to read ahead: `rate` in bytes a second, 0 for nothing; `asked` returns how many requests have come."""

    rate: int
    asked: Callable[[], int] = lambda: 0


class _Group(NamedTuple):
    """Unchecked blocks of a segment, and `Table.forgotten` when they were found to be so."""

    number: int
    forgotten: NDArray[np.int64]
    blocks: NDArray[np.void]


class Warmup:
    def __init__(self, blocks: Blocks, pace: Pace) -> None:
        self._blocks = blocks
        self._rate = pace.rate
        self._restraint = Restraint(pace.asked)
        self._hydration = Hydration(blocks, self._restraint) if blocks.dataset.origin else None
        self._cold: OrderedDict[int, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._free = 0.0

    def add(self, partitions: Iterable[int]) -> None:
        """Read these partitions too, in order."""
        self._cold.update(dict.fromkeys(partitions))
        if self._hydration:
            self._hydration.resume()
        self._wake.set()

    def hurry(self, partition: int) -> None:
        """Somebody has asked for a key of this partition: read it before the others."""
        if partition in self._cold:
            self._cold.move_to_end(partition, last=False)

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if not self._hydration:  # a store takes its time
                    await asyncio.sleep(HEAD_START)
                await self._restraint.begin()
                while self._cold:
                    await self._advance()
        finally:
            if self._hydration:
                await self._hydration.close()

    async def _advance(self) -> None:
        """Read the next partitions that are not warm yet."""
        if self._hydration and self._rate:
            await self._pace(await self._hydration.advance(self._window(self._hydration.window(self._rate))))
            return
        size = min(AT_ONCE, max(self._rate // PART, 1))
        partitions = self._window(size)
        # Where memory does not hold everything, reading ahead would push out what is asked for.
        if self._rate and self._blocks.mapped:
            for group in self._groups(partitions, size):
                await self._restraint.wait()
                await self._warm(group)
                await self._pace(int(group.blocks["bytes"].sum()))

    async def _pace(self, size: int) -> None:
        """Wait as long as so many bytes take at the rate."""
        self._free = max(self._free, time.monotonic() - CATCH_UP) + size / self._rate
        if (pause := self._free - time.monotonic()) > 0:
            await asyncio.sleep(pause)

    def _window(self, room: int) -> list[int]:
        """Take the next partitions, until they have at least `room` bytes together."""
        sizes = self._blocks.dataset.partitions.sizes
        found: list[int] = []
        while self._cold and room > 0:
            partition, _ = self._cold.popitem(last=False)
            room -= int(sizes[partition])
            found.append(partition)
        return found

    def _groups(self, partitions: list[int], most: int) -> Iterator[_Group]:
        """The unchecked blocks of partitions in groups of about `most` bytes."""
        for number, some in self._blocks.dataset.by_segment(partitions).items():
            # All rows are taken now: partitions may be released while the first of them are read.
            forgotten, left = self._blocks.table.forgotten.copy(), self._blocks.unchecked(some)
            while len(left):
                together = int(np.cumsum(left["bytes"], dtype=np.int64).searchsorted(most)) + 1
                yield _Group(number, forgotten, left[:together])
                left = left[together:]

    async def _warm(self, group: _Group) -> None:
        blocks = self._blocks
        right, wrong = await to_end(_read, blocks.dataset.segments[group.number], group, blocks.slots)
        blocks.settle(right.only(blocks.still_unchecked(right.blocks, group.forgotten)))
        for block, reason in wrong:
            if blocks.is_unchecked(block):
                blocks.refuse(block, reason)


def _read(segment: Segment, group: _Group, slots: int) -> tuple[Checked, list[tuple[int, str]]]:
    """Read blocks of a segment; returns those that are right, and the numbers of the others, each with the reason."""
    found, wrong = list[Part](), list[tuple[int, str]]()
    for run in runs(one_by_one(group.blocks)):
        start, end = extent(run)
        data = _read_span(segment, start, end)
        right = are_right(data, start, run)
        found.append(Part(placed_one_by_one(list(compress(run, right))), start, data))
        for one in compress(run, map(not_, right)):
            # A row may name a wrong place. Then this block alone is wrong, and not the others of the run.
            body = read_body(segment, one.row)
            if reason := why_wrong(body, one.row):
                wrong.append((one.block, reason))
            else:
                found.append(Part(placed_one_by_one([one]), one.row.offset, memoryview(cast("bytes", body))))
        segment.residency.populate(start, end)
    return checked_blocks(found, slots, group.number), wrong


def _read_span(segment: Segment, start: int, end: int) -> memoryview:
    """The bytes of a run; empty if they cannot be read together."""
    try:
        return memoryview(segment.read(start, end - start))
    except OSError:
        return memoryview(b"")

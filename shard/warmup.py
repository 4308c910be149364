"""Reads what is leased before anybody asks for it: behind all requests, what was asked for first, within a rate.

A block that was read is checked, and in memory: a request for it waits for nothing. What is not even on this machine is
fetched by `shard.hydration`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ringkv.dataset.block import Row
from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import why_wrong
from ringkv.shard.hydration import Hydration
from ringkv.shard.restraint import Restraint
from ringkv.shard.threads import to_end

AT_ONCE: Final = 1 << 20
"""Bytes read by one call: some milliseconds' worth of a disk, for which a thread holds them."""

CATCH_UP: Final = 0.1
"""Seconds behind its rate that the warm-up may make up for: a group that took long is not followed by a rush."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to read ahead: `rate` in bytes a second, 0 reads nothing; `asked` counts what clients have asked for."""

    rate: int
    asked: Callable[[], int] = lambda: 0


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
                await self._restraint.begin()
                while self._cold:
                    await self._advance()
        finally:
            if self._hydration:
                await self._hydration.close()

    async def _advance(self) -> None:
        """Read the next of what is cold."""
        if self._hydration and self._rate:
            await self._pace(await self._hydration.advance(self._window(self._hydration)))
            return
        partition, _ = self._cold.popitem(last=False)
        # Where there is no room for all, what is read ahead would push out what is asked for.
        if self._rate and self._blocks.mapped:
            for group in self._groups(partition):
                await self._restraint.wait()
                await self._warm(partition, group)
                await self._pace(sum(row.size for _, row in group))

    async def _pace(self, size: int) -> None:
        """Wait as long as it takes to read so many bytes."""
        self._free = max(self._free, time.monotonic() - CATCH_UP) + size / self._rate
        if (pause := self._free - time.monotonic()) > 0:
            await asyncio.sleep(pause)

    def _window(self, hydration: Hydration) -> list[int]:
        """The next partitions, so many together as the hydration looks at."""
        sizes, room = self._blocks.dataset.partitions.sizes, hydration.window(self._rate)
        found: list[int] = []
        while self._cold and room > 0:
            partition, _ = self._cold.popitem(last=False)
            room -= int(sizes[partition])
            found.append(partition)
        return found

    def _groups(self, partition: int) -> Iterable[list[tuple[int, Row]]]:
        """The partition's unchecked blocks, so many together that they have about AT_ONCE bytes."""
        group: list[tuple[int, Row]] = []
        held = 0
        # Their rows are taken now: the partition may be released while the first of them are read.
        for block, row in self._blocks.unchecked(partition):
            group.append((block, row))
            held += row.size
            if held >= AT_ONCE:
                yield group
                group, held = [], 0
        if group:
            yield group

    async def _warm(self, partition: int, group: list[tuple[int, Row]]) -> None:
        dataset = self._blocks.dataset
        segment = dataset.segments[dataset.segment_of(partition)]
        wrong = await to_end(_read, segment, [row for _, row in group])
        still = {block for block, _ in self._blocks.unchecked(partition)}
        for (block, row), reason in zip(group, wrong, strict=True):
            if block in still:
                self._blocks.settle(block, row, reason)


def _read(segment: Segment, rows: list[Row]) -> list[str]:
    """Read blocks that follow each other, nearly; for each why it is not what its row describes, or ""."""
    start, end = rows[0].offset, rows[-1].offset + rows[-1].size
    try:
        data = memoryview(segment.read(start, end - start))
    except OSError:
        return [_read_one(segment, row) for row in rows]
    found = [
        # A row may say a wrong place: that is its own fault, and not that of the others in the group.
        why_wrong(data[max(0, row.offset - start) : row.offset - start + row.size], row) and _read_one(segment, row)
        for row in rows
    ]
    segment.residency.populate(start, end)
    return found


def _read_one(segment: Segment, row: Row) -> str:
    try:
        return why_wrong(segment.read(row.offset, row.size), row)
    except OSError as error:
        return why_wrong(error, row)

"""Fills a mirror: what is leased and not here is fetched in large requests, several at once, within a rate.

    partitions in order ─► what is here, and right ─► checked
                        └► what is not ─► requests ─► pace ─► fetch ─► check, write ─► checked
                                                       ▲  failed │
                                                       └─────────┘ after a while, longer each time

What somebody waits for does not stand in this line (`shard.reads`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from itertools import starmap
from typing import Final, NamedTuple

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from ringkv.cluster.errors import StoreError
from ringkv.dataset.block import damage
from ringkv.dataset.coalescing import MAX_REQUEST, TOGETHER, Request, Wanted, coalesce, take
from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks
from ringkv.shard.fetching import fetch
from ringkv.shard.restraint import Restraint
from ringkv.shard.threads import to_end

log = logging.getLogger("ringkv.shard")

WINDOW: Final = 32 << 20
"""Bytes of blocks for which requests are made together: gaps between partitions are judged over all of them."""

MIN_REQUEST: Final = 256 << 10

AT_ONCE: Final = 64
"""Blocks that are looked at before the event loop does something else: half a millisecond."""

PART: Final = 4
"""At a low rate one request is what a part of a second allows, so that what is asked for later is not long in line."""

MAX_PAUSE: Final = 30.0
"""Seconds between two attempts at most, of a store that does not answer for long."""


class _Batch(NamedTuple):
    """Blocks of one segment, and the tables of their leases: a block is noted in the one that it was read for."""

    segment: Segment
    wanted: list[Wanted]
    tables: dict[int, bytearray]


class Hydration:
    """Of the blocks of one dataset, which has an origin."""

    def __init__(self, blocks: Blocks, restraint: Restraint) -> None:
        origin = blocks.dataset.origin
        assert origin is not None
        self._blocks = blocks
        self._origin = origin
        self._fetches = origin.fetches
        self._restraint = restraint
        self._full = False
        self._fetching: set[asyncio.Task[None]] = set()

    def window(self, rate: int) -> int:
        """Bytes of blocks that are looked at together, where so many may be read a second."""
        return min(WINDOW, max(min(rate, self._fetches.rate or rate), MIN_REQUEST))

    def resume(self) -> None:
        """Try again to keep what is fetched: partitions have come, and others may have gone."""
        self._full = False

    async def advance(self, partitions: Iterable[int]) -> int:
        """Check what is here of leased partitions, and begin to fetch the rest; returns the bytes that were here."""
        here = 0
        for batch in await self._batches(partitions):
            found = await to_end(_look, batch, populate=self._blocks.mapped)
            for one in found:
                self._settle(batch, one, "")
            here += sum(one.row.size for one in found)
            blocks = {one.block for one in found}
            missing = [one for one in batch.wanted if one.block not in blocks]
            asked = await self._restraint.wait()
            left = deque(await to_end(coalesce, missing, MIN_REQUEST if asked else self._largest()))
            while left and not self._full:
                # Together they are in the way of who asks for longer than one by one.
                most = 1 if await self._restraint.wait() else TOGETHER
                await self._fetches.slots.acquire()
                fetching = asyncio.create_task(self._fetch(batch, take(left, most, self._largest())))
                self._fetching.add(fetching)
                fetching.add_done_callback(self._ended)
        return here

    async def close(self) -> None:
        """End all that is fetched."""
        fetching = list(self._fetching)
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)

    def _ended(self, fetching: asyncio.Task[None]) -> None:
        self._fetching.discard(fetching)
        self._fetches.slots.release()
        if not fetching.cancelled() and (error := fetching.exception()) is not None:
            # What it was to bring stays away until somebody asks for it.
            log.error("what is leased could not be fetched", exc_info=error)

    def _largest(self) -> int:
        rate = self._fetches.rate
        return min(MAX_REQUEST, max(rate // PART, MIN_REQUEST)) if rate else MAX_REQUEST

    async def _batches(self, partitions: Iterable[int]) -> list[_Batch]:
        """What is not known to be here, a segment at a time; whoever asks meanwhile is answered in between."""
        batches: dict[int, _Batch] = {}
        blocks = self._blocks
        looked = 0
        for partition in partitions:
            number = blocks.dataset.segment_of(partition)
            batch = batches.setdefault(number, _Batch(blocks.dataset.segments[number], [], {}))
            batch.tables[partition] = blocks.tables[partition]
            batch.wanted.extend(starmap(Wanted, blocks.unchecked(partition)))
            looked += blocks.width
            if looked >= AT_ONCE:
                looked = 0
                await asyncio.sleep(0)
        return list(batches.values())

    async def _fetch(self, batch: _Batch, requests: list[Request]) -> None:
        """Fetch what is still wanted of these requests, however often that fails; then each by itself."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreError), wait=wait_random_exponential(multiplier=0.5, max=MAX_PAUSE)
        ):
            with attempt:
                left = deque(each for request in requests for each in self._still(batch, request))
                most = TOGETHER if attempt.retry_state.attempt_number == 1 else 1
                while left:
                    some = take(left, most)
                    await self._fetches.pace(sum(each.end - each.start for each in some))
                    if not self._full:
                        ranges = [(each.start, each.end) for each in some]
                        data = await self._origin.fetch(batch.segment.entry.name, ranges)
                        await self._take(batch, some, data)

    def _still(self, batch: _Batch, request: Request) -> list[Request]:
        """What is left of a request: others may have fetched blocks of it, and partitions may be gone."""
        wanted = [one for one in request.wanted if self._is_wanted(batch, one)]
        return [request] if len(wanted) == len(request.wanted) else coalesce(wanted)

    async def _take(self, batch: _Batch, requests: list[Request], data: list[memoryview]) -> None:
        kept, wrong = await to_end(_keep, batch.segment, requests, data, populate=self._blocks.mapped)
        for one in kept:
            self._settle(batch, one, "")
        for one in wrong:
            body = await fetch(batch.segment, one.row)
            if reason := damage(body, one.row):
                self._settle(batch, one, reason)
            elif await to_end(batch.segment.local, one.row) is not None:
                self._settle(batch, one, "")
        self._full = self._full or len(kept) + len(wrong) < sum(len(each.wanted) for each in requests)

    def _is_wanted(self, batch: _Batch, one: Wanted) -> bool:
        partition = one.block // self._blocks.width
        return (
            self._blocks.tables[partition] is batch.tables[partition]
            and one.block not in self._blocks.corrupt
            and not self._blocks.checked(one.block)
        )

    def _settle(self, batch: _Batch, one: Wanted, wrong: str) -> None:
        """Note that a block is here, or wrong in the store, unless its partition was let go meanwhile."""
        if self._is_wanted(batch, one):
            self._blocks.settle(one.block, one.row, wrong)


def _look(batch: _Batch, *, populate: bool) -> list[Wanted]:
    """The blocks that are here and right."""
    found = [one for one in batch.wanted if batch.segment.local(one.row) is not None]
    if populate:
        for run in _runs(found):
            batch.segment.residency.populate(*_extent(run))
    return found


def _keep(
    segment: Segment, requests: list[Request], parts: list[memoryview], *, populate: bool
) -> tuple[list[Wanted], list[Wanted]]:
    """Write the blocks of the answers to their places; those that are there now, and those that are wrong."""
    kept, wrong = list[Wanted](), list[Wanted]()
    for (start, _, wanted), data in zip(requests, parts, strict=True):
        right = list[Wanted]()
        for one in wanted:
            body = data[one.row.offset - start : one.row.offset - start + one.row.size]
            (wrong if damage(body, one.row) else right).append(one)
        for run in _runs(right):
            first, last = _extent(run)
            if segment.keep(first, data[first - start : last - start]):
                kept += run
                if populate:
                    segment.residency.populate(first, last)
    return kept, wrong


def _runs(wanted: list[Wanted]) -> list[list[Wanted]]:
    """Blocks that follow each other: between them no other one has its place."""
    runs: list[list[Wanted]] = []
    for one in wanted:
        before = runs[-1][-1] if runs else None
        if before and one.block == before.block + 1 and one.row.offset >= before.row.offset + before.row.size:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _extent(run: list[Wanted]) -> tuple[int, int]:
    return run[0].row.offset, run[-1].row.offset + run[-1].row.size

"""Fills a mirror: what is leased and not here is fetched in large requests, several at once, within a rate.

    partitions in order ─► what is here, and right ─► checked
                        └► what is not ─► requests ─► pace ─► fetch ─► check, write ─► checked
                                                       ▲  failed │
                                                       └─────────┘ after a while, longer each time

What somebody waits for does not queue here: `shard.reads` fetches it at once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from ringkv.cluster.errors import StoreError
from ringkv.dataset.block import damage, keys_of
from ringkv.dataset.coalescing import MAX_REQUEST, TOGETHER, Request, Wanted, coalesce, extent, runs, take
from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks
from ringkv.shard.entries import Checked, checked_blocks
from ringkv.shard.fetching import fetch
from ringkv.shard.restraint import Restraint
from ringkv.shard.threads import to_end

log = logging.getLogger("ringkv.shard")

WINDOW: Final = 32 << 20
"""Bytes of blocks for which requests are planned together, so that the best gaps among them are chosen."""

MIN_REQUEST: Final = 256 << 10

AT_ONCE: Final = 256
"""Blocks that are looked at before the event loop does something else: half a millisecond."""

PART: Final = 4
"""At a low rate a request has the bytes of a PARTth of a second, so that partitions which are asked for come soon."""

MAX_PAUSE: Final = 30.0
"""The longest pause, in seconds, between two attempts while a store does not answer."""


class _Batch(NamedTuple):
    """Blocks of one segment, and `Blocks.forgotten` of their partitions: of one that was forgotten since none is noted.

    `slots` is how many slots a block has; `mapped`: the blocks are to be read where they are mapped.
    """

    number: int
    segment: Segment
    slots: int
    wanted: list[Wanted]
    forgotten: dict[int, int]


class Hydration:
    """Fills the mirror of one dataset, which has an origin."""

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
        """Bytes of blocks that are looked at together, at a rate in bytes a second."""
        return min(WINDOW, max(min(rate, self._fetches.rate or rate), MIN_REQUEST))

    def resume(self) -> None:
        """Try to keep what is fetched again, as leases have changed and there may be room now."""
        self._full = False

    async def advance(self, partitions: Iterable[int]) -> int:
        """Check what is here of leased partitions, and begin to fetch the rest; returns how many bytes were here."""
        here = 0
        for batch in await self._batches(partitions):
            found = await to_end(_look, batch, populate=self._blocks.mapped)
            self._settle(batch, found)
            here += sum(one.row.size for one in found)
            blocks = {one.block for one in found}
            missing = [one for one in batch.wanted if one.block not in blocks]
            asked = await self._restraint.wait()
            left = deque(await to_end(coalesce, missing, MIN_REQUEST if asked else self._largest()))
            while left and not self._full:
                # Several together would be in the way of requests for longer than one by one.
                most = 1 if await self._restraint.wait() else TOGETHER
                await self._fetches.slots.acquire()
                fetching = asyncio.create_task(self._fetch(batch, take(left, most, self._largest())))
                self._fetching.add(fetching)
                fetching.add_done_callback(self._ended)
        return here

    async def close(self) -> None:
        """Cancel all fetches."""
        fetching = list(self._fetching)
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)

    def _ended(self, fetching: asyncio.Task[None]) -> None:
        self._fetching.discard(fetching)
        self._fetches.slots.release()
        if not fetching.cancelled() and (error := fetching.exception()) is not None:
            # Its blocks are fetched when somebody asks for them.
            log.error("what is leased could not be fetched", exc_info=error)

    def _largest(self) -> int:
        rate = self._fetches.rate
        return min(MAX_REQUEST, max(rate // PART, MIN_REQUEST)) if rate else MAX_REQUEST

    async def _batches(self, partitions: Iterable[int]) -> list[_Batch]:
        """Blocks that are not known to be here, by segment; in between other requests are answered."""
        batches: list[_Batch] = []
        blocks = self._blocks
        together = max(AT_ONCE // blocks.width, 1)
        for number, group in blocks.by_segment(partitions):
            batches.append(batch := _Batch(number, blocks.dataset.segments[number], blocks.slots, [], {}))
            for first in range(0, len(group), together):
                some = group[first : first + together]
                batch.forgotten.update((partition, blocks.forgotten[partition]) for partition in some)
                batch.wanted.extend(blocks.unchecked(some))
                await asyncio.sleep(0)
        return batches

    async def _fetch(self, batch: _Batch, requests: list[Request]) -> None:
        """Fetch what is still wanted of these requests: if that fails, again and again, one request at a time."""
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
        wanted = [one for one in request.wanted if self._is_wanted(batch, one.block)]
        return [request] if len(wanted) == len(request.wanted) else coalesce(wanted)

    async def _take(self, batch: _Batch, requests: list[Request], data: list[memoryview]) -> None:
        kept, wrong = await to_end(_keep, batch, requests, data, populate=self._blocks.mapped)
        self._settle(batch, kept)
        for one in wrong:
            body = await fetch(batch.segment, one.row)
            if reason := damage(body, one.row):
                if self._is_wanted(batch, one.block):
                    self._blocks.refuse(one.block, reason)
            elif await to_end(batch.segment.local, one.row) is not None:
                self._settle(batch, checked_blocks([(one, keys_of(body, one.row.keys))], batch.slots, batch.number))
        self._full = self._full or len(kept) + len(wrong) < sum(len(each.wanted) for each in requests)

    def _is_wanted(self, batch: _Batch, block: int) -> bool:
        partition = block // self._blocks.width
        return self._blocks.forgotten[partition] == batch.forgotten[partition] and self._blocks.is_unchecked(block)

    def _settle(self, batch: _Batch, found: list[Checked]) -> None:
        """Note that blocks are here, unless their partitions were let go meanwhile."""
        for one in found:
            if self._is_wanted(batch, one.block):
                self._blocks.settle(one)


def _look(batch: _Batch, *, populate: bool) -> list[Checked]:
    """The blocks that are here and right."""
    found = [
        (one, keys_of(body, one.row.keys)) for one in batch.wanted if (body := batch.segment.local(one.row)) is not None
    ]
    if populate:
        for run in runs(one for one, _ in found):
            batch.segment.residency.populate(*extent(run))
    return checked_blocks(found, batch.slots, batch.number)


def _keep(
    batch: _Batch, requests: list[Request], parts: list[memoryview], *, populate: bool
) -> tuple[list[Checked], list[Wanted]]:
    """Write the fetched blocks to their places; returns those that are there now, and those that are wrong."""
    segment = batch.segment
    kept, wrong = list[tuple[Wanted, bytes | memoryview]](), list[Wanted]()
    for (start, _, wanted), data in zip(requests, parts, strict=True):
        bodies = [(one, data[one.row.offset - start : one.row.offset - start + one.row.size]) for one in wanted]
        right = [(one, keys_of(body, one.row.keys)) for one, body in bodies if not damage(body, one.row)]
        if len(right) < len(bodies):
            wrong += [one for one, body in bodies if damage(body, one.row)]
        at = 0
        for run in runs(one for one, _ in right):
            first, last = extent(run)
            if segment.keep(first, data[first - start : last - start]):
                kept += right[at : at + len(run)]
                if populate:
                    segment.residency.populate(first, last)
            at += len(run)
    return checked_blocks(kept, batch.slots, batch.number), wrong

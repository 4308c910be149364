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
from itertools import compress
from operator import not_
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.errors import StoreError
from ringkv.dataset.block import are_right, damage
from ringkv.dataset.coalescing import (
    MAX_REQUEST,
    TOGETHER,
    Request,
    Wanted,
    coalesce,
    extent,
    one_by_one,
    placed_one_by_one,
    runs,
    take,
)
from ringkv.dataset.fetches import AT_ONCE as GROUPS
from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks
from ringkv.shard.entries import Checked, Part, checked_blocks
from ringkv.shard.fetching import fetch
from ringkv.shard.restraint import Restraint
from ringkv.shard.threads import to_end

log = logging.getLogger("ringkv.shard")

WINDOW: Final = 32 << 20
"""Bytes of blocks for which requests are planned together, so that the best gaps among them are chosen."""

MIN_REQUEST: Final = 256 << 10

AT_ONCE: Final = 1024
"""Blocks that are looked at before the event loop does something else: half a millisecond."""

PART: Final = 4
"""At a low rate a request has the bytes of a PARTth of a second, so that partitions which are asked for come soon."""

MAX_PAUSE: Final = 30.0
"""The longest pause, in seconds, between two attempts while a store does not answer."""


class _Batch(NamedTuple):
    """Unchecked blocks of one segment, and `Table.forgotten` of their partitions when they were found to be so.

    `slots` is how many slots a block has.
    """

    number: int
    segment: Segment
    slots: int
    wanted: NDArray[np.void]
    forgotten: NDArray[np.int64]


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
        self._begun = asyncio.Semaphore(GROUPS)

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
            largest = MIN_REQUEST if await self._restraint.wait() else self._largest()
            found, requests = await to_end(_plan, batch, largest, populate=self._blocks.mapped)
            self._settle(batch, found)
            here += int(found.blocks["bytes"].sum())
            left = deque(requests)
            while left and not self._full:
                # Several together would be in the way of requests for longer than one by one.
                most = 1 if await self._restraint.wait() else TOGETHER
                await self._begun.acquire()
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
        self._begun.release()
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
        for number, group in blocks.dataset.by_segment(partitions).items():
            forgotten = np.zeros_like(blocks.table.forgotten)
            wanted = []
            for first in range(0, len(group), together):
                some = group[first : first + together]
                forgotten[some] = blocks.table.forgotten[some]
                wanted.append(blocks.unchecked(some))
                await asyncio.sleep(0)
            segment = blocks.dataset.segments[number]
            batches.append(_Batch(number, segment, blocks.slots, np.concatenate(wanted), forgotten))
        return batches

    async def _fetch(self, batch: _Batch, requests: list[Request]) -> None:
        """Fetch what is still wanted of these requests: if that fails, again and again, one request at a time."""
        # Only with a store, which few shards have, and which takes longer to answer.
        from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential  # noqa: PLC0415

        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreError), wait=wait_random_exponential(multiplier=0.5, max=MAX_PAUSE)
        ):
            with attempt:
                most = TOGETHER if attempt.retry_state.attempt_number == 1 else 1
                # Not for the pauses: what the store has lost of one dataset must not keep the next one waiting.
                async with self._fetches.slots:
                    await self._attempt(batch, deque(self._still(batch, requests)), most)

    async def _attempt(self, batch: _Batch, left: deque[Request], most: int) -> None:
        """Fetch these requests, `most` of them together. Raises StoreError."""
        while left:
            some = take(left, most)
            await self._fetches.pace(sum(each.end - each.start for each in some))
            if not self._full:
                ranges = [(each.start, each.end) for each in some]
                data = await self._origin.fetch(batch.segment.entry.name, ranges)
                await self._take(batch, some, data)

    def _still(self, batch: _Batch, requests: list[Request]) -> list[Request]:
        """What is left of requests: others may have fetched blocks of them, and partitions may be gone."""
        wanted = np.concatenate([request.wanted for request in requests])
        still = self._blocks.still_unchecked(wanted, batch.forgotten)
        return requests if still.all() else coalesce(wanted[still])

    async def _take(self, batch: _Batch, requests: list[Request], data: list[memoryview]) -> None:
        kept, wrong = await to_end(_keep, batch, requests, data, populate=self._blocks.mapped)
        self._settle(batch, kept)
        for one in wrong:
            body = await fetch(batch.segment, one.row)
            alone = placed_one_by_one([one])
            if reason := damage(body, one.row):
                if self._blocks.still_unchecked(alone, batch.forgotten).all():
                    self._blocks.refuse(one.block, reason)
            elif await to_end(batch.segment.local, one.row) is not None:
                part = Part(alone, one.row.offset, memoryview(body))
                self._settle(batch, checked_blocks([part], batch.slots, batch.number))
        asked = sum(len(each.wanted) for each in requests)
        self._full = self._full or len(kept.blocks) + len(wrong) < asked

    def _settle(self, batch: _Batch, found: Checked) -> None:
        """Note that blocks are here, unless their partitions were let go meanwhile."""
        self._blocks.settle(found.only(self._blocks.still_unchecked(found.blocks, batch.forgotten)))


def _plan(batch: _Batch, largest: int, *, populate: bool) -> tuple[Checked, list[Request]]:
    """The blocks that are here and right, and requests of at most `largest` bytes for the others."""
    may_be_here = np.flatnonzero(batch.segment.may_have(batch.wanted))
    missing = np.ones(len(batch.wanted), np.bool_)
    parts = []
    for at, one in zip(may_be_here.tolist(), one_by_one(batch.wanted[may_be_here]), strict=True):
        if (body := batch.segment.local(one.row)) is not None:
            parts.append(Part(batch.wanted[at : at + 1], one.row.offset, memoryview(body)))
            missing[at] = False
    if populate:
        for run in runs(one_by_one(batch.wanted[~missing])):
            batch.segment.residency.populate(*extent(run))
    return checked_blocks(parts, batch.slots, batch.number), coalesce(batch.wanted[missing], largest)


def _keep(
    batch: _Batch, requests: list[Request], data: list[memoryview], *, populate: bool
) -> tuple[Checked, list[Wanted]]:
    """Write the fetched blocks to their places; returns those that are there now, and those that are wrong."""
    segment = batch.segment
    kept, wrong = list[Part](), list[Wanted]()
    for (start, _, placed), body in zip(requests, data, strict=True):
        wanted = one_by_one(placed)
        right = are_right(body, start, wanted)
        wrong += compress(wanted, map(not_, right))
        sound, at = placed[right], 0
        for run in runs(compress(wanted, right)):
            first, last = extent(run)
            if segment.keep(first, body[first - start : last - start]):
                kept.append(Part(sound[at : at + len(run)], start, body))
                if populate:
                    segment.residency.populate(first, last)
            at += len(run)
    return checked_blocks(kept, batch.slots, batch.number), wrong

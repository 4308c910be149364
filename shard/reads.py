"""Blocks that have to be waited for: read from the disk, or fetched, once for all who ask, and never in the event loop.

    block asked for ──► queue ──► `shard.disk` ──► whoever asked
                                   └──► not in the mirror, or damaged ──► fetched by itself, at once ──► whoever asked

What has to be fetched takes no thread while it is on its way: a store that does not answer holds up no disk.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from ringkv.cluster.errors import BlockNotFetched, StoreError
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import Arrived, Body, NotInMemory, Read
from ringkv.shard.disk import Disk
from ringkv.shard.disk import Result as Ended
from ringkv.shard.fetching import fetch

log = logging.getLogger("ringkv.shard")

Result = TypeVar("Result")

MAX_READS: Final = 64
"""Reads under way at once; further ones queue. A disk is at its best with half as many, and Linux lets more than these
wait for it (`nr_requests`): so telling it of one more does not wait."""

MAX_FETCHES: Final = 64
"""Blocks that are fetched at once, each by a request of its own; further ones queue."""

FETCH_SECONDS: Final = 3.0
"""Seconds that a request waits for a store: after them there is still time to ask another owner of the block."""


class Reads:
    """`done` reads have ended, after `seconds` of waiting altogether; `in_flight` have been begun and not ended."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, Read] = {}
        self._waiting: deque[Read] = deque()
        self._disk = Disk(self._ended)
        self._quiet = asyncio.Event()
        self._fetches: set[asyncio.Task[Body]] = set()
        self._finishing = False
        self._fetching = asyncio.Semaphore(MAX_FETCHES)
        self.done = 0
        self.seconds = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._asked)

    def begin(self, read: Read, arrived: Arrived) -> None:
        """Do this read, or join one of the same block. `arrived` is called once, later, in the event loop's thread."""
        asked, disk = self._asked, self._disk
        known = asked.get(read.block)
        if known is not None:
            known.arrived.append(arrived)
            return
        read.arrived.append(arrived)
        if not asked:
            self._quiet.clear()
        asked[read.block] = read
        if disk.under_way < MAX_READS:
            disk.begin(read)
        else:
            self._waiting.append(read)

    async def patiently(self, call: Callable[[], Result]) -> Result:
        """What `call` returns, with all blocks read that it needs. Raises as `call` does, but not NotInMemory."""
        bodies: dict[int, Body] = {}
        while True:
            try:
                return self._blocks.holding(bodies, call)
            except NotInMemory as missing:
                bodies[missing.read.block] = await self._body(missing.read)

    async def finish(self, patience: float) -> bool:
        """End the threads when all reads have ended. False if that took longer than `patience` seconds.

        Then some of them are still reading. Fetches are not waited for.
        """
        self._finishing = True
        for fetching in self._fetches:
            fetching.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._asked:
                    await self._quiet.wait()
                await self._disk.quiet.wait()
        self._disk.close()
        return not self._asked and self._disk.quiet.is_set()

    async def _body(self, read: Read) -> Body:
        future: asyncio.Future[Body] = self._loop.create_future()

        def arrived(_read: Read, body: Body) -> None:
            if not future.done():
                future.set_result(body)

        self.begin(read, arrived)
        return await future

    def _ended(self, found: list[Ended]) -> None:
        now = self._loop.time()
        self.done += len(found)
        for read, body in found:
            self.seconds += now - read.begun
            if body is not None:
                self._tell(read, body)
            elif self._finishing:
                self._tell(read, _closed(read.block))
            else:
                fetching = self._loop.create_task(self._fetch(read))
                self._fetches.add(fetching)
                fetching.add_done_callback(partial(self._fetched, read))
        while self._waiting and self._disk.under_way < MAX_READS:
            self._disk.begin(self._waiting.popleft())

    async def _fetch(self, read: Read) -> Body:
        origin = read.segment.origin
        assert origin is not None
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._fetching:
                return await fetch(read.segment, read.row)
        except TimeoutError:
            body = BlockNotFetched(f"{origin.location}: did not send block {read.block} in {FETCH_SECONDS:g} s")
        except StoreError as error:
            body = BlockNotFetched(str(error))
        origin.fetches.refuse(str(body))
        return body

    def _fetched(self, read: Read, fetching: asyncio.Task[Body]) -> None:
        self._fetches.discard(fetching)
        if fetching.cancelled():
            self._tell(read, _closed(read.block))
        elif (error := fetching.exception()) is not None:
            # Others wait for the same block, and must be told whatever happens here.
            log.error("block %d could not be fetched", read.block, exc_info=error)
            self._tell(read, BlockNotFetched(str(error) or type(error).__name__))
        else:
            self._tell(read, fetching.result())

    def _tell(self, read: Read, body: Body) -> None:
        del self._asked[read.block]
        for arrived in read.arrived:
            arrived(read, body)
        if not self._asked:
            self._quiet.set()


def _closed(block: int) -> BlockNotFetched:
    return BlockNotFetched(f"block {block} was not fetched any more: its version is closed; ask again")

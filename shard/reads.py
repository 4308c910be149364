"""Reads of blocks that have to be waited for: a few threads wait, the event loop never does.

loop    block asked for ──► queue ─────────────────────► all that have arrived ──► whoever asked
threads                       └──► pread ──► arrived ──────┘  woken once for all of them
                                     └──► not in the mirror, or damaged ──► fetched by itself, at once ──► whoever asked

What has to be fetched takes no thread while it is on its way: a store that does not answer holds up no disk.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Final, NamedTuple, TypeVar

from ringkv.cluster.errors import BlockNotFetched, StoreError
from ringkv.dataset.block import Row
from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks
from ringkv.shard.body import Body, NotInMemory, read_body
from ringkv.shard.fetching import fetch

log = logging.getLogger("ringkv.shard")

Result = TypeVar("Result")

READERS: Final = 16
"""Threads: as many reads as a disk needs at once to be near its best; more only contend for the interpreter."""

MAX_READS: Final = 1024
"""Reads under way at once; further ones queue, so that a slow disk does not fill the memory with blocks."""

MAX_FETCHES: Final = 64
"""Blocks that are fetched at once, each by a request of its own; further ones queue."""

FETCH_SECONDS: Final = 3.0
"""Seconds that a request waits for a store: after them there is still time to ask another owner of the block."""

Arrived = Callable[[int, Body], None]
"""Called with the number of a block that was to be read, and its body, or why it could not be read."""


class _Task(NamedTuple):
    block: int
    segment: Segment
    row: Row


class _Read(NamedTuple):
    """The result of a task; `body` is None if the block has to be fetched."""

    task: _Task
    body: bytes | OSError | None
    seconds: float


class Reads:
    """`done` reads have ended, after `seconds` of waiting altogether; `in_flight` have been begun and not ended."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, list[Arrived]] = {}
        self._waiting: deque[_Task] = deque()
        self._begun = 0
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._results: deque[_Read] = deque()
        self._woken = False
        self._threads: list[threading.Thread] = []
        self._quiet = asyncio.Event()
        self._fetches: set[asyncio.Task[Body]] = set()
        self._finishing = False
        self._fetching = asyncio.Semaphore(MAX_FETCHES)
        self.done = 0
        self.seconds = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._asked)

    def begin(self, block: int, arrived: Arrived) -> None:
        """Read a block of a leased partition. `arrived` is called once, later, in the event loop's thread."""
        callers = self._asked.setdefault(block, [])
        callers.append(arrived)
        if len(callers) > 1:
            return
        self._quiet.clear()
        row = self._blocks.row(block)
        dataset = self._blocks.dataset
        segment = dataset.segments[dataset.segment_of(block // self._blocks.width)]
        self._waiting.append(_Task(block, segment, row))
        self._start()

    async def patiently(self, call: Callable[[], Result]) -> Result:
        """What `call` returns, with all blocks read that it needs. Raises as `call` does, but not NotInMemory."""
        bodies: dict[int, Body] = {}
        while True:
            try:
                with self._blocks.holding(bodies):
                    return call()
            except NotInMemory as missing:
                bodies[missing.block] = await self._body(missing.block)

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
        for _ in self._threads:
            self._tasks.put(None)
        return not self._asked

    async def _body(self, block: int) -> Body:
        future: asyncio.Future[Body] = self._loop.create_future()

        def arrived(_block: int, body: Body) -> None:
            if not future.done():
                future.set_result(body)

        self.begin(block, arrived)
        return await future

    def _start(self) -> None:
        while self._waiting and self._begun < MAX_READS:
            self._begun += 1
            if len(self._threads) < min(self._begun, READERS):
                thread = threading.Thread(target=self._read_all, name="ringkv-reads", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._tasks.put(self._waiting.popleft())

    def _read_all(self) -> None:
        """Read what is queued, until told to end: the life of each thread."""
        while task := self._tasks.get():
            started = time.monotonic()
            body = _read(task)
            self._results.append(_Read(task, body, time.monotonic() - started))
            # Set before the wake-up and cleared before the results are taken: one that is added now is taken then.
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._arrive)
                except RuntimeError:
                    return  # the loop has ended, and with it everybody who asked

    def _arrive(self) -> None:
        self._woken = False
        while self._results:
            task, body, seconds = self._results.popleft()
            self._begun -= 1
            self.done += 1
            self.seconds += seconds
            if body is not None:
                self._tell(task.block, body)
            elif self._finishing:
                self._tell(task.block, _closed(task.block))
            else:
                fetching = self._loop.create_task(self._fetch(task))
                self._fetches.add(fetching)
                fetching.add_done_callback(partial(self._fetched, task.block))
        self._start()

    async def _fetch(self, task: _Task) -> Body:
        origin = task.segment.origin
        assert origin is not None
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._fetching:
                return await fetch(task.segment, task.row)
        except TimeoutError:
            body = BlockNotFetched(f"{origin.location}: did not send block {task.block} in {FETCH_SECONDS:g} s")
        except StoreError as error:
            body = BlockNotFetched(str(error))
        origin.fetches.refuse(str(body))
        return body

    def _fetched(self, block: int, fetching: asyncio.Task[Body]) -> None:
        self._fetches.discard(fetching)
        if fetching.cancelled():
            self._tell(block, _closed(block))
        elif (error := fetching.exception()) is not None:
            # Others wait for the same block, and must be told whatever happens here.
            log.error("block %d could not be fetched", block, exc_info=error)
            self._tell(block, BlockNotFetched(str(error) or type(error).__name__))
        else:
            self._tell(block, fetching.result())

    def _tell(self, block: int, body: Body) -> None:
        for arrived in self._asked.pop(block):
            arrived(block, body)
        if not self._asked:
            self._quiet.set()


def _closed(block: int) -> BlockNotFetched:
    return BlockNotFetched(f"block {block} was not fetched any more: its version is closed; ask again")


def _read(task: _Task) -> bytes | OSError | None:
    return read_body(task.segment, task.row) if task.segment.origin is None else task.segment.local(task.row)

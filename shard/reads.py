"""Reads of blocks that have to be waited for: a few threads wait, the event loop never does.

loop    block asked for ──► queue ─────────────────────► all that have arrived ──► whoever asked
threads                       └──► pread ──► arrived ──────┘  woken once for all of them
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, NamedTuple, TypeVar

from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks, NotInMemory

Result = TypeVar("Result")

READERS: Final = 16
"""Threads: as many reads as a disk needs at once to be near its best; more only contend for the interpreter."""

MAX_READS: Final = 1024
"""Reads begun at once. What comes beyond waits in line: a disk that is slow must not fill the memory with blocks."""

Arrived = Callable[[int, bytes | OSError], None]
"""Told of a block that it has been read: its body, or why it could not be."""


class _Task(NamedTuple):
    block: int
    segment: Segment
    offset: int
    size: int


class Reads:
    """`done` reads were waited for, for `seconds` altogether; `in_flight` have been asked for and have not arrived."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, list[Arrived]] = {}
        self._waiting: deque[_Task] = deque()
        self._begun = 0
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._results: deque[tuple[int, bytes | OSError, float]] = deque()
        self._woken = False
        self._threads: list[threading.Thread] = []
        self._quiet = asyncio.Event()
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
        self._waiting.append(_Task(block, segment, row.offset, row.size))
        self._start()

    async def patiently(self, call: Callable[[], Result]) -> Result:
        """What `call` returns, with all blocks read that it needs. Raises as `call` does, but not NotInMemory."""
        bodies: dict[int, bytes | OSError] = {}
        while True:
            try:
                with self._blocks.holding(bodies):
                    return call()
            except NotInMemory as missing:
                bodies[missing.block] = await self._body(missing.block)

    async def finish(self, patience: float) -> bool:
        """End the threads when all that was asked for has arrived. False if that took longer than `patience`, seconds.

        Then some of them still read.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._asked:
                    await self._quiet.wait()
        for _ in self._threads:
            self._tasks.put(None)
        return not self._asked

    async def _body(self, block: int) -> bytes | OSError:
        future: asyncio.Future[bytes | OSError] = self._loop.create_future()

        def arrived(_block: int, body: bytes | OSError) -> None:
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
        """What each thread does."""
        while task := self._tasks.get():
            started = time.monotonic()
            body: bytes | OSError
            try:
                body = task.segment.read(task.offset, task.size)
            except OSError as error:
                body = error
            self._results.append((task.block, body, time.monotonic() - started))
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
            block, body, seconds = self._results.popleft()
            self._begun -= 1
            self.done += 1
            self.seconds += seconds
            for arrived in self._asked.pop(block):
                arrived(block, body)
        if not self._asked:
            self._quiet.set()
        self._start()

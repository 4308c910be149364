"""Reads of one block each, many at once: the kernel does them, and a thread waits for the oldest of them.

loop    begin ──► the kernel is told ──► under way ──► looked at in each turn ──► ended
thread                                       the oldest ──► pread ──┘ wakes the loop

So a thread takes over only when nothing has arrived, once for many reads. With a thread for each, sixteen of them and
the event loop waited for one interpreter lock, and that cost more than all that a read needs. A thread reads all the
same what is large, what is to be looked for in a mirror, and where the file system cannot tell what has arrived.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from ringkv.shard.body import Read, read_body

THREADS: Final = 16
"""Threads at most, where each read needs one: more only contend for the interpreter."""

LARGE: Final = 128 << 10
"""Bytes of a block that are too many for the event loop to begin to read, and to copy when they have arrived."""

LATE_SECONDS: Final = 0.02
"""After so long a thread is left alone with the read that it waits for, and the next one is waited for by another."""

LOOKS_IN_VAIN: Final = 4
"""Reads one after the other that have not arrived: then younger ones are not looked at, as most arrive in order."""

PER_TURN: Final = 8
"""Reads that are ended in one turn of the loop, half a millisecond's work: others, whose keys are hot, wait for it."""

Result = tuple[Read, bytes | bytearray | OSError | None]
"""A read that has ended, and what it brought: None if a mirror does not have the block."""

Ended = Callable[[list[Result]], None]
"""Called in the event loop's thread with reads that have ended together."""


class Disk:
    """`under_way` is how many reads were begun and have not ended. `quiet` is set while there is none, and no thread is
    at one. All methods are for the loop's thread.
    """

    def __init__(self, ended: Ended) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self.under_way = 0
        self._ahead: dict[Read, None] = {}  # of these, those that the kernel does; the oldest is the first
        self._awaited: Read | None = None  # of these, the one that a thread waits for
        self._looking = False
        self._timer: asyncio.TimerHandle | None = None
        self._threads: list[threading.Thread] = []
        self._at_threads = 0
        self._queue: SimpleQueue[Read | None] = SimpleQueue()
        self._results: deque[Result] = deque()
        self._woken = False
        self.quiet = asyncio.Event()
        self.quiet.set()

    def begin(self, read: Read) -> None:
        """Read a block of which no read is under way."""
        read.begun = self._loop.time()
        if not self.under_way:
            self.quiet.clear()
        self.under_way += 1
        segment, row = read.segment, read.row
        if row.size > LARGE or segment.origin is not None or not segment.nowait:
            self._hand_over(read)
            return
        if not self._ahead and self._awaited is None:
            self._wait_for(read)
        else:
            segment.read_ahead(row.offset, row.size)
            self._look_soon()
        self._ahead[read] = None
        if self._timer is None:
            self._timer = self._loop.call_later(LATE_SECONDS, self._look_at_all)

    def close(self) -> None:
        """End the threads, each when it has done its last read."""
        for _ in self._threads:
            self._queue.put(None)

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """End what has arrived, in each turn as long as there is something; then have a thread wake the loop."""
        self._looking = False
        if self._end_arrived(LOOKS_IN_VAIN):
            self._look_soon()
        else:
            self._wait_for_oldest()

    def _look_at_all(self) -> None:
        """The same where the oldest read is late: others may have arrived behind it."""
        self._timer = None
        if self._end_arrived(len(self._ahead)):
            self._look_soon()
        late = self._awaited
        if late is not None and self._loop.time() - late.begun >= LATE_SECONDS:
            self._ahead.pop(late, None)
            self._awaited = None
        self._wait_for_oldest()
        if self._ahead:
            self._timer = self._loop.call_later(LATE_SECONDS, self._look_at_all)

    def _end_arrived(self, patience: int) -> bool:
        """Whether some of the reads have arrived, which are ended: up to PER_TURN of them."""
        vain = 0
        found: list[Result] = []
        for read in self._ahead:
            row = read.row
            body = read.segment.read_now(row.offset, row.size)
            if body is not None:
                found.append((read, body))
                vain = 0
                if len(found) == PER_TURN:
                    break
            elif (vain := vain + 1) >= patience:
                break
        if found:
            self._end(found)
        return bool(found)

    def _wait_for_oldest(self) -> None:
        if self._awaited is None and self._ahead:
            self._wait_for(next(iter(self._ahead)))

    def _wait_for(self, read: Read) -> None:
        self._awaited = read
        self._hand_over(read)

    def _hand_over(self, read: Read) -> None:
        """Have a thread read it."""
        self._at_threads += 1
        if len(self._threads) < min(self._at_threads, THREADS):
            thread = threading.Thread(target=self._read_all, name="ringkv-reads", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there is no room for another thread now: those that there are read this too
                if not self._threads:
                    # Everybody waits for it, but whoever asked would wait without an end.
                    self._results.append((read, _body_of(read)))
                    self._loop.call_soon(self._arrive)
                    return
            else:
                self._threads.append(thread)
        self._queue.put(read)

    def _read_all(self) -> None:
        """Read what is queued, until told to end: the life of each thread."""
        while read := self._queue.get():
            self._results.append((read, _body_of(read)))
            # Set before the wake-up and cleared before the results are taken: one that is added now is taken then.
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._arrive)
                except RuntimeError:
                    return  # the loop has ended, and with it everybody who asked

    def _arrive(self) -> None:
        """End what threads have read."""
        self._woken = False
        found: list[Result] = []
        while self._results:
            result = self._results.popleft()
            self._at_threads -= 1
            if self._awaited is result[0]:
                self._awaited = None
            if not result[0].ended:  # else the loop has found it first
                found.append(result)
        self._end(found)
        self._look()

    def _end(self, found: list[Result]) -> None:
        ahead = self._ahead
        for read, _ in found:
            read.ended = True
            ahead.pop(read, None)
        self.under_way -= len(found)
        self._ended(found)
        self._settle()

    def _settle(self) -> None:
        if not self.under_way and not self._at_threads:
            self.quiet.set()


def _body_of(read: Read) -> bytes | bytearray | OSError | None:
    """What the disk has of it; None if a mirror does not have the block."""
    segment, row = read.segment, read.row
    return read_body(segment, row) if segment.origin is None else segment.local(row)

"""Restrains work that is done ahead of requests, so that the processors answer clients first.

It goes by processor time, and not by how long something takes: many requests to a store that is far away may be under
way at once, and take hardly any.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.15
"""The part of one processor that such work may take while clients ask: there may be several shards on a machine."""

SPACING: Final = 0.01
"""Seconds between two pieces of work, at least, while clients ask: so a request never waits for several in a row."""

LONGEST: Final = 0.25
"""The longest pause, in seconds. After it, it is looked again whether clients ask."""


class Restraint:
    """Restrains one loop of work, piece by piece; `asked` returns how many requests of clients came so far."""

    def __init__(self, asked: Callable[[], int]) -> None:
        self._asked = asked
        self._seen = asked()
        self._used = _threads_used()
        self._free = time.monotonic()

    async def begin(self) -> None:
        """Call this before the first piece of work: requests that came before do not count."""
        self._seen = self._asked()
        await asyncio.sleep(SPACING)
        self._used = _threads_used()
        self._free = time.monotonic()

    async def wait(self) -> bool:
        """Wait until the next piece may begin; returns whether clients ask. For the event loop's thread."""
        while True:
            asked, now, used = self._asked(), time.monotonic(), _threads_used()
            begun, self._used = used - self._used, used
            # Fewer than before where what does not count is on its way.
            if asked <= self._seen:
                self._free = now
                return False
            self._seen = asked
            self._free = max(self._free + begun / SHARE, now)
            pause = max(self._free - now, SPACING)
            await asyncio.sleep(min(pause, LONGEST))
            if pause <= LONGEST:
                return True


def _threads_used() -> float:
    """Seconds of processor time that all threads but this one have used."""
    return time.process_time() - time.thread_time()

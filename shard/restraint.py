"""Work behind requests: while clients ask, it leaves the processors to who answers them.

What is measured is processor time, and not how long something takes: a store that is far away may have many requests
at once, which cost nobody anything.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.15
"""Of one processor, for the threads of the process while somebody asks: there may be several shards on a machine."""

SPACING: Final = 0.01
"""Seconds between two pieces at least, while somebody asks: together they would be in his way for longer than each."""

LONGEST: Final = 0.25
"""Seconds of one pause. After it is looked again whether somebody asks."""


class Restraint:
    """Restrains what one loop begins, piece by piece; `asked` counts what clients have asked for so far."""

    def __init__(self, asked: Callable[[], int]) -> None:
        self._asked = asked
        self._seen = asked()
        self._used = _threads_used()
        self._free = time.monotonic()

    async def begin(self) -> None:
        """Look whether somebody asks, before the first piece: what was asked while there was none does not count."""
        self._seen = self._asked()
        await asyncio.sleep(SPACING)
        self._used = _threads_used()
        self._free = time.monotonic()

    async def wait(self) -> bool:
        """Wait until the next piece may begin; whether somebody asks. For the event loop's thread."""
        while True:
            asked, now, used = self._asked(), time.monotonic(), _threads_used()
            begun, self._used = used - self._used, used
            if asked == self._seen:
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

"""Watches what shards were asked for together, with one timer for all of it: one for each costs as much as asking."""

import asyncio
import time
from collections import deque
from typing import Final, Protocol

from ringkv.router.policy import BATCH_PATIENCE

LOOK: Final = BATCH_PATIENCE / 10
"""Seconds between two looks: so much later, at most, a shard is found to be late."""


class Waiting(Protocol):
    """What waits for a shard, since `started`, until it is `done`."""

    started: float

    @property
    def done(self) -> bool: ...

    def hurry(self) -> None:
        """The shard does not answer in time."""


class Patience:
    """Calls `hurry` of what has waited for BATCH_PATIENCE and is not done."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiting] = deque()  # in the order of their start
        self._looking = False

    def watch(self, one: Waiting) -> None:
        """Watch what has started now."""
        self._waiting.append(one)
        if not self._looking:
            self._looking = True
            self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        waiting, late = self._waiting, time.monotonic() - BATCH_PATIENCE
        while waiting and (waiting[0].done or waiting[0].started <= late):
            one = waiting.popleft()
            if not one.done:
                one.hurry()
        self._looking = bool(waiting)
        if self._looking:
            self._loop.call_later(LOOK, self._look)

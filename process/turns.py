"""Clients that ask for much take turns: a long pipeline that was answered in one go would hold up the whole process.

requests ──► the first ones ─────────────────► answered at once
             those that wait behind them ──► in line ──► TURN_SECONDS of such work ──► all who are new ──► in line …
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

TURN_SECONDS: Final = 0.001
"""Seconds of such work between two looks at what else has arrived: single requests of others wait little longer."""

LONG: Final = 1 << 13
"""Bytes that come together, a hundred requests: up to so many are always worked on at once."""


class Turns:
    """The queue of one process."""

    def __init__(self) -> None:
        self._line: deque[Callable[[], None]] = deque()
        self._going = False
        self._used = False  # whether this turn is for what was released
        self._fresh_until: float | None = None  # when those who have just sent something have used up their time

    def at_once(self, size: int) -> bool:
        """Whether `size` bytes that have come together may be worked on without a turn.

        More than LONG may if nobody waits for a turn, and those who were told so since the loop last looked at its
        sockets, which may have come all together, have not taken TURN_SECONDS.
        """
        if size <= LONG:
            return True
        if self._line:
            return False
        now = time.monotonic()
        if self._fresh_until is None:
            self._fresh_until = now + TURN_SECONDS
            asyncio.get_running_loop().call_soon(self._renew)
        return now < self._fresh_until

    def take(self, work: Callable[[], None]) -> None:
        """Do `work` when those who came before have had their turn."""
        self._line.append(work)
        if not self._going:
            self._going = True
            asyncio.get_running_loop().call_soon(self._go)

    async def turn(self) -> None:
        """Wait until those who came before have had their turn: one for what follows here, of a millisecond at most."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.take(partial(self._release, turn))
        await turn

    def _renew(self) -> None:
        self._fresh_until = None

    def _release(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_result(None)
            self._used = True

    def _go(self) -> None:
        line, until = self._line, time.monotonic() + TURN_SECONDS
        self._used = False
        try:
            while line:
                line.popleft()()
                if self._used or time.monotonic() >= until:
                    break
        finally:
            self._going = bool(line)
            if line:
                asyncio.get_running_loop().call_soon(self._go)

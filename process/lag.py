"""How late an event loop is: the figure that shows that a process has more to do than it can."""

import asyncio
from collections import deque
from typing import Final

INTERVAL: Final = 0.1
REMEMBERED: Final = 100
"""How many delays are remembered: ten seconds' worth, twice the interval at which Prometheus looks."""


class LoopLag:
    """Sets a timer again and again, and remembers by how many seconds each was late."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def seconds(self) -> float:
        """The longest delay remembered, in seconds."""
        return max(self._late, default=0.0)

    async def watch(self) -> None:
        """Run until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self._late.append(max(clock() - due, 0.0))

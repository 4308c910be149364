"""Pipelined HTTP requests take turns: however many clients pipeline, one with a single request waits little for them.

    request ──► in line ──► handled: shards, memory, a client who reads slowly ──► in line ──► answered
                  │                                                                  │
                  └── TOGETHER go on in each turn of the event loop ─────────────────┘

Who waits for something else holds no place in line: clients who do not read keep nobody from being answered.
"""

import asyncio
from collections import deque
from typing import Final

TOGETHER: Final = 8
"""Requests of all connections together that are begun, or answered, in one turn: some two milliseconds of work."""


class Line:
    """Those of one server."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._going = False

    async def turn(self) -> None:
        """Wait until all those who came before have had their turn."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiting)
        if not self._going:
            self._going = True
            loop.call_soon(self._go)
        await waiting

    def _go(self) -> None:
        going = 0
        while self._waiting and going < TOGETHER:
            waiting = self._waiting.popleft()
            if not waiting.done():  # else its client has gone
                waiting.set_result(None)
                going += 1
        self._going = bool(self._waiting)
        if self._going:
            asyncio.get_running_loop().call_soon(self._go)

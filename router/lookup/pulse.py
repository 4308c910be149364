"""The heartbeats of one shard for its links: how many it has answered, and a way to have the next one sent now.

A link replies in order, so one that owes a reply may be waiting for a disk. Heartbeats have a connection of their own:
who answers those is alive.
"""

import asyncio


class Pulse:
    """`answered` counts; `wanted` is done when somebody does not want to wait for the next heartbeat."""

    def __init__(self) -> None:
        self.answered = 0
        self.rest()

    def rest(self) -> None:
        """Begin to wait for the next heartbeat's time, or for `hurry`."""
        self.wanted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hurry(self) -> None:
        """Have a heartbeat sent at once, unless one is on its way."""
        if not self.wanted.done():
            self.wanted.set_result(None)

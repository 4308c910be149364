"""Connections on which something else comes before the first request: the header of a proxy, a handshake."""

import asyncio

from ringkv.process.closings import Reason
from ringkv.process.connections import ConnectionGuard, Waiting


class Preamble(asyncio.Protocol):
    """Is guarded as any client is that owes its first request, until another protocol takes the connection over.

    Whoever inherits it admits it when it is made, and has it leave when it is taken over.
    """

    _transport: asyncio.Transport

    def __init__(self, guard: ConnectionGuard) -> None:
        self._guard = guard

    def connection_lost(self, _exc: Exception | None) -> None:
        self._guard.leave(self)

    def waiting(self) -> Waiting:
        """What comes first, as a part of the first request."""
        return "header", 0

    def stall(self, *, stalled: bool) -> None:
        """Nothing is held for it."""

    def look(self) -> None:
        """It is read from all the time."""

    def drop(self, _reason: Reason) -> None:
        self._transport.abort()

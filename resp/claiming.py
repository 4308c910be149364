"""A guarded connection that large replies are sent on: their memory is claimed until the client has read them.

claim ──► reply ──┬─ by itself ─────► about_to_send ──► sent ──► read ──► given back
                  └─ a part of one ─► keep ──► all that was begun is answered ──┘
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from ringkv.process.budget import Claim
from ringkv.process.connections import ConnectionGuard
from ringkv.resp.command import Command
from ringkv.resp.connection import Connection
from ringkv.resp.pending import Pending
from ringkv.resp.server import Server


class ClaimingConnection(Connection):
    def __init__(self, server: Server, commands: Mapping[bytes, Command[Any]], guard: ConnectionGuard) -> None:
        super().__init__(server, commands)
        self.guard = guard
        self._claimed: list[Claim] = []  # for replies that are a part of one that is sent later
        self._unread: list[Claim] = []  # for what was sent, and is not read yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.guard.admit(self, transport.get_extra_info("peername"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.leave(self)
        super().connection_lost(exc)
        self._give_back(self._claimed)
        self._give_back(self._unread)

    def hold(self, size: int) -> None:
        claimed = min(size, sum(claim.size for claim in (*self._claimed, *self._unread)))
        self.guard.hold(self, size - claimed, claimed)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._give_back(self._unread)

    def begun(self) -> None:
        if self._claimed and not self._pending:
            self._unread += self._claimed
            self._claimed.clear()
            self._settle()

    def has(self, reply: Pending) -> bool:
        """Whether `reply` waits in line here, to be sent by itself and not as a part of another reply."""
        return reply in self._pending

    def send(self, part: bytes) -> None:
        """Send a part of the reply whose turn it is."""
        self._transport.write(part)

    def keep(self, claimed: Claim) -> None:
        """Hold on to memory until all that was begun is answered, and read."""
        self._claimed.append(claimed)

    def about_to_send(self, claims: Iterable[Claim]) -> None:
        """Hold these claims until the client has read what is sent in this turn of the event loop."""
        self._unread += claims
        self._call_soon(self._call_soon, self._settle)

    def _settle(self) -> None:
        if self._writable:
            self._give_back(self._unread)

    @staticmethod
    def _give_back(claims: list[Claim]) -> None:
        for claim in claims:
            claim.release()
        claims.clear()

"""A connection whose guard knows what its client owes and holds, and on which large replies are sent: their memory is
claimed until the client has read them.

claim ──► reply ──┬─ by itself ─────► about_to_send ──► sent ──► read ──► given back
                  └─ a part of one ─► keep ──► all that was begun is answered ──┘
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from ringkv.process.budget import Claim, lacking
from ringkv.process.closings import Reason
from ringkv.process.connections import ConnectionGuard, Waiting
from ringkv.process.gone import has_gone
from ringkv.resp import codec
from ringkv.resp.command import Command
from ringkv.resp.connection import Connection
from ringkv.resp.pending import Pending
from ringkv.resp.requests import Requests
from ringkv.resp.server import Server

COPIES: Final = 2
"""How often a value that is a part of another reply is in memory: itself, and that reply. While the reply is made there
is one copy more, in the budget's slack."""


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

    def waiting(self) -> Waiting:
        """What the client owes: a request, its rest, or to read replies; and a mark that changes when some of it comes.

        A client that waits for push messages may be silent, and is not closed for that but for the place it takes.
        """
        if not self._writable or self._transport.is_closing():
            return "send", self._transport.get_write_buffer_size()
        if self._pending or not self._free:
            return "nothing", 0
        if self._requests.begun or not self.answered:
            return "header", self.answered
        if self.tracking is not None or self.listens:
            return "listens", self.answered
        return "idle", self.answered

    def stall(self, *, stalled: bool) -> None:
        """Read no more from the client, or go on, unless there is another reason not to."""
        if not self._paused and not self._transport.is_closing():
            (self._transport.pause_reading if stalled else self._transport.resume_reading)()

    def look(self) -> None:
        """Close, if the client has gone while it was not read from."""
        if has_gone(self._transport):
            self.abort()

    def drop(self, reason: Reason) -> None:
        """Close at once. A new client for whom there is no place, or one for whom memory is short, is told why."""
        if reason == "refused":
            self._transport.write(codec.error("ERR", "max number of clients reached"))
            self.finish()
            return
        if reason == "memory" and self._writable and not self._pending:
            self._transport.write(codec.error("ERR", "no memory for a request that does not end, among others"))
            if not self._transport.get_write_buffer_size():
                self._transport.close()  # as all of it has been sent, this closes at once
                return
        self.abort()
        self._discard(self._requests)
        self._requests = Requests()  # frees megabytes now, instead of at the end of this turn of the loop

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

    def deliver(self, reply: Pending) -> None:
        """Called when a reply is known: it is sent at once if it is the only one, as no other could leave with it."""
        pending = self._pending
        if len(pending) == 1 and pending[0] is reply and not self._flushing:
            self._flush()
        else:
            reply.notify()

    def send(self, part: bytes) -> None:
        """Send a part of the reply whose turn it is."""
        self._transport.write(part)

    def keep(self, claims: Iterable[Claim]) -> None:
        """Hold on to memory until all that was begun is answered, and read."""
        self._claimed += claims
        if self._noted:
            self.hold(self._noted)  # less of that is not claimed

    def lacking(self, size: int) -> int:
        """Bytes that are still to be claimed for a reply that is being made and takes `size` so far."""
        return lacking(size, self._claimed)

    def about_to_send(self, claims: Collection[Claim]) -> None:
        """Hold these claims, of which some may be kept already, until the client has read what is sent in this turn."""
        self._claimed = [claim for claim in self._claimed if claim not in claims]
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

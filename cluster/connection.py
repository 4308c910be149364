"""One connection to a RESP server: requests in, replies out in the same order, whenever each of them is known.

    bytes ──► hiredis ──► command ──┬─► reply ───────────────────────────────┬─► one write
                                    └─► Pending ──► … ──► its turn has come ─┘

All requests that arrive in one read and are answered at once leave in one write, and so do all replies that become
known in one turn of the event loop. What waits for a client stays bounded: of one that does not read its replies
no more than MAX_REQUEST is read. That much is, because a client may write all of a pipeline before it reads its
first reply.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, cast

import hiredis

from cluster import resp
from cluster.command import Command, execute
from cluster.pending import Pending
from cluster.server import Server

FLUSH_BYTES: Final = 1 << 18
"""Replies collected before they are written although more requests wait: a pipeline of large values."""

MAX_REQUEST: Final = 4 << 20
"""An unfinished request above this is a mistake or an attack: MGET of 90,000 keys is smaller."""

FIRST_WINDOW: Final = 32
MAX_WINDOW: Final = 256
"""Requests that may wait for their replies at once. Who pipelines more gains nothing, the round trip being short
then; 64 clients that do so are what a router takes. The first of them show how large the values are."""

MAX_UNSENT: Final = 4 << 20
"""Bytes of the replies that a window may be expected to bring: larger ones make it smaller."""


class Connection(asyncio.Protocol):
    """`null` and `authenticated` are what the client has agreed on; `closed` is done when the connection has ended."""

    def __init__(self, server: Server, commands: Mapping[bytes, Command[Any]]) -> None:
        self.server = server
        self.commands = commands
        self.null = resp.NULL
        self.authenticated = server.secret is None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._call_soon = asyncio.get_running_loop().call_soon
        self._reader = resp.reader()
        self._pending: deque[Pending] = deque()
        self._waiting = 0  # requests that have not been answered
        self._window = FIRST_WINDOW
        self._free = True  # to begin another request
        self._writable = True
        self._finishing = False
        self._flushing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.server.connections += 1

    def connection_lost(self, _exc: Exception | None) -> None:
        self.server.connections -= 1
        self._free = False
        pending, self._pending = self._pending, deque()
        for reply in pending:
            reply.abandon()
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._go_on()

    def pause_writing(self) -> None:
        self._writable = self._free = False

    def resume_writing(self) -> None:
        self._writable = True
        self._resume()

    def leave(self) -> None:
        """Begin no other request. To be called by a command, which is the last one then."""
        self._finishing = True
        self._free = False

    def finish(self) -> None:
        """Begin no other request, and close when those that were begun are answered and sent."""
        self.leave()
        if not self._pending:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def notify(self) -> None:
        """One of the pending replies is known now. All that become known in this turn of the loop leave together."""
        if not self._flushing:
            self._flushing = True
            self._call_soon(self._flush)

    def _go_on(self) -> None:
        """Answer the requests that have arrived, until one has to wait or the client does not read."""
        while self._answer():
            pass
        if self._finishing:
            self.finish()
        elif self._reader.len() > MAX_REQUEST:
            if not self._free:
                self._transport.pause_reading()
            else:
                replies: list[bytes] = []
                self._refuse(replies, f"a request may have at most {MAX_REQUEST} bytes")
                self._write(replies, len(replies))
                self.finish()

    def _answer(self) -> bool:
        """Write what is known at once, up to about FLUSH_BYTES; whether more requests may be there to begin."""
        replies: list[bytes] = []
        try:
            more = self._collect(replies)
        except hiredis.ProtocolError as error:
            self._refuse(replies, str(error).removeprefix("Protocol error, "))
            more = False
        self._write(replies, len(replies))
        return more

    def _collect(self, replies: list[bytes]) -> bool:  # noqa: C901 - the hottest loop: calls would cost more than they clear
        gets, commands, pending = self._reader.gets, self.commands, self._pending
        size = 0
        while self._free and size < FLUSH_BYTES:
            args: Any = gets()
            if args is resp.NOT_ENOUGH:
                return False
            if type(args) is not list or not args:
                raise hiredis.ProtocolError("a request is an array of bulk strings")
            for arg in args:
                if type(arg) is not bytes:
                    raise hiredis.ProtocolError("a request is an array of bulk strings")
            command = commands.get(args[0])
            if command is not None and len(args) == command.arity:
                reply = command.handler(self, args)
            else:
                reply = execute(commands, self, args)
            if isinstance(reply, bytes):
                if not pending:
                    replies.append(reply)
                    size += len(reply)
                    continue
                reply = self._known(reply)
            if reply is not None:
                pending.append(reply)
            self._waiting += 1
            if self._waiting >= self._window or pending[-1].blocks:
                self._free = False
        return self._free

    def _known(self, reply: bytes) -> Pending:
        """A reply that has to wait for nothing but its turn."""
        known = Pending(self.notify)
        known.reply = reply
        return known

    def _write(self, replies: list[bytes], answered: int) -> None:
        self.server.commands += answered
        if len(replies) == 1:
            self._transport.write(replies[0])
        elif replies:
            self._transport.write(b"".join(replies))

    def _refuse(self, replies: list[bytes], reason: str) -> None:
        refusal = resp.error("ERR", f"Protocol error: {reason}")
        if self._pending:
            self._pending.append(self._known(refusal))
            self._waiting += 1
        else:
            replies.append(refusal)
        self.leave()

    def _flush(self) -> None:
        """Send the replies whose turn has come."""
        self._flushing = False
        pending = self._pending
        replies: list[bytes] = []
        answered, largest = 0, 1
        while pending and (reply := pending[0].reply) is not None:
            count = pending.popleft().count
            replies.append(reply)
            answered += count
            largest = max(largest, len(reply) // count)
        if not replies:
            return
        self._waiting -= answered
        self._window = max(1, min(MAX_UNSENT // largest, 2 * self._window, MAX_WINDOW))
        self._write(replies, answered)
        self._resume()

    def _resume(self) -> None:
        """Begin requests again where that had to stop, if it need not any more."""
        if self._finishing:
            self.finish()
        elif not self._free and self._writable:
            pending = self._pending
            if self._waiting < self._window and not (pending and pending[-1].blocks):
                self._free = True
                self._transport.resume_reading()
                self._go_on()

"""One connection to a RESP server: requests in, replies out in the same order, whenever each of them is known.

    bytes ──► requests ──► command ──┬─► reply ───────────────────────────────┬─► one write
                                     └─► Pending ──► … ──► its turn has come ─┘

Hundreds of requests that arrive in one read and are answered at once leave in one write, and so do all replies that
become known in one turn of the event loop. Of a client that does not read its replies no more than MAX_REQUEST is
read: that much is, because it may write all of a pipeline before it reads the first of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from ringkv.process.budget import UNNOTED
from ringkv.resp import codec
from ringkv.resp.command import Command
from ringkv.resp.limits import FIRST_WINDOW, FLUSH_BYTES, LEAST_BYTES, MAX_UNSENT, MAX_WINDOW
from ringkv.resp.pending import Awaited, Pending
from ringkv.resp.reads import GET_BYTES, lone_gets
from ringkv.resp.requests import MAX_REQUEST, RequestError, Requests
from ringkv.resp.server import Server
from ringkv.resp.session import Session


class Connection(Session, asyncio.Protocol):
    """`id` tells it apart from all others of the process; `closed` is done when it has ended.

    `answered` counts requests. `last` is the latest reply that is not known yet: the reply to the next command may
    become a part of it, until `begun` tells a connection that no further request will join it for now.
    """

    widest = MAX_WINDOW  # how many requests may wait for their replies at once, as things are

    def __init__(self, server: Server, commands: Mapping[bytes, Command[Any]]) -> None:
        super().__init__(server, commands)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._call_soon = asyncio.get_running_loop().call_soon
        self.last: Pending | None = None
        self._pending: deque[Pending] = deque()
        self._in_flight = 0  # requests that were begun and have not been answered
        self._window = FIRST_WINDOW
        self._free = True  # another request may be begun
        self._writable = True
        self._finishing = False
        self._paused = False  # the client is not read from
        self._ended = False  # the client will send no more
        self._flushing = False
        self._made = 0  # bytes of a reply that is not whole
        self._noted = 0  # bytes that are held for the client
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.addresses = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.id = self.server.join(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        del self.server.clients[self.id]
        self.leave()
        pending, self._pending, self.last = self._pending, deque(), None
        for reply in pending:
            reply.abandon()
        self._discard(self._requests)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._finishing:
            at_once = self.server.turns.at_once(len(data))
            # Nearly all that comes is GETs while nothing else is under way: these have a short way of their own.
            idle = self._requests.idle and self._free and not self._pending
            if idle and at_once and self._usual and (keys := lone_gets(data)):
                data = data[self.gets(keys) * GET_BYTES :]
                if not data:
                    return
            self._requests.feed(data)
            self._go_on(at_once=at_once)
            if not self._requests.idle or self._noted or self.queue is not None:
                self._note()

    def eof_received(self) -> bool:
        """Answer what was asked before the client closed its half, then close; TLS knows no half."""
        self._ended = True
        if self._free or self._finishing:
            self.finish()
        return self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._writable = self._free = False
        self._note()

    def resume_writing(self) -> None:
        self._writable = True
        self._note()
        self.notify()

    def hold(self, size: int) -> None:
        """Called with the bytes that are held for the client: requests not begun, replies not sent, or not read."""

    def make(self, size: int) -> None:
        """Note the bytes of a reply that is not whole yet; only one such reply is under way at a time."""
        self._made = size
        self._note()

    def leave(self) -> None:
        """Begin no other request. For a command that is to be the last one."""
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

    def recheck(self) -> None:
        """Finish, if the client's token does not count any more."""
        if not self.token_counts:
            self.finish()

    def notify(self) -> None:
        """A pending reply is known now. All replies that become known in one turn of the loop leave together."""
        if not self._flushing:
            self._flushing = True
            self._call_soon(self._flush)

    def push(self, message: bytes) -> None:
        """Send a push message of RESP3, behind the replies to all that was begun."""
        if self._pending:
            self.last = self._known(message)
            self.last.count = 0
            self._pending.append(self.last)
        else:
            self._transport.write(message)

    def gets(self, _keys: list[bytes]) -> int:
        """Begin the first of these GETs, with nothing under way before them; how many: the rest goes the usual way."""
        return 0

    def expect(self, reply: Pending, requests: int) -> None:
        """Have this reply to so many requests under way, with nothing before it: for `gets`."""
        self.last = reply
        self._pending.append(reply)
        self._in_flight = requests
        self._free = requests < self._window

    def begun(self) -> None:
        """Called when all requests that had arrived together have been begun, or as many as may be under way."""

    def _go_on(self, *, at_once: bool = True) -> None:
        """Answer requests that have arrived, until one has to wait, the client does not read, or others have a turn."""
        if (self._free and not at_once) or self._answer():
            self._free = False
            self.server.turns.take(self._resume)
        if self._finishing or (self._ended and self._free):
            self.finish()
        elif not self._free and self._requests.held > MAX_REQUEST:
            self._paused = True
            self._transport.pause_reading()

    def _answer(self) -> bool:
        """Write the replies that are known at once, up to about FLUSH_BYTES. True if there may be more requests."""
        replies: list[bytes] = []
        try:
            more = self._collect(replies)
        except RequestError as error:
            self._refuse(replies, str(error))
            more = False
        self.begun()
        self._write(replies, len(replies))
        return more

    def _collect(self, replies: list[bytes]) -> bool:  # noqa: C901 - the hottest loop: calls would cost more than they clear
        pending, requests = self._pending, self._requests
        size = 0
        while self._free:
            for args in requests.ready:
                command = self._usual.get(args[0])
                if command is not None and (
                    len(args) == (arity := command.arity) or 0 < -arity <= len(args) <= command.most
                ):
                    reply = command.handler(self, args)
                else:
                    reply = self._look_twice(args)
                if isinstance(reply, bytes):
                    if not pending:
                        replies.append(reply)
                        size += len(reply) + LEAST_BYTES
                        if size >= FLUSH_BYTES or not self._free:
                            return self._free
                        continue
                    reply = self._known(reply)
                if reply is not None:
                    pending.append(reply)
                    self.last = reply
                self._in_flight += 1
                if self._in_flight >= self._window or pending[-1].blocks:
                    self._free = False
                if not self._free:
                    return False
            if not requests.read():
                return requests.rests
        return False

    def _discard(self, requests: Requests) -> None:
        """Free what has come of a request that will not be whole, in turns: of many clients who go at once, too."""
        if requests.discard():
            self.server.turns.take(partial(self._discard, requests))

    def _known(self, reply: bytes) -> Pending:
        """A pending reply that is known already, and waits only for those before it."""
        known = Pending(self.notify)
        known.reply = reply
        return known

    def _write(self, replies: list[bytes], answered: int) -> None:
        self.server.commands += answered
        self.answered += answered
        if replies:
            self._transport.write(b"".join(replies))

    def _note(self) -> None:
        """Call `hold`, if what is held for the client has changed and is more than UNNOTED."""
        requests = self._requests
        size = requests.held + requests.begun_bytes + (self.queue.bytes if self.queue is not None else 0)
        size += self._made + sum([reply.held for reply in self._pending])
        if not self._writable:
            size += self._transport.get_write_buffer_size()
        size = size if size > UNNOTED else 0
        if size != self._noted:
            self._noted = size
            self.hold(size)

    def _refuse(self, replies: list[bytes], reason: str) -> None:
        refusal = codec.error("ERR", f"Protocol error: {reason}")
        if self._pending:
            self._pending.append(self._known(refusal))
            self._in_flight += 1
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
            if count and len(reply) > largest * count:
                largest = len(reply) // count
        if replies:
            if not pending:
                self.last = None
            self._in_flight -= answered
            self._window = min(MAX_UNSENT // largest, 2 * self._window, self.widest) or 1
            self._write(replies, answered)
        if pending:
            if self._writable:
                pending[0].turn()
            if not replies:
                self._note()  # of those that wait for the first
        if not (self._free or self._requests.idle):
            self.server.turns.take(self._resume)
        elif not self._free or self._finishing or self._noted:
            self._resume()

    def _resume(self) -> None:
        """Begin requests again, if that had stopped for a reason that is gone."""
        if self._finishing:
            self.finish()
        elif not self._free and self._writable:
            pending = self._pending
            if self._in_flight < self._window and not (pending and pending[-1].blocks):
                self._free = True
                if self._paused:
                    self._paused = False
                    self._transport.resume_reading()
                self._go_on()
        if self._noted:
            self._note()


def in_turn(client: Connection, make: Callable[[], bytes]) -> Pending:
    """The reply that `make` makes in part of a millisecond, when those who came before have had their turn."""

    async def reply() -> bytes:
        await client.server.turns.turn()
        return make()

    return Awaited(client.notify, reply())

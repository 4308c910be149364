"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: several replies as one, all of them read from one dataset.

    MULTI ──► requests are queued ──► EXEC ──► a window of them begun ──► all answered ──► the next window …
                                        ▲                                                       │ all are
                                        └────────── the dataset was replaced meanwhile ◄────────┤
                                                                                                ▼
                                                                                        one array of replies

No value of a dataset ever changes, but a router may go over to another dataset. Then what was read is thrown away and
read again. That is also all that makes a WATCH fail: values that were read before may be others now.
"""

import asyncio
import time
from typing import Any, Final

from ringkv.process.cancelling import cancel
from ringkv.process.turns import TURN_SECONDS
from ringkv.resp import codec
from ringkv.resp.claiming import COPIES, ClaimingConnection
from ringkv.resp.cluster import CROSS_SLOT, Elsewhere
from ringkv.resp.command import Args, Command
from ringkv.resp.connection import Connection
from ringkv.resp.limits import FIRST_WINDOW, MAX_UNSENT, MAX_WINDOW
from ringkv.resp.pending import Pending
from ringkv.resp.requests import MAX_ARGUMENTS
from ringkv.resp.session import ATTEMPTS, REPLACED, Unchanged

MAX_REPLIES: Final = 128 << 20
"""Bytes of the replies of one EXEC, which are held whole: two of the largest values."""

NO_MEMORY: Final = codec.error("TRYAGAIN", "no memory for these replies; try again later")


class Execution(Pending):
    """The reply to EXEC. Nothing behind it is begun before it is there.

    A window of requests is begun at once, as large as those of a connection, so that large values stay few.
    """

    __slots__ = (
        "_attempts",
        "_begun",
        "_claiming",
        "_client",
        "_elsewhere",
        "_parts",
        "_replies",
        "_requests",
        "_size",
        "_unchanged",
        "_unknown",
        "_watched",
        "_window",
    )

    blocks = True

    def __init__(
        self, client: ClaimingConnection, requests: list[tuple[Command[Any], Args]], watched: Unchanged | None
    ) -> None:
        super().__init__(client.notify)
        self._client = client
        self._claiming: asyncio.Task[None] | None = None
        self._requests = requests
        self._watched = watched
        self._attempts = 0
        self._parts: list[bytes | Pending] = []
        self._restart()

    def start(self) -> bytes | Pending:
        """Begin. What it returns is the reply: this one, unless it is known at once."""
        reply = self._go_on()
        return self if reply is None else reply

    @property
    def held(self) -> int:
        parts = sum(len(part) if isinstance(part, bytes) else part.held for part in self._parts)
        return len(self.reply or b"") or self._size + parts

    def abandon(self) -> None:
        if self._claiming is not None:
            cancel(self._claiming)
        for part in self._parts:
            if isinstance(part, Pending):
                part.abandon()
        self._parts = []
        self._requests = []

    def _restart(self) -> None:
        self._attempts += 1
        self._unchanged = self._client.reading()
        self._replies: list[bytes] = []
        self._elsewhere: Elsewhere | None = None
        self._size = 0
        self._begun = 0
        self._unknown = 0
        self._window = FIRST_WINDOW

    def _go_on(self) -> bytes | None:
        """Begin requests until some have to wait, or the reply is known."""
        while True:
            missing = self._client.lacking(COPIES * self._size)
            most = min(MAX_REPLIES, self._client.guard.budget.most // COPIES) if missing else MAX_REPLIES
            if self._size > most:
                return codec.error("ERR", f"these replies have more than {most} bytes: ask for fewer at once")
            if missing:
                self._claiming = asyncio.create_task(self._claim(missing))
                return None
            if self._begun < len(self._requests):
                self._begin()
                if not self._unknown:
                    self._collect()
                    if self._begun == len(self._requests):
                        continue
                    self._client.server.turns.take(self._answer_if_known)
                return None
            if (reply := self._end()) is not None:
                return reply

    def _end(self) -> bytes | None:
        """The reply, now that all requests are answered; None if they have to be read again."""
        if self._watched is not None and not self._watched():
            return _null_array(self._client)
        if self._unchanged():
            if self._elsewhere is not None:
                return self._elsewhere
            return b"".join([b"*%d\r\n" % len(self._requests), *self._replies])
        if self._attempts == ATTEMPTS:
            return REPLACED
        self._restart()
        return None

    async def _claim(self, size: int) -> None:
        """Go on once there is memory for so many bytes."""
        try:
            self._client.keep([await self._client.guard.budget.claim(size)])
        except TimeoutError:
            self.answer(NO_MEMORY)
        else:
            self._answer_if_known()

    def _answer_if_known(self) -> None:
        reply = self._go_on()
        if reply is not None:
            self.answer(reply)

    def _begin(self) -> None:
        """Begin a window of requests, or as many as a turn has time for."""
        client, parts = self._client, self._parts
        until = min(self._begun + self._window, len(self._requests))
        size, late = 0, time.monotonic() + TURN_SECONDS
        client.executing = True
        client.last = None
        while self._begun < until and size < MAX_UNSENT and time.monotonic() < late:
            command, args = self._requests[self._begun]
            self._begun += 1
            reply = command.handler(client, args)
            if reply is None:
                continue  # it has joined the one before it
            parts.append(reply)
            if isinstance(reply, bytes):
                client.last = None
                size += len(reply)
            else:
                client.last = reply
                if reply.blocks:
                    break
        client.begun()
        client.last = None
        client.executing = False
        for part in parts:
            if isinstance(part, Pending) and part.reply is None:
                self._unknown += 1
                part.notify = self._known

    def _known(self) -> None:
        self._unknown -= 1
        self._client.notify()  # who notes what is there
        if not self._unknown:
            self._collect()
            self._answer_if_known()

    def _collect(self) -> None:
        largest = 1
        for part in self._parts:
            reply, count = (part, 1) if isinstance(part, bytes) else (part.reply or b"", part.count)
            self._replies.append(reply)
            self._size += len(reply)
            if self._elsewhere is None and isinstance(reply, Elsewhere):
                self._elsewhere = reply
            largest = max(largest, len(reply) // count)
        self._parts = []
        self._window = max(1, min(MAX_UNSENT // largest, 2 * self._window, MAX_WINDOW))


def _null_array(client: ClaimingConnection) -> bytes:
    return codec.NULL3 if client.resp3 else b"*-1\r\n"


def multi(client: Connection, _args: Args) -> bytes:
    if client.queue is not None:
        return codec.error("ERR", "MULTI calls can not be nested")
    client.begin_queue()
    return codec.simple("OK")


def exec_(client: ClaimingConnection, _args: Args) -> bytes | Pending:
    queue = client.end_queue()
    watched, client.watched = client.watched, None
    if queue is None:
        return codec.error("ERR", "EXEC without MULTI")
    if queue.broken:
        return codec.error("EXECABORT", "Transaction discarded because of previous errors.")
    if queue.crosses:
        return CROSS_SLOT  # else owners of these keys would send the client to each other
    return Execution(client, queue.requests, watched).start()


def discard(client: Connection, _args: Args) -> bytes:
    client.watched = None
    return codec.error("ERR", "DISCARD without MULTI") if client.end_queue() is None else codec.simple("OK")


def watch(client: Connection, _args: Args) -> bytes:
    """Watches all keys, whichever are named: what may change is the whole dataset."""
    if client.queue is not None:
        return codec.error("ERR", "WATCH inside MULTI is not allowed")
    client.watched = client.watched or client.reading()
    return codec.simple("OK")


def unwatch(client: Connection, _args: Args) -> bytes:
    client.watched = None
    return codec.simple("OK")


TRANSACTION: dict[bytes, Command[ClaimingConnection]] = {
    b"MULTI": Command(multi, 1),
    b"EXEC": Command(exec_, 1),
    b"DISCARD": Command(discard, 1),
    b"WATCH": Command(watch, -2, 1, -1, most=MAX_ARGUMENTS),
    b"UNWATCH": Command(unwatch, 1),
}

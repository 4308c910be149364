"""One connection to a shard: requests leave pipelined and batched, replies come back in the same order.

All requests of one turn of the event loop leave in one write, which is what makes the router fast: the
busier it is, the fewer system calls a request costs.
"""

import asyncio
import logging
import re
from collections import deque
from itertools import repeat
from typing import Any, Final, Protocol, cast

import hiredis

from ringkv.cluster import told
from ringkv.cluster.errors import PeerError
from ringkv.resp import codec
from ringkv.router.lookup.durations import Durations
from ringkv.router.lookup.pulse import Pulse

log = logging.getLogger("ringkv.router")

_MARKS: Final = b"*~>"
_ARRAY, _SET, _PUSH = _MARKS
"""The first byte of an array, a set or a push."""

_HEADS: Final = b"*", b"~", b">"
_find_head: Final = re.compile(rb"\n[*~>]").search
"""In a fifth of the time of `in` with two bytes, for which Python raises and clears an error each time."""

_LINE: Final = 16
_LARGE: Final = 512
"""If no line ends between byte _LINE and byte _LARGE, values are large. Then it is cheaper to go from line to line."""

_LARGE_COUNT: Final = rb"[*~>](?:\d{7}|\d*\Z)"
_AT_FIRST: Final = re.compile(_LARGE_COUNT)
_BEHIND_A_LINE: Final = re.compile(rb"\n" + _LARGE_COUNT)
"""The head of an array, a set or a push of a million items or more, or what may be the beginning of one. hiredis makes
room for as many items as are announced. No reply of a shard has more than about a thousand."""


def _may_have_heads(data: bytes) -> bool:
    """Whether an array, a set or a push may begin in there."""
    if data and data[0] in _MARKS:
        return True
    if not (_ARRAY in data or _SET in data or _PUSH in data):
        return False
    if len(data) > _LARGE and data.find(b"\n", _LINE, _LARGE) < 0:
        at = data.find(b"\n") + 1
        while at and not data.startswith(_HEADS, at):
            at = data.find(b"\n", at) + 1
        return at > 0
    return _find_head(data) is not None


class Waiter(Protocol):
    """Whoever has sent a command: called exactly once, with the reply or at the end of the connection."""

    def answered(self, reply: Any, link: "Link") -> None: ...

    def lost(self, link: "Link") -> None: ...


class Link(asyncio.Protocol):
    """A connection from `connection_made` to `connection_lost`; `open` says which.

    `in_flight` is the number of requests that wait for their reply; `closed` is done at the end. `durations`
    are those of the shard's replies; the links that a shard has one after the other share them. `dataset_id` is
    what the shard answers of on this link, once it has leased it; `near` says whether it is in the router's zone,
    `responsive` whether it is open and its shard is not silent (router/lookup/silence.py).
    """

    def __init__(self, durations: Durations | None = None) -> None:
        self.open = False
        self.responsive = False
        self.dataset_id = ""
        self.near = True
        self.pulse = Pulse()
        self.durations = Durations() if durations is None else durations
        self._waiters: deque[Waiter | None] = deque()  # one for each reply; None: it goes to the next one, with others
        self._together: list[Any] = []  # the replies that the next waiter gets together with its own
        self._outgoing: list[bytes] = []  # commands that leave at the end of this turn of the loop
        self._keys: list[bytes] = []  # what is asked for after them
        self._flushing = False
        self._reader = codec.reader()
        self._held = b""  # the beginning of a head that has not come whole
        self._retired = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.problem: Exception = ConnectionResetError("the connection to the shard was lost")

    @property
    def in_flight(self) -> int:
        return len(self._waiters)

    @property
    def oldest(self) -> Waiter | None:
        """Whoever has waited for longest."""
        return next(filter(None, self._waiters), None)

    @property
    def owed(self) -> tuple[Waiter, ...]:
        """All that wait, in the order in which they asked."""
        return tuple(filter(None, self._waiters))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._call_soon = asyncio.get_running_loop().call_soon
        self.open = self.responsive = True

    def get(self, key: bytes, waiter: Waiter) -> None:
        """Ask for the value of a canonical key. Only on an open link."""
        self._waiters.append(waiter)
        if not self._keys:
            self._flush_soon()
        self._keys.append(key)

    def gets(self, keys: list[bytes], waiter: Waiter) -> None:
        """As `get` for each of at least two keys; the waiter is called once, with the list of the replies."""
        if not self._keys:
            self._flush_soon()
        self._waiters.extend(repeat(None, len(keys) - 1))
        self._waiters.append(waiter)
        self._keys += keys

    def mget(self, keys: list[bytes], waiter: Waiter) -> None:
        """Ask for the values of canonical keys, with one reply for all of them. Only on an open link."""
        self._send(b"*%d\r\n$4\r\nMGET\r\n$36\r\n%b\r\n" % (1 + len(keys), b"\r\n$36\r\n".join(keys)), waiter)

    async def call(self, *args: bytes | str | int) -> Any:
        """Send any command and wait. Raises PeerError for an error reply, ConnectionError for a lost link."""
        if not self.open:
            # Whoever asks again and again would else add to what it refers to, each time all frames up to here.
            raise self.problem.with_traceback(None)
        return await self.ask(*args)

    def ask(self, *args: bytes | str | int) -> asyncio.Future[Any]:
        """Send any command; the future raises as `call`. Only on an open link, which waits for it to retire."""
        call = _Call()
        self._send(hiredis.pack_command(cast("Any", args)), call)
        return call.reply

    def retire(self) -> None:
        """Close as soon as nothing waits any more."""
        self._retired = True
        if not self._waiters:
            self.close()

    def close(self) -> None:
        if self.open:
            self._transport.abort()

    def distrust(self, reply: Any) -> PeerError:
        """Close the link, as this reply is none that a shard gives; returns the error to raise."""
        problem = PeerError(f"what answers there does not reply as a shard does: {reply!a}"[: told.MAX_LINE])
        if not isinstance(self.problem, PeerError):
            self.problem = problem
            log.warning("a shard is given up: %s", problem)
            self.close()
        return problem

    def unwanted(self, reply: Any) -> None:
        """Take a reply that nobody waits for any more: it may still show that what answers is no shard."""
        if not (told.is_value(reply) or isinstance(reply, hiredis.ReplyError)):
            self.distrust(reply)

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            if _may_have_heads(data):
                data = self._checked(data)
            self._take(data)
        except (hiredis.ProtocolError, IndexError):
            self.problem = PeerError("what answers there does not speak the Redis protocol as a shard does")
            self.close()
        if self._retired and not self._waiters:
            self.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.open = self.responsive = False
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            try:
                if waiter is not None:
                    waiter.lost(self)
            except Exception:
                log.exception("a lost request could not be handled")
        self.closed.set_result(None)

    def _take(self, data: bytes) -> None:
        """Hand the replies to their waiters. Raises ProtocolError, and IndexError for a reply that nobody waits for."""
        waiters, gets, together = self._waiters, self._reader.gets, self._together
        self._reader.feed(data)
        while (reply := gets()) is not codec.NOT_ENOUGH:
            waiter = waiters.popleft()
            if waiter is None:
                together.append(reply)
                continue
            if together:
                reply = [*together, reply]
                together.clear()
            try:
                waiter.answered(reply, self)
            except Exception:
                # The waiter may be gone; those behind it must get their replies all the same.
                log.exception("a reply could not be delivered")

    def _checked(self, data: bytes) -> bytes:
        """The part of `data` that may be given to hiredis. Raises ProtocolError for a reply of too many items.

        What looks like such a head may be a part of a value. Which of both it is shows when all before it was read: if
        nothing of that is left over, a reply or an item of one begins there.
        """
        first = _AT_FIRST.match(data)
        heads = [] if first is None else [(0, first.end())]
        heads += [(found.start() + 1, found.end()) for found in _BEHIND_A_LINE.finditer(data)]
        start = 0
        for at, end in heads:
            self._take(data[start:at])
            start = at
            if not self._reader.has_data():
                if end - at > 7:
                    raise hiredis.ProtocolError("a reply of too many items")
                self._held = data[at:]
                return b""
        return data[start:]

    def _send(self, command: bytes, waiter: Waiter) -> None:
        self._waiters.append(waiter)
        self._flush_soon()
        self._add_gets()
        self._outgoing.append(command)

    def _add_gets(self) -> None:
        if self._keys:
            self._outgoing.append(codec.get_commands(self._keys))
            self._keys.clear()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._add_gets()
        outgoing, self._outgoing = self._outgoing, []
        if self.open:
            self._transport.write(b"".join(outgoing))


class _Call:
    """A waiter that is awaited."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, reply: Any, _link: Link) -> None:
        if self.reply.done():
            return
        if isinstance(reply, hiredis.ReplyError):
            self.reply.set_exception(PeerError(told.line(str(reply))))
        else:
            self.reply.set_result(reply)

    def lost(self, link: Link) -> None:
        if not self.reply.done():
            self.reply.set_exception(link.problem)

"""The express lane: nearly all requests look alike, and for those it takes a third of the time of aiohttp's way.

    bytes ──► one complete, unremarkable `GET /<key>`, and nothing else under way? ──► hot? ──► lookup ──► one write
                  │ no                                                                  └─► one write, at once
                  ▼
              aiohttp, as if this file did not exist

It is an optimisation and nothing more: a client sees the same, byte for byte (tests/router/http/test_express.py sends
all kinds of requests both ways). It leans on the inside of aiohttp's RequestHandler, which is why pyproject.toml admits
one minor version of aiohttp.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from ringkv.cluster.errors import ShardUnavailable
from ringkv.cluster.position import SHAPE, SHAPE_OF, VARIANTS, VERSION
from ringkv.process.connections import ConnectionGuard
from ringkv.process.http import reset
from ringkv.process.tokens import TokenFile
from ringkv.process.turns import Turns
from ringkv.router.http.answers import CONTENT_TYPE, Answer, answer
from ringkv.router.http.connection import HttpConnection
from ringkv.router.http.unremarkable import authorization, leaves_nothing_behind, unremarkable
from ringkv.router.lookup.large import Large, LargeLookup
from ringkv.router.lookup.lookup import Found, Lookup, Lookups
from ringkv.router.lookup.unanswered import too_many
from ringkv.router.policy import DIRECT_BYTES, MAX_TAILS

_HEAD: Final = slice(41)
_KEY: Final = slice(5, 41)
_TAIL: Final = slice(41, None)
"""The parts of `GET /<key> HTTP/1.1` and what follows."""

_SHAPE: Final = b"GET /" + SHAPE


class Lane:
    """What all connections of a router share: the lookups, and the parts of a response that stay the same.

    With `tokens` only requests with a valid one take the lane; all others are refused on aiohttp's way.
    """

    def __init__(self, lookups: Lookups, common: Mapping[str, str], tokens: TokenFile | None = None) -> None:
        self.lookups = lookups
        self.tokens = tokens
        self._digests = tokens.digests if tokens else ()  # of the tokens when the remembered tails were judged
        self._common = "".join(f"{name}: {value}\r\n" for name, value in common.items())
        self.tails: set[bytes] = set()
        self._heads: dict[int, bytes] = {}  # by the size of the value: of this second, and of this dataset
        self._second = 0.0
        self._dataset_id: str | None = None
        self._before_length = self._after_length = b""

    def knows(self, tail: bytes) -> bool:
        """Whether a request that ends like this may take the lane; the verdict is remembered."""
        tokens = self.tokens
        if tokens is not None and tokens.digests is not self._digests:
            self._digests = tokens.digests
            self.tails.clear()
        if tail in self.tails:
            return True
        if not unremarkable(tail) or not (tokens is None or tokens.admits(authorization(tail))):
            return False
        if len(self.tails) < MAX_TAILS:
            self.tails.add(tail)
        return True

    def head_of_value(self, size: int, dataset_id: str | None) -> bytes:
        """The head of a response with a value of `size` bytes."""
        if not 0 <= time.time() - self._second < 1 or self._dataset_id is not dataset_id:
            self._second, self._dataset_id = float(int(time.time())), dataset_id
            self._before_length, self._after_length = self._around_length(answer(b"", dataset_id))
            self._heads.clear()
        head = self._heads.get(size)
        if head is None:
            head = self._heads[size] = b"%b%d%b" % (self._before_length, size, self._after_length)
        return head

    def response(self, other: Answer) -> bytes:
        """A whole response."""
        before, after = self._around_length(other)
        return b"%b%d%b%b" % (before, len(other.body), after, other.body)

    def _around_length(self, answer: Answer) -> tuple[bytes, bytes]:
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"Content-Type: {CONTENT_TYPE}", "Content-Length: "]
        after = f"\r\nDate: {rfc822_formatted_time()}\r\n{self._common}\r\n"
        return "\r\n".join(lines).encode(), after.encode()


class ExpressConnection(HttpConnection):
    """A connection with the lane in front of it where there is one.

    Either the lane or aiohttp has a request under way, never both: what arrives while the lane has one, or
    while the client does not read its answers, is kept, and reading is paused.
    """

    __slots__ = ("_between_requests", "_kept", "_lane", "_lane_idle", "_lookup", "_tail")

    def __init__(
        self,
        manager: web.Server,
        guard: ConnectionGuard,
        common: Mapping[str, str],
        turns: Turns,
        lane: Lane | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(manager, guard, common, turns, **kwargs)
        self._lane = lane
        self._lane_idle: asyncio.Future[None] | None = None
        self._lookup: Lookup | LargeLookup | None = None
        self._tail: bytes | None = None  # of the latest request in the lane: nearly always of the next one too
        self._kept: list[bytes] = []
        self._between_requests = True  # aiohttp's parser has seen whole requests and nothing of a next one

    def data_received(self, data: bytes) -> None:
        if self._lookup is not None or self._kept:
            if data:
                self._keep(data)
            return
        # aiohttp's task may not wait yet for the next request. Whoever is busy would never find it waiting.
        lane = self._lane
        if lane is not None and self._between_requests and self._request_count == self._ended and not self._close:
            head, tail = data[_HEAD], data[_TAIL]
            if (
                head.translate(SHAPE_OF) == _SHAPE
                and head[19] == VERSION
                and head[24] in VARIANTS
                and (tail == self._tail or self._take(lane, tail))
            ):
                if self._paused:
                    self._keep(data)
                else:
                    self._start_lookup(lane, head[_KEY])
                return
        if data:
            self._between_requests = self._between_requests and leaves_nothing_behind(data)
        super().data_received(data)

    def _waiting_bytes(self) -> int:
        return super()._waiting_bytes() + sum(map(len, self._kept))

    def _answering(self) -> bool:
        return self._lookup is not None or bool(self._kept) or super()._answering()

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self._lookup, LargeLookup):
            self._go_on_sending(self._lookup)
        else:
            self._go_on()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._kept.clear()
        if self._lookup is not None:
            self._lookup.abandon()
            self._lookup = None
            self._tell_idle()
        super().connection_lost(exc)

    def leave(self) -> None:
        super().leave()
        if self._lookup is None:
            self._lane = None  # one answer more is all that this connection gets

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Let the lane's request end first, as aiohttp lets its own."""
        if self._lookup is not None:
            self._lane_idle = self._loop.create_future()
            await asyncio.wait([self._lane_idle], timeout=timeout)
        await super().shutdown(timeout)

    def _take(self, lane: Lane, tail: bytes) -> bool:
        """Whether a request that ends like this may take the lane.

        A tail with a token is not remembered here, as the time of comparing it would show how much of a token is right.
        """
        if not lane.knows(tail):
            return False
        if lane.tokens is None:
            self._tail = tail
        return True

    def _start_lookup(self, lane: Lane, key: bytes) -> None:
        lookups = lane.lookups
        hot = lookups.hot
        if key in hot.values:
            value = hot.hit(key)
            self._next_keepalive_close_time = time.monotonic() + self._keepalive_timeout
            self._write_hot(lane.head_of_value(len(value), hot.dataset_id) + value)
            return
        lookup = lookups.start(key, self._answer)
        if lookup is None:
            self._answer(too_many())
            return
        self._lookup = lookup
        self._next_keepalive_close_time = lookup.started + self._keepalive_timeout

    def _write_hot(self, answer: bytes) -> None:
        transport = self.transport
        if transport is not None:
            transport.write(answer)

    def _answer(self, outcome: Found) -> None:
        lookup, self._lookup = self._lookup, None
        transport, lane = self.transport, self._lane
        if transport is None or lane is None:
            return
        if type(outcome) is not bytes or lookup is None:
            if isinstance(outcome, Large):
                self._lookup = LargeLookup(lane.lookups, outcome, self._send_large)
                return
            transport.write(lane.response(answer(outcome)))
        elif len(outcome) < DIRECT_BYTES:
            transport.write(lane.head_of_value(len(outcome), lookup.dataset_id) + outcome)
        else:
            transport.write(lane.head_of_value(len(outcome), lookup.dataset_id))
            transport.write(outcome)
        if self._lane_idle is not None or self._close or self._kept:
            self._end(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        """The lane's request is answered."""
        self._tell_idle()
        if self._close:
            transport.close()
        elif self._kept:
            self._go_on()

    def _send_large(self, outcome: list[bytes] | ShardUnavailable) -> None:
        """Send a window of a large value; the next one is read when the client has read this one."""
        lookup, transport, lane = self._lookup, self.transport, self._lane
        if transport is None or lane is None or not isinstance(lookup, LargeLookup):
            return
        if isinstance(outcome, ShardUnavailable):
            self._lookup = None
            if lookup.begun:
                reset(transport)
            else:
                transport.write(lane.response(answer(outcome)))
            self._end(transport)
            return
        if not self._claims:
            self.keep(lookup.claim)
            transport.write(lane.head_of_value(lookup.size, lookup.dataset_id))
        for piece in outcome:
            transport.write(piece)
        if not self._paused:
            self._go_on_sending(lookup)

    def _go_on_sending(self, lookup: LargeLookup) -> None:
        if lookup.left:
            lookup.go_on()
            return
        self._lookup = None
        self.give_back()
        if self.transport is not None:
            self._end(self.transport)

    def _tell_idle(self) -> None:
        if self._lane_idle is not None and not self._lane_idle.done():
            self._lane_idle.set_result(None)

    def _keep(self, data: bytes) -> None:
        self._kept.append(data)
        self._pause_reading_for_buffer()
        self.note()

    def _go_on(self) -> None:
        """Take up what was kept, as far as that is possible now."""
        if self._lookup is not None or self._paused or not self._kept:
            return
        kept, self._kept = self._kept, []
        self._resume_reading_for_buffer()
        for data in kept:
            self.data_received(data)
        if any(self._noted):
            self.note()

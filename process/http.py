"""An HTTP connection that is guarded (`ringkv.process.connections`), and the server of aiohttp that makes such ones.

It leans on the inside of aiohttp's RequestHandler, which is why pyproject.toml admits one minor version of aiohttp.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from ringkv.process.budget import Claim
from ringkv.process.connections import ConnectionGuard, Reason, Waiting

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]

NEVER: Final = 10 * 365 * 86_400.0
"""Seconds after which aiohttp itself would close an idle connection: its timer knows no limits but its own."""


MESSAGE_BYTES: Final = 4096
"""About the bytes of a request that aiohttp has parsed."""


class NoText(Exception):
    """A header that is to be answered with its text has none; `str()` says which."""


class GuardedConnection(RequestHandler):
    """One connection, guarded by `guard`."""

    __slots__ = ("_body", "_claims", "_guard", "_latest", "_opened", "_partial")

    def __init__(self, manager: web.Server, guard: ConnectionGuard, **kwargs: Any) -> None:
        super().__init__(manager, keepalive_timeout=NEVER, **kwargs)
        self._guard = guard
        self._body: StreamReader | None = None  # of the latest request
        self._opened = 0.0  # what aiohttp's timer shows until the first request is answered
        self._partial = False  # whether a part of a request's head has come
        self._latest = 0  # bytes that have come at last
        self._claims: list[Claim] = []  # of what is being answered, until it is sent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened = self._next_keepalive_close_time
        self._guard.admit(self, transport.get_extra_info("peername"))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._guard.leave(self)
        super().connection_lost(exc)
        self._release()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note()
        self.settle()

    def _pause_reading_for_buffer(self) -> None:
        super()._pause_reading_for_buffer()
        self._note()

    def _resume_reading_for_buffer(self) -> None:
        super()._resume_reading_for_buffer()
        self._note()

    def _note(self) -> None:
        """Tell the guard what is held for the client: answers that it does not read, requests that have to wait."""
        transport = self.transport
        if transport is not None:
            claimed = sum(claim.size for claim in self._claims)
            unread = max(0, transport.get_write_buffer_size() - claimed) if self._paused else 0
            self._guard.hold(self, unread + (self._waiting_bytes() if self._buffer_paused else 0))

    def _waiting_bytes(self) -> int:
        """About the bytes of requests that have come and have to wait."""
        return self._latest + MESSAGE_BYTES * len(self._messages)

    def keep(self, claim: Claim) -> None:
        """The answer that is being made has this claim."""
        if self.transport is None:
            claim.release()
        else:
            self._claims.append(claim)

    def settle(self) -> None:
        """Release the claims of an answer that was written, unless it waits for its client to read."""
        if self._claims and not self._paused:
            self._release()

    def _release(self) -> None:
        claims, self._claims = self._claims, []
        for claim in claims:
            claim.release()

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        self._latest = len(data) or self._latest
        super().data_received(data)
        self._partial = self._request_count == before and (self._partial or bool(data)) and not self._answering()
        self._note_body()

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        self._note_body()  # what stood behind a request with `Upgrade` is read now
        self.settle()
        return finished

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say in one line what is wrong with a request, which is nothing for the log, as a defect is."""
        if isinstance(exc, NoText):
            status, message = 400, str(exc)
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        refused = web.Response(status=status, text=f"{(message or 'Bad Request').strip().splitlines()[0]}\n")
        refused.force_close()
        return refused

    def waiting(self) -> Waiting:
        """What the client owes. The lane and aiohttp alike move aiohttp's timer when a request is answered."""
        transport, body = self.transport, self._body
        if transport is None:
            return "nothing", 0
        if self._paused or transport.is_closing():
            return "send", transport.get_write_buffer_size()
        if body is not None and not body.is_eof() and body.exception() is None and not self._reading_paused:
            return "body", body.total_bytes
        if self._answering():
            return "nothing", 0
        if self._partial or self._next_keepalive_close_time == self._opened:
            return "header", self._request_count
        return "idle", self._next_keepalive_close_time

    def drop(self, reason: Reason) -> None:
        """Close the connection; but where a body does not come, let its reader refuse the request."""
        if reason == "body" and self._body is not None:
            self._body.set_exception(TimeoutError("nothing more of the body has come in time"))
        elif self.transport is not None and reason == "send":
            reset(self.transport)
        elif self.transport is not None:
            self.transport.abort()

    def _answering(self) -> bool:
        """Whether something that was asked has no answer yet."""
        idle = self._waiter is not None and not self._waiter.done()
        return bool(self._messages) or (self._request_count > 0 and not idle)

    def _note_body(self) -> None:
        if self._messages:
            self._body = self._messages[-1][1]


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a reset: its mere end is that of a whole answer in HTTP/1.0."""
    connected = transport.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class HttpRunner(web.AppRunner):
    """A port of this application, whose connections `connection` makes, given the server and aiohttp's settings.

    A body is read as it is, or not at all: 2 MB may be 2 GB behind their encoding.
    """

    def __init__(self, app: web.Application, connection: Callable[..., asyncio.Protocol], **settings: Any) -> None:
        super().__init__(app, access_log=None, auto_decompress=False, **settings)
        self._connection = connection

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._connection)


class _Server(web.Server):
    """Makes a protocol for each connection, otherwise as the server that aiohttp would have made."""

    def __init__(self, general: web.Server, connection: Callable[..., asyncio.Protocol]) -> None:
        super().__init__(
            partial(_handle, general.request_handler),
            request_factory=general.request_factory,
            handler_cancellation=general.handler_cancellation,
            loop=general._loop,  # noqa: SLF001 - aiohttp has no other way to bring one's own protocol
            **general._kwargs,  # noqa: SLF001
        )
        self._make_connection = connection

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # it may have something to read before HTTP
        return self._make_connection(self, loop=self._loop, **self._kwargs)


async def _handle(handler: Handler, request: BaseRequest) -> web.StreamResponse:
    """Have aiohttp handle a request that is fit for it: it would answer an expectation with its text."""
    expected = request.headers.get(hdrs.EXPECT, "")
    if not expected.isascii():
        raise NoText(f"no expectation: {expected[:60]!a}")
    return await handler(request)

"""An HTTP connection that is guarded (`ringkv.process.connections`).

It leans on the inside of aiohttp's RequestHandler, which is why pyproject.toml admits one minor version of aiohttp.
"""

import asyncio
import socket
import struct
from typing import Any, Final

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from aiohttp.web_request import BaseRequest

from ringkv.process.budget import UNNOTED, Claim
from ringkv.process.cancelling import forget
from ringkv.process.closings import Reason
from ringkv.process.connections import NEVER, ConnectionGuard, Waiting
from ringkv.process.gone import has_gone

MAX_WAITING: Final = 8
"""Requests of one connection that are parsed before they are answered; what is behind them is not looked at."""

BODY_BYTES: Final = 1 << 16
"""Of a body, twice as many are read before somebody asks for them."""

COPIES: Final = 2
"""How often a large value is in memory: itself, and the part that is asked for or what aiohttp sends."""

PARSED: Final = 4096
"""About the bytes that a parsed request takes."""

TOO_MUCH: Final = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 57\r\nConnection: close\r\n\r\n"
    b"no memory for a request that does not end, among others.\n"
)
"""The answer to a client that has sent a part of a request, when memory for such parts is short."""


class NoText(Exception):
    """A header whose text aiohttp would put into its answer is not ASCII; `str()` says which."""


class GuardedConnection(RequestHandler):
    """One connection, guarded by `guard`."""

    __slots__ = (
        "_begun",
        "_body",
        "_broken",
        "_carried",
        "_claims",
        "_ended",
        "_guard",
        "_noted",
        "_opened",
        "_partial",
    )

    def __init__(self, manager: web.Server, guard: ConnectionGuard, **kwargs: Any) -> None:
        super().__init__(manager, keepalive_timeout=NEVER, read_bufsize=BODY_BYTES, **kwargs)
        self._guard = guard
        self._body: StreamReader | None = None  # of the latest request
        self._broken = False  # whether that is not framed as HTTP wants it, so that nothing behind it has a meaning
        self._opened = 0.0  # what aiohttp's timer shows until the first request is answered
        self._ended = 0  # of the requests that aiohttp has parsed, how many were answered or dropped
        self._partial = False  # whether a part of a request's head has come
        self._begun = 0  # bytes of that
        self._carried = 0  # bytes that a handler has made of what it has read
        self._claims: list[Claim] = []  # for what is being sent
        self._noted = (0, 0)  # bytes that are held for the client, and those that it does not read of what was claimed
        self._max_msg_queue_size, self._msg_queue_resume_size = MAX_WAITING, MAX_WAITING // 2

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened = self._next_keepalive_close_time
        self._guard.admit(self, transport.get_extra_info("peername"))

    def connection_lost(self, _exc: BaseException | None) -> None:
        self._guard.leave(self)
        self.give_back()
        cancelled = self._task_handler if self._manager is not None and self._manager.handler_cancellation else None
        # Given a reason, aiohttp raises it where it sends: what was being sent would stay until the next collection.
        super().connection_lost(None)
        # So would whatever refers to this connection, with all that has come on it.
        self._body = self._keepalive_handle = None
        if cancelled is not None:  # else aiohttp's task takes one more
            self._messages.clear()
            forget(cancelled)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.note()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.note()

    def keep(self, *claims: Claim) -> None:
        """Hold these claims until the client has read what is about to be written."""
        self._claims += claims
        self.note()

    def give_back(self) -> None:
        """Release all claims that are held: the client has read what was written."""
        for claim in self._claims:
            claim.release()
        self._claims.clear()

    def carry(self, size: int) -> None:
        """Note that a handler holds so many bytes of memory for its request, until that is answered."""
        self._carried = size
        self.note()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Let the request end that is being answered. Of one that is answered no more of the body is waited for.

        aiohttp would wait for it for ten seconds, although it drops from now on whatever comes. And it would wait twice
        as long as it is told for an answer that is slow, and then end the connection as if that was whole.
        """
        body = self._body
        if body is not None and _is_open(body) and not self._answering():
            body.set_exception(web.RequestPayloadError("the server is leaving"))
        late = self._loop.call_later(timeout, self._cut_off) if timeout is not None else None
        try:
            await super().shutdown(timeout)
        finally:
            if late is not None:
                late.cancel()

    def note(self) -> None:
        """Tell the guard how much is held for the client, if that has changed, and is much."""
        transport = self.transport
        if transport is None:
            return
        size, claimed = self._begun + self._carried + self._waiting_bytes(), 0
        if self._paused:
            unread = transport.get_write_buffer_size()
            claimed = min(unread, sum(claim.size for claim in self._claims))
            size += unread - claimed
        noted = (size if size > UNNOTED else 0), claimed
        if noted != self._noted:
            self._noted = noted
            self._guard.hold(self, *noted)

    @property
    def asks_on(self) -> bool:
        """Whether other requests wait behind the one that is being answered."""
        return bool(self._messages)

    def _waiting_bytes(self) -> int:
        """About how many bytes have come that wait to be answered, or read by a handler."""
        body = self._body
        return PARSED * len(self._messages) + (body._size if body is not None else 0)  # noqa: SLF001 - nothing else tells

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        before, body = self._request_count, self._body
        super().data_received(data)
        if self._messages and isinstance(wrong := self._messages[-1][0], _ErrInfo):
            wrong.exc.__traceback__ = None  # one of its frames refers to it: both would stay until the next collection
            if body is not None and _is_open(body):
                # It is no request that is malformed, but this body, whose reader aiohttp would leave waiting.
                self._messages.pop()
                self._ended += 1
                self._broken = True  # what waits before it is answered, and it too, then aiohttp ends the connection
                body.set_exception(web.RequestPayloadError("it is not framed as HTTP wants it"))
        self._partial = self._request_count == before and (self._partial or bool(data)) and not self._answering()
        self._begun = self._begun + len(data) if self._partial else 0
        self._note_body()
        if self._partial or any(self._noted) or self._messages or self._body is not None:
            self.note()

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            finished = await super().finish_response(request, resp, start_time)
        finally:
            self._ended += 1
            if isinstance(resp, web.Response):
                resp.body = None  # aiohttp keeps the response until the next request of the connection is answered
        self._note_body()  # what stood behind a request with `Upgrade` is read now
        self._carried = 0
        self.give_back()
        if any(self._noted):
            self.note()
        return finished

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer in one line what is wrong with a request. Only a defect of the process is logged."""
        if isinstance(exc, NoText):
            status, message = 400, str(exc)
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        refused = web.Response(status=status, text=f"{(message or 'Bad Request').strip().splitlines()[0]}\n")
        refused.force_close()
        return refused

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log a defect. A request's body that breaks off while nobody reads it is none."""
        error = kwargs.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            error.__traceback__ = None  # its frames refer to the body, which refers to it
        else:
            super().log_exception(*args, **kwargs)

    def waiting(self) -> Waiting:
        """What the client owes. The lane and aiohttp alike move aiohttp's timer when a request is answered."""
        transport, body = self.transport, self._body
        if transport is None:
            return "nothing", 0
        if self._paused or transport.is_closing():
            return "send", transport.get_write_buffer_size()
        if body is not None and _is_open(body) and not self._reading_paused:
            return "body", body.total_bytes
        if self._answering():
            return "nothing", 0
        if self._partial or self._next_keepalive_close_time == self._opened:
            return "header", self._request_count
        return "idle", self._next_keepalive_close_time

    def stall(self, *, stalled: bool) -> None:
        """Read no more from the client, or go on, unless there is another reason not to."""
        if stalled:
            self._pause_transport_reading()
        elif not self._buffer_paused and not self._reading_paused:
            self._resume_transport_reading()

    def look(self) -> None:
        """Close, if the client has gone while it was not read from."""
        if self.transport is not None and has_gone(self.transport):
            self.transport.abort()

    def drop(self, reason: Reason) -> None:
        """Close the connection; but where a body does not come, let its reader refuse the request."""
        if reason == "body" and self._body is not None:
            self._body.set_exception(TimeoutError("nothing more of the body has come in time"))
        elif self.transport is not None and (reason == "send" or self._paused):
            reset(self.transport)
        elif self.transport is not None and reason == "memory" and self._is_late():
            self.transport.write(TOO_MUCH)
            self.transport.close()
        elif self._answering():
            self._cut_off()
        elif self.transport is not None:
            self.transport.abort()

    def _cut_off(self) -> None:
        """Reset the connection, if its latest answer is not whole."""
        if self.transport is not None and self._answering():
            reset(self.transport)

    def _is_late(self) -> bool:
        """Whether only a part of a request has come, so that nothing of its answer can be on its way."""
        body = self._body
        return self._partial or (body is not None and _is_open(body) and self._current_request is not None)

    def _answering(self) -> bool:
        """Whether something that was asked has no answer yet."""
        return self._request_count != self._ended

    def _note_body(self) -> None:
        if self._messages:
            body = self._messages[-1][1]
            self._body = None if body is EMPTY_PAYLOAD else body


def _is_open(body: StreamReader) -> bool:
    return not body.is_eof() and body.exception() is None


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a reset: in HTTP/1.0 a plain end would mean that the answer is whole."""
    connected = transport.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()

"""One HTTP connection: aiohttp's, with what it lacks.

- A client that has closed its sending side is answered what it asked before, then the connection is closed.
- What stands behind a request with `Upgrade` is read, and what stands before a malformed one is answered: aiohttp's
  parser drops either where they come together.
- What is no HTTP is refused in one plain line, as everything else is.

It leans on the inside of aiohttp's RequestHandler, which is why pyproject.toml admits one minor version of aiohttp.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import _ErrInfo
from aiohttp.web_request import BaseRequest

from ringkv.process.connections import ConnectionGuard
from ringkv.process.http import MAX_WAITING, GuardedConnection, NoText
from ringkv.process.turns import Turns
from ringkv.router.http.answers import Refusal, answer, response
from ringkv.router.policy import MAX_FIELD, MAX_URL

_END: Final = b"\r\n\r\n"
_BLANK: Final = re.compile(rb"(?:\r\n)+")
"""Blank lines, which end no head where none has begun."""

_PIECES: Final = 64
"""Pieces that are parsed in one turn of the event loop: in chunks every fifth byte of a body may end as a head does."""


class HttpConnection(GuardedConnection):
    """`common` are the headers that every response has; `turns` are those of all connections of the port."""

    __slots__ = ("_at", "_before", "_body_left", "_common", "_half_closed", "_leaves", "_rest", "_resting", "_turns")

    def __init__(
        self, manager: web.Server, guard: ConnectionGuard, common: Mapping[str, str], turns: Turns, **kwargs: Any
    ) -> None:
        super().__init__(manager, guard, max_line_size=MAX_URL, max_field_size=MAX_FIELD, **kwargs)
        self._common = common
        self._turns = turns
        self._half_closed = False
        self._leaves = False
        self._rest = (
            b""  # bytes that are not parsed yet, from `_at` on: MAX_WAITING requests wait, or it is others' turn
        )
        self._at = 0
        self._resting = False
        self._body_left = 0  # bytes that a body still lacks, if its length is known
        self._before = b""  # the latest few bytes, in case the end of a head is split between two reads

    def data_received(self, data: bytes) -> None:
        if data:
            self._rest = self._rest[self._at :] + data if self._rest else data
            self._at = 0
            if self._turns.at_once(len(data)):
                self._parse()
            else:
                self._parse_soon()
            return
        super().data_received(data)  # called with nothing, aiohttp parses what it has kept
        if self._rest:
            self._parse_soon()  # a reader calls this for each part of a body that it takes

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _resume_reading_for_buffer(self) -> None:
        if not self._resting:
            super()._resume_reading_for_buffer()

    def _parse(self) -> None:
        """Parse so much of what is left as one turn of the event loop may take."""
        rest, begin = self._rest, self._at
        self._rest, self._at = b"", 0
        for _ in range(_PIECES):
            end = self._end_of_piece(rest, begin)
            before = self._request_count
            super().data_received(rest[begin:end])
            self._before = (self._before + rest[max(end - len(_END), begin) : end])[-len(_END) :]
            last = self._messages[-1][0] if self._messages else None
            if isinstance(last, _ErrInfo):
                return  # nothing behind a malformed request has a meaning
            if last is not None and self._request_count > before and not self._upgraded:
                self._body_left = int(last.headers.get(hdrs.CONTENT_LENGTH, 0))
            begin = end
            if begin == len(rest):
                return
            if len(self._messages) >= MAX_WAITING or self._reading_paused:
                self._rest, self._at = rest, begin
                self.note()
                return
        self._rest, self._at = rest, begin
        self._parse_soon()

    def _parse_soon(self) -> None:
        """Parse what is left when others have had their turn, and read nothing until then."""
        if not self._resting:
            self._resting = True
            self._pause_reading_for_buffer()
            self._turns.take(self._go_on_parsing)

    def _end_of_piece(self, rest: bytes, begin: int) -> int:
        """Where what is parsed next ends: as the rest of a body does whose length is known, else as the next head."""
        if self._body_left:
            size = min(self._body_left, len(rest) - begin)
            self._body_left -= size
            return begin + size
        before = self._before
        if before == _END:
            if blank := _BLANK.match(rest, begin):
                return blank.end()  # between requests, or in a body: a client may send a million of them
        elif (at := (before + rest[begin : begin + len(_END) - 1]).find(_END)) >= 0:
            return begin + at + len(_END) - len(before)
        at = rest.find(_END, begin)
        return at + len(_END) if at >= 0 else len(rest)

    def _go_on_parsing(self) -> None:
        self._resting = False
        if self.transport is None:
            return
        if self._rest and not self._reading_paused and len(self._messages) < MAX_WAITING:
            self._parse()
        if len(self._messages) < MAX_WAITING:
            self._resume_reading_for_buffer()
        if self._half_closed and not self._rest and not self._answering():
            self.transport.close()

    def leave(self) -> None:
        """Have the client come again on a new connection: the next answer behind which nothing waits is the last."""
        self._leaves = True

    @property
    def ends(self) -> bool:
        """Whether the answer that is being made is the last one, and has to say so."""
        return self._leaves and not self._messages and not self._rest

    @property
    def asks_on(self) -> bool:
        return super().asks_on or bool(self._rest)

    def _waiting_bytes(self) -> int:
        return super()._waiting_bytes() + len(self._rest)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp narrows asyncio's
        """Keep the connection, if something is still to be answered. TLS knows no half that could be closed."""
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError("the client has closed before the end of the body"))
            self._body.feed_eof()
        if not self._answering() or self.transport is None or not self.transport.can_write_eof():
            return False
        self._half_closed = True
        self._close_after_last()
        return True

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._upgraded and self._message_tail and not self._messages:
            # aiohttp would parse all of it in one go here, and drop what stands before a malformed request in it.
            self._rest, self._at = self._message_tail + self._rest[self._at :], 0
            self._message_tail = b""
            self._close_after_last()
            self._parse_soon()
        finished = await super().finish_response(request, resp, start_time)
        self._close_after_last()
        if not finished[0].keep_alive:
            self._close = True  # aiohttp's task closes the connection a moment later: nothing may be begun before that
        return finished

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say in one plain line, and not in several as aiohttp, that the request is no HTTP, or that there is a bug."""
        if isinstance(exc, NoText):
            refusal = Refusal(400, str(exc))
        elif status >= 500:
            super().handle_error(request, status, exc, message)  # logs the bug
            refusal = Refusal(status, "a defect of the router; its log has the traceback")
        elif isinstance(exc, LineTooLong):
            refusal = _too_long(exc)
        else:
            refusal = Refusal(status, (message or "Bad Request").strip().splitlines()[0].rstrip(":"))
        refused = response(answer(refusal))
        refused.headers.update(self._common)
        refused.force_close()
        return refused

    def _close_after_last(self) -> None:
        """Have aiohttp close the connection behind the current request, if that is the last one."""
        if self._half_closed:
            self._close = not self._messages and not self._rest


def _too_long(error: LineTooLong) -> Refusal:
    """The refusal of a line that was too long: which one it was shows its limit alone, as the two limits differ."""
    if error.args[1] == MAX_URL:
        return Refusal(414, f"a URL of more than {MAX_URL} bytes")
    return Refusal(431, f"a header of more than {MAX_FIELD} bytes")

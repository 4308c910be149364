"""`POST /mget`: the values of many keys in one answer, streamed window by window, all of one dataset.

    body ──► keys ──► window ──► batch (router/lookup/batch.py) ──► piece of the answer ──► client
                        ▲                    next one fetched meanwhile                │
                        └──────────────────── once it has read ◄───────────────────────┘

HTTP/1.1 is sent chunks, and the number of missing keys in a trailer. HTTP/1.0 knows neither: an answer of one window
has a length, and that number in a header; a longer one ends with the connection. In all cases `Ringkv-Keys` says how
many keys were asked for, so that a client whose proxy drops trailers can count.

The router holds the keys, and the values of two windows: one on its way to the client, one on its way from the shards.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NoReturn

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11, StreamWriter

from ringkv.cluster.errors import ShardUnavailable
from ringkv.process.http import GuardedConnection, reset
from ringkv.router.http.answers import KEYS, MISSING, Refusal, etag
from ringkv.router.http.endpoint import invite_body
from ringkv.router.http.formats import Format, Json, Lines
from ringkv.router.http.keylines import KeyLines
from ringkv.router.http.sending import Sending
from ringkv.router.lookup.batch import Batch, fetch
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.unanswered import UNREACHABLE
from ringkv.router.policy import MGET_BYTES, MGET_HELD, MGET_KEYS, WINDOW_BYTES, WINDOW_KEYS

log = logging.getLogger("ringkv.router")

FORMATS: Final[dict[str, Callable[[], Format]]] = {"data": Lines, "json": Json}

_AS_IT_IS: Final = "identity"
"""The one content coding of a body that is accepted; RFC 9110, section 15.5.16, has the 415 name it."""

READ_BYTES: Final = 16 << 10
"""Bytes that become keys in one turn of the event loop: a quarter of a millisecond, for which others wait."""

_TAKEN: Final = 3
"""Bytes of memory that each byte of keys takes, at most."""


class Mget:
    """Answers `POST /mget`, holding no more than MGET_HELD bytes of keys for all requests together."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._held = 0
        self._turn = asyncio.Lock()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """`POST /mget`. Raises Refusal, InvalidKey, ShardUnavailable."""
        lines = KeyLines()
        try:
            name = _format_name(request)
            await self._read(request, lines)
            keys = list(dict.fromkeys(lines.keys)) if name == "json" else lines.keys
            return await self._answer(request, keys, FORMATS[name]())
        finally:
            self._held -= lines.size

    async def _read(self, request: web.Request, lines: KeyLines) -> None:
        """Read the body, as far as the limits allow. Raises Refusal, InvalidKey, ShardUnavailable."""
        encoding = request.headers.get(hdrs.CONTENT_ENCODING, _AS_IT_IS)
        if encoding.lower() != _AS_IT_IS:
            raise Refusal(415, "an encoded body: send it as it is", {hdrs.ACCEPT_ENCODING: _AS_IT_IS})
        if (size := request.content_length or 0) > MGET_BYTES:
            raise Refusal(413, f"a body of {size} bytes: send at most {MGET_BYTES} in one request")
        if self._held + size > MGET_HELD:
            self._refuse()
        await invite_body(request)
        protocol = request.protocol
        assert isinstance(protocol, GuardedConnection)
        while data := await _next_bytes(request):
            self._held += len(data)
            lines.size += len(data)  # before the turn: whoever goes while it waits for that gives back all of it
            async with self._turn:
                lines.feed(data)
                await asyncio.sleep(0)  # a piece may have thousands of keys: one piece in each turn of the event loop
            protocol.carry(lines.size * _TAKEN)
            if lines.size > MGET_BYTES:
                raise Refusal(413, f"a body of more than {MGET_BYTES} bytes: send at most so many in one request")
            if self._held > MGET_HELD:
                self._refuse()
            _check_count(lines)
        lines.end()
        _check_count(lines)

    def _refuse(self) -> NoReturn:
        self._lookups.refuse()
        raise ShardUnavailable(f"{MGET_HELD} bytes of keys wait already; try again later")

    async def _answer(self, request: web.Request, keys: list[bytes], form: Format) -> web.StreamResponse:
        """Send the whole answer, or cut it off. Raises ShardUnavailable only as long as nothing has been sent."""
        batch = await self._first(keys[:WINDOW_KEYS])
        headers = {**etag(batch.dataset_id), hdrs.CONTENT_TYPE: form.content_type, KEYS: str(len(keys))}
        chunked = request.version == HttpVersion11  # aiohttp has no other version with chunks
        if not chunked and len(batch.values) == len(keys):
            body = form.begin(batch.dataset_id) + form.piece(keys, batch.values) + form.end()
            connection = request.protocol
            assert isinstance(connection, GuardedConnection)
            connection.keep(*batch.claims)
            return web.Response(body=body, headers={**headers, MISSING: str(form.missing)})
        stream = web.StreamResponse(headers=headers)
        if chunked:
            stream.headers[hdrs.TRAILER] = MISSING
            stream.enable_chunked_encoding()
        else:
            stream.force_close()
        writer = await stream.prepare(request)
        assert isinstance(writer, StreamWriter)
        # aiohttp's writer cannot send a trailer. So the chunks are framed here, and it sends them as they are.
        writer.chunked = False
        sending = Sending(self._lookups, writer, keys, form, chunked=chunked)
        first = [batch]
        del batch  # it may have megabytes, which must not stay until all of the answer is sent
        try:
            await sending.send(first.pop())
        except ConnectionError:
            log.debug("the client of a POST /mget has gone")
        except ShardUnavailable as error:
            # Cut off, so that no client can take a part of the answer for the whole.
            log.warning("POST /mget is cut off after %d of %d keys: %s", sending.sent, len(keys), error)
            if request.transport is not None:
                reset(request.transport)
        return stream

    async def _first(self, keys: list[bytes]) -> Batch:
        if keys:
            return await fetch(self._lookups, keys, WINDOW_BYTES)
        if self._lookups.topology is None:
            raise ShardUnavailable(UNREACHABLE)
        return Batch(self._lookups.topology.dataset_id, [])


def _format_name(request: web.Request) -> str:
    name = request.query.get("format", "data")
    if name not in FORMATS:
        raise Refusal(400, f"unknown format {name[:40]!r}: want {' or '.join(FORMATS)}")
    return name


async def _next_bytes(request: web.Request) -> bytes:
    try:
        return await request.content.read(READ_BYTES)
    except TimeoutError as error:  # by the guard of the connection
        raise Refusal(408, str(error)) from None
    except web.RequestPayloadError:
        raise Refusal(400, "the body is not framed as HTTP wants it") from None


def _check_count(lines: KeyLines) -> None:
    if len(lines.keys) > MGET_KEYS:
        raise Refusal(413, f"more than {MGET_KEYS} keys: send at most so many in one request")

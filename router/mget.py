"""`POST /mget`: the values of many keys in one answer, streamed window by window, all of one dataset.

    body ──► keys ──► window ──► batch (router/batch.py) ──► piece of the answer ──► client
                        ▲                    next one fetched meanwhile                │
                        └──────────────────── once it has read ◄───────────────────────┘

What is held is the keys, and the values of two windows: one on its way to the client, one from the shards.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11, StreamWriter

from cluster.errors import InvalidKey, ShardUnavailable
from router.answers import answer, plain, response
from router.batch import Batch, fetch
from router.formats import Format, Json, Lines
from router.keylines import KeyLines
from router.lookup import UNREACHABLE, Lookups
from router.policy import MGET_BYTES, MGET_HELD, MGET_KEYS, MGET_SILENCE, WINDOW_BYTES, WINDOW_KEYS

log = logging.getLogger("ringkv.router")

FORMATS: Final[dict[str, Callable[[], Format]]] = {"data": Lines, "json": Json}

MISSING: Final = "Ringkv-Missing"
"""The trailer field (RFC 9110, section 6.5) with the number of keys that were left out."""

DIRECT_BYTES: Final = 1 << 16
"""From this size on, a piece is written as it is instead of being copied between the lines that frame it."""


class _Refused(Exception):
    """The request is not one that is answered; `str()` is the line for the client."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


class Mget:
    """Answers `POST /mget`, holding no more than MGET_HELD bytes of keys for all requests together."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._held = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method != hdrs.METH_POST:
            raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_POST])
        lines = KeyLines()
        try:
            name = _format_name(request)
            await self._read(request, lines)
            keys = list(dict.fromkeys(lines.keys)) if name == "json" else lines.keys
            return await self._answer(request, keys, FORMATS[name]())
        except _Refused as error:
            return plain(error.status, str(error))
        except (InvalidKey, ShardUnavailable) as error:
            return response(answer(error, None))
        finally:
            self._held -= lines.size

    async def _read(self, request: web.Request, lines: KeyLines) -> None:
        """Read the body, as far as the limits allow. Raises _Refused, InvalidKey, ShardUnavailable."""
        if (size := request.content_length or 0) > MGET_BYTES:
            raise _Refused(413, f"a body of {size} bytes: send at most {MGET_BYTES} in one request")
        while data := await _next_bytes(request):
            self._held += len(data)
            lines.feed(data)
            if lines.size > MGET_BYTES:
                raise _Refused(413, f"a body of more than {MGET_BYTES} bytes: send at most so many in one request")
            if self._held > MGET_HELD:
                self._lookups.counters.refused += 1
                raise ShardUnavailable(f"{MGET_HELD} bytes of keys wait already; try again later")
            _check_count(lines)
        lines.end()
        _check_count(lines)

    async def _answer(self, request: web.Request, keys: list[bytes], form: Format) -> web.StreamResponse:
        """The answer, all of it sent or cut off. Raises ShardUnavailable as long as nothing is sent."""
        batch = await self._first(keys[:WINDOW_KEYS])
        headers = {**answer(b"", batch.dataset_id).headers, "Content-Type": form.content_type, "Trailer": MISSING}
        stream = web.StreamResponse(headers=headers)
        stream.enable_chunked_encoding()
        writer = await stream.prepare(request)
        assert isinstance(writer, StreamWriter)
        # From here on it is given chunks as they are on the wire, because it has no way to send a trailer.
        writer.chunked = False
        sending = _Sending(self._lookups, writer, keys, form)
        try:
            await sending.send(batch)
        except ConnectionError:
            log.debug("the client of a POST /mget has gone")
        except (ShardUnavailable, TimeoutError) as error:
            # Without the last chunk no client takes a part for the whole.
            log.warning("POST /mget is cut off after %d of %d keys: %s", sending.sent, len(keys), error)
            if request.transport is not None:
                request.transport.abort()
        return stream

    async def _first(self, keys: list[bytes]) -> Batch:
        if keys:
            return await fetch(self._lookups, keys, WINDOW_BYTES)
        if self._lookups.topology is None:
            raise ShardUnavailable(UNREACHABLE)
        return Batch(self._lookups.topology.dataset_id, [])


def _format_name(request: web.Request) -> str:
    if request.version < HttpVersion11:
        raise _Refused(505, "POST /mget streams its answer, which takes HTTP/1.1")
    name = request.query.get("format", "data")
    if name not in FORMATS:
        raise _Refused(400, f"unknown format {name[:40]!r}: want {' or '.join(FORMATS)}")
    return name


async def _next_bytes(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(MGET_SILENCE):
            return await request.content.readany()
    except TimeoutError:
        raise _Refused(408, f"nothing of the body has come for {MGET_SILENCE:.0f} s") from None
    except web.RequestPayloadError:
        raise _Refused(400, "the body is not framed as HTTP wants it") from None


def _check_count(lines: KeyLines) -> None:
    if len(lines.keys) > MGET_KEYS:
        raise _Refused(413, f"more than {MGET_KEYS} keys: send at most so many in one request")


class _Sending:
    """One answer on its way; `sent` of the keys are done."""

    def __init__(self, lookups: Lookups, writer: StreamWriter, keys: list[bytes], form: Format) -> None:
        self.sent = 0
        self._lookups = lookups
        self._writer = writer
        self._keys = keys
        self._form = form
        self._window = WINDOW_KEYS

    async def send(self, batch: Batch) -> None:
        """Send the whole answer, `batch` being its beginning. Raises ShardUnavailable, TimeoutError."""
        dataset_id, form = batch.dataset_id, self._form
        await self._write(form.begin(dataset_id))
        while self.sent + len(batch.values) < len(self._keys):
            piece = self._piece(batch)
            following = asyncio.create_task(self._fetch())
            del batch  # all that is held of a window while the client reads is its piece
            try:
                await self._write(piece)
                del piece
                batch = await following
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            if batch.dataset_id != dataset_id:
                raise ShardUnavailable(f"dataset {dataset_id} was replaced by {batch.dataset_id}")
        piece = self._piece(batch) + form.end()
        await self._write(piece, b"0\r\n%b: %d\r\n\r\n" % (MISSING.encode(), form.missing))

    def _piece(self, batch: Batch) -> bytes:
        """The answer's next piece; the next window is as large as the values of this one let it be."""
        count = len(batch.values)
        piece = self._form.piece(self._keys[self.sent : self.sent + count], batch.values)
        self.sent += count
        fitting = WINDOW_BYTES * count // (len(piece) + 1)
        self._window = max(1, min(fitting, 2 * self._window, WINDOW_KEYS))
        return piece

    async def _fetch(self) -> Batch:
        return await fetch(self._lookups, self._keys[self.sent : self.sent + self._window], WINDOW_BYTES)

    async def _write(self, piece: bytes, last: bytes = b"") -> None:
        """Write one chunk, and what follows it; wait until the client has read nearly all of it."""
        write = self._writer.write
        if len(piece) >= DIRECT_BYTES:
            await write(b"%x\r\n" % len(piece), drain=False)
            await write(piece, drain=False)
            await write(b"\r\n" + last, drain=False)
        elif piece:
            await write(b"%x\r\n%b\r\n%b" % (len(piece), piece, last), drain=False)
        elif last:
            await write(last, drain=False)
        await self._drain()

    async def _drain(self) -> None:
        """Wait until the client has read nearly all. Raises TimeoutError when it reads nothing at all."""
        draining = asyncio.create_task(self._writer.drain())
        unread = float("inf")
        try:
            while not (await asyncio.wait([draining], timeout=MGET_SILENCE))[0]:
                transport = self._writer.transport
                before, unread = unread, transport.get_write_buffer_size() if transport else 0
                if unread >= before:
                    raise TimeoutError(f"the client has read nothing for {MGET_SILENCE:.0f} s")
            await draining
        finally:
            draining.cancel()

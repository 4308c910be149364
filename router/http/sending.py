"""The answer to many keys on its way to the client, window by window, in the framing of the client's HTTP version.

HTTP/1.1   chunk │ chunk │ … │ last chunk, trailer `Ringkv-Missing`       without its last chunk nothing is whole
HTTP/1.0   bytes, bytes, …, the connection is closed                      cut off, it is reset instead
"""

import asyncio

from aiohttp.http import StreamWriter

from ringkv.process.http import GuardedConnection
from ringkv.router.http.answers import MISSING
from ringkv.router.http.formats import Format
from ringkv.router.lookup.batch import Batch, fetch
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import DIRECT_BYTES, WINDOW_BYTES, WINDOW_KEYS


class Sending:
    """One answer on its way; `sent` is how many of the keys it has answered."""

    def __init__(
        self, lookups: Lookups, writer: StreamWriter, keys: list[bytes], form: Format, *, chunked: bool
    ) -> None:
        self.sent = 0
        self._lookups = lookups
        self._writer = writer
        self._keys = keys
        self._form = form
        self._chunked = chunked
        self._window = WINDOW_KEYS

    async def send(self, batch: Batch) -> None:
        """Send the whole answer, `batch` being its beginning. Raises ShardUnavailable, ConnectionError."""
        dataset_id, form = batch.dataset_id, self._form
        await self._write(form.begin(dataset_id))
        while self.sent + len(batch.values) < len(self._keys):
            piece = self._piece(batch)
            if batch.claims:
                await self._write_large(piece, batch)
                del piece
                batch = await self._fetch(dataset_id)
                continue
            following = asyncio.create_task(self._fetch(dataset_id))
            del batch  # while the client reads, only the piece of a window is held
            try:
                await self._write(piece)
                del piece
                batch = await following
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
        await self._write_large(self._piece(batch) + form.end(), batch)
        if self._chunked:
            await self._writer.write(b"0\r\n%b: %d\r\n\r\n" % (MISSING.encode(), form.missing), drain=False)
            await self._writer.drain()

    def _piece(self, batch: Batch) -> bytes:
        """The next piece of the answer; the size of its values decides how many keys the next window has."""
        count = len(batch.values)
        piece = self._form.piece(self._keys[self.sent : self.sent + count], batch.values)
        self.sent += count
        fitting = WINDOW_BYTES * count // (len(piece) + 1)
        self._window = max(1, min(fitting, 2 * self._window, WINDOW_KEYS))
        return piece

    async def _fetch(self, dataset_id: str) -> Batch:
        """The next window, of the dataset of those before it."""
        keys = self._keys[self.sent : self.sent + self._window]
        return await fetch(self._lookups, keys, WINDOW_BYTES, dataset_id)

    async def _write_large(self, piece: bytes, batch: Batch) -> None:
        """Write the piece of a batch, whose claims, if it has any, are held until the client has read it."""
        connection = self._writer.protocol
        assert isinstance(connection, GuardedConnection)
        connection.keep(*batch.claims)
        await self._put(piece)
        del piece
        await self._writer.drain()
        connection.give_back()

    async def _write(self, piece: bytes) -> None:
        """Write one piece, and wait until the client has read nearly all of it."""
        if piece:
            await self._put(piece)
            await self._writer.drain()

    async def _put(self, piece: bytes) -> None:
        write = self._writer.write
        if not piece:
            return
        if not self._chunked:
            await write(piece, drain=False)
        elif len(piece) >= DIRECT_BYTES:
            await write(b"%x\r\n" % len(piece), drain=False)
            await write(piece, drain=False)
            await write(b"\r\n", drain=False)
        else:
            await write(b"%x\r\n%b\r\n" % (len(piece), piece), drain=False)

"""A large value, or a part of it, on aiohttp's way to the client: window by window, as the client reads.

claim ──► the first window ──► head ──► window ──► read by the client ──► the next window ──► …
  │            │ no owner                              │ no owner before the deadline
  ▼            ▼                                       ▼
 503          503                                    a reset: nobody can take a part for the whole
"""

from aiohttp import hdrs, web

from ringkv.cluster.errors import ShardUnavailable
from ringkv.process.http import GuardedConnection, reset
from ringkv.router.http.answers import CONTENT_TYPE, Answer, answer
from ringkv.router.http.ranges import head_of_part, place
from ringkv.router.lookup.large import WINDOW, Large, claim, tell_cut_off, window
from ringkv.router.lookup.lookup import Lookups


async def large(request: web.Request, lookups: Lookups, value: Large) -> web.StreamResponse:
    """The answer with the value, or the part of it that is asked for. Raises Refusal, ShardUnavailable."""
    part = place(request, value.size, value.dataset_id)
    if part is None:
        head, part = answer(b"", value.dataset_id), range(value.size)
    else:
        head = head_of_part(part, value.size, value.dataset_id)
    first: list[bytes] = []
    if request.method != hdrs.METH_HEAD:
        connection = request.protocol
        assert isinstance(connection, GuardedConnection)
        connection.keep(await claim(lookups, min(len(part), WINDOW)))
        first = await window(lookups, value, part.start, part.stop)
    return _Windows(lookups, value, part, first, head)


class _Windows(web.StreamResponse):
    """aiohttp sends its head and then calls `write_eof`, which sends the bytes, beginning with the `first` pieces."""

    def __init__(self, lookups: Lookups, value: Large, part: range, first: list[bytes], head: Answer) -> None:
        super().__init__(
            status=head.status, reason=head.reason, headers={**head.headers, hdrs.CONTENT_TYPE: CONTENT_TYPE}
        )
        self.content_length = len(part)
        self._lookups = lookups
        self._value = value
        self._part = part
        self._pieces = first

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._req
        try:
            await self._write()
        except ShardUnavailable as error:
            tell_cut_off(self._value, error)
            if request is not None and request.transport is not None:
                reset(request.transport)
        await super().write_eof(data)

    async def _write(self) -> None:
        at, pieces = self._part.start, self._pieces
        self._pieces = []
        while pieces:
            for piece in pieces:
                at += len(piece)
                await self.write(piece)
            pieces = await window(self._lookups, self._value, at, self._part.stop)

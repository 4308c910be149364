"""The server of aiohttp that makes guarded HTTP connections (`ringkv.process.http`)."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from aiohttp.web_request import BaseRequest

from ringkv.process.http import GuardedConnection, NoText
from ringkv.process.pipelined import Line

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


class HttpRunner(web.AppRunner):
    """A port of this application, whose connections `connection` makes, given the server and aiohttp's settings.

    A request's body is never decompressed: 2 MB of gzip may be 2 GB.
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
            partial(_handle, general.request_handler, Line()),
            request_factory=general.request_factory,
            handler_cancellation=general.handler_cancellation,
            loop=general._loop,  # noqa: SLF001 - aiohttp has no other way to bring one's own protocol
            **general._kwargs,  # noqa: SLF001
        )
        self._make_connection = connection

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # it may have something to read before HTTP
        return self._make_connection(self, loop=self._loop, **self._kwargs)


async def _handle(handler: Handler, line: Line, request: BaseRequest) -> web.StreamResponse:
    """Have aiohttp handle a request, unless its `Expect` is not ASCII: aiohttp would fail to answer with that."""
    expected = request.headers.get(hdrs.EXPECT, "")
    if not expected.isascii():
        raise NoText(f"no expectation: {expected[:60]!a}")
    connection = request.protocol
    if not isinstance(connection, GuardedConnection) or not connection.asks_on:
        return await handler(request)
    await line.turn()
    response = await handler(request)
    await line.turn()  # shards reply to many at once
    return response

"""A guarded HTTP connection by itself: how it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from ringkv.process.address import Address, bind
from ringkv.process.connections import ConnectionGuard, ConnectionLimits
from ringkv.process.http import GuardedConnection
from ringkv.process.http_runner import HttpRunner
from tests.support.http import read_response
from tests.support.processes import PATIENCE

LENGTH = 1_000_000
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LENGTH

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[tuple[HttpRunner, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A port that may take longer to end than a test waits, and a connection to it."""
    app = web.Application()
    app.router.add_post("/", handler)
    guard = ConnectionGuard(ConnectionLimits(body=2 * PATIENCE))
    port = HttpRunner(
        app,
        lambda server, **settings: GuardedConnection(server, guard, **settings),
        shutdown_timeout=2 * PATIENCE,
        lingering_time=2 * PATIENCE,
    )
    await port.setup()
    listening = bind(Address("127.0.0.1", 0))
    await web.SockSite(port, listening).start()
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            yield port, reader, writer
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("rest", [b"", b"x" * 100_000], ids=["nothing more comes", "more comes"])
async def test_the_rest_of_a_body_that_nobody_wants_delays_no_end(rest: bytes) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=403, text="no\n")

    async with served(refuse) as (port, reader, writer):
        writer.write(HEAD + b"x")
        assert (await read_response(reader)).status == 403
        writer.write(rest)
        await port.cleanup()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):  # a reset, or the end
            await reader.readexactly(1)


async def test_a_request_that_is_being_answered_is_answered_at_the_end() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        body = await request.read()
        begun.set()
        await go_on.wait()
        return web.Response(text=f"{len(body)}\n")

    async with served(late) as (port, reader, writer):
        writer.write(HEAD + b"x" * LENGTH)
        await begun.wait()
        ending = asyncio.create_task(port.cleanup())
        await asyncio.sleep(0)
        go_on.set()
        assert (await read_response(reader)).body == b"1000000\n"
        await ending

"""A client that has gone while it was not read from is noticed in a second or two, whatever is under way for it."""

import asyncio
import socket
from pathlib import Path
from typing import cast

import pytest

from ringkv.process.connections import DEFAULT_LIMITS, ConnectionGuard
from ringkv.process.gone import has_gone
from ringkv.process.http import reset
from tests.process.test_connections import PORTS
from tests.support.processes import eventually

PIPELINED = 80_000
"""Requests: more bytes than are read of a client that is not answered."""


def is_read_from(guard: ConnectionGuard) -> bool:
    (connection,) = guard._records  # noqa: SLF001 - nothing outside shows it
    transport = getattr(connection, "transport", None) or getattr(connection, "_transport", None)
    return isinstance(transport, asyncio.Transport) and transport.is_reading()


@pytest.mark.parametrize("name", ["the lane", "aiohttp", "redis"])
async def test_who_has_gone_is_noticed_though_nothing_is_read_from_him(name: str, tmp_path: Path) -> None:
    async with PORTS[name](DEFAULT_LIMITS, tmp_path) as port, port.client() as (_, writer):
        port.silent()
        writer.write(PIPELINED * port.request)
        await eventually(lambda: len(port.guard) == 1 and not is_read_from(port.guard))
        reset(cast("asyncio.Transport", writer.transport))
        await eventually(lambda: len(port.guard) == 0, patience=3.0)


async def test_who_has_closed_his_sending_side_has_not_gone() -> None:
    made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.set_result(transport)

        def eof_received(self) -> bool:
            return True

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        transport = await made
        assert not has_gone(transport)
        transport.pause_reading()
        client.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0)
        assert not has_gone(transport)
    transport.abort()
    server.close()

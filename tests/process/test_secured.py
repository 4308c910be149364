"""A handshake is guarded as a request is: it takes a place, and who does not end it is let go."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringkv.process.access import Access
from ringkv.process.address import Address, Listening, bind, listen
from ringkv.process.connections import ConnectionGuard, ConnectionLimits
from ringkv.process.secured import UNREAD
from ringkv.process.tls import ServerFiles, ServerTls
from tests.support.certificates import Authority
from tests.support.processes import eventually


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


async def served(
    authority: Authority, limits: ConnectionLimits, protocol: Callable[[], asyncio.Protocol] = Echo
) -> tuple[Listening, ConnectionGuard, int]:
    issued = authority.issue("server")
    guard = ConnectionGuard(limits)
    access = Access(tls=ServerTls(ServerFiles(issued.certificate, issued.key)))
    server = await listen(bind(Address("127.0.0.1", 0)), access.secured(protocol, guard))
    return server, guard, server.address.port or 0


async def test_who_does_not_end_the_handshake_is_let_go(authority: Authority) -> None:
    server, guard, port = await served(authority, ConnectionLimits(header=0.3))
    async with server:
        for sent in (b"", b"\x16\x03\x01\x02\x00"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert await reader.read() == b""
            writer.close()
        assert guard.closed["header"] == 2
        assert len(guard) == 0


async def test_a_handshake_has_as_long_as_the_limit_says(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.constants.SSL_HANDSHAKE_TIMEOUT", 0.05)
    server, guard, port = await served(authority, ConnectionLimits(header=0.3))
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        assert guard.closed["header"] == 1


async def test_a_handshake_takes_a_place(authority: Authority) -> None:
    server, guard, port = await served(authority, ConnectionLimits(most=2))
    async with server:
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        await eventually(lambda: len(guard) == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.trusting())
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert guard.closed["evicted"] == 1
        for each in (*writers, writer):
            each.transport.abort()


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x16\x03\x01\xff\xff" + bytes(70_000)]
)
async def test_what_is_no_handshake_is_closed_without_a_line(
    authority: Authority, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    server, guard, port = await served(authority, ConnectionLimits())
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()
        await eventually(lambda: len(guard) == 0)
    assert [record for record in caplog.records if record.levelname not in {"DEBUG", "INFO"}] == []


async def test_a_unix_socket_is_not_encrypted(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("server")
    access = Access(tls=ServerTls(ServerFiles(issued.certificate, issued.key)))
    path = str(tmp_path / "s")
    server = await listen(bind(Address(path, None)), access.secured(Echo, ConnectionGuard()))
    async with server:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.transport.abort()


async def test_of_who_is_not_read_from_little_is_taken(authority: Authority) -> None:
    """What a client has sent and nobody has taken is counted for nobody."""
    deaf: list[Any] = []

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            deaf.append(transport)

        def connection_lost(self, _exc: Exception | None) -> None:
            deaf.clear()

    server, _, port = await served(authority, ConnectionLimits(), Deaf)
    async with server:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.trusting())
        await eventually(lambda: deaf)
        (transport,) = deaf
        sent = 0
        while not writer.transport.get_write_buffer_size():
            writer.write(bytes(UNREAD))
            sent += UNREAD
            await asyncio.sleep(0.001)
        assert transport.get_read_buffer_limits()[1] == UNREAD
        assert UNREAD <= transport.get_read_buffer_size() < sent
        transport.abort()
        await eventually(lambda: not deaf)
        writer.transport.abort()

"""The PROXY protocol: the peer is who the header tells, what follows is served, and what is no header is closed."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

import ringkv.process.proxied
from ringkv.process.connections import ConnectionGuard, ConnectionLimits
from ringkv.process.proxied import SIGNATURE, Proxied
from tests.support.processes import eventually

ONE = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
ONE_IPV6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"


def two(family: int, addresses: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 56324, 443)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + struct.pack("!HH", 56324, 443)
TOLD = {
    "version 1": (ONE, "192.0.2.1:56324"),
    "version 1, IPv6": (ONE_IPV6, "2001:db8::1:56324"),
    "version 2": (two(0x11, V4), "192.0.2.1:56324"),
    "version 2, IPv6": (two(0x21, V6), "2001:db8::1:56324"),
    "version 2 with more": (two(0x11, V4 + b"\x01\x00\x02h2"), "192.0.2.1:56324"),
}
UNTOLD = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN a b 1 2\r\n",
    two(0x11, V4, 0x20),
    two(0x00, b""),
    two(0x31, bytes(216)),
]
MALFORMED = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PROXY TCP4 192.0.2.1\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
    b"PROXY TCP4 nobody 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 99999 2\r\n",
    b"PROXY " + b"x" * 200,
    two(0x11, V4[:8]),
    two(0x12, V4),
    two(0x11, V4, 0x31),
    SIGNATURE + b"\x21\x11\xff\xff",
]


class Echo(asyncio.Protocol):
    """Tells each client who it is, and then all that it sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport
        host, port = transport.get_extra_info("peername")[:2]
        transport.write(f"{host}:{port} ".encode())

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)
        if data.endswith(b"!"):
            self._transport.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    guard = ConnectionGuard()
    server = await asyncio.get_running_loop().create_server(lambda: Proxied(guard, Echo), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.transport.abort()
        server.close()


@pytest.mark.parametrize(("header", "peer"), TOLD.values(), ids=TOLD)
async def test_the_peer_is_who_the_header_tells_wherever_it_is_cut(header: bytes, peer: str) -> None:
    for at in range(1, len(header) + 1, 5):
        async with connected() as (reader, writer):
            writer.write(header[:at])
            await asyncio.sleep(0.001)
            writer.write(header[at:] + b"hello!")
            assert await reader.read() == f"{peer} hello!".encode()


@pytest.mark.parametrize("header", UNTOLD)
async def test_where_none_is_told_it_is_who_connected(header: bytes) -> None:
    async with connected() as (reader, writer):
        writer.write(header + b"hello!")
        host, port = writer.get_extra_info("sockname")
        assert await reader.read() == f"{host}:{port} hello!".encode()


@pytest.mark.parametrize("data", MALFORMED)
async def test_what_is_no_header_is_closed_and_logged(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with connected() as (reader, writer):
        writer.write(data)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert "a connection without a header of the PROXY protocol is closed: " in caplog.text


async def test_a_header_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ringkv.process.proxied, "PATIENCE", 0.05)
    async with connected() as (reader, writer):
        writer.write(ONE[:9])
        assert await reader.read() == b""
    assert "it has not come in time" in caplog.text


async def test_who_has_sent_the_header_stays_for_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.process.proxied, "PATIENCE", 1.0)
    async with connected() as (reader, writer):
        writer.write(ONE)
        assert await reader.readuntil(b" ") == b"192.0.2.1:56324 "
        await asyncio.sleep(1.2)
        writer.write(b"hello!")
        assert await reader.read() == b"hello!"


async def test_who_leaves_before_the_header_is_not_worth_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ringkv.process.proxied, "PATIENCE", 0.2)
    async with connected() as (reader, writer):
        writer.write_eof()
        assert await reader.read() == b""
    assert caplog.text == ""
    async with connected() as (reader, writer):  # who came later is waited for longer
        assert await reader.read() == b""
    assert len(caplog.records) == 1


async def test_who_sends_no_header_takes_a_place_and_none_of_the_address_of_the_proxy() -> None:
    guard = ConnectionGuard(ConnectionLimits(most=3, per_peer=1))
    server = await asyncio.get_running_loop().create_server(lambda: Proxied(guard, Echo), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    async with server, asyncio.timeout(20):
        silent = [await asyncio.open_connection(*address) for _ in range(3)]
        await eventually(lambda: len(guard) == 3)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(ONE + b"hello!")
        assert await reader.read() == b"192.0.2.1:56324 hello!"
        assert await silent[0][0].read() == b""
        assert guard.closed["evicted"] == 1
        for _, each in (*silent, (reader, writer)):
            each.transport.abort()
        await eventually(lambda: not guard)

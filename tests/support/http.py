"""A small HTTP client that shows exactly what the router sends, and is fast enough to ask for every key."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.processes import PATIENCE


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_bytes(target: str, method: str = "GET", headers: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode()


async def read_response(reader: asyncio.StreamReader, *, head: bool = False) -> Response:
    """The next response of the connection; one to HEAD has no body. Raises IncompleteReadError if it is cut off."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("Transfer-Encoding") == "chunked" and not head:
        chunks = [chunk async for chunk in read_chunks(reader)]
        trailers = dict(line.split(": ", 1) for line in chunks.pop().decode().splitlines())
        return Response(int(status.split(" ")[1]), headers, b"".join(chunks), trailers)
    body = b"" if head else await reader.readexactly(int(headers.get("Content-Length", "0")))
    return Response(int(status.split(" ")[1]), headers, body)


async def read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The chunks of a body, and then the lines of its trailers. Raises IncompleteReadError if it is cut off."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    trailers = b""
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        trailers += line
    yield trailers


async def fetch(  # noqa: PLR0917 - as a request is written
    host: str, port: int, target: str, method: str = "GET", headers: str = "", body: bytes = b""
) -> Response:
    """One request on a connection of its own."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            writer.write(request_bytes(target, method, length + headers) + body)
            return await read_response(reader, head=method == "HEAD")
        finally:
            writer.close()
            await writer.wait_closed()


def vanish(writer: asyncio.StreamWriter) -> None:
    """End the connection with a reset, so that the other side knows that nobody waits for its answer."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class _Asking(asyncio.Protocol):
    """One keep-alive connection that asks for one key after the other and counts the answers that are as expected."""

    def __init__(self, pairs: Iterator[tuple[bytes, bytes | None]], wrong: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs
        self._wrong = wrong
        self._buffer = b""
        self._expected = b""
        self._key = b""
        self.asked = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        pair = next(self._pairs, None)
        if pair is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self.asked += 1
        self._key, value = pair
        status, body = (404, b"no such key in the dataset\n") if value is None else (200, value)
        self._expected = b"%d %b" % (status, body)
        self._transport.write(b"GET /%b HTTP/1.1\r\nHost: test\r\n\r\n" % self._key)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        at = head.index(b"Content-Length: ") + 16
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._buffer = b""
        answer = head[9:13] + body
        if answer != self._expected:
            self._wrong.append((self._key, answer[:200]))
        self._next()

    def close(self) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the router closed the connection"))


async def ask_for_all(
    host: str, port: int, pairs: Iterable[tuple[bytes, bytes | None]], connections: int = 32
) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Ask for all keys; how many that were, and the answers other than the value, or 404 where that is None."""
    asking = iter(pairs)
    wrong: list[tuple[bytes, bytes]] = []
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: _Asking(asking, wrong), host, port))[1] for _ in range(connections)
    ]
    try:
        await asyncio.gather(*(client.done for client in clients))
    finally:
        for client in clients:
            client.close()
    return sum(client.asked for client in clients), wrong

"""The router's Redis port in the test's own process, and a client of it that writes any bytes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis

from ringkv.process.address import Address
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionGuard, ConnectionLimits
from ringkv.process.tokens import TokenFile
from ringkv.resp import codec
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.redis.port import RedisPort
from tests.support.processes import PATIENCE
from tests.support.resp import command


def told(reply: object) -> str:
    """The text of an error reply."""
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


class AsyncClient:
    """One connection that reads one reply at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = reader
        self.writer = writer
        self._replies = codec.reader()

    def send(self, *requests: bytes) -> None:
        self.writer.write(b"".join(requests))

    async def read(self) -> Any:
        """The next reply; an error is returned. Raises ConnectionError at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            while (reply := self._replies.gets()) is codec.NOT_ENOUGH:
                data = await self._stream.read(1 << 20)
                if not data:
                    raise ConnectionError("closed")
                self._replies.feed(data)
        return reply

    async def __call__(self, *args: bytes | str | int) -> Any:
        self.send(command(*args))
        return await self.read()

    async def info(self) -> dict[str, str]:
        text = (await self("INFO")).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class ServedPort:
    """A port that listens on a Unix socket."""

    def __init__(
        self,
        lookups: Lookups,
        address: Address,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        tokens: TokenFile | None = None,
    ) -> None:
        self.lookups = lookups
        self.port = RedisPort(lookups, ConnectionGuard(limits), tokens=tokens)
        self.address = address
        self._clients: list[AsyncClient] = []

    async def start(self) -> None:
        self._server = await self.address.listen(self.port.connection)

    async def connect(self) -> AsyncClient:
        """A connection that ends with the port."""
        client = AsyncClient(*await asyncio.open_unix_connection(self.address.host))
        self._clients.append(client)
        return client

    async def drain(self, seconds: float) -> None:
        """As the router does when it stops."""
        self._server.close()
        await self.port.drain(seconds)

    async def end(self) -> None:
        await self.drain(0)
        for client in self._clients:
            client.writer.transport.abort()
        await self._server.wait_closed()


Serve = Callable[..., Awaitable[ServedPort]]

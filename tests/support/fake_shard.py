"""A shard that does what a test tells it: answers late, wrongly, by halves or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from cluster import resp
from cluster.address import Address
from cluster.lease import Leased
from cluster.ring import build_ring
from router.link import Link
from router.topology import Topology

Answer = Callable[["FakeShard", bytes], bytes | None]
"""From a key to the reply's bytes, or None for silence."""

BatchAnswer = Callable[["FakeShard", list[bytes]], bytes | None]
"""The same for the keys of one MGET."""

PARTITIONS = 256


def value(shard: "FakeShard", key: bytes) -> bytes:
    return resp.bulk(b"%b of %b" % (key, shard.name.encode()))


def silence(_shard: "FakeShard", _key: bytes) -> None:
    return None


def nothing(_shard: "FakeShard", _key: bytes) -> bytes:
    return resp.NULL


def not_loaded(_shard: "FakeShard", _key: bytes) -> bytes:
    return resp.error("NOTLOADED", "partition 7 is not loaded here; ask an owner of it")


def corrupt(_shard: "FakeShard", _key: bytes) -> bytes:
    return resp.error("CORRUPT", "/data: partition 7 is damaged")


def close(shard: "FakeShard", _key: bytes) -> None:
    shard.abort()


def half_then_close(shard: "FakeShard", key: bytes) -> None:
    shard.write(value(shard, key)[:-9])
    shard.close()


def garbage(_shard: "FakeShard", _key: bytes) -> bytes:
    return b"HTTP/1.1 400 Bad Request\r\n\r\n"


def each(shard: "FakeShard", keys: list[bytes]) -> bytes | None:
    """MGET as GET for each key: an error, garbage or silence for one is that for all."""
    replies = []
    for key in keys:
        reply = shard.answer(shard, key)
        if reply is None or reply[:1] != b"$":
            return reply
        replies.append(reply)
    return resp.array(replies)


class FakeShard:
    """One server on a Unix socket; `asked` are the keys that arrived, in order, `batches` the sizes of MGETs."""

    def __init__(self, name: str, address: Address, answer: Answer) -> None:
        self.name = name
        self.address = address
        self.answer = answer
        self.answer_batch: BatchAnswer = each
        self.asked: list[bytes] = []
        self.batches: list[int] = []
        self._changed = asyncio.Event()
        self._transports: list[asyncio.Transport] = []
        self.links: list[Link] = []

    async def start(self) -> None:
        self._server = await self.address.listen(lambda: _Session(self))

    async def arrived(self, count: int) -> None:
        """Wait until so many keys have been asked for."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self._changed.clear()
                await self._changed.wait()

    def write(self, data: bytes) -> None:
        """Send to whoever is connected."""
        for transport in self._transports:
            transport.write(data)

    def close(self) -> None:
        """End the connections once all is sent."""
        for transport in self._transports:
            transport.close()

    def abort(self) -> None:
        """End the connections at once, as the death of the process does."""
        for transport in self._transports:
            transport.abort()

    async def link(self) -> Link:
        """A connection to this shard that ends with it."""
        link = await self.address.connect(Link)
        self.links.append(link)
        return link

    async def end(self) -> None:
        self._server.close()
        self.abort()
        for link in self.links:
            link.close()
            await link.closed
        await self._server.wait_closed()

    def _connected(self, transport: asyncio.Transport) -> None:
        self._transports.append(transport)

    def _get(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        self._changed.set()
        return self.answer(self, key)

    def _mget(self, keys: list[bytes]) -> bytes | None:
        self.asked += keys
        self.batches.append(len(keys))
        self._changed.set()
        return self.answer_batch(self, keys)


class _Session(asyncio.Protocol):
    def __init__(self, shard: FakeShard) -> None:
        self._shard = shard
        self._reader = resp.reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._shard._connected(self._transport)  # noqa: SLF001 - one thing in two classes

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (args := cast("Any", self._reader.gets())) is not resp.NOT_ENOUGH:
            shard = self._shard
            reply = shard._mget(args[1:]) if args[0] == b"MGET" else shard._get(args[-1])  # noqa: SLF001
            if reply is not None:
                self._transport.write(reply)


Start = Callable[..., Awaitable[list[FakeShard]]]


async def topology_of(shards: list[FakeShard], replicas: int, epoch: int = 1) -> Topology:
    """A topology with a link of its own to each shard."""
    links = {shard.name: await shard.link() for shard in shards}
    ring = build_ring(links, replicas, PARTITIONS)
    return Topology.build(epoch, f"dataset-{epoch}", ring, links, dict.fromkeys(links, Leased(1, 100)))

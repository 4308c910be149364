"""The router's work on GETs at its Redis port: reading them, asking three shards, and answering in order."""

import asyncio
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.conftest import Nowhere
from ringkv.cluster.lease import Leased
from ringkv.cluster.ring import build_ring
from ringkv.process.connections import ConnectionGuard
from ringkv.resp import codec
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.redis.port import RedisConnection, RedisPort

VALUE = 60 * b"v"


class Shard(Nowhere):
    """Answers what is written to it in the next turn of the loop; the answers are made once and kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: Link) -> None:
        super().__init__()
        self._loop = loop
        self._link = link
        self._known: dict[bytes, bytes] = {}

    def write(self, data: bytes | bytearray | memoryview) -> None:
        request = bytes(data)
        if request not in self._known:
            self._known[request] = b"".join(self._replies(request))
        self._loop.call_soon(self._link.data_received, self._known[request])

    @staticmethod
    def _replies(request: bytes) -> Iterator[bytes]:
        reader = codec.reader()
        reader.feed(request)
        while (args := reader.gets()) is not codec.NOT_ENOUGH:
            assert isinstance(args, list)
            yield codec.array([codec.bulk(VALUE)] * (len(args) - 1)) if args[0] == b"MGET" else codec.bulk(VALUE)


@pytest.fixture
def connection(nowhere: Nowhere, loop: asyncio.AbstractEventLoop) -> RedisConnection:
    async def connect() -> RedisConnection:
        links = {name: Link() for name in ("shard-1", "shard-2", "shard-3")}
        for link in links.values():
            link.connection_made(Shard(loop, link))
        lookups = Lookups()
        leased = dict.fromkeys(links, Leased(1, 100))
        lookups.swap(Topology.build(1, "dataset", build_ring(links, 1, 4096), links, leased))
        made = RedisPort(lookups, ConnectionGuard()).connection()
        made.connection_made(nowhere)
        return made

    return loop.run_until_complete(connect())


@pytest.mark.parametrize("pipelined", [1, 16, 128])
def test_gets_that_arrive_together_and_their_replies(
    benchmark: BenchmarkFixture,
    connection: RedisConnection,
    loop: asyncio.AbstractEventLoop,
    keys: list[bytes],
    pipelined: int,
) -> None:
    request, server = codec.get_commands(keys[:pipelined]), connection.server

    async def answered() -> None:
        until = server.commands + pipelined
        connection.data_received(request)
        while server.commands < until:  # noqa: ASYNC110 - a turn of the loop is what is measured
            await asyncio.sleep(0)

    benchmark(lambda: loop.run_until_complete(answered()))

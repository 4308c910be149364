"""A router's whole work on a request, from the client's bytes to the response's: in the express lane, and without."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from aiohttp.web_protocol import RequestHandler
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.conftest import Nowhere
from ringkv.cluster.lease import Leased
from ringkv.cluster.ring import build_ring
from ringkv.process.connections import ConnectionGuard
from ringkv.resp import codec
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.port import HttpPort, HttpSettings
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog
from ringkv.router.settings import Cluster, Discovery

CLIENTS = 64
REPLY = codec.bulk(60 * b"v")


@dataclass(frozen=True, slots=True)
class Router:
    """A router between clients and shards that are not there."""

    runner: HttpPort
    clients: list[RequestHandler]
    links: list[Link]

    async def turn(self, requests: list[bytes]) -> None:
        """Each client asks once, and all shards have answered in the end."""
        for client, request in zip(self.clients, requests, strict=True):
            client.data_received(request)
        # aiohttp's own way takes a turn of the loop until it asks, and another one until it answers.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(link.in_flight for link in self.links) == len(requests)
        for link in self.links:
            link.data_received(link.in_flight * REPLY)
        await asyncio.sleep(0)


@pytest.fixture(params=["express", "aiohttp"])
def router(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Iterator[Router]:
    made = loop.run_until_complete(start(express=request.param == "express"))
    yield made
    loop.run_until_complete(made.runner.cleanup())


async def start(*, express: bool) -> Router:
    lookups = Lookups()
    ring = build_ring(["shard-1", "shard-2", "shard-3"], 1, 256)
    links = {name: Link() for name in ring.names}
    for link in links.values():
        link.connection_made(Nowhere())
    lookups.swap(Topology.build(1, 32 * "0", ring, links, dict.fromkeys(links, Leased(0, 0))))
    controller = Controller(Cluster(Discovery(frozenset())), lookups, EventLog())
    guard = ConnectionGuard()
    reporter = Reporter(lookups, controller, guard)
    runner = HttpPort(lookups, reporter, guard, HttpSettings(shutdown_timeout=1, express=express))
    await runner.setup()
    assert runner.server is not None
    clients = [runner.server() for _ in range(CLIENTS)]
    for client in clients:
        client.connection_made(Nowhere())
    await asyncio.sleep(0)
    return Router(runner, clients, list(links.values()))


def test_one_request_of_each_of_64_clients(
    benchmark: BenchmarkFixture, router: Router, loop: asyncio.AbstractEventLoop, keys: list[bytes]
) -> None:
    requests = [b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n" % key for key in keys[:CLIENTS]]
    benchmark(lambda: loop.run_until_complete(router.turn(requests)))

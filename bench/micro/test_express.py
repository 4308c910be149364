"""A router's whole work on a request, from the client's bytes to the response's: in the express lane, and without."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from aiohttp.web_protocol import RequestHandler
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.conftest import Nowhere
from cluster import resp
from cluster.lease import Leased
from cluster.ring import build_ring
from router.app import build_app
from router.controller import Controller
from router.discovery import Discovery
from router.express import ExpressRunner, Lane
from router.link import Link
from router.lookup import Lookups
from router.reporter import Reporter
from router.topology import Topology

CLIENTS = 64
REPLY = resp.bulk(60 * b"v")


@dataclass(frozen=True, slots=True)
class Router:
    """A router between clients and shards that are not there."""

    runner: ExpressRunner
    clients: list[RequestHandler]
    links: list[Link]

    async def turn(self, requests: list[bytes]) -> None:
        """Each client asks once, and all shards have answered in the end."""
        for client, request in zip(self.clients, requests, strict=True):
            client.data_received(request)
        # aiohttp's own way takes a turn of the loop until it asks, and another one until it answers.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(link.unanswered for link in self.links) == len(requests)
        for link in self.links:
            link.data_received(link.unanswered * REPLY)
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
    app = build_app(lookups, Reporter(lookups, Controller(Discovery(frozenset()), 1, None, lookups)))
    runner = ExpressRunner(app, Lane(lookups) if express else None, access_log=None)
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

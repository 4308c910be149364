"""A router in the test's own process, with a fake shard behind it that answers as it is told."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from ringkv.process.connections import DEFAULT_LIMITS, ConnectionGuard, ConnectionLimits
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.port import HttpPort, HttpSettings
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog
from ringkv.router.settings import Cluster, Discovery
from tests.support.fake_shard import FakeShard, topology_of
from tests.support.http import Response, fetch


@dataclass
class Router:
    port: int
    lookups: Lookups
    shards: list[FakeShard]
    runner: web.AppRunner
    guard: ConnectionGuard

    async def __call__(self, target: str, method: str = "GET", headers: str = "") -> Response:
        return await fetch("127.0.0.1", self.port, target, method, headers)


Serve = Callable[..., Awaitable[Router]]


async def serve_with(shards: list[FakeShard], limits: ConnectionLimits = DEFAULT_LIMITS) -> Router:
    """Serve on a free port by a topology of these shards, on aiohttp's general path."""
    lookups = Lookups()
    lookups.swap(await topology_of(shards, 1))
    controller = Controller(Cluster(Discovery(frozenset())), lookups, EventLog())
    guard = ConnectionGuard(limits)
    reporter = Reporter(lookups, controller, guard)
    runner = HttpPort(lookups, reporter, guard, HttpSettings(shutdown_timeout=1, express=False))
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    await web.SockSite(runner, listening).start()
    return Router(listening.getsockname()[1], lookups, shards, runner, guard)

"""A router in the test's own process, with a fake shard behind it that answers as it is told."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from router.app import build_app
from router.controller import Controller
from router.discovery import Discovery
from router.lookup import Lookups
from router.reporter import Reporter
from tests.support.fake_shard import FakeShard, topology_of
from tests.support.http import Response, fetch


@dataclass
class Router:
    port: int
    lookups: Lookups
    shards: list[FakeShard]
    runner: web.AppRunner

    async def __call__(self, target: str, method: str = "GET", headers: str = "") -> Response:
        return await fetch("127.0.0.1", self.port, target, method, headers)


Serve = Callable[..., Awaitable[Router]]


async def serve_with(shards: list[FakeShard]) -> Router:
    """Serve on a free port by a topology of these shards, on aiohttp's general path."""
    lookups = Lookups()
    lookups.swap(await topology_of(shards, 1))
    controller = Controller(Discovery(frozenset()), 1, None, lookups)
    app = build_app(lookups, Reporter(lookups, controller))
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    await web.SockSite(runner, listening).start()
    return Router(listening.getsockname()[1], lookups, shards, runner)

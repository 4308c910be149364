"""The life of a router process: listen, keep the topology true, and leave without hurting a client."""

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from router.app import build_app
from router.controller import Controller
from router.discovery import Discovery
from router.express import ExpressRunner, Lane
from router.lookup import Lookups

log = logging.getLogger("ringkv.router")

DRAIN_SECONDS: Final = 6.0
"""How long requests in flight may take to end: above their deadline, below the 10 s after which Docker kills."""


@dataclass(frozen=True, slots=True)
class RouterSettings:
    shards: Discovery
    replicas: int = 1
    express: bool = True  # off only where the express lane is compared with its slow twin
    secret: str | None = field(default=None, repr=False)


async def serve(settings: RouterSettings, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve on a listening socket until `stop`, then until what is in flight is answered."""
    lookups = Lookups()
    controller = Controller(settings.shards, settings.replicas, settings.secret, lookups)
    lane = Lane(lookups) if settings.express else None
    runner = ExpressRunner(
        build_app(lookups, controller),
        lane,
        access_log=None,
        handler_cancellation=True,  # nobody waits for the reply to a client that has gone
        shutdown_timeout=DRAIN_SECONDS,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        log.info("router listens on %s", listening.getsockname())
        async with asyncio.TaskGroup() as tasks:
            reconciling = tasks.create_task(controller.run())
            await stop.wait()
            log.info("router is leaving: %d requests in flight", lookups.unanswered)
            await runner.cleanup()
            reconciling.cancel()
    finally:
        await runner.cleanup()
    log.info("router stopped")

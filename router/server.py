"""The life of a router process: listen, keep the topology true, and leave without hurting a client."""

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from cluster.address import listen
from router.app import build_app
from router.controller import Controller
from router.discovery import Discovery
from router.express import ExpressRunner, Lane
from router.lookup import Lookups
from router.redis import RedisPort
from router.reporter import Reporter

log = logging.getLogger("ringkv.router")

DRAIN_SECONDS: Final = 6.0
"""How long requests in flight may take to end: above their deadline, below the 10 s after which Docker kills."""


@dataclass(frozen=True, slots=True)
class RouterSettings:
    shards: Discovery
    replicas: int = 1
    express: bool = True  # off only where the express lane is compared with its slow twin
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process of a router has for itself: its listening sockets, and where it and the others tell figures.

    `figures` and `others` are files; one that is alone has none.
    """

    http: socket.socket
    redis: socket.socket | None = None
    figures: Path | None = None
    others: tuple[Path, ...] = ()


async def serve(settings: RouterSettings, worker: Worker, stop: asyncio.Event) -> None:
    """Serve until `stop`, then until what is in flight is answered."""
    lookups = Lookups()
    controller = Controller(settings.shards, settings.replicas, settings.secret, lookups)
    reporter = Reporter(lookups, controller, worker.figures, worker.others)
    redis = RedisPort(lookups)
    lane = Lane(lookups) if settings.express else None
    runner = ExpressRunner(
        build_app(lookups, reporter),
        lane,
        access_log=None,
        handler_cancellation=True,  # nobody waits for the reply to a client that has gone
        shutdown_timeout=DRAIN_SECONDS,
    )
    await runner.setup()
    try:
        async with reporter.telling(), asyncio.TaskGroup() as tasks:
            reconciling = tasks.create_task(controller.run())
            await web.SockSite(runner, worker.http).start()
            log.info("router listens on %s", worker.http.getsockname())
            listening = None
            if worker.redis is not None:
                listening = await listen(worker.redis, redis.connection)
                log.info("router speaks Redis on %s", worker.redis.getsockname())
            await stop.wait()
            log.info("router is leaving: %d requests in flight", lookups.unanswered)
            if listening is not None:
                listening.close()
            await asyncio.gather(runner.cleanup(), redis.drain(DRAIN_SECONDS))
            reconciling.cancel()
    finally:
        await runner.cleanup()
    log.info("router stopped")

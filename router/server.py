"""The life of a router process: listen, keep the topology true, and leave without hurting a client."""

import asyncio
import logging
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

from ringkv import __version__
from ringkv.process.address import Address, listen
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionGuard, ConnectionLimits
from ringkv.process.proxied import Proxied
from ringkv.process.words import counted
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.port import HttpPort, HttpSettings
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.controller import Cluster, Controller
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.policy import DRAIN_SECONDS, LINGER_SECONDS
from ringkv.router.redis.port import RedisPort

log = logging.getLogger("ringkv.router")


@dataclass(frozen=True, slots=True)
class RouterSettings:
    cluster: Cluster
    express: bool = True  # off only where the express lane is compared with its slow twin
    cors: str | None = None
    limits: ConnectionLimits = DEFAULT_LIMITS
    proxied: bool = False  # connections begin with a header of the PROXY protocol


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process of a router has for itself: its listening sockets, and the file where it writes its figures.

    `others` are the files of the other processes; a router of one process has no files.
    """

    http: socket.socket
    redis: socket.socket | None = None
    figures: Path | None = None
    others: tuple[Path, ...] = ()


async def serve(settings: RouterSettings, worker: Worker, stop: asyncio.Event) -> None:
    """Serve until `stop`, then until what is in flight is answered."""
    guard = ConnectionGuard(settings.limits)
    lookups = Lookups(budget=guard.budget)
    events = EventLog(worker.figures.stem if worker.figures else "router")
    events.note(Kind.START, f"the router has started, ringkv {__version__}")
    controller = Controller(settings.cluster, lookups, events)
    reporter = Reporter(lookups, controller, guard, worker.figures, worker.others)
    redis = RedisPort(lookups, guard)
    http = HttpPort(lookups, reporter, guard, HttpSettings(settings.cors, settings.proxied, settings.express))
    await http.setup()
    try:
        async with reporter.telling(), asyncio.TaskGroup() as tasks:
            reconciling = tasks.create_task(controller.run())
            site = web.SockSite(http, worker.http)
            await site.start()
            log.info("router listens on %s", Address.of(worker.http))
            listening = None
            if worker.redis is not None:
                listening = await listen(
                    worker.redis, partial(Proxied, redis.connection) if settings.proxied else redis.connection
                )
                log.info("router speaks Redis on %s", Address.of(worker.redis))
            await stop.wait()
            log.info("router is leaving: %s in flight", counted(lookups.in_flight, "request"))
            await site.stop()
            if listening is not None:
                listening.close()
            if http.server is not None and http.server.connections:
                await asyncio.sleep(LINGER_SECONDS)
            await asyncio.gather(http.cleanup(), redis.drain(DRAIN_SECONDS))
            reconciling.cancel()
    finally:
        await http.cleanup()
    log.info("router stopped")

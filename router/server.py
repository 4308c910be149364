"""The life of a router process: listen, keep the topology true, and leave without hurting a client."""

import asyncio
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Final

from aiohttp import web

from ringkv import __version__
from ringkv.process.access import Access
from ringkv.process.address import BACKLOG, Address, listen, listeners
from ringkv.process.budget import memory_of
from ringkv.process.connections import ConnectionGuard
from ringkv.process.proxied import Proxied
from ringkv.process.words import counted
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.app import Part
from ringkv.router.http.port import HttpPort, HttpSettings
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.policy import DRAIN_SECONDS, LINGER_MAX, LINGER_SECONDS
from ringkv.router.redis.port import RedisPort
from ringkv.router.settings import RouterSettings, Worker

log = logging.getLogger("ringkv.router")

LINGER_LOOK: Final = 0.03
"""Seconds between two looks at who is connected."""


async def serve(settings: RouterSettings, worker: Worker, stop: asyncio.Event) -> None:
    """Serve until `stop`, then until all requests in flight are answered. Raises StartupError."""
    access = settings.access.open()
    # Hot values count to the memory of the process, and leave less for its clients.
    hot_memory = min(settings.hot_memory // (1 + len(worker.others)), memory_of(settings.limits.memory) // 4)
    lookups = Lookups(hot_memory=hot_memory)
    events = EventLog(worker.figures.stem if worker.figures else "router")
    events.note(Kind.START, f"the router has started, ringkv {__version__}")
    controller = Controller(settings.cluster, lookups, events)
    guard = ConnectionGuard(settings.limits, reserved=hot_memory)
    lookups.budget = guard.budget
    files = (worker.figures, *worker.others) if worker.figures else ()
    reporter = Reporter(lookups, controller, guard, files, access.tokens)
    redis = RedisPort(lookups, guard, lambda: controller.teller.view, access.tokens)
    http_settings = HttpSettings(settings.cors, settings.proxied, settings.express, access=access)
    ports = {
        bound: HttpPort(lookups, reporter, guard, port_settings)
        for bound, port_settings in _http_ports(worker, http_settings)
    }
    for port in ports.values():
        await port.setup()
    _reload_on_hangup(access, redis)
    try:
        async with reporter.telling(), asyncio.TaskGroup() as tasks:
            reconciling = tasks.create_task(controller.run())
            sites = [
                web.SockSite(port, listener, backlog=BACKLOG)
                for bound, port in ports.items()
                for listener in listeners(bound)
            ]
            for site in sites:
                await site.start()
            log.info("router listens on %s", Address.of(worker.http))
            if worker.admin is not None:
                log.info("router tells operators on %s", Address.of(worker.admin))
            listening = None
            if worker.redis is not None:
                connection = access.secured(redis.connection, guard)
                listening = await listen(worker.redis, _behind_header(connection, guard, settings))
                log.info("router speaks Redis on %s", Address.of(worker.redis))
            await stop.wait()
            log.info("router is leaving: %s in flight", counted(lookups.in_flight, "request"))
            for site in sites:
                await site.stop()
            if listening is not None:
                listening.close()
            await _linger(guard, ports.values())
            await asyncio.gather(*(port.cleanup() for port in ports.values()), redis.drain(DRAIN_SECONDS))
            reconciling.cancel()
    finally:
        for port in ports.values():
            await port.cleanup()
    log.info("router stopped")


async def _linger(guard: ConnectionGuard, ports: Collection[HttpPort]) -> None:
    """Wait for requests that connected clients are about to send; the answers tell them to come on new connections."""
    begun = time.monotonic()
    while guard and (waited := time.monotonic() - begun) < LINGER_MAX:
        if waited >= LINGER_SECONDS and not guard.unheard():
            break
        for port in ports:
            port.leave()
        await asyncio.sleep(LINGER_LOOK)


def _reload_on_hangup(access: Access, redis: RedisPort) -> None:
    """Have SIGHUP read files again, in a child process; any other process begins anew on SIGHUP (process/run.py)."""

    def reload() -> None:
        access.reload()
        redis.server.recheck()

    if multiprocessing.parent_process() is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def _http_ports(worker: Worker, settings: HttpSettings) -> list[tuple[socket.socket, HttpSettings]]:
    """The sockets on which HTTP is spoken, each with its settings."""
    if worker.admin is None:
        return [(worker.http, settings)]
    # Operators connect directly, and not through the readers' proxy.
    admin = replace(settings, part=Part.ADMIN, proxied=False)
    return [(worker.http, replace(settings, part=Part.KEYS)), (worker.admin, admin)]


def _behind_header(
    connection: Callable[[], asyncio.Protocol], guard: ConnectionGuard, settings: RouterSettings
) -> Callable[[], asyncio.Protocol]:
    """A factory of connections that begin with a header of the PROXY protocol, if the settings say so."""
    return partial(Proxied, guard, connection) if settings.proxied else connection

"""The life of a shard process: open the dataset, listen, serve, and leave without hurting a reader."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from ringkv.dataset.dataset import Dataset
from ringkv.process.address import Address, bind
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionGuard, ConnectionLimits
from ringkv.process.handing import Handed
from ringkv.process.words import counted
from ringkv.resp.server import Client
from ringkv.shard.commands import COMMANDS
from ringkv.shard.connection import ShardConnection
from ringkv.shard.http import runner
from ringkv.shard.leases import Leases
from ringkv.shard.reads import Reads
from ringkv.shard.state import ShardState
from ringkv.shard.store import Store
from ringkv.shard.successor import Successor
from ringkv.shard.warmup import Warmup
from ringkv.shard.watch import watch

log = logging.getLogger("ringkv.shard")

DRAIN_SECONDS: Final = 8.0
"""How long routers get to move their leases to other shards: less than the 10 s after which Docker kills."""


WARM_RATE: Final = 256 << 20
"""Bytes a second: a million pairs in a fraction of a second, and of a disk or a processor only a part."""


@dataclass(frozen=True, slots=True)
class ShardSettings:
    path: Path
    name: str
    listen: Address
    http: Address | None = None
    leased: bool = False  # hold nothing until a router leases a ring, instead of everything
    secret: str | None = field(default=None, repr=False)
    warm_rate: int = WARM_RATE  # bytes a second that are read before anybody asks for them
    limits: ConnectionLimits = DEFAULT_LIMITS
    handed: Handed | None = None  # the folder, opened by who started the shard; without it `path` is opened

    def open(self) -> Dataset:
        """Raises PackedFileError."""
        return Dataset(self.path, self.handed.take()) if self.handed else Dataset.open(self.path)


async def serve(settings: ShardSettings, stop: asyncio.Event) -> None:
    """Serve until `stop`, then until the routers have let go.

    Raises StartupError, PackedFileError, and PackedFileChanged when a segment is overwritten.
    """
    successor = Successor(settings.path)
    with settings.open() as dataset:
        shard = Shard(settings, dataset)
        lives = shard.live(stop), watch(shard.state.store.blocks, shard.state.warmup), shard.state.warmup.run()
        tasks = [asyncio.create_task(life) for life in lives]
        if settings.handed is None:  # a successor of this process would open what the path names then
            tasks.append(asyncio.create_task(successor.watch(settings.name, dataset.manifest.dataset_id)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await shard.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error


class Shard:
    def __init__(self, settings: ShardSettings, dataset: Dataset) -> None:
        store = Store(dataset)
        warmup = Warmup(store.blocks, settings.warm_rate)
        secret = settings.secret.encode() if settings.secret else None
        reads, leases = Reads(store.blocks), Leases(store, warmup)
        guard = ConnectionGuard(settings.limits)
        self.state = ShardState(settings.name, store, reads, warmup, leases, guard=guard, secret=secret)
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._http: web.AppRunner | None = None

    async def live(self, stop: asyncio.Event) -> None:
        await self.start()
        await stop.wait()
        await self.drain()

    async def start(self) -> None:
        state, settings = self.state, self._settings
        if not all(segment.nowait for segment in state.store.dataset.segments):
            log.warning(
                "%s: its file system cannot tell what is in memory: the first read of each block takes a thread",
                settings.path,
            )
        if not settings.leased:
            state.standalone = await state.leases.grant(range(state.store.dataset.manifest.partitions))
        if settings.secret is None and not settings.listen.is_local:
            log.warning(
                "shard %s: whoever reaches %s can lease from it: set $RINGKV_SECRET", settings.name, settings.listen
            )
        self._server = await settings.listen.listen(self.connection)
        if settings.http is not None:
            self._http = runner(state)
            await self._http.setup()
            listening = bind(settings.http)
            await web.SockSite(self._http, listening).start()
            log.info("shard %s answers HTTP on %s", settings.name, Address.of(listening))
        log.info(
            "shard %s ready on %s: dataset %s, %d of %d keys leased",
            settings.name,
            settings.listen,
            state.store.dataset.manifest.dataset_id,
            state.store.blocks.keys,
            state.store.dataset.manifest.keys,
        )

    def connection(self) -> ShardConnection:
        """The protocol of a new connection."""
        return ShardConnection(self.state, COMMANDS)

    async def drain(self) -> None:
        """Announce the departure in the replies to heartbeats, and serve on until no router holds a lease."""
        self.state.draining = True
        leases = counted(len(self.state.leases), "lease")
        log.info("shard %s is leaving: waiting for %s to move", self.state.name, leases)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while leased := [client.closed for client in self.state.clients.values() if _holds_lease(client)]:
                    await asyncio.wait(leased)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._settings.listen.remove()
        for client in list(self.state.clients.values()):
            client.finish()
        if self._http is not None:
            await self._http.cleanup()
        self.state.reads.close()
        log.info("shard %s stopped", self.state.name)


def _holds_lease(client: Client) -> bool:
    return isinstance(client, ShardConnection) and client.lease is not None

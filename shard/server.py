"""The life of a shard process: open the packed file, listen, serve, and leave without hurting a reader."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from cluster.address import Address, bind
from dataset.packed import PackedFile
from shard.commands import COMMANDS
from shard.connection import ShardConnection
from shard.http import build_app
from shard.leases import Leases
from shard.state import ShardState
from shard.store import Store

log = logging.getLogger("ringkv.shard")

DRAIN_SECONDS: Final = 8.0
"""How long routers get to move their leases elsewhere: below the 10 s after which Docker kills."""


@dataclass(frozen=True, slots=True)
class ShardSettings:
    packed: Path
    name: str
    listen: Address
    http: Address | None = None
    leased: bool = False  # hold nothing until a router leases a ring, instead of everything
    secret: str | None = field(default=None, repr=False)


async def serve(settings: ShardSettings, stop: asyncio.Event) -> None:
    """Serve until `stop`, then until the routers have let go. Raises StartupError, PackedFileError."""
    with PackedFile.open(settings.packed) as packed:
        shard = Shard(settings, packed)
        try:
            await shard.start()
            await stop.wait()
            await shard.drain()
        finally:
            await shard.close()


class Shard:
    def __init__(self, settings: ShardSettings, packed: PackedFile) -> None:
        store = Store(packed)
        secret = settings.secret.encode() if settings.secret else None
        self.state = ShardState(settings.name, store, Leases(store), secret=secret)
        self._settings = settings
        self._connections: set[ShardConnection] = set()
        self._server: asyncio.Server | None = None
        self._http: web.AppRunner | None = None

    async def start(self) -> None:
        state, settings = self.state, self._settings
        if not settings.leased:
            state.standalone = await state.leases.grant(range(state.store.packed.header.partitions))
        self._server = await settings.listen.listen(self.connection)
        if settings.http is not None:
            self._http = web.AppRunner(build_app(state), access_log=None)
            await self._http.setup()
            listening = bind(settings.http)
            await web.SockSite(self._http, listening).start()
            log.info("shard %s answers HTTP on %s", settings.name, listening.getsockname())
        log.info(
            "shard %s ready on %s: dataset %s, %d of %d keys loaded",
            settings.name,
            settings.listen,
            state.store.packed.header.dataset_id,
            state.store.keys,
            state.store.packed.header.keys,
        )

    def connection(self) -> ShardConnection:
        """The protocol of a new connection."""
        return ShardConnection(self.state, COMMANDS, self._connections)

    async def drain(self) -> None:
        """Say so in the heartbeats, and serve on until no router holds a lease."""
        self.state.draining = True
        log.info("shard %s is leaving: waiting for %d leases to move", self.state.name, len(self.state.leases))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while leased := [connection.closed for connection in self._connections if connection.lease]:
                    await asyncio.wait(leased)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._settings.listen.remove()
        for connection in list(self._connections):
            connection.finish()
        if self._http is not None:
            await self._http.cleanup()
        log.info("shard %s stopped", self.state.name)

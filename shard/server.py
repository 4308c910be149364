"""The life of a shard process: open what it serves, listen, serve, and leave without hurting a reader."""

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Final

from ringkv.cluster.lease import Offered
from ringkv.dataset.catalog import Catalog
from ringkv.dataset.fetches import Fetches
from ringkv.dataset.mirror import MIRRORS, Mirror
from ringkv.dataset.remembered import Remembered
from ringkv.process.address import Listening
from ringkv.process.connections import ConnectionGuard
from ringkv.process.words import counted
from ringkv.resp.server import Client
from ringkv.shard.commands import COMMANDS
from ringkv.shard.connection import ShardConnection
from ringkv.shard.following import Following
from ringkv.shard.settings import Pinned, ShardSettings
from ringkv.shard.state import ShardState
from ringkv.shard.version import Version
from ringkv.shard.warmup import Pace

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger("ringkv.shard")

DRAIN_SECONDS: Final = 8.0
"""How long routers get to move their leases to other shards: less than the 10 s after which Docker kills."""

LEAVE_SECONDS: Final = 2.0
"""Seconds for which a shard that was replaced sends direct clients to the others: most learn of these sooner."""


async def serve(settings: ShardSettings, stop: asyncio.Event) -> None:
    """Serve until `stop`, then until the routers have let go.

    Raises StartupError, InvalidDataset, and DatasetOverwritten when a segment is overwritten and nothing else is left.
    """
    shard = Shard(settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, shard.hang_up)
    lives: list[asyncio.Future[None]] = [asyncio.create_task(shard.live(stop)), shard.state.versions.failed]
    try:
        await asyncio.wait(lives, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for life in lives:
            life.cancel()
        ended = await asyncio.gather(*lives, return_exceptions=True)
        await shard.close()
    for error in ended:
        if isinstance(error, Exception):
            raise error


class Shard:
    def __init__(self, settings: ShardSettings) -> None:
        """Raises StartupError."""
        secret = settings.secret.encode() if settings.secret else None
        guard = ConnectionGuard(settings.limits)
        fetches = Fetches(settings.fetch_rate)
        self._access = settings.access.open()
        tokens = self._access.tokens
        self.state = ShardState(
            settings.name,
            settings.leased,
            settings.place,
            fetches=fetches,
            guard=guard,
            secret=secret,
            tokens=tokens,
        )
        if settings.direct is not None:
            self.state.be_node(settings.direct.announce, settings.direct.grace)
        self._pace = Pace(settings.warm_rate, lambda: self.state.asked)
        self._settings = settings
        self._listening: list[Listening] = []
        self._http: web.AppRunner | None = None
        self._mirror: Mirror | None = None
        self._following: Following | None = None
        self._looking: asyncio.Task[None] | None = None

    async def live(self, stop: asyncio.Event) -> None:
        """Raises StartupError, InvalidDataset."""
        starting = asyncio.create_task(self.start())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stop.wait()
                await self.drain()
        finally:
            for task in (starting, stopped):
                task.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)

    async def start(self) -> None:
        """Answer HTTP at once, and RESP as soon as there is a version to serve.

        Raises StartupError, and InvalidDataset for a pinned dataset.
        """
        state, settings = self.state, self._settings
        if settings.http is not None:
            # As few shards speak HTTP, and it is a third of all that one would import.
            import ringkv.process.rootless  # noqa: F401, PLC0415 - before what follows
            from ringkv.shard.http import answer  # noqa: PLC0415

            self._http = await answer(settings.http, state, self._access)
        await self._open()
        if settings.secret is None and not settings.listen.is_local:
            log.warning(
                "shard %s: whoever reaches %s can lease from it: set $RINGKV_SECRET", settings.name, settings.listen
            )
        addresses = [settings.listen, settings.direct.listen if settings.direct else None]
        connection = self._access.secured(self.connection, state.guard)
        self._listening = [await address.listen(connection) for address in addresses if address]
        newest = state.versions.newest
        log.info(
            "shard %s ready on %s: dataset %s, %d of %d keys leased",
            settings.name,
            self._listening[0].address,
            newest.about.dataset_id,
            newest.store.blocks.keys,
            newest.dataset.manifest.keys,
        )

    async def _open(self) -> None:
        """Open and offer the first version, or begin to follow the catalog."""
        settings, versions = self._settings, self.state.versions
        if isinstance(settings.source, Pinned):
            dataset = settings.source.open()
            about = Offered(0, dataset.manifest.dataset_id, dataset.manifest.partitions)
            await versions.offer(Version(dataset, about, self._pace))
            return
        catalog = Catalog.at(settings.source.location)
        remembered = Remembered(settings.source.cache, catalog.location) if settings.source.cache else None
        if settings.source.cache and not catalog.objects.is_local:
            cache = settings.source.cache / MIRRORS / settings.name
            self._mirror = Mirror(cache, settings.source.cache_size, self.state.fetches)
        self._following = Following(catalog, versions, self._pace, remembered, self._mirror)
        self._looking = asyncio.create_task(self._following.run())
        self._looking.add_done_callback(versions.ended)
        await self._following.begun

    def connection(self) -> ShardConnection:
        """The protocol of a new connection."""
        return ShardConnection(self.state, COMMANDS)

    async def drain(self) -> None:
        """Announce the departure in the replies to heartbeats, and serve on until no router holds a lease.

        Clients that come directly are sent to others for a little longer, if there are others.
        """
        self.state.draining = True
        leases = counted(sum(map(_holds_lease, self.state.clients.values())), "lease")
        log.info("shard %s is leaving: waiting for %s to move", self.state.name, leases)
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while leased := [client.closed for client in self.state.clients.values() if _holds_lease(client)]:
                    await asyncio.wait(leased)
        except TimeoutError:
            return
        cluster = self.state.cluster
        if cluster is not None and cluster.replaced:
            await cluster.settled()
            await asyncio.sleep(LEAVE_SECONDS)

    def hang_up(self) -> None:
        """SIGHUP: read tokens and certificates again, and look at the catalog."""
        self._access.reload()
        self.state.recheck()
        self.look_now()

    def look_now(self) -> None:
        """Look at the catalog, if there is one."""
        if self._following is not None:
            self._following.look_now()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for listening in self._listening:
            listening.close()
        if self._listening:
            self._settings.listen.remove()
        for client in list(self.state.clients.values()):
            client.finish()
        if self._http is not None:
            await self._http.cleanup()
        if self.state.cluster is not None:
            await self.state.cluster.close()
        await self.state.versions.close()
        if self._mirror is not None:
            self._mirror.close()
        log.info("shard %s stopped", self.state.name)


def _holds_lease(client: Client) -> bool:
    return isinstance(client, ShardConnection) and client.lease is not None

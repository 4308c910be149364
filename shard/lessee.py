"""A connection to a shard that may hold a lease, as a router's does, and that reads one version: that of its lease.

LEASE ──► the version that is asked for ──► its ring, computed anew ──► the partitions of this shard ──► leased
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ringkv.cluster.errors import RingkvError
from ringkv.cluster.lease import WRONG_DATASET, WRONG_RING, LeaseRequest
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.ring import Ring, build_ring, ring_id
from ringkv.process.connections import Waiting
from ringkv.resp import codec
from ringkv.resp.claiming import ClaimingConnection
from ringkv.resp.command import Command
from ringkv.resp.pending import Pending
from ringkv.resp.session import Unchanged
from ringkv.shard.body import Read
from ringkv.shard.leases import Lease
from ringkv.shard.state import ShardState
from ringkv.shard.store import Store
from ringkv.shard.version import Version

log = logging.getLogger("ringkv.shard")


class Granting(Pending):
    """The reply to LEASE. It blocks, because commands behind it may read what the lease is about to allow."""

    __slots__ = ()

    blocks = True


class Lessee(ClaimingConnection):
    """Without a lease it reads the current version. `store` is what every request looks into, and `ask` what a GET of
    one key asks: for the value, or for the read that has to come before it. It raises as `Store.get`.

    `direct`: this seems to be a client of a Redis Cluster, as nothing has come that shows that it is a router.
    """

    store: Store
    ask: Callable[[bytes], bytes | Read | None]

    def __init__(self, state: ShardState, commands: Mapping[bytes, Command[Any]]) -> None:
        super().__init__(state, commands, state.guard)
        self.state = state
        self.lease: Lease | None = None
        self.direct = state.cluster is not None
        self._granting: asyncio.Task[None] | None = None
        self.go_over(state.versions.current)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.go_over(self.state.versions.current)
        self.state.versions.readers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.state.versions.readers.discard(self)
        self.state.gone(self)
        self._end_lease()

    def hold(self, size: int) -> None:
        """Not counted for a router with a lease, which bounds by itself what its clients make it ask for."""
        if self.lease is None:
            super().hold(size)

    def waiting(self) -> Waiting:
        """As for any connection, but a router with a lease may be silent for as long as it likes."""
        waiting = super().waiting()
        return ("nothing", 0) if waiting[0] in {"idle", "listens"} and self.lease is not None else waiting

    def be_router(self) -> None:
        """Note that this is the connection of a router, as a request has shown."""
        self.direct = False
        self.state.routers.add(self)

    def go_over(self, version: Version) -> None:
        """Read this version from now on."""
        self.version = version
        # Where no value can be large, GETs need not ask for the size first.
        large = version.store.blocks.largest > LARGE_VALUE
        self.store = version.bounded if large else version.store
        self.ask = version.bounded.get if large else version.asking.ask

    def reading(self) -> Unchanged:
        version = self.version
        return lambda: self.version is version

    def grant(self, request: LeaseRequest) -> Pending:
        """Begin to grant a lease. The connection must not hold one yet."""
        reply = Granting(self.notify)
        self._granting = asyncio.create_task(self._grant(request, reply))
        return reply

    async def _grant(self, request: LeaseRequest, reply: Pending) -> None:
        try:
            reply.answer(await self._granted(request))
        except Exception as error:
            log.exception("a lease failed")
            reply.answer(codec.error("ERR", str(error) or type(error).__name__))
        if self.closed.done():
            self._end_lease()
        if self.lease is None:
            self.state.versions.tidy()  # the lease may have failed, and with it the reason to keep a version

    def _end_lease(self) -> None:
        if self.lease is not None:
            self.version.leases.end(self.lease)
            self.lease = None
            if self.state.cluster is not None:
                self.state.cluster.left(self)
            self.state.versions.tidy()

    async def _granted(self, request: LeaseRequest) -> bytes:
        versions = self.state.versions
        version = versions.find(request.dataset_id)
        if version is None:
            return self._wrong_dataset()
        ring = await self._ring(request, version)
        if isinstance(ring, bytes):
            return ring
        if version not in versions.offered:  # it may have been replaced meanwhile
            return self._wrong_dataset()
        try:
            owned, extra = ring.owned_by(self.state.name), ring.extra_of(self.state.name)
            lease = await version.leases.grant(owned, extra)
        except RingkvError as error:
            return codec.error("ERR", str(error))
        if version.lost:
            version.leases.end(lease)
            return self._wrong_dataset()
        self.lease = lease
        version.extra = max(version.extra, request.extra)
        if self.state.cluster is not None:
            self.state.cluster.joined(self)
        self.go_over(version)
        versions.joined(version)
        log.info("leased ring %s: %d keys", request.ring_id[:8], lease.leased.keys)
        return codec.simple(lease.leased.reply())

    async def _ring(self, request: LeaseRequest, version: Version) -> Ring | bytes:
        """The ring that is to be leased, or the error reply that says why it cannot be."""
        name = self.state.name
        if name not in request.names:
            return codec.error(WRONG_RING, f"{name} is not one of the ring's shards")
        extra = request.extra.counts
        if extra and extra[-1][0] >= version.about.partitions:
            return codec.error(WRONG_RING, f"{name} serves {version.about.partitions} partitions")
        inputs = (request.names, request.replicas, version.about.partitions, request.places, extra)
        found = ring_id(*inputs)
        if found != request.ring_id:
            return codec.error(WRONG_RING, f"{name} computes ring {found}: versions differ")
        # One at a time, however many ask: a large ring takes seconds of a processor, and a hundred megabytes.
        async with self.state.building:
            if self.closed.done() or self._ended:
                return codec.error("ERR", "a lease ends with its connection, which the client has closed")
            # In a thread: placing 16,384 partitions takes longer than a reader should wait.
            return await asyncio.to_thread(build_ring, *inputs)

    def _wrong_dataset(self) -> bytes:
        offered = " and ".join(version.about.dataset_id for version in self.state.versions.offered)
        return codec.error(WRONG_DATASET, f"{self.state.name} serves dataset {offered}")

"""A connection to a shard: any client's, and for a router also the lease that it holds.

It reads one version, that of its lease, else the current one: `store` is what every request looks into.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from ringkv.cluster.errors import BlockNotFetched, DatasetError, InvalidKey, PartitionNotLeased, RingkvError
from ringkv.cluster.lease import WRONG_DATASET, WRONG_RING, LeaseRequest
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.position import are_canonical, canonical, is_canonical, slot, slot_shift
from ringkv.cluster.ring import Ring, build_ring, ring_id
from ringkv.process.connections import Waiting
from ringkv.resp import codec
from ringkv.resp.claiming import ClaimingConnection
from ringkv.resp.command import Command
from ringkv.resp.limits import FLUSH_BYTES
from ringkv.resp.pending import Awaited, Pending
from ringkv.resp.session import Unchanged
from ringkv.shard.body import NotInMemory, Read
from ringkv.shard.cold import Cold
from ringkv.shard.heat import WORK_SHIFT
from ringkv.shard.leases import Lease
from ringkv.shard.node import ClusterNode
from ringkv.shard.reading import Make, Reading
from ringkv.shard.refusal import refusal
from ringkv.shard.state import ShardState
from ringkv.shard.store import Store
from ringkv.shard.version import Version

log = logging.getLogger("ringkv.shard")


class Granting(Pending):
    """The reply to LEASE. It blocks, because commands behind it may read what the lease is about to allow."""

    __slots__ = ()

    blocks = True


class ShardConnection(ClaimingConnection):
    """`direct`: this seems to be a client of a Redis Cluster, as nothing has come that shows that it is a router."""

    def __init__(self, state: ShardState, commands: Mapping[bytes, Command[Any]]) -> None:
        super().__init__(state, commands, state.guard)
        self.state = state
        self.heat = state.heat
        self.lease: Lease | None = None
        self.direct = state.cluster is not None
        self._granting: asyncio.Task[None] | None = None
        self.store: Store
        self.go_over(state.versions.current)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.go_over(self.state.versions.current)
        self.state.versions.readers.add(self)

    def hold(self, size: int) -> None:
        """Not counted for a router with a lease, which bounds by itself what its clients make it ask for."""
        if self.lease is None:
            super().hold(size)

    def waiting(self) -> Waiting:
        """As for any connection, but a router with a lease may be silent for as long as it likes."""
        waiting = super().waiting()
        return ("nothing", 0) if waiting[0] in {"idle", "listens"} and self.lease is not None else waiting

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.state.versions.readers.discard(self)
        self.state.gone(self)
        self._end_lease()

    def go_over(self, version: Version) -> None:
        """Read this version from now on."""
        self.version = version
        # Where no value can be large, GETs need not ask for the size first.
        self.store = version.bounded if version.store.blocks.largest > LARGE_VALUE else version.store

    def reading(self) -> Unchanged:
        version = self.version
        return lambda: self.version is version

    def gets(self, keys: list[bytes]) -> int:
        """As `Connection.gets`: up to the first key that has to be waited for, or FLUSH_BYTES of replies."""
        # Only routers have leases, and they have checked their keys already.
        if self.lease is None and not (is_canonical(keys[0]) if len(keys) == 1 else are_canonical(keys)):
            return 0
        if len(keys) == 1 and self.store is self.version.store:
            return self._get(keys[0])
        return self._gets(keys)

    def _gets(self, keys: list[bytes]) -> int:
        parts: list[bytes] = []
        null, heads, answered, size = self.null, codec.HEADS, 0, 0
        cold: Read | None = None
        try:
            for value in self.store.each(keys):
                if value is None:
                    parts.append(null)
                else:
                    parts += (heads[len(value)], value, b"\r\n")
                    size += len(value)
                answered += 1
                if size >= FLUSH_BYTES:
                    break
        except NotInMemory as missing:
            cold = missing.read
        except (DatasetError, ValueError):
            pass  # suppress() would take half a microsecond
        if answered:
            self._write(parts, answered)
            heat = self.heat
            heat.skip -= answered + (size >> WORK_SHIFT)
            if heat.skip < 0:
                self.note(keys[:answered])
        if cold is None:
            return answered
        self.expect(self.read_one(keys[answered], cold), 1)
        return answered + 1

    def _get(self, key: bytes) -> int:
        """As `gets`, of one key."""
        try:
            found = self.version.asking.ask(key)
        except (DatasetError, NotInMemory, ValueError):
            return 0
        if isinstance(found, Read):
            self.expect(self.read_one(key, found), 1)
        else:
            self._write([self.value(key, found, self.null)], 1)
        return 1

    def value(self, key: bytes, value: bytes | None, null: bytes) -> bytes:
        """The reply to GET of a key, whose work is counted."""
        heat = self.heat
        if value is None:
            heat.skip -= 1
            reply = null
        else:
            size = len(value)
            heat.skip -= 1 + (size >> WORK_SHIFT)
            reply = b"%b%b\r\n" % (codec.HEADS[size], value)
        if heat.skip < 0:
            self.note([key])
        return reply

    def worked(self, keys: list[bytes], size: int) -> None:
        """Count the work of a reply with values of these keys, of `size` bytes."""
        self.heat.skip -= len(keys) + (size >> WORK_SHIFT)
        if self.heat.skip < 0:
            self.note(keys)

    def note(self, keys: list[bytes]) -> None:
        """Have some of the keys counted that were answered."""
        about = self.version.about
        self.heat.note(keys, about.dataset_id, about.partitions)

    def be_router(self) -> None:
        """Note that this is the connection of a router, as a request has shown."""
        self.direct = False
        self.state.routers.add(self)

    def read(self, version: Version, missing: Collection[Read], make: Make) -> Pending:
        """The reply that `make` makes, once these blocks of a version, each of them another one, have been read."""
        for read in missing:
            version.warmup.hurry(read.block // version.store.blocks.width)
        make = partial(self.as_asked, self.null, make)
        return Reading(self.notify, self.has, version.store.blocks, make).begin(version.reads, missing)

    def read_one(self, key: bytes, missing: Read) -> Pending:
        """The reply to GET of a canonical key, once its block has been read."""
        version, reply = self.version, Cold(self, key)
        version.warmup.hurry(missing.block // version.store.blocks.width)
        version.reads.begin(missing, reply.arrived)
        return reply

    def as_asked(self, null: bytes, make: Make) -> bytes | Pending:
        """What `make` makes, with the null of the dialect in which it was asked for.

        While blocks were read, a HELLO or RESET behind the request may have been answered.
        """
        now, self.null = self.null, null
        try:
            return make()
        finally:
            self.null = now

    def other_version(self, error: RingkvError, key: bytes) -> Version | None:
        """Another version in which a direct client's key is leased, where it is not in that of the connection.

        While routers go over to another version and another ring at once, shards hear of it one after the other: two of
        them might send the client to each other.
        """
        if not self.direct or isinstance(error, BlockNotFetched) or not isinstance(error, PartitionNotLeased):
            return None
        try:
            place = slot(canonical(key))
        except InvalidKey:
            return None
        return self.state.versions.other(self.version, lambda version: place >> slot_shift(version.about.partitions))

    def refusal(self, error: RingkvError, key: bytes) -> bytes:
        """The reply where a key cannot be read here."""
        cluster = self.state.cluster
        return cluster.redirect(error, key) if self.direct and cluster is not None else refusal(error)

    def redirection(self, error: RingkvError, key: bytes) -> bytes | Pending:
        """The same; but while a direct client's owner is not known yet, the reply waits for that."""
        cluster = self.state.cluster
        if self.direct and cluster is not None and cluster.learns:
            return Awaited(self.notify, _redirected(cluster, error, key))
        return self.refusal(error, key)

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
        versions.joined()
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


async def _redirected(cluster: ClusterNode, error: RingkvError, key: bytes) -> bytes:
    await cluster.settled()
    return cluster.redirect(error, key)

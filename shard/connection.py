"""A connection to a shard: any client's, and for a router also the lease that it holds."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from ringkv.cluster.errors import RingkvError
from ringkv.cluster.lease import WRONG_DATASET, WRONG_RING, LeaseRequest
from ringkv.cluster.ring import build_ring, ring_id
from ringkv.resp import codec
from ringkv.resp.command import Command
from ringkv.resp.connection import Connection
from ringkv.resp.pending import Pending
from ringkv.shard.leases import Lease
from ringkv.shard.reading import Reading
from ringkv.shard.state import ShardState

log = logging.getLogger("ringkv.shard")


class Granting(Pending):
    """The reply to LEASE. It blocks, because commands behind it may read what the lease is about to allow."""

    __slots__ = ()

    blocks = True


class ShardConnection(Connection):
    def __init__(self, state: ShardState, commands: Mapping[bytes, Command[Any]]) -> None:
        super().__init__(state, commands)
        self.state = state
        self.store = state.store
        self.lease: Lease | None = None
        self._granting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.state.guard.admit(self, transport.get_extra_info("peername"))

    def waiting(self) -> tuple[Literal["header", "idle", "send", "nothing"], float]:
        """As any connection; but a router may keep its lease for as long as it likes, without a request."""
        waiting = super().waiting()
        return ("nothing", 0) if waiting[0] == "idle" and self.lease is not None else waiting

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.guard.leave(self)
        super().connection_lost(exc)
        self._end_lease()

    def read(self, blocks: AbstractSet[int], make: Callable[[], bytes | Pending]) -> Pending:
        """The reply that `make` makes, once these blocks have been read."""
        state = self.state
        for block in blocks:
            state.warmup.hurry(block // state.store.blocks.width)
        return Reading(self.notify, state.store.blocks, make).begin(state.reads, blocks)

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

    def _end_lease(self) -> None:
        if self.lease is not None:
            self.state.leases.end(self.lease)
            self.lease = None

    async def _granted(self, request: LeaseRequest) -> bytes:
        state = self.state
        manifest = state.store.dataset.manifest
        if request.dataset_id != manifest.dataset_id:
            return codec.error(WRONG_DATASET, f"{state.name} serves dataset {manifest.dataset_id}")
        if state.name not in request.names:
            return codec.error(WRONG_RING, f"{state.name} is not one of the ring's shards")
        found = ring_id(request.names, request.replicas, manifest.partitions)
        if found != request.ring_id:
            return codec.error(WRONG_RING, f"{state.name} computes ring {found}: versions differ")
        # One at a time, however many ask: a large ring takes seconds of a processor, and a hundred megabytes.
        async with state.building:
            if self.closed.done() or self._ended:
                return codec.error("ERR", "a lease ends with its connection, which the client has closed")
            # In a thread: placing 16,384 partitions takes longer than a reader should wait.
            ring = await asyncio.to_thread(build_ring, request.names, request.replicas, manifest.partitions)
        try:
            self.lease = await state.leases.grant(ring.owned_by(state.name))
        except RingkvError as error:
            return codec.error("ERR", str(error))
        if state.standalone is not None:
            state.leases.end(state.standalone)
            state.standalone = None
        log.info("leased ring %s: %d keys", ring.ring_id[:8], self.lease.leased.keys)
        return codec.simple(self.lease.leased.reply())

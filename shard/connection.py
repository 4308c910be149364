"""A connection to a shard: any client's, and for a router also the lease that it holds."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from cluster import resp
from cluster.command import Command
from cluster.connection import Connection
from cluster.errors import RingkvError
from cluster.lease import WRONG_DATASET, WRONG_RING, LeaseRequest
from cluster.pending import Pending
from cluster.ring import build_ring
from shard.leases import Lease
from shard.state import ShardState

log = logging.getLogger("ringkv.shard")


class Granting(Pending):
    """The reply to LEASE. What comes behind it is read by that lease."""

    __slots__ = ()

    blocks = True


class ShardConnection(Connection):
    def __init__(
        self, state: ShardState, commands: Mapping[bytes, Command[Any]], connections: set["ShardConnection"]
    ) -> None:
        super().__init__(state, commands)
        self.state = state
        self.store = state.store
        self.lease: Lease | None = None
        self._connections = connections
        self._granting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connections.remove(self)
        self._end_lease()

    def grant(self, request: LeaseRequest) -> Pending:
        """Begin to lease; of a connection that holds no lease yet."""
        reply = Granting(self.notify)
        self._granting = asyncio.create_task(self._grant(request, reply))
        return reply

    async def _grant(self, request: LeaseRequest, reply: Pending) -> None:
        try:
            reply.answer(await self._granted(request))
        except Exception as error:
            log.exception("a lease failed")
            reply.answer(resp.error("ERR", str(error) or type(error).__name__))
        if self.closed.done():
            self._end_lease()

    def _end_lease(self) -> None:
        if self.lease is not None:
            self.state.leases.end(self.lease)
            self.lease = None

    async def _granted(self, request: LeaseRequest) -> bytes:
        state = self.state
        header = state.store.packed.header
        if request.dataset_id != header.dataset_id:
            return resp.error(WRONG_DATASET, f"{state.name} serves dataset {header.dataset_id}")
        if state.name not in request.names:
            return resp.error(WRONG_RING, f"{state.name} is not one of the ring's shards")
        # In a thread: placing 65,536 partitions takes longer than a reader should wait.
        ring = await asyncio.to_thread(build_ring, request.names, request.replicas, header.partitions)
        if ring.ring_id != request.ring_id:
            return resp.error(WRONG_RING, f"{state.name} computes ring {ring.ring_id}: versions differ")
        try:
            self.lease = await state.leases.grant(ring.owned_by(state.name))
        except RingkvError as error:
            return resp.error("ERR", str(error))
        if state.standalone is not None:
            state.leases.end(state.standalone)
            state.standalone = None
        log.info("leased ring %s: %d keys", ring.ring_id[:8], self.lease.loaded.keys)
        return resp.simple(self.lease.loaded.reply())

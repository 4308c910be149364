"""One RESP connection to a shard: requests in, replies out in the same order, and the lease that it holds.

All commands that arrive in one read are answered with one write. Of a client that does not read its replies
no more than MAX_REQUEST is read, so that what waits for it stays bounded; that much is, because a client may
write all of a pipeline before it reads its first reply.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

from cluster import resp
from cluster.errors import RingkvError
from cluster.lease import WRONG_DATASET, WRONG_RING, LeaseRequest
from cluster.ring import build_ring
from shard.commands import Session, execute, get
from shard.leases import Lease
from shard.state import ShardState

log = logging.getLogger("ringkv.shard")

FLUSH_BYTES: Final = 1 << 18
"""Replies collected before they are written although more requests wait: a pipeline of large values."""

MAX_REQUEST: Final = 4 << 20
"""An unfinished request above this is a mistake or an attack: MGET of 90,000 keys is smaller."""


class Connection(asyncio.Protocol):
    def __init__(self, state: ShardState, connections: set["Connection"]) -> None:
        self._state = state
        self._connections = connections
        self._reader = resp.reader()
        self._session = Session(state, authenticated=state.secret is None)
        self._writable = True
        self._quitting = False
        self._leasing: asyncio.Task[None] | None = None
        self._bound: dict[bytes, Callable[[list[bytes]], bytes | None]] = {
            b"LEASE": self._lease,
            b"QUIT": self._quit,
        }
        self.lease: Lease | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._state.connections += 1

    def connection_lost(self, _exc: Exception | None) -> None:
        self._connections.remove(self)
        self._state.connections -= 1
        self._end_lease()
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._answer()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._transport.resume_reading()
        self._answer()

    def close(self) -> None:
        """Close once all that was answered is sent."""
        self._transport.close()

    def _answer(self) -> None:
        """Answer the requests that have arrived, until one has to wait or the client does not read."""
        replies: list[bytes] = []
        try:
            self._collect(replies)
        except hiredis.ProtocolError as error:
            self._refuse(replies, str(error).removeprefix("Protocol error, "))
            return
        self._write(replies)
        if self._quitting:
            self._transport.close()
        elif self._reader.len() > MAX_REQUEST:
            if self._writable and self._leasing is None:
                self._refuse([], f"a request may have at most {MAX_REQUEST} bytes")
            else:
                self._transport.pause_reading()

    def _collect(self, replies: list[bytes]) -> None:
        """Leave the replies to be written in `replies`. Raises hiredis.ProtocolError."""
        gets, session = self._reader.gets, self._session
        size = 0
        while self._writable and self._leasing is None and not self._quitting:
            args = gets()
            if args is resp.NOT_ENOUGH:
                return
            if type(args) is not list or not args or any(type(arg) is not bytes for arg in args):
                raise hiredis.ProtocolError("a request is an array of bulk strings")
            session.state.commands += 1
            if args[0] == b"GET" and len(args) == 2:
                reply: bytes | None = get(session, args)
            else:
                reply = self._dispatch(args)
            if reply is not None:
                replies.append(reply)
                size += len(reply)
                if size > FLUSH_BYTES:
                    self._write(replies)
                    replies.clear()
                    size = 0

    def _write(self, replies: list[bytes]) -> None:
        if len(replies) == 1:
            self._transport.write(replies[0])
        elif replies:
            self._transport.write(b"".join(replies))

    def _refuse(self, replies: list[bytes], reason: str) -> None:
        self._write([*replies, resp.error("ERR", f"Protocol error: {reason}")])
        self._quitting = True
        self._transport.close()

    def _dispatch(self, args: list[Any]) -> bytes | None:
        handler = self._bound.get(args[0].upper())
        return execute(self._session, args) if handler is None else handler(args)

    def _quit(self, _args: list[bytes]) -> bytes:
        self._quitting = True
        return resp.simple("OK")

    def _lease(self, args: list[bytes]) -> bytes | None:
        if not self._session.authenticated:
            return resp.error("NOAUTH", "LEASE needs AUTH first: this shard has a secret ($RINGKV_SECRET)")
        if self.lease is not None:
            return resp.error("ERR", "this connection holds a lease already: one connection, one lease")
        try:
            request = LeaseRequest.parse(args[1:])
        except ValueError as error:
            return resp.error("ERR", str(error))
        # Requests behind it wait for its reply: the connection is paused, the others are not.
        self._transport.pause_reading()
        self._leasing = asyncio.create_task(self._grant(request))
        return None

    async def _grant(self, request: LeaseRequest) -> None:
        try:
            reply = await self._granted(request)
        except Exception as error:
            log.exception("a lease failed")
            reply = resp.error("ERR", str(error) or type(error).__name__)
        self._leasing = None
        if self._transport.is_closing():
            self._end_lease()
            return
        self._transport.write(reply)
        self._transport.resume_reading()
        self._answer()

    def _end_lease(self) -> None:
        if self.lease is not None:
            self._state.leases.end(self.lease)
            self.lease = None

    async def _granted(self, request: LeaseRequest) -> bytes:
        state = self._state
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

"""The router's Redis port: the whole dataset as one read-only Redis, for clients in any language.

one GET, a few keys ─────► lookups (router/lookup.py) ──────┐
GETs that come together ─► pipelines (router/pipeline.py) ──┼──► replies in the order of the requests
many keys ───────────────► batches (router/batch.py) ───────┘
"""

import asyncio
from dataclasses import dataclass, fields

from cluster import protocol, resp
from cluster.command import Args, Command
from cluster.connection import Connection
from cluster.errors import ShardUnavailable
from cluster.pending import Pending
from cluster.server import Info, Server
from router.lookup import UNREACHABLE, Lookups
from router.pipeline import Pipeline
from router.reading import FEW, Encode, FewKeys, ManyKeys, key_of, unavailable


@dataclass(eq=False)
class RedisServer(Server):
    lookups: Lookups

    def info(self) -> Info:
        lookups, topology = self.lookups, self.lookups.topology
        counters = {field.name: getattr(lookups.counters, field.name) for field in fields(lookups.counters)}
        info = super().info()
        info["stats"] |= {f"lookup_{name}": count for name, count in counters.items()}
        info["dataset"] = {
            "dataset_id": topology.dataset_id if topology else "",
            "keys": topology.dataset.keys if topology else 0,
            "partitions": topology.ring.partitions if topology else 0,
        }
        info["ring"] = {
            "epoch": topology.epoch if topology else 0,
            "replicas": topology.ring.replicas if topology else 0,
            "shards": len(topology.ring.names) if topology else 0,
        }
        return info


class RedisConnection(Connection):
    def __init__(self, server: RedisServer, connections: set["RedisConnection"]) -> None:
        super().__init__(server, COMMANDS)
        self.lookups = server.lookups
        self._pipeline: Pipeline | None = None  # the latest pending one, if GETs can still join it
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connections.remove(self)

    def get(self, args: Args) -> Pending | None:
        """Ask for a key together with those of the GETs right before and behind it."""
        pipeline = self._pipeline
        if pipeline is not None:
            if self._pending[-1] is pipeline:
                pipeline.keys.append(args[1])
                return None
            pipeline.send()
        self._pipeline = pipeline = Pipeline(self.notify, self.lookups, self.null, args[1])
        return pipeline

    def _collect(self, replies: list[bytes]) -> bool:
        try:
            return super()._collect(replies)
        finally:
            if self._pipeline is not None:
                self._pipeline.send()
                self._pipeline = None


class RedisPort:
    """All connections of the port; whoever listens gives `connection` to the server."""

    def __init__(self, lookups: Lookups) -> None:
        self.server = RedisServer(lookups)
        self._connections: set[RedisConnection] = set()

    def connection(self) -> RedisConnection:
        """The protocol of a new connection."""
        return RedisConnection(self.server, self._connections)

    async def drain(self, seconds: float) -> None:
        """Answer what was begun and close; cut off who has not read it by then. To be called when nobody listens."""
        for connection in list(self._connections):
            connection.finish()
        closing = [connection.closed for connection in self._connections]
        if closing:
            await asyncio.wait(closing, timeout=seconds)
        for connection in list(self._connections):
            connection.abort()


def mget(client: RedisConnection, args: Args) -> bytes | Pending:
    null = client.null
    return _read(client, args, lambda values: resp.values(values, null))


def exists(client: RedisConnection, args: Args) -> bytes | Pending:
    return _read(client, args, lambda values: resp.integer(sum(value is not None for value in values)))


def strlen(client: RedisConnection, args: Args) -> bytes | Pending:
    return _read(client, args, lambda values: resp.integer(len(values[0] or b"")))


def _read(client: RedisConnection, args: Args, encode: Encode) -> bytes | Pending:
    keys = [key_of(arg) for arg in args[1:]]
    if len(keys) > FEW:
        return ManyKeys(client.notify, client.lookups, keys, encode)
    return FewKeys(client.notify, client.lookups, encode).start(keys)


def dbsize(client: RedisConnection, _args: Args) -> bytes:
    topology = client.lookups.topology
    return unavailable(ShardUnavailable(UNREACHABLE)) if topology is None else resp.integer(topology.dataset.keys)


COMMANDS: dict[bytes, Command[RedisConnection]] = {
    **protocol.PROTOCOL,
    b"GET": Command(RedisConnection.get, 2, 1, 1),
    b"MGET": Command(mget, -2, 1, -1),
    b"EXISTS": Command(exists, -2, 1, -1),
    b"STRLEN": Command(strlen, 2, 1, 1),
    b"DBSIZE": Command(dbsize, 1),
}

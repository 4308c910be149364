"""The router's Redis port: the whole dataset as one read-only Redis, for clients in any language.

one GET, a few keys ─────► lookups (router/lookup/lookup.py) ──────┐
GETs that come together ─► pipelines (router/redis/pipeline.py) ──┼──► replies in the order of the requests
many keys ───────────────► batches (router/lookup/batch.py) ───────┘
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ringkv.cluster.errors import ShardUnavailable
from ringkv.process.connections import ConnectionGuard
from ringkv.process.tokens import TokenFile
from ringkv.resp import codec, config, protocol, strings, tracking
from ringkv.resp.claiming import ClaimingConnection
from ringkv.resp.command import Args, Command
from ringkv.resp.limits import MAX_WINDOW
from ringkv.resp.pending import Awaited, Pending
from ringkv.resp.requests import MAX_ARGUMENTS
from ringkv.resp.scan import Keys, Page
from ringkv.resp.server import Info, Server, keyspace
from ringkv.resp.session import Unchanged
from ringkv.resp.view import ClusterView
from ringkv.router.lookup.batch import Values
from ringkv.router.lookup.large import Large
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import CROWD, CROWDED_WINDOW, FEW_KEYS
from ringkv.router.redis import scan
from ringkv.router.redis.patience import Patience
from ringkv.router.redis.pipeline import Pipeline
from ringkv.router.redis.replies import Encode, FewKeys, key_of, many_keys
from ringkv.router.redis.unavailable import unavailable

KEYS_TOGETHER: Final = 512
"""Arguments that are checked in one turn of the event loop: 0.1 ms, or one if they are no keys."""

View = Callable[[], ClusterView | None]
"""Returns the shards as nodes of a Redis Cluster, None if they are none."""


@dataclass(eq=False)
class RedisServer(Server):
    lookups: Lookups
    guard: ConnectionGuard
    told: View
    patience: Patience = field(default_factory=Patience)

    @property
    def view(self) -> ClusterView | None:
        return self.told()

    def info(self) -> Info:
        lookups, topology = self.lookups, self.lookups.topology
        info = super().info()
        counted = lookups.counters.told(lookups.shard_durations, lookups.near)
        info["stats"] |= {f"lookup_{name}": count for name, count in counted.items()}
        info["dataset"] = {
            "dataset_id": topology.dataset_id if topology else "",
            "keys": topology.dataset.keys if topology else 0,
            "partitions": topology.ring.partitions if topology else 0,
        }
        info["keyspace"] = keyspace(topology.dataset.keys if topology else 0)
        info["ring"] = {
            "epoch": topology.epoch if topology else 0,
            "replicas": topology.ring.replicas if topology else 0,
            "shards": len(topology.ring.names) if topology else 0,
        }
        return info


class RedisConnection(ClaimingConnection):
    def __init__(self, server: RedisServer) -> None:
        super().__init__(server, COMMANDS, server.guard)
        self.lookups = server.lookups
        self.patience = server.patience
        self._pipeline: Pipeline | None = None  # the latest pending one, if GETs can still join it

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._pipeline = None

    def gets(self, keys: list[bytes]) -> int:
        """As `Connection.gets`: as many as may be under way become one pipeline."""
        pipeline = Pipeline(self, keys[: self._window])
        self.expect(pipeline, len(pipeline.keys))
        pipeline.send()
        return len(pipeline.keys)

    def get(self, args: Args) -> Pending | None:
        """Ask for a key together with those of the GETs right before and right behind it."""
        pipeline = self._pipeline
        if pipeline is not None:
            if self.last is pipeline:
                pipeline.keys.append(args[1])
                return None
            pipeline.send()
        self._pipeline = pipeline = Pipeline(self, [args[1]])
        return pipeline

    @property
    def widest(self) -> int:  # type: ignore[override]
        return MAX_WINDOW if self.lookups.in_flight < CROWD else CROWDED_WINDOW

    def reading(self) -> Unchanged:
        lookups, before = self.lookups, self.lookups.topology

        def unchanged() -> bool:
            now = lookups.topology
            if before is None or now is None:
                return before is now
            # After more than one swap another dataset may have been served in between.
            return now.dataset_id == before.dataset_id and now.epoch - before.epoch <= 1

        return unchanged

    def begun(self) -> None:
        if self._pipeline is not None:
            self._pipeline.send()
            self._pipeline = None
        super().begun()


class RedisPort:
    """The port, with all of its connections; `connection` makes one for a server that listens."""

    def __init__(
        self,
        lookups: Lookups,
        guard: ConnectionGuard,
        view: View = lambda: None,
        tokens: TokenFile | None = None,
    ) -> None:
        self.server = RedisServer(lookups, guard, view, tokens=tokens)
        lookups.on_replaced = partial(tracking.tell, self.server)

    def connection(self) -> RedisConnection:
        """The protocol of a new connection."""
        return RedisConnection(self.server)

    async def drain(self, seconds: float) -> None:
        """Answer what was begun and close; cut off clients that have not read it after `seconds`.

        To be called when no new connection can come.
        """
        clients = list(self.server.clients.values())
        for client in clients:
            client.finish()
        if clients:
            await asyncio.wait([client.closed for client in clients], timeout=seconds)
        for client in list(self.server.clients.values()):
            client.abort()


def mget(client: RedisConnection, args: Args) -> bytes | Pending:
    encode = partial(codec.values, null=client.null)
    if len(args) > FEW_KEYS + 1:
        return _many(client, args, encode)
    return FewKeys.with_values(client, encode).start(_keys(args[1:]))


def exists(client: RedisConnection, args: Args) -> bytes | Pending:
    if len(args) > FEW_KEYS + 1:
        return _many(client, args, _present)
    return FewKeys(client, _present).start(_keys(args[1:]))


def _present(values: Sequence[bytes | Large | None]) -> bytes:
    return codec.integer(sum(value is not None for value in values))


def _keys(args: Args) -> list[bytes | None]:
    return [key_of(arg) for arg in args]


def _many(client: RedisConnection, args: Args, encode: Encode) -> Pending:
    async def reply() -> bytes:
        keys = _keys(args[1 : KEYS_TOGETHER + 1])
        for at in range(KEYS_TOGETHER + 1, len(args), KEYS_TOGETHER):
            await client.server.turns.turn()
            keys += _keys(args[at : at + KEYS_TOGETHER])
        return await many_keys(client, keys, encode)

    return Awaited(client.notify, reply())


def _read_one(client: RedisConnection, key: bytes, encode: Callable[[strings.Value | None], bytes]) -> bytes | Pending:
    def tell(values: Sequence[bytes | Large | None]) -> bytes:
        (value,) = values
        return encode(strings.Unread(value.size) if isinstance(value, Large) else value)

    return FewKeys(client, tell).start([key_of(key)])


def _read_part(client: RedisConnection, key: bytes, span: strings.Span) -> bytes | Pending:
    def encode(values: Values) -> bytes:
        value = values[0] or b""
        start, stop = span(len(value))
        return codec.bulk(value[start:stop])

    return FewKeys.with_values(client, encode).start([key_of(key)])


def dbsize(client: RedisConnection, _args: Args) -> bytes:
    try:
        return codec.integer(scan.size(client.lookups))
    except ShardUnavailable as error:
        return unavailable(error)


async def _page(client: RedisConnection, cursor: int, count: int) -> Page:
    return await scan.page(client.lookups, cursor, count)


_KEYS: Keys[RedisConnection] = Keys(lambda client: scan.size(client.lookups), _page, unavailable)

COMMANDS: dict[bytes, Command[RedisConnection]] = {
    **protocol.PROTOCOL,
    **config.COMMANDS,
    **strings.commands(_read_one, _read_part),
    **_KEYS.commands(),
    b"GET": Command(RedisConnection.get, 2, 1, 1),
    b"MGET": Command(mget, -2, 1, -1, most=MAX_ARGUMENTS),
    b"EXISTS": Command(exists, -2, 1, -1, most=MAX_ARGUMENTS),
    b"TOUCH": Command(exists, -2, 1, -1, most=MAX_ARGUMENTS),
    b"DBSIZE": Command(dbsize, 1),
}

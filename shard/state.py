"""What all connections of one shard process share: who it is, what it holds, whether it is leaving."""

import asyncio
from dataclasses import dataclass, field

from ringkv.cluster.lease import versions_section
from ringkv.cluster.place import ANYWHERE, Place
from ringkv.dataset.fetches import Fetches
from ringkv.process.address import Address
from ringkv.process.connections import ConnectionGuard
from ringkv.process.sizes import parse_size
from ringkv.resp import tracking
from ringkv.resp.connection import Connection
from ringkv.resp.server import Info, Server, Setting, keyspace
from ringkv.resp.view import ClusterView
from ringkv.shard.heat import Heat
from ringkv.shard.node import ClusterNode
from ringkv.shard.versions import Versions


@dataclass(eq=False)
class ShardState(Server):
    """`leased`: the shard waits for the leases of routers, and reads nothing without one.

    `fetches` is for all versions that come from a store. `cluster` is set if the shard is a node of a Redis Cluster,
    `routers` are the connections that have turned out to be those of routers.
    """

    name: str
    leased: bool = False
    place: Place = ANYWHERE
    draining: bool = False
    building: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while a ring is built
    fetches: Fetches = field(default_factory=Fetches)
    guard: ConnectionGuard = field(default_factory=ConnectionGuard)
    heat: Heat = field(default_factory=Heat)
    versions: Versions = field(init=False)
    cluster: ClusterNode | None = field(init=False, default=None)
    routers: set[Connection] = field(init=False, default_factory=set)
    housekeeping: int = field(init=False, default=0)  # what routers ask for themselves
    _routed: int = field(init=False, default=0)  # requests of routers' connections that have ended

    def __post_init__(self) -> None:
        self.versions = Versions(lambda: tracking.tell(self), alone=not self.leased)

    def be_node(self, announce: Address, grace: float) -> None:
        """Be a node of a Redis Cluster, reached at `announce`, and for `grace` seconds without any router."""
        self.node = self.name
        self.cluster = ClusterNode(self.name, announce, grace, self.versions, self.building)

    @property
    def view(self) -> ClusterView | None:
        return self.cluster.view if self.cluster else None

    @property
    def direct(self) -> int:
        """How many requests have come from clients that are no routers."""
        return self.commands - self._routed - sum(router.answered for router in self.routers)

    @property
    def asked(self) -> int:
        """How many requests have come from clients, directly or through routers.

        What routers ask for themselves does not count: heartbeats, leases, what the gate tries.
        """
        return self.commands - self.housekeeping

    def gone(self, client: Connection) -> None:
        """A connection has ended."""
        if client in self.routers:
            self.versions.heard.gone(client)
            self.routers.remove(client)
            self._routed += client.answered

    def settings(self) -> dict[bytes, Setting]:
        return {b"fetch-rate": Setting(lambda: str(self.fetches.rate), self._set_rate)}

    def info(self) -> Info:
        """Routers read name, zone, weight, `run_id` and versions. Sections about data are about the newest version."""
        newest, cluster = self.versions.newest, self.cluster
        manifest = newest.dataset.manifest
        blocks = newest.store.blocks
        return super().info() | {
            "shard": {
                "name": self.name,
                "zone": self.place.zone,
                "weight": f"{self.place.weight:g}",
                **({"announce": f"{cluster.address.host}:{cluster.address.port}"} if cluster else {}),
                "draining": int(self.draining),
                "direct_requests": self.direct,
                "redirects": cluster.redirects if cluster else 0,
                "leases": self.versions.leases,
                "leased_partitions": len(blocks.rows),
                "leased_keys": blocks.keys,
                "leased_bytes": blocks.bytes,
                "checked_bytes": blocks.checked_bytes,
                "corrupt_blocks": len(blocks.corrupt),
                "disk_reads": newest.reads.done,
                "fetch_requests": self.fetches.requests,
                "fetched_bytes": self.fetches.bytes,
            },
            "versions": versions_section(
                (version.about for version in self.versions.offered), self.versions.heard.latest
            ),
            "keyspace": keyspace(blocks.keys),
            "dataset": {
                "dataset_id": manifest.dataset_id,
                "partitions": manifest.partitions,
                "blocks": manifest.blocks,
                "keys": manifest.keys,
            },
        }

    def _set_rate(self, text: str) -> None:
        self.fetches.rate = parse_size(text)

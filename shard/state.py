"""What all connections of one shard process share: who it is, what it holds, whether it is leaving."""

from dataclasses import dataclass, field

from ringkv.cluster.lease import versions_section
from ringkv.resp import tracking
from ringkv.resp.server import Info, Server, keyspace
from ringkv.shard.versions import Versions


@dataclass(eq=False)
class ShardState(Server):
    """`leased`: it waits for the leases of routers, and reads nothing without one."""

    name: str
    leased: bool = False
    draining: bool = False
    versions: Versions = field(init=False)

    def __post_init__(self) -> None:
        self.versions = Versions(lambda: tracking.tell(self), alone=not self.leased)

    def info(self) -> Info:
        """A router reads `name`, `run_id` and the versions; all but those and the leases is about the newest."""
        newest = self.versions.newest
        manifest = newest.dataset.manifest
        blocks = newest.store.blocks
        return super().info() | {
            "shard": {
                "name": self.name,
                "draining": int(self.draining),
                "leases": self.versions.leases,
                "leased_partitions": len(blocks.rows),
                "leased_keys": blocks.keys,
                "leased_bytes": blocks.bytes,
                "checked_bytes": blocks.checked_bytes,
                "corrupt_blocks": len(blocks.corrupt),
                "disk_reads": newest.reads.done,
            },
            "versions": versions_section(version.about for version in self.versions.offered),
            "keyspace": keyspace(blocks.keys),
            "dataset": {
                "dataset_id": manifest.dataset_id,
                "partitions": manifest.partitions,
                "blocks": manifest.blocks,
                "keys": manifest.keys,
            },
        }

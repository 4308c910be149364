"""What all connections of one shard process share: who it is, what it holds, whether it is leaving."""

from dataclasses import dataclass

from ringkv.cluster.lease import Offered, versions_section
from ringkv.resp.server import Info, Server, keyspace
from ringkv.shard.leases import Lease, Leases
from ringkv.shard.reads import Reads
from ringkv.shard.store import Store
from ringkv.shard.warmup import Warmup


@dataclass(eq=False)
class ShardState(Server):
    name: str
    store: Store
    reads: Reads
    warmup: Warmup
    leases: Leases
    draining: bool = False
    revision: int = 0  # counts the changes of what is offered
    standalone: Lease | None = None  # everything, for a shard without a router, until the first lease comes

    def info(self) -> Info:
        """A router reads `name`, `run_id` and the versions."""
        manifest = self.store.dataset.manifest
        blocks = self.store.blocks
        return super().info() | {
            "shard": {
                "name": self.name,
                "draining": int(self.draining),
                "leases": len(self.leases),
                "leased_partitions": len(blocks.rows),
                "leased_keys": blocks.keys,
                "leased_bytes": blocks.bytes,
                "checked_bytes": blocks.checked_bytes,
                "corrupt_blocks": len(blocks.corrupt),
                "disk_reads": self.reads.done,
            },
            "versions": versions_section([Offered(0, manifest.dataset_id, manifest.partitions)]),
            "keyspace": keyspace(blocks.keys),
            "dataset": {
                "dataset_id": manifest.dataset_id,
                "partitions": manifest.partitions,
                "blocks": manifest.blocks,
                "keys": manifest.keys,
            },
        }

"""What all connections of one shard process share: who it is, what it holds, whether it is leaving."""

from dataclasses import dataclass

from cluster.server import Info, Server
from shard.leases import Lease, Leases
from shard.store import Store


@dataclass(eq=False)
class ShardState(Server):
    name: str
    store: Store
    leases: Leases
    draining: bool = False
    standalone: Lease | None = None  # everything, for a shard without a router, until the first lease comes

    def info(self) -> Info:
        """A router reads `name`, `run_id`, `dataset_id` and `partitions`."""
        header = self.store.packed.header
        return super().info() | {
            "shard": {
                "name": self.name,
                "draining": int(self.draining),
                "leases": len(self.leases),
                "loaded_partitions": self.store.partitions,
                "loaded_keys": self.store.keys,
                "loaded_bytes": self.store.bytes,
                "corrupt_partitions": len(self.store.corrupt),
            },
            "dataset": {
                "dataset_id": header.dataset_id,
                "partitions": header.partitions,
                "keys": header.keys,
            },
        }

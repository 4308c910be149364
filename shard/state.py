"""What all connections of one shard process share: who it is, what it holds, whether it is leaving."""

import os
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from uuid import uuid4

from shard.leases import Lease, Leases
from shard.store import Store

VERSION = version("ringkv")


@dataclass(eq=False, slots=True)
class ShardState:
    name: str
    store: Store
    leases: Leases
    secret: bytes | None = field(default=None, repr=False)
    draining: bool = False
    standalone: Lease | None = None  # everything, for a shard without a router, until the first lease comes
    commands: int = 0
    connections: int = 0
    run_id: str = field(default_factory=lambda: uuid4().hex)
    started: float = field(default_factory=time.monotonic)

    def info(self) -> dict[str, dict[str, str | int]]:
        """The sections of INFO. A router reads `name`, `run_id`, `dataset_id` and `partitions`."""
        header = self.store.packed.header
        return {
            "server": {
                "ringkv_version": VERSION,
                "process_id": os.getpid(),
                "run_id": self.run_id,
                "uptime_in_seconds": int(time.monotonic() - self.started),
            },
            "clients": {"connected_clients": self.connections},
            "stats": {"total_commands_processed": self.commands},
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

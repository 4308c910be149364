"""What all connections of a RESP server share, and what its INFO says of the process."""

import os
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from uuid import uuid4

VERSION = version("ringkv")

Info = dict[str, dict[str, str | int]]
"""Section → field → value, as the command INFO shows it."""


@dataclass(eq=False, kw_only=True)
class Server:
    """`commands` were answered so far, `connections` are open; `run_id` tells one process from the next."""

    secret: bytes | None = field(default=None, repr=False)
    commands: int = 0
    connections: int = 0
    run_id: str = field(default_factory=lambda: uuid4().hex)
    started: float = field(default_factory=time.monotonic)

    def info(self) -> Info:
        """The sections of INFO; a server adds those about what it serves."""
        return {
            "server": {
                "ringkv_version": VERSION,
                "redis_mode": "standalone",
                "process_id": os.getpid(),
                "run_id": self.run_id,
                "uptime_in_seconds": int(time.monotonic() - self.started),
            },
            "clients": {"connected_clients": self.connections},
            "stats": {"total_commands_processed": self.commands},
            "cluster": {"cluster_enabled": 0},  # of Redis Cluster's own protocol, which clients ask for here
        }

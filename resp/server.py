"""What all connections of a RESP server share, and what its INFO says of the process."""

import asyncio
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, Protocol
from uuid import uuid4

from ringkv import __version__
from ringkv.process.tokens import TokenFile
from ringkv.process.turns import Turns
from ringkv.resp.memory import memory
from ringkv.resp.view import ClusterView

Info = dict[str, dict[str, str | int | float]]
"""Section → field → value, as the command INFO shows it."""

REDIS_VERSION: Final = "7.2.0"
"""The version of Redis that has the commands about the connection that are here, the youngest being CLIENT SETINFO.
Clients choose by it what they send."""


class Client(Protocol):
    """A connection as its server knows it; `closed` is done when it has ended."""

    closed: asyncio.Future[None]

    def finish(self) -> None:
        """Begin no other request, and close when those that were begun are answered and sent."""

    def abort(self) -> None:
        """Close at once."""

    def recheck(self) -> None:
        """Finish, if what the client has proved does not count any more."""

    def description(self) -> str:
        """As one line of CLIENT LIST."""


class Setting(NamedTuple):
    """What CONFIG can change while the server runs; `change` raises ValueError with what is wrong."""

    value: Callable[[], str]
    change: Callable[[str], None]


@dataclass(eq=False, kw_only=True)
class Server:
    """`commands` were answered so far, `clients` are connected, by their ids; `run_id` tells processes apart.

    A client that has sent the `secret` may do everything; with `tokens` reading takes the secret or one of them. `node`
    is the server's name as a node of a Redis Cluster, if it is one.
    """

    secret: bytes | None = field(default=None, repr=False)
    tokens: TokenFile | None = field(default=None, repr=False)
    node: str | None = None
    commands: int = 0
    clients: dict[int, Client] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: uuid4().hex)
    started: float = field(default_factory=time.monotonic)
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    accepted: int = 0
    turns: Turns = field(default_factory=Turns)

    @property
    def connections(self) -> int:
        return len(self.clients)

    @property
    def mode(self) -> str:
        """`cluster` or `standalone`, as Redis calls it."""
        return "standalone" if self.node is None else "cluster"

    @property
    def view(self) -> ClusterView | None:
        """The Redis Cluster as this server knows it now, None if it knows none."""
        return None

    @property
    def immutable(self) -> str:
        """The word that a refused write begins with. READONLY makes clients of a cluster look for another master."""
        return "READONLY" if self.node is None else "NOPERM"

    @property
    def guards_reads(self) -> bool:
        """Whether all commands but AUTH and its like need a token or the secret."""
        return self.tokens is not None or (self.node is not None and self.secret is not None)

    def join(self, client: Client) -> int:
        """A new connection's id, which no other one of this process ever has."""
        number = next(self.ids)
        self.clients[number] = client
        self.accepted += 1
        return number

    def recheck(self) -> None:
        """Let go of clients whose token does not count any more."""
        for client in list(self.clients.values()):
            client.recheck()

    def settings(self) -> Mapping[bytes, Setting]:
        """What CONFIG SET can change, by name in lower case; nothing at most servers."""
        return {}

    def info(self) -> Info:
        """The sections of INFO; a server adds those about what it serves."""
        uptime = int(time.monotonic() - self.started)
        usage = resource.getrusage(resource.RUSAGE_SELF)  # to the microsecond, where os.times() counts ticks of 10 ms
        return {
            "server": {
                "redis_version": REDIS_VERSION,
                "ringkv_version": __version__,
                "redis_mode": self.mode,
                "process_id": os.getpid(),
                "run_id": self.run_id,
                "uptime_in_seconds": uptime,
                "uptime_in_days": uptime // 86_400,
            },
            "clients": {"connected_clients": self.connections, "blocked_clients": 0},
            "memory": memory(),
            "persistence": {"loading": 0},
            "stats": {"total_connections_received": self.accepted, "total_commands_processed": self.commands},
            "replication": {"role": "master", "connected_slaves": 0},
            "cpu": {"used_cpu_sys": usage.ru_stime, "used_cpu_user": usage.ru_utime},
            "cluster": {"cluster_enabled": int(self.node is not None)},
        }


def keyspace(keys: int) -> dict[str, str | int | float]:
    """The section of INFO about the one database, which Redis leaves out while it is empty."""
    return {"db0": f"keys={keys},expires=0,avg_ttl=0"} if keys else {}

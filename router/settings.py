"""What a router is told when it starts. It imports little: who starts routers must not load the code of one."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ringkv.cluster.errors import InvalidAddress
from ringkv.cluster.limits import GATE
from ringkv.process.access import EVERYBODY, AccessFiles
from ringkv.process.address import Address
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionLimits
from ringkv.process.tls import ClientFiles
from ringkv.router.policy import HOT_MEMORY, HOT_OWNERS

SCHEME: Final = "dns://"


@dataclass(frozen=True, slots=True)
class Discovery:
    """A parsed `--shards`: fixed addresses, names to resolve, or both."""

    addresses: frozenset[Address]
    names: tuple[Address, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Discovery":
        """Read `host:port,unix:/path,dns://host:port,…`. Raises InvalidAddress."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise InvalidAddress("no shards: want host:port,… or dns://host:port")
        names = tuple(Address.parse(part.removeprefix(SCHEME)) for part in parts if part.startswith(SCHEME))
        fixed = frozenset(Address.parse(part) for part in parts if not part.startswith(SCHEME))
        return cls(fixed, names)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A router's settings about its cluster; `gate` is the share of keys asked for lately that a version may lack."""

    shards: Discovery
    replicas: int = 1
    secret: str | None = field(default=None, repr=False)
    gate: float = GATE
    tls: ClientFiles | None = None  # links to shards are encrypted
    zone: str = ""  # whose shards are asked first
    hot_owners: int = HOT_OWNERS  # extra ones, of all hot partitions together


@dataclass(frozen=True, slots=True)
class RouterSettings:
    cluster: Cluster
    express: bool = True  # off only where the express lane is compared with its slow twin
    cors: str | None = None
    limits: ConnectionLimits = DEFAULT_LIMITS
    proxied: bool = False  # connections begin with a header of the PROXY protocol
    access: AccessFiles = EVERYBODY
    hot_memory: int = HOT_MEMORY  # of all processes of the router


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process of a router has for itself: its listening sockets, and the file where it writes its figures.

    `others` are the files of the other processes; a router of one process has no files.
    """

    http: socket.socket
    redis: socket.socket | None = None
    admin: socket.socket | None = None  # for what is not about keys, which `http` does not answer then
    figures: Path | None = None
    others: tuple[Path, ...] = ()

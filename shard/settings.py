"""What a shard is told when it starts. It imports little: who starts shards must not load the code of one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ringkv.cluster.place import ANYWHERE, Place
from ringkv.dataset.dataset import Dataset
from ringkv.process.access import EVERYBODY, AccessFiles
from ringkv.process.address import Address
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionLimits

WARM_RATE: Final = 256 << 20
"""Bytes a second that are read ahead: a million pairs in a fraction of a second, with a part of a disk or processor."""

GRACE: Final = 60.0
"""Seconds for which direct clients are served without any router: longer than to start one again."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A shard's source: a dataset, by its folder."""

    path: Path

    def open(self) -> Dataset:
        """Raises InvalidDataset."""
        return Dataset.open(self.path)


@dataclass(frozen=True, slots=True)
class Followed:
    """A shard's source: a catalog, by its path or address; up to `cache_size` bytes of a store are kept in `cache`."""

    location: Path | str
    cache: Path | None = None
    cache_size: int | None = None


@dataclass(frozen=True, slots=True)
class Direct:
    """How clients of a Redis Cluster reach the shard: at `announce`, for which it listens at `listen` too, if given.

    For `grace` seconds they are served without any router.
    """

    announce: Address
    listen: Address | None = None
    grace: float = GRACE


@dataclass(frozen=True, slots=True)
class ShardSettings:
    source: Pinned | Followed
    name: str
    listen: Address
    http: Address | None = None
    leased: bool = False  # hold nothing until a router leases a ring, instead of everything
    secret: str | None = field(default=None, repr=False)
    warm_rate: int = WARM_RATE  # bytes a second that are read before anybody asks for them
    fetch_rate: int = 0  # of those, what may come from a store; 0: no limit
    limits: ConnectionLimits = DEFAULT_LIMITS
    direct: Direct | None = None
    access: AccessFiles = EVERYBODY
    place: Place = ANYWHERE

"""What a router asks of a shard: the LEASE command and its errors, read and written in one place.

    LEASE <dataset id> <ring id> <replicas> <name> <name> …     → +OK <keys loaded> <bytes loaded>

The names are all shards of the ring, in any order. The shard finds its own partitions from them, so that
there is no list of partitions on the wire that could be wrong; the ring id proves that both sides computed
with the same rules. The connection is the lease: it ends when the connection does.
"""

from dataclasses import dataclass
from typing import Any

NOT_LOADED = "NOTLOADED"
"""The key's partition is not loaded here: the key may well exist. Never to be read as "not found"."""

CORRUPT = "CORRUPT"
"""The key's partition does not match its checksum on this shard's disk."""

TOO_LARGE = "TOOLARGE"
"""The values asked for together are more than fits in one reply (MAX_BATCH): each of them can be had."""

WRONG_DATASET = "WRONGDATASET"
"""The shard serves other data than the router asks for."""

WRONG_RING = "WRONGRING"
"""The shard computes another ring, or is not part of it."""

PONG = "PONG"
DRAINING = "DRAINING"
"""The reply to PING of a shard that was told to stop: give its partitions to others, then let go of it."""


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    dataset_id: str
    ring_id: str
    replicas: int
    names: tuple[str, ...]

    def command(self) -> tuple[str | int, ...]:
        return "LEASE", self.dataset_id, self.ring_id, self.replicas, *self.names

    @classmethod
    def parse(cls, args: list[bytes]) -> "LeaseRequest":
        """Read the arguments of LEASE. Raises ValueError with the reason."""
        if len(args) < 4:
            raise ValueError("want LEASE <dataset id> <ring id> <replicas> <name> …")
        dataset_id, ring_id, replicas, *names = (arg.decode("utf-8", "strict") for arg in args)
        if not (replicas.isascii() and replicas.isdigit() and int(replicas) > 0):
            raise ValueError(f"replicas must be a positive number, not {replicas[:20]!r}")
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice in the ring")
        return cls(dataset_id, ring_id, int(replicas), tuple(names))


@dataclass(frozen=True, slots=True)
class Leased:
    """What a shard has loaded for a lease: keys, and the bytes of the packed file that hold them."""

    keys: int
    bytes: int

    def reply(self) -> str:
        return f"OK {self.keys} {self.bytes}"

    @classmethod
    def parse(cls, reply: Any) -> "Leased":
        """Read the reply to LEASE. Raises ValueError."""
        words = reply.split() if isinstance(reply, bytes) else []
        if len(words) != 3 or words[0] != b"OK" or not (words[1].isdigit() and words[2].isdigit()):
            raise ValueError(f"not a reply to LEASE: {reply!r}"[:100])
        return cls(int(words[1]), int(words[2]))

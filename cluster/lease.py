"""What a router asks of a shard: the LEASE command and its errors, read and written in one place.

    LEASE <dataset id> <ring id> <replicas> <name> <name> …     → +OK <keys> <bytes>

The names are all shards of the ring, in any order. The shard finds its own partitions from them, so that
there is no list of partitions on the wire that could be wrong; the ring id proves that both sides computed
with the same rules. A lease reads no data: the shard answers at once, and reads a block when its first key is asked
for. The connection is the lease: it ends when the connection does.
"""

from dataclasses import dataclass
from typing import Any, Final

from ringkv.cluster import told
from ringkv.cluster.errors import CorruptBlock, PartitionNotLeased, PeerError, RingkvError
from ringkv.cluster.limits import MAX_REPLICAS, MAX_SHARDS

NOT_LEASED = "NOTLEASED"
"""The key's partition is not leased here: the key may well exist. Never to be read as "not found"."""

CORRUPT = "CORRUPT"
"""The key's block does not match its checksum on this shard's disk, or cannot be read from it."""

TOO_LARGE = "TOOLARGE"
"""The values of this MGET are together larger than one reply may be (MAX_BATCH): ask for fewer keys at once."""

WRONG_DATASET = "WRONGDATASET"
"""The shard serves other data than the router asks for."""

WRONG_RING = "WRONGRING"
"""The shard computes another ring, or is not part of it."""

SERVING = "SERVING"
DRAINING = "DRAINING"
"""How a shard's reply to HEARTBEAT begins: DRAINING once it was told to stop. A router then leases the shard's
partitions on others, and closes its connections to it."""

_TYPES: Final[dict[str, type[RingkvError]]] = {NOT_LEASED: PartitionNotLeased, CORRUPT: CorruptBlock}


def refusal(reply: str) -> RingkvError:
    """The error that the text of a shard's error reply stands for, told by its first word: PeerError for any other."""
    code, _, reason = told.line(reply).partition(" ")
    kind = _TYPES.get(code)
    return kind(reason) if kind is not None else PeerError(told.line(reply))


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
        if len(names) > MAX_SHARDS:
            raise ValueError(f"a ring of {len(names)} shards: at most {MAX_SHARDS} can share a dataset")
        if strange := [name for name in names if not told.is_name(name)]:
            raise ValueError(f"not a shard's name: {strange[0][:60]!a}")
        if not (replicas.isascii() and replicas.isdigit() and len(replicas) < 3 and 0 < int(replicas) <= MAX_REPLICAS):
            raise ValueError(f"replicas must be a positive number up to {MAX_REPLICAS}, not {replicas[:20]!r}")
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice in the ring")
        return cls(dataset_id, ring_id, int(replicas), tuple(names))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a shard tells of itself a few times a second; `checked` are bytes of blocks that it has read and checked."""

    draining: bool
    checked: int

    def reply(self) -> str:
        return f"{DRAINING if self.draining else SERVING} {self.checked}"

    @classmethod
    def parse(cls, reply: Any) -> "Heartbeat":
        """Read the reply to HEARTBEAT. Raises PeerError."""
        words = reply.decode("ascii", "replace").split() if isinstance(reply, bytes) else []
        if len(words) != 2 or words[0] not in {SERVING, DRAINING}:
            raise PeerError(f"not a reply to HEARTBEAT: {reply!r}"[:100])
        return cls(words[0] == DRAINING, told.number("checked bytes", words[1]))


@dataclass(frozen=True, slots=True)
class Leased:
    """What a shard may read under a lease: keys, and the bytes of the blocks that hold them."""

    keys: int
    bytes: int

    def reply(self) -> str:
        return f"OK {self.keys} {self.bytes}"

    @classmethod
    def parse(cls, reply: Any) -> "Leased":
        """Read the reply to LEASE. Raises PeerError."""
        words = reply.decode("ascii", "replace").split() if isinstance(reply, bytes) else []
        if len(words) != 3 or words[0] != "OK":
            raise PeerError(f"not a reply to LEASE: {reply!r}"[:100])
        return cls(told.number("keys", words[1]), told.number("bytes", words[2]))

"""What a router asks of a shard: which versions it offers, and a lease of one; read and written in one place.

    HEARTBEAT [<dataset id>]            → +SERVING <checked bytes> <revision> <direct> <load> <extra>, or +DRAINING …
    INFO versions                       → version_0:serial=…,dataset=…, the newest first; served:…
    LEASE <dataset id> <ring id> <replicas> <shard> … [<extra>]
                                        → +OK <keys> <bytes>
    GET <key>                           → the value, or -LARGE <bytes> where it has more than 256 KiB
    PIECE <key> <start> <stop>          → these bytes of it

A heartbeat names the dataset that its router serves, if it serves one: so a shard knows what must stay offered, and
tells it to routers that have just started. Load and extra (cluster/hot.py) are about that dataset. The revision changes
whenever other versions are offered: then the router asks for INFO again. The shards are all those of the ring, in
any order, each with its zone and weight (cluster/place.py). The shard that is asked finds its own partitions from them,
so that there is no list of partitions on the wire that could be wrong; the ring id proves that both sides computed with
the same rules. A lease reads no data: the shard answers at once, and reads a block when its first key is asked for. The
connection is the lease: it ends when the connection does.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote

from ringkv.cluster import told
from ringkv.cluster.errors import CorruptBlock, LargeValue, NotOffered, PartitionNotLeased, PeerError, RingkvError
from ringkv.cluster.hot import NO_EXTRA, NO_LOAD, Extra, Load
from ringkv.cluster.limits import LARGE_VALUE, MAX_REPLICAS, MAX_SHARDS, MAX_VALUE
from ringkv.cluster.place import ANYWHERE, Places, placed, words
from ringkv.cluster.position import SLOTS

NOT_LEASED: Final = "NOTLEASED"
"""The key's partition is not leased here: the key may well exist. Never to be read as "not found"."""

CORRUPT: Final = "CORRUPT"
"""The key's block does not match its checksum on this shard's disk, or cannot be read from it."""

LARGE: Final = "LARGE"
"""The value has more than LARGE_VALUE bytes: how many stands behind the word, and PIECE asks for them."""

TOO_LARGE: Final = "TOOLARGE"
"""The values of this MGET are together larger than one reply may be (MAX_BATCH): ask for fewer keys at once."""

WRONG_DATASET: Final = "WRONGDATASET"
"""The shard serves other data than the router asks for."""

WRONG_RING: Final = "WRONGRING"
"""The shard computes another ring, or is not part of it."""

SERVING: Final = "SERVING"
DRAINING: Final = "DRAINING"
"""How a shard's reply to HEARTBEAT begins: DRAINING once it was told to stop. A router then leases the shard's
partitions on others, and closes its connections to it."""

MAX_OFFERED: Final = 16
"""Versions that one shard offers, at most. Usually there are two, and those that routers still serve."""

MAX_BY: Final = 256
"""Characters of the name of whoever has published a version, at most."""

MAX_SERIAL: Final = (1 << 63) - 1

_VERSION: Final = re.compile(
    r"serial=(?P<serial>0|[1-9][0-9]{0,18}),dataset=(?P<dataset>[0-9a-f]{32}),partitions=(?P<partitions>[1-9][0-9]{0,5}),"
    r"forced=(?P<forced>[01]),by=(?P<by>[A-Za-z0-9@%_.~-]*),at=(?P<at>[0-9T:.Z+-]*)"
)

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)

_COUNT: Final = re.compile(r"[0-9]{1,19}")

_TYPES: Final[dict[str, type[RingkvError]]] = {
    NOT_LEASED: PartitionNotLeased,
    CORRUPT: CorruptBlock,
    WRONG_DATASET: NotOffered,
}


def refusal(reply: str) -> RingkvError:
    """The error that the text of a shard's error reply stands for, told by its first word: PeerError for any other."""
    code, _, reason = told.line(reply).partition(" ")
    if code == LARGE and _is_count(reason) and LARGE_VALUE < int(reason) <= MAX_VALUE:
        return LargeValue(int(reason))
    kind = _TYPES.get(code)
    return kind(reason) if kind is not None else PeerError(told.line(reply))


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    dataset_id: str
    ring_id: str
    replicas: int
    names: tuple[str, ...]
    places: Places = field(default_factory=dict)
    extra: Extra = NO_EXTRA

    def command(self) -> tuple[str | int, ...]:
        hot = [self.extra.word()] if self.extra != NO_EXTRA else []
        return "LEASE", self.dataset_id, self.ring_id, self.replicas, *words(self.names, self.places), *hot

    @classmethod
    def parse(cls, args: list[bytes]) -> "LeaseRequest":
        """Read the arguments of LEASE. Raises ValueError with the reason."""
        if len(args) < 4:
            raise ValueError("want LEASE <dataset id> <ring id> <replicas> <shard> …")
        dataset_id, ring_id, replicas, *shards = (arg.decode("utf-8", "strict") for arg in args)
        extra = Extra.parse(shards.pop()) if len(shards) > 1 and shards[-1].startswith("+") else NO_EXTRA
        if len(shards) > MAX_SHARDS:
            raise ValueError(f"a ring of {len(shards)} shards: at most {MAX_SHARDS} can share a dataset")
        found = list(map(placed, shards))
        names = [name for name, _ in found]
        if not (replicas.isascii() and replicas.isdigit() and len(replicas) < 3 and 0 < int(replicas) <= MAX_REPLICAS):
            raise ValueError(f"replicas must be a positive number up to {MAX_REPLICAS}, not {replicas[:20]!r}")
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice in the ring")
        places = {name: place for name, place in found if place != ANYWHERE}
        return cls(dataset_id, ring_id, int(replicas), tuple(names), places, extra)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a shard tells of itself a few times a second.

    `checked` are bytes of blocks that it has read and checked; `revision` counts the changes of what it offers, and
    `direct` the requests of clients that came without a router. `extra` is the latest that it was leased with.
    """

    draining: bool
    checked: int
    revision: int
    direct: int
    load: Load = NO_LOAD
    extra: Extra = NO_EXTRA

    def reply(self) -> str:
        state, hot = DRAINING if self.draining else SERVING, f"{self.load.word()} {self.extra.word()}"
        return f"{state} {self.checked} {self.revision} {self.direct} {hot}"

    @classmethod
    def parse(cls, reply: Any) -> "Heartbeat":
        """Read the reply to HEARTBEAT. Raises PeerError."""
        words = reply.decode("ascii", "replace").split() if isinstance(reply, bytes) else []
        odd = PeerError(f"not a reply to HEARTBEAT: {reply!r}"[:100])
        if len(words) != 6 or words[0] not in {SERVING, DRAINING} or not all(map(_is_count, words[1:4])):
            raise odd
        try:
            load, extra = Load.parse(words[4]), Extra.parse(words[5])
        except ValueError:
            raise odd from None
        return cls(words[0] == DRAINING, int(words[1]), int(words[2]), int(words[3]), load, extra)


@dataclass(frozen=True, slots=True)
class Offered:
    """A version of the data that can be leased from a shard, as its catalog has it.

    `serial` grows with each change of the catalog; `by` and `at` say who has published the version, and when (ISO
    8601). Without a catalog the serial is 0, and these are empty. `forced`: the routers' gate is to let it pass.
    """

    serial: int
    dataset_id: str
    partitions: int
    forced: bool = False
    by: str = ""
    at: str = ""

    def line(self) -> str:
        """As INFO shows it."""
        return (
            f"serial={self.serial},dataset={self.dataset_id},partitions={self.partitions},forced={int(self.forced)},"
            f"by={quote(self.by, safe='@')},at={self.at}"
        )

    @classmethod
    def parse(cls, line: str) -> "Offered":
        """Read a line of INFO. Raises PeerError."""
        found = _VERSION.fullmatch(line)
        if found is None or not (
            int(found["serial"]) <= MAX_SERIAL
            and _is_partition_count(int(found["partitions"]))
            and _is_time(found["at"])
        ):
            raise PeerError(f"not a version that a shard offers: {line[:200]!r}")
        by = unquote(found["by"], errors="replace")
        if quote(by, safe="@") != found["by"] or len(by) > MAX_BY or not by.isprintable():
            raise PeerError(f"not who has published a version: {found['by'][:200]!r}")
        forced = found["forced"] == "1"
        return cls(int(found["serial"]), found["dataset"], int(found["partitions"]), forced, by, found["at"])


def versions_section(offered: Iterable[Offered], served: str = "") -> dict[str, str | int | float]:
    """The section `versions` of a shard's INFO: what it offers, the newest first, and what routers serve."""
    section: dict[str, str | int | float] = {f"version_{number}": each.line() for number, each in enumerate(offered)}
    return section | {"served": served} if served else section


def offered_in(fields: Mapping[str, str]) -> tuple[Offered, ...]:
    """The versions among the fields of a shard's INFO, the newest first: none if it has nothing yet. Raises PeerError.

    No dataset stands there twice.
    """
    found: list[Offered] = []
    while (line := fields.get(f"version_{len(found)}")) is not None:
        if len(found) == MAX_OFFERED:
            raise PeerError(f"a shard offers at most {MAX_OFFERED} versions")
        found.append(Offered.parse(line))
    if len({version.dataset_id for version in found}) != len(found):
        raise PeerError("a shard offers each dataset once")
    return tuple(found)


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
        words = reply.split() if isinstance(reply, bytes) else []
        if len(words) != 3 or words[0] != b"OK" or not all(_is_count(word.decode("latin-1")) for word in words[1:]):
            raise PeerError(f"not a reply to LEASE: {reply!r}"[:100])
        return cls(int(words[1]), int(words[2]))


def _is_count(word: str) -> bool:
    return _COUNT.fullmatch(word) is not None


def _is_partition_count(number: int) -> bool:
    return number <= SLOTS and number & (number - 1) == 0


def _is_time(text: str) -> bool:
    """Whether the text is empty, or a time with its zone in ISO 8601."""
    if text and _TIME.fullmatch(text) is None:
        return False
    try:
        return not text or datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False

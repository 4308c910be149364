"""The consistent-hash ring as a table: which shards own which partition, computed alike by every process.

A ring is never changed: a change of the cluster builds the next one, and a reference is swapped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from xxhash import xxh3_128_hexdigest

from ringkv.cluster.hot import Counts, counts_word, with_extra
from ringkv.cluster.limits import LOAD_BOUND, VIRTUAL_NODES
from ringkv.cluster.place import ANYWHERE, NO_PLACES, Place, Places, words
from ringkv.cluster.placing import Placing
from ringkv.cluster.position import shift_to


@dataclass(frozen=True, slots=True)
class Ring:
    """The placement of `partitions` partitions on the shards `names`, `replicas` owners each.

    `owners[p]` are the owners of partition p in preference order: `copies` distinct names, in as many zones as there
    are, and behind them the extra ones, where `extra` has some for it. Equal inputs give equal rings, in whatever order
    the names come; `ring_id` is the digest of the inputs.
    """

    names: tuple[str, ...]
    replicas: int
    partitions: int
    ring_id: str
    owners: tuple[tuple[str, ...], ...] = field(repr=False, compare=False)
    places: Places = field(default_factory=dict, repr=False, compare=False)
    extra: Counts = ()

    @property
    def copies(self) -> int:
        """Owners of a partition that has no extra ones."""
        return min(self.replicas, len(self.names))

    @property
    def extra_owners(self) -> dict[int, tuple[str, ...]]:
        """Those of each hot partition that are beyond `copies`."""
        return {p: self.owners[p][self.copies :] for p, _ in self.extra}

    def extra_of(self, name: str) -> list[int]:
        """The partitions of which `name` is an extra owner, ascending."""
        return [p for p, owners in self.extra_owners.items() if name in owners]

    def owned_by(self, name: str) -> list[int]:
        """The partitions that `name` owns, in any preference, ascending."""
        return [p for p, owners in enumerate(self.owners) if name in owners]


def ring_id(
    names: Iterable[str], replicas: int, partitions: int, places: Places = NO_PLACES, extra: Counts = ()
) -> str:
    """The digest, 32 hex digits, by which two processes know that they mean the same ring."""
    hot = [counts_word(extra)] if extra else []
    inputs = (LOAD_BOUND, VIRTUAL_NODES, partitions, replicas, *words(names, places), *hot)
    return xxh3_128_hexdigest("\n".join(map(str, inputs)).encode())


def build_ring(
    names: Iterable[str], replicas: int, partitions: int, places: Places = NO_PLACES, extra: Counts = ()
) -> Ring:
    """Place every partition by consistent hashing with bounded loads.

    Partition p stands at `p << (64 - log2 partitions)`; its owners are the next shards clockwise, of zones that have
    the fewest owners of it, that hold less than `ceil(LOAD_BOUND · share)` partitions (cluster/shares.py). Those in
    `extra` get so many owners more (cluster/hot.py), and no other copy moves for it. Raises ValueError without names or
    replicas, or with a partition that there is not.

    Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
    """
    names = tuple(sorted(set(names)))
    if not names or replicas < 1:
        raise ValueError("a ring needs at least one shard and one replica")
    ring = _build(names, tuple(places.get(name, ANYWHERE) for name in names), replicas, partitions)
    if not extra:
        return ring
    if extra[-1][0] >= partitions:
        raise ValueError(f"partition {extra[-1][0]} is none of {partitions}")
    owners = list(ring.owners)
    for partition, own in with_extra(owners, names, places, extra).items():
        owners[partition] = own
    found = ring_id(names, replicas, partitions, places, extra)
    return replace(ring, ring_id=found, owners=tuple(owners), extra=extra)


@lru_cache(maxsize=8)
def _build(names: tuple[str, ...], stands: tuple[Place, ...], replicas: int, partitions: int) -> Ring:
    """Kept for a few rings: a shard that goes and comes back leads to the same two again and again."""
    places = {name: place for name, place in zip(names, stands, strict=True) if place != ANYWHERE}
    placing = Placing(names, places, min(replicas, len(names)), partitions)
    shift = shift_to(partitions)
    # Equal owners are one tuple: there are far fewer combinations than partitions.
    combinations: dict[tuple[str, ...], tuple[str, ...]] = {}
    placed = placing.place([p << shift for p in range(partitions)])
    owners = tuple(combinations.setdefault(found, found) for found in placed)
    return Ring(names, replicas, partitions, ring_id(names, replicas, partitions, places), owners, places)


def moved_partitions(before: Ring, after: Ring) -> tuple[int, int]:
    """How many copies of partitions the change gives to new owners, and the least that it could.

    The least is what the shards must gain to hold what `after` gives each of them.
    """
    moved = sum(
        len(set(new).difference(old)) for old, new in zip(before.owners, after.owners, strict=True) if new != old
    )
    held, holds = _loads(before), _loads(after)
    return moved, sum(max(0, count - held.get(name, 0)) for name, count in holds.items())


def _loads(ring: Ring) -> dict[str, int]:
    loads = dict.fromkeys(ring.names, 0)
    for owners in ring.owners:
        for name in owners:
            loads[name] += 1
    return loads

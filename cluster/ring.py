"""The consistent-hash ring as a table: which shards own which partition, computed alike by every process.

A ring is never changed: a change of the cluster builds the next one, and a reference is swapped.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from uhashring import HashRing
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from ringkv.cluster.limits import LOAD_BOUND, VIRTUAL_NODES
from ringkv.cluster.position import shift_to


@dataclass(frozen=True, slots=True)
class Ring:
    """The placement of `partitions` partitions on the shards `names`, `replicas` owners each.

    `owners[p]` are the owners of partition p in preference order: `min(replicas, len(names))` distinct names.
    Equal inputs give equal rings, in whatever order the names come; `ring_id` is the digest of the inputs.
    """

    names: tuple[str, ...]
    replicas: int
    partitions: int
    ring_id: str
    owners: tuple[tuple[str, ...], ...] = field(repr=False, compare=False)

    def owned_by(self, name: str) -> list[int]:
        """The partitions that `name` owns, in any preference, ascending."""
        return [p for p, owners in enumerate(self.owners) if name in owners]


def ring_id(names: Iterable[str], replicas: int, partitions: int) -> str:
    """The digest, 32 hex digits, by which two processes know that they mean the same ring."""
    inputs = (LOAD_BOUND, VIRTUAL_NODES, partitions, replicas, *sorted(names))
    return xxh3_128_hexdigest("\n".join(map(str, inputs)).encode())


def points(names: Iterable[str]) -> HashRing:
    """The virtual nodes of `names` as uhashring keeps them, hashed by name and never by address."""
    # Sorted, because where two points are equal uhashring keeps the later one, and all processes must keep the same.
    return HashRing(nodes=sorted(names), vnodes=VIRTUAL_NODES, hash_fn=_point)


def build_ring(names: Iterable[str], replicas: int, partitions: int) -> Ring:
    """Place every partition by consistent hashing with bounded loads.

    Partition p stands at `p << (64 - log2 partitions)`; its owners are the next shards clockwise that hold
    less than `ceil(LOAD_BOUND · mean)` partitions. Raises ValueError without names or replicas.

    Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
    """
    names = tuple(sorted(set(names)))
    if not names or replicas < 1:
        raise ValueError("a ring needs at least one shard and one replica")
    return _build(names, replicas, partitions)


@lru_cache(maxsize=8)
def _build(names: tuple[str, ...], replicas: int, partitions: int) -> Ring:
    """Kept for a few rings: a shard that goes and comes back leads to the same two again and again."""
    copies = min(replicas, len(names))
    bound = math.ceil(LOAD_BOUND * partitions * copies / len(names))
    walk = _Walk(names, bound, copies)
    shift = shift_to(partitions)
    # Equal owners are one tuple: there are far fewer combinations than partitions.
    combinations: dict[tuple[str, ...], tuple[str, ...]] = {}
    placed = (walk.place(p << shift) for p in range(partitions))
    owners = tuple(combinations.setdefault(found, found) for found in placed)
    return Ring(names, replicas, partitions, ring_id(names, replicas, partitions), owners)


class _Walk:
    """The state of one pass over the partitions: who holds how many so far."""

    def __init__(self, names: tuple[str, ...], bound: int, copies: int) -> None:
        # One copy of the points: uhashring's own range() copies the list at every call.
        positions, self._names = zip(*points(names).get_points(), strict=True)
        self._positions: tuple[int, ...] = positions
        self._load = dict.fromkeys(names, 0)
        self._bound = bound
        self._copies = copies

    def place(self, position: int) -> tuple[str, ...]:
        found: list[str] = []
        for name in islice(self._clockwise(position), self._copies):
            found.append(name)
            self._load[name] += 1
        if len(found) < self._copies:
            found.extend(self._overflow(found))
        return tuple(found)

    def _clockwise(self, position: int) -> Iterable[str]:
        """Distinct shards with room, in the order in which the ring meets them."""
        start = bisect_right(self._positions, position)
        seen = set[str]()
        for at in range(start, start + len(self._names)):
            name = self._names[at % len(self._names)]
            if name not in seen and self._load[name] < self._bound:
                seen.add(name)
                yield name

    def _overflow(self, found: list[str]) -> list[str]:
        """Owners beyond the bound, the least loaded first.

        With several replicas the last partitions may find too few distinct shards with room, though the
        sum of all room is enough. A copy too many on one shard is better than a copy too few.
        """
        rest = sorted((load, name) for name, load in self._load.items() if name not in found)
        extra = [name for _, name in rest[: self._copies - len(found)]]
        for name in extra:
            self._load[name] += 1
        return extra


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


def _point(name: str) -> int:
    return xxh3_64_intdigest(name.encode())

"""The consistent-hash ring as a table: which shards own which partition, computed alike by every process.

A ring is never changed: a change of the cluster builds the next one, and a reference is swapped.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from uhashring import HashRing
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from ringkv.cluster.limits import LOAD_BOUND, MAX_SHARDS, VIRTUAL_NODES, ZONE_BOUND
from ringkv.cluster.place import ANYWHERE, Place, Places, words
from ringkv.cluster.position import POSITION_BITS, shift_to
from ringkv.cluster.shares import by_zone, level, spread


@dataclass(frozen=True, slots=True)
class Ring:
    """The placement of `partitions` partitions on the shards `names`, `replicas` owners each.

    `owners[p]` are the owners of partition p in preference order: `min(replicas, len(names))` distinct names, in as
    many zones as there are. Equal inputs give equal rings, in whatever order the names come; `ring_id` is the digest of
    the inputs.
    """

    names: tuple[str, ...]
    replicas: int
    partitions: int
    ring_id: str
    owners: tuple[tuple[str, ...], ...] = field(repr=False, compare=False)
    places: Places = field(default_factory=dict, repr=False, compare=False)

    def owned_by(self, name: str) -> list[int]:
        """The partitions that `name` owns, in any preference, ascending."""
        return [p for p, owners in enumerate(self.owners) if name in owners]


NO_PLACES: Places = {}
"""All shards are alike."""


def ring_id(names: Iterable[str], replicas: int, partitions: int, places: Places = NO_PLACES) -> str:
    """The digest, 32 hex digits, by which two processes know that they mean the same ring."""
    rules = (LOAD_BOUND, VIRTUAL_NODES, ZONE_BOUND)
    inputs = (*rules, partitions, replicas, *words(names, places))
    return xxh3_128_hexdigest("\n".join(map(str, inputs)).encode())


def points(names: Iterable[str], places: Places = NO_PLACES) -> HashRing:
    """The virtual nodes of `names` as uhashring keeps them, hashed by name and never by address; more for more weight.

    A ring of much weight has as many as MAX_SHARDS shards of weight 1: what counts are the ratios.
    """
    return _points({name: places.get(name, ANYWHERE).weight for name in names})


def _points(weights: Mapping[str, float]) -> HashRing:
    total, each = sum(weights.values()), float(VIRTUAL_NODES)
    while total > MAX_SHARDS:
        total, each = total / 2, each / 2
    # Sorted, because where two points are equal uhashring keeps the later one, and all processes must keep the same.
    nodes = {name: {"vnodes": max(1, round(each * weights[name]))} for name in sorted(weights)}
    return HashRing(nodes=nodes, hash_fn=_point)


def build_ring(names: Iterable[str], replicas: int, partitions: int, places: Places = NO_PLACES) -> Ring:
    """Place every partition by consistent hashing with bounded loads, on zones first, then on the shards in them.

    Partition p stands at `p << (64 - log2 partitions)`; its owners are the next shards clockwise, of zones that have
    the fewest owners of it, that hold less than `ceil(LOAD_BOUND · share)` partitions (cluster/shares.py). Raises
    ValueError without names or replicas.

    Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
    """
    names = tuple(sorted(set(names)))
    if not names or replicas < 1:
        raise ValueError("a ring needs at least one shard and one replica")
    return _build(names, tuple(places.get(name, ANYWHERE) for name in names), replicas, partitions)


@lru_cache(maxsize=8)
def _build(names: tuple[str, ...], stands: tuple[Place, ...], replicas: int, partitions: int) -> Ring:
    """Kept for a few rings: a shard that goes and comes back leads to the same two again and again."""
    places = {name: place for name, place in zip(names, stands, strict=True) if place != ANYWHERE}
    placing = _Placing(names, places, min(replicas, len(names)), partitions)
    shift = shift_to(partitions)
    # Equal owners are one tuple: there are far fewer combinations than partitions.
    combinations: dict[tuple[str, ...], tuple[str, ...]] = {}
    placed = (placing.place(p << shift) for p in range(partitions))
    owners = tuple(combinations.setdefault(found, found) for found in placed)
    return Ring(names, replicas, partitions, ring_id(names, replicas, partitions, places), owners, places)


class _Placing:
    """One pass over the partitions: a walk that chooses zones, where that is to be chosen, and one in each zone."""

    def __init__(self, names: tuple[str, ...], places: Places, copies: int, partitions: int) -> None:
        zones = by_zone(names, places)
        if len(zones) == 1 and copies > 1 and len({places.get(name, ANYWHERE).weight for name in names}) > 1:
            # As if each was a zone: one walk for several copies would find large shards less often than they weigh.
            zones = {name: {name: places.get(name, ANYWHERE).weight} for name in names}
        weights = {zone: sum(members.values()) for zone, members in zones.items()}
        found = spread({zone: len(members) for zone, members in zones.items()}, weights, copies, partitions)
        self._sure = [(zone, count) for zone, count in found.sure.items() if count]
        self._more = found.more
        self._choosing = _choosing(zones, found.some, found.more, partitions) if found.more else None
        self._walks = {
            zone: _Walk(
                _points(members),
                {
                    name: math.ceil(LOAD_BOUND * share)
                    for name, share in level(members, found.part(zone) * partitions, partitions).items()
                },
            )
            for zone, members in zones.items()
        }

    def place(self, position: int) -> tuple[str, ...]:
        counts = dict(self._sure)
        if self._choosing is not None:
            for _, zone in self._choosing.place(position, self._more):
                counts[zone] = counts.get(zone, 0) + 1
        found = [owner for zone, count in counts.items() for owner in self._walks[zone].place(position, count)]
        if len(counts) > 1:
            found.sort()
        return tuple(name for _, name in found)


def _choosing(
    zones: Mapping[str, Mapping[str, float]], parts: Mapping[str, float], more: int, partitions: int
) -> "_Walk":
    """The walk that finds `more` of some zones for each partition, and each zone for such a part of them.

    A zone is found where one of its shards has a point, so that the partitions of a shard that comes or goes are those
    for which its zone does. What is found as the second of several is more often a small zone than its points say: with
    points by -ln(1 - part) each is found as often as it should, as if it was looked for by itself.
    """
    weights = {zone: sum(zones[zone].values()) for zone in parts}
    scale = sum(weights.values()) / more
    each = {zone: scale * -math.log1p(-part) / weights[zone] for zone, part in parts.items()}
    found = _points({name: weight * each[zone] for zone in parts for name, weight in zones[zone].items()})
    zone_of = {name: zone for zone in parts for name in zones[zone]}
    return _Walk(found, {zone: math.ceil(ZONE_BOUND * part * partitions) for zone, part in parts.items()}, zone_of)


class _Walk:
    """The state of one pass over the partitions on these points: who holds how many so far, `bounds` at most."""

    def __init__(self, points: HashRing, bounds: Mapping[str, int], called: Mapping[str, str] | None = None) -> None:
        """With `called` what is found are the names that it has for those of the points."""
        # One copy of the points: uhashring's own range() copies the list at every call.
        positions, names = zip(*points.get_points(), strict=True)
        self._positions: tuple[int, ...] = positions
        self._names: tuple[str, ...] = names if called is None else tuple(map(called.__getitem__, names))
        self._load = dict.fromkeys(bounds, 0)
        self._bounds = bounds

    def place(self, position: int, copies: int) -> list[tuple[int, str]]:
        """So many names that stand on the points, each with how far behind the position it is."""
        found = list(islice(self._clockwise(position), copies))
        for _, name in found:
            self._load[name] += 1
        if len(found) < copies:
            found.extend(self._overflow({name for _, name in found}, copies - len(found)))
        return found

    def _clockwise(self, position: int) -> Iterator[tuple[int, str]]:
        """Distinct names with room, in the order in which the ring meets them."""
        start = bisect_right(self._positions, position)
        seen = set[str]()
        for at in range(start, start + len(self._names)):
            name = self._names[at % len(self._names)]
            if name not in seen and self._load[name] < self._bounds[name]:
                seen.add(name)
                yield (self._positions[at % len(self._names)] - position) % (1 << POSITION_BITS), name

    def _overflow(self, found: set[str], copies: int) -> list[tuple[int, str]]:
        """Owners beyond the bound, the least loaded first.

        With several replicas the last partitions may find too few distinct shards with room, though the
        sum of all room is enough. A copy too many on one shard is better than a copy too few.
        """
        rest = sorted((load / self._bounds[name], name) for name, load in self._load.items() if name not in found)
        extra = [name for _, name in rest[:copies]]
        for name in extra:
            self._load[name] += 1
        return [(1 << POSITION_BITS, name) for name in extra]


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

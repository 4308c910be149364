"""Consistent hashing with bounded loads: which shards hold the copies of each partition, and in which zones.

One set of virtual nodes serves all zones, so that little moves when a zone or a shard of one comes or goes.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from uhashring import HashRing
from xxhash import xxh3_64_intdigest

from ringkv.cluster.limits import LOAD_BOUND, MAX_SHARDS, VIRTUAL_NODES
from ringkv.cluster.place import ANYWHERE, NO_PLACES, Places
from ringkv.cluster.position import POSITION_BITS
from ringkv.cluster.shares import by_zone, level, spread

_CIRCLE: Final = 1 << POSITION_BITS


def points(names: Iterable[str], places: Places = NO_PLACES) -> HashRing:
    """The virtual nodes of `names` as uhashring keeps them, hashed by name and never by address; more for more weight.

    A ring of much weight has as many as MAX_SHARDS shards of weight 1: what counts are the ratios.
    """
    weights = {name: places.get(name, ANYWHERE).weight for name in names}
    total, each = sum(weights.values()), float(VIRTUAL_NODES)
    while total > MAX_SHARDS:
        total, each = total / 2, each / 2
    # Sorted, because where two points are equal uhashring keeps the later one, and all processes must keep the same.
    nodes = {name: {"vnodes": max(1, round(each * weights[name]))} for name in sorted(weights)}
    return HashRing(nodes=nodes, hash_fn=_point)


class Placing:
    """One pass over the partitions: who holds how many so far, and who is next."""

    def __init__(self, names: tuple[str, ...], places: Places, copies: int, partitions: int) -> None:
        zones = by_zone(names, places)
        if len(zones) == 1 and copies > 1 and len({places.get(name, ANYWHERE).weight for name in names}) > 1:
            # Each shard is a zone then: one walk for several copies would find large shards less often than they weigh.
            zones = {name: {name: places.get(name, ANYWHERE).weight} for name in names}
        weights = {zone: sum(members.values()) for zone, members in zones.items()}
        found = spread({zone: len(members) for zone, members in zones.items()}, weights, copies, partitions)
        self._sure = {zone: count for zone, count in found.sure.items() if count}
        self._more = found.more
        self._zone_of = {name: zone for zone, members in zones.items() for name in members}

        def bounds(part: Callable[[str], float]) -> dict[str, int]:
            """How many partitions each shard may own where a zone has this part of all copies."""
            return {
                name: math.ceil(LOAD_BOUND * share)
                for zone, members in zones.items()
                for name, share in level(members, part(zone) * partitions, partitions).items()
            }

        self._bounds, self._sure_bounds = bounds(found.part), bounds(lambda zone: found.sure[zone])
        self._load = dict.fromkeys(names, 0)
        # Of how many partitions each of these zones may hold one more copy.
        self._room = {
            zone: sum(self._bounds[name] for name in zones[zone]) - found.sure[zone] * partitions for zone in found.some
        }
        self._spare = sum(self._room.values()) - found.more * partitions
        self._largest = max(self._room.values(), default=0)
        stand = dict[str, list[tuple[int, str]]]()
        every = points(names, places).get_points()
        for point in every:
            stand.setdefault(self._zone_of[point[1]], []).append(point)
        self._walks = {zone: _Walk(found) for zone, found in stand.items()}
        self._choice = _Walk([point for point in every if self._zone_of[point[1]] in self._room])

    def place(self, positions: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """The owners of the partitions there.

        The copies that each partition has in a zone anyway are placed first, and as if there were no others: so these
        stay where they are when a zone comes or goes.
        """
        found: list[list[tuple[int, str]]] = [[] for _ in positions]
        free = self._with_room(self._sure_bounds)
        for zone, count in self._sure.items():
            self._take(zone, positions, found, count, self._sure_bounds, free[zone])
        if self._more:
            free = self._with_room(self._bounds)
            for at, (position, owners) in enumerate(zip(positions, found, strict=True)):
                for zone in self._chosen(position, len(positions) - at, {name for _, name in owners}):
                    self._room[zone] -= 1
                    self._take(zone, (position,), (owners,), 1, self._bounds, free[zone])
        several = len(self._walks) > 1
        for owners in found:
            if several:
                owners.sort()
            yield tuple([name for _, name in owners])

    def _with_room(self, bounds: Mapping[str, int]) -> dict[str, set[str]]:
        """The shards of each zone that hold less than their bound."""
        found: dict[str, set[str]] = {zone: set() for zone in self._walks}
        for name, load in self._load.items():
            if load < bounds[name]:
                found[self._zone_of[name]].add(name)
        return found

    def _chosen(self, position: int, left: int, taken: set[str]) -> list[str]:
        """The zones that hold one more copy of a partition, with which so many are left.

        They are those that must, and those of the next shards clockwise that have room and do not own it.
        """
        chosen = self._due(left)
        load, bounds = self._load, self._bounds
        for at in self._choice.clockwise(position):
            if len(chosen) == self._more:
                return chosen
            name = self._choice.names[at]
            zone = self._zone_of[name]
            if zone not in chosen and name not in taken and load[name] < bounds[name]:
                chosen.append(zone)
        rest = sorted((-room, zone) for zone, room in self._room.items() if zone not in chosen)
        return chosen + [zone for _, zone in rest[: self._more - len(chosen)]]

    def _due(self, left: int) -> list[str]:
        """The zones that must hold one more copy, so that all partitions that are left find different zones with room.

        What a zone has room for beyond the number of these is of no use to them, and so much of it can be spared.
        """
        if self._more == 1 or left > self._largest:
            return []
        due = [zone for zone, room in self._room.items() if room >= left]
        unused = sum(self._room[zone] - left for zone in due)
        return due[: self._more] if self._spare - unused < len(due) else []

    def _take(  # noqa: PLR0913, PLR0917 - all partitions at once: a call for each would take longer than the rest
        self,
        zone: str,
        positions: Iterable[int],
        found: Iterable[list[tuple[int, str]]],
        copies: int,
        bounds: Mapping[str, int],
        free: set[str],
    ) -> None:
        """Add to the owners of each partition the next shards of the zone that are `free` and do not own it.

        Each is added with how far behind the partition's position it is. `free` are those within their bounds.
        """
        walk, load = self._walks[zone], self._load
        points, names = walk.positions, walk.names
        for position, owners in zip(positions, found, strict=True):
            taken = {name for _, name in owners}
            new: list[tuple[int, str]] = []
            # No more than there are: who looks for one that is not there walks all the way round.
            wanted = copies if len(free) >= copies + len(taken) else min(copies, len(free - taken))
            if wanted:
                for at in walk.clockwise(position):
                    name = names[at]
                    if name in free and name not in taken:
                        new.append(((points[at % len(points)] - position) % _CIRCLE, name))
                        if len(new) == wanted:
                            break
                        taken.add(name)
            if wanted < copies:
                new.extend(self._overflow(zone, {*taken, *(name for _, name in new)}, copies - wanted))
            for _, name in new:
                load[name] += 1
                if load[name] >= bounds[name]:
                    free.discard(name)
            owners.extend(new)

    def _overflow(self, zone: str, found: set[str], copies: int) -> Iterator[tuple[int, str]]:
        """Owners beyond the bound, the least loaded first.

        With several replicas in a zone the last partitions may find too few distinct shards with room, though the
        sum of all room is enough. A copy too many on one shard is better than a copy too few.
        """
        names = [name for name, stands in self._zone_of.items() if stands == zone and name not in found]
        rest = sorted((self._load[name] / self._bounds[name], name) for name in names)
        return ((_CIRCLE, name) for _, name in rest[:copies])


class _Walk:
    """The points of some shards: where each of them stands, and whose it is, twice round."""

    def __init__(self, points: Sequence[tuple[int, str]]) -> None:
        # One copy of the points: uhashring's own range() copies the list at every call.
        self.positions = [position for position, _ in points]
        self.names = 2 * [name for _, name in points]

    def clockwise(self, position: int) -> range:
        """The places in `names` from this position on, once round."""
        start = bisect_right(self.positions, position)
        return range(start, start + len(self.positions))


def _point(name: str) -> int:
    return xxh3_64_intdigest(name.encode())

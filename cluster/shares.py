"""How much each zone and each shard is to hold: by weight, as far as no two copies of a partition may be at one place.

Pure arithmetic on the numbers of shards and their weights; which partitions it becomes is the ring's (cluster/ring.py).
Only +, -, *, / and comparisons decide, in one order, so that all processes find the same to the last bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ringkv.cluster.place import ANYWHERE, Places

_STEPS: Final = 64
"""Halvings by which a level is found: as many as a float has bits, and some."""


def level(weights: Mapping[str, float], total: float, most: float, less: float = 0.0) -> dict[str, float]:
    """`total` shared out by weight: `less` is what each has already and takes less by, `most` what each may take.

    What those at the limit leave is shared out among the others by weight, as water finds its level.
    """
    whole = sum(weights.values())
    found = {name: (total + less * len(weights)) * weight / whole - less for name, weight in weights.items()}
    if all(0.0 <= share <= most for share in found.values()):
        return found
    if total >= most * len(weights):
        return dict.fromkeys(weights, most)
    low, high = 0.0, (most + less) / min(weights.values())
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = {name: min(most, max(0.0, middle * weight - less)) for name, weight in weights.items()}
        low, high = (middle, high) if sum(found.values()) < total else (low, middle)
    return found


@dataclass(frozen=True, slots=True)
class Spread:
    """How the copies of each partition are spread over zones.

    Of every partition a zone holds `sure[zone]` copies. One more copy each is in `more` of the zones in `some`, which
    differ by partition: zone z has one for the part `some[z]` of all partitions.
    """

    sure: dict[str, int]
    some: dict[str, float]
    more: int

    def part(self, zone: str) -> float:
        """Copies that the zone holds, as a multiple of the number of partitions."""
        return self.sure[zone] + self.some.get(zone, 0.0)


def spread(shards: Mapping[str, int], weights: Mapping[str, float], copies: int, partitions: int) -> Spread:
    """Spread copies over zones of so many shards and such weights: as evenly as these allow, beyond that by weight."""
    rounds = 0
    while sum(min(count, rounds + 1) for count in shards.values()) <= copies and rounds < copies:
        rounds += 1
    sure = {zone: min(count, rounds) for zone, count in shards.items()}
    more = copies - sum(sure.values())
    parts = level({zone: weights[zone] for zone in shards if shards[zone] > rounds}, more, 1.0, rounds) if more else {}
    # Less than half a partition from all or none of them is all or none.
    least = 0.5 / partitions
    for zone, part in parts.items():
        if part > 1 - least:
            sure[zone] += 1
            more -= 1
    return Spread(
        sure, {zone: part for zone, part in parts.items() if least <= part <= 1 - least} if more else {}, more
    )


def by_zone(names: tuple[str, ...], places: Places) -> dict[str, dict[str, float]]:
    """The weights of the shards in each zone; zones and names in the order of the alphabet."""
    found: dict[str, dict[str, float]] = {}
    for zone, name in sorted((places.get(name, ANYWHERE).zone, name) for name in names):
        found.setdefault(zone, {})[name] = places.get(name, ANYWHERE).weight
    return found


def shares(names: tuple[str, ...], places: Places, copies: int, partitions: int) -> dict[str, float]:
    """How many partitions each shard is to own, of each at most one copy, on average and before rounding."""
    zones = by_zone(names, places)
    weights = {zone: sum(members.values()) for zone, members in zones.items()}
    found = spread({zone: len(members) for zone, members in zones.items()}, weights, copies, partitions)
    return {
        name: share
        for zone, members in zones.items()
        for name, share in level(members, found.part(zone) * partitions, partitions).items()
    }

"""What a change of the cluster would move, and how even it is before and after: computed, not done."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ringkv.cluster.place import ANYWHERE, Place
from ringkv.cluster.ring import Ring, build_ring, moved_partitions


@dataclass(frozen=True, slots=True)
class Weights:
    """The keys and the bytes of each partition; without data, partitions are counted instead."""

    keys: Sequence[int]
    bytes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Load:
    """What one shard of a ring holds, all copies counted; keys and bytes are None without data."""

    name: str
    zone: str
    weight: float
    partitions: int
    keys: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Balance:
    """One ring: `largest` is the largest shard's load as a multiple of the mean, by keys if they are known.

    If weights differ, loads are divided by them. `lost` is how many partitions the loss of a zone takes all copies of,
    in the worst case.
    """

    shards: int
    largest: float
    lost: int
    loads: tuple[Load, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """From one number of shards to another: copies of partitions that get a new owner, and the least that must.

    `share` is the part of all copies that moves, by keys if they are known; `ratio` is moved / least, None if nothing
    has to move. `keys` and `bytes` are how many of these move, None without data.
    """

    before: Balance
    after: Balance
    moved: int
    least: int
    ratio: float | None
    share: float
    keys: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Shards:
    """The names of shards by a pattern, and their zones and weights, which are given to them in turn."""

    pattern: str = "shard-{n}"
    zones: int = 1
    weights: tuple[float, ...] = (1.0,)

    def places(self, count: int) -> dict[str, Place]:
        """The first `count` shards, by names that `pattern` makes from 1 on, each with its place."""
        return {
            self.pattern.replace("{n}", str(number + 1)): Place(
                f"zone-{number % self.zones + 1}" if self.zones > 1 else "", self.weights[number % len(self.weights)]
            )
            for number in range(count)
        }


def rings(shards: Shards, counts: Sequence[int], replicas: int, partitions: int) -> list[Ring]:
    """The ring of each number of shards."""
    return [build_ring(places, replicas, partitions, places) for places in map(shards.places, counts)]


def changes(steps: Sequence[Ring], weights: Weights | None) -> list[Change]:
    """The change of each step from one ring to the next; if there are several, also from the first to the last."""
    pairs = list(pairwise(steps))
    if len(pairs) > 1:
        pairs.append((steps[0], steps[-1]))
    return [change(before, after, weights) for before, after in pairs]


def change(before: Ring, after: Ring, weights: Weights | None) -> Change:
    moved, least = moved_partitions(before, after)
    gained = [
        len(set(new).difference(old)) if new != old else 0 for old, new in zip(before.owners, after.owners, strict=True)
    ]
    weighed = weights.keys if weights and sum(weights.keys) else [1] * after.partitions
    return Change(
        before=balance(before, weights),
        after=balance(after, weights),
        moved=moved,
        least=least,
        ratio=moved / least if least else None,
        share=_dot(gained, weighed) / (after.copies * sum(weighed)),
        keys=_dot(gained, weights.keys) if weights else None,
        bytes=_dot(gained, weights.bytes) if weights else None,
    )


def balance(ring: Ring, weights: Weights | None) -> Balance:
    owned = {name: [0, 0, 0] for name in ring.names}
    for partition, owners in enumerate(ring.owners):
        for name in owners:
            load = owned[name]
            load[0] += 1
            if weights:
                load[1] += weights.keys[partition]
                load[2] += weights.bytes[partition]
    known = weights is not None
    places = {name: ring.places.get(name, ANYWHERE) for name in ring.names}
    loads = tuple(
        Load(name, places[name].zone, places[name].weight, count, keys if known else None, size if known else None)
        for name, (count, keys, size) in sorted(owned.items(), key=lambda item: (len(item[0]), item[0]))
    )
    amounts = [load.keys or 0 for load in loads]
    if not any(amounts):
        amounts = [load.partitions for load in loads]
    mean = sum(amounts) / sum(load.weight for load in loads)
    largest = max(amount / load.weight for amount, load in zip(amounts, loads, strict=True)) / mean
    return Balance(len(loads), largest, _lost(ring), loads)


def _lost(ring: Ring) -> int:
    """How many partitions are in one zone only, of that zone which has the most of them."""
    zones = [{ring.places.get(name, ANYWHERE).zone for name in owners} for owners in ring.owners]
    return max(Counter(zone for found in zones if len(found) == 1 for zone in found).values(), default=0)


def _dot(counts: Sequence[int], weights: Sequence[int]) -> int:
    return sum(count * weight for count, weight in zip(counts, weights, strict=True) if count)

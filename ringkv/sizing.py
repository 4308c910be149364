"""What data take, on paper: bytes, shards, memory, start and packing, by arithmetic that tests hold to what is packed.

What is measured and no limit of the code stands in constants, each with where it was measured.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from ringkv.change import Shards, Weights
from ringkv.cluster.errors import StartupError
from ringkv.cluster.limits import LOAD_BOUND, MAX_SHARDS
from ringkv.cluster.place import Places
from ringkv.cluster.position import SLOTS, block_count, partition_count
from ringkv.cluster.shares import shares

KEY_BYTES: Final = 16 + 4
"""A key, and the offset of its value."""

BLOCK_BYTES: Final = 253
"""Arrow's header and footer of a block, and its row in the table of blocks (docs/questions.md)."""

PARTITION_BYTES: Final = 32
"""Its row in the table of partitions."""

BLOCK_ROW: Final = 20
"""Bytes of a block's row in the table of blocks, which every shard reads (dataset/format.py, which needs Arrow)."""

LINE_BYTES: Final = 36 + 1 + 1
"""Of a line of text: the key, a space and the newline."""

OWN_MEMORY: Final = 45 << 20
"""Of a shard beside what it maps: interpreter and libraries (docs/operations.md)."""

LEASED_BLOCK: Final = 40
"""Bytes of memory for each block that was leased (docs/questions.md)."""

USABLE: Final = 0.9
"""Of a machine's memory: the rest is the system's."""

START_SECONDS: Final = 0.61
"""Of `ringkv up` until the first answer, without what follows: 0.68 s at a million pairs (docs/bench.md)."""

PARTITION_SECONDS: Final = 17e-6
"""Of the same for each partition, which is placed and leased: with 16,384 of them it takes 1.3 times as long as with
4,096, whether they have two blocks or 32 (docs/operations.md)."""

TABLE_RATE: Final = 1e9
"""Bytes a second of a table that is read and checked."""

READ_RATE: Final = 1.6e9
"""Bytes a second and core that a shard reads ahead, checks and maps, without what follows."""

READ_PARTITION: Final = 130e-6
"""Seconds of a core for each partition that is read ahead, in a thread that is asked for each, and for each block."""

READ_BLOCK: Final = 20e-6

READ_SLOT: Final = 50e-6
"""The same for each slot where a partition has several, as it has up to a million pairs (shard/entries.py). All four
are fitted to what one and ten million pairs took beside other work (docs/operations.md)."""

PACKING_RATE: Final = 79e6
"""Bytes of text a second and core: ten million pairs of 98 bytes in 6.21 s on two cores (docs/bench.md)."""

PACKING_START: Final = 0.3
"""Seconds until all worker processes are there."""

PASSES: Final = 3
"""Times that packing moves as much as the dataset, beside reading the text: runs are written, read, and merged."""

SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Data:
    """So many pairs, with `values` bytes of values in all."""

    pairs: int
    values: int

    @property
    def text(self) -> int:
        """Bytes of a data file."""
        return self.values + self.pairs * LINE_BYTES

    @property
    def blocks(self) -> int:
        return block_count(self.pairs, self.values)

    @property
    def partitions(self) -> int:
        return partition_count(self.blocks)

    @property
    def dataset(self) -> int:
        """Bytes of the packed dataset, within a hundredth."""
        tables = self.blocks * BLOCK_BYTES + self.partitions * PARTITION_BYTES
        return self.values + self.pairs * KEY_BYTES + tables


@dataclass(frozen=True, slots=True)
class Sizing:
    """What data take on so many shards: bytes and seconds, where nothing else is said.

    `part` is the most that a shard holds, `part_lost` the same while one of `zones` is lost; they are equal where there
    is only one zone. `memory` is of the largest shard, also then, and `cache` on its disk, of two versions. `warm` is
    until a shard has read its part, on a core of its own, of which that takes `warm_core_seconds`.
    """

    pairs: int
    values: int
    text: int
    dataset: int
    blocks: int
    partitions: int
    shards: int
    replicas: int
    zones: int
    part: int
    part_lost: int
    memory: int
    cache: int
    start: float
    warm: float
    warm_core_seconds: float
    packing_core_seconds: float
    packing_disk: int


def sized(  # noqa: PLR0913, PLR0917 - as the plan has options
    data: Data, shards: int, replicas: int, zones: int, warm_rate: int, weights: tuple[float, ...] = (1.0,)
) -> Sizing:
    """What so many shards of such weights in turn take, which read `warm_rate` bytes a second ahead."""
    places = Shards(zones=zones, weights=weights).places(shards)
    part = _part(data, places, replicas)
    part_lost = _part(data, _left(places), replicas)
    tables = data.blocks * BLOCK_ROW + data.partitions * PARTITION_BYTES
    start = START_SECONDS + data.partitions * PARTITION_SECONDS + tables / TABLE_RATE
    reading = part / data.dataset * _reading(data)
    return Sizing(
        pairs=data.pairs,
        values=data.values,
        text=data.text,
        dataset=data.dataset,
        blocks=data.blocks,
        partitions=data.partitions,
        shards=shards,
        replicas=replicas,
        zones=zones,
        part=part,
        part_lost=part_lost,
        memory=_memory(data, part_lost),
        cache=2 * part_lost,
        start=start,
        warm=start + max(part / warm_rate, reading),
        warm_core_seconds=reading,
        packing_core_seconds=data.text / PACKING_RATE,
        packing_disk=data.text + PASSES * data.dataset,
    )


def shards_needed(data: Data, memory: int, replicas: int, zones: int) -> int:
    """The fewest shards, as many in each zone, whose parts fit machines of so much memory, also with a zone lost.

    Raises StartupError if a ring cannot have so many.
    """
    room = USABLE * memory
    if room <= OWN_MEMORY:
        raise StartupError(f"{memory:,} bytes of memory are too few: a shard takes {OWN_MEMORY:,} by itself")
    for shards in range(zones, MAX_SHARDS + 1, zones):
        left = _left(Shards(zones=zones).places(shards))
        if shards >= replicas and _memory(data, _part(data, left, replicas)) <= room:
            return shards
    raise StartupError(
        f"{data.dataset:,} bytes, {replicas} times, do not fit the memory of {MAX_SHARDS:,} shards, the most that a"
        " ring may have; give more --memory, or let shards read from disk: say how many --shards"
    )


def drawn(sizing: Sizing) -> Weights:
    """Partitions as random keys fill them, the same at each call."""
    keys = np.random.default_rng(SEED).multinomial(sizing.pairs, [1 / sizing.partitions] * sizing.partitions)
    each = sizing.dataset / max(sizing.pairs, 1)
    return Weights(keys.tolist(), np.rint(keys * each).astype(np.int64).tolist())


def _left(places: Places) -> Places:
    """The shards that are there while the largest zone is lost, if there are several."""
    zones: dict[str, float] = {}
    for place in places.values():
        zones[place.zone] = zones.get(place.zone, 0.0) + place.weight
    if len(zones) == 1:
        return places
    largest = max(zones, key=lambda zone: zones[zone])
    return {name: place for name, place in places.items() if place.zone != largest}


def _part(data: Data, places: Places, replicas: int) -> int:
    """The most that one of the shards holds: the bound of the placement, in whole partitions."""
    owned = shares(tuple(sorted(places)), places, min(replicas, len(places)), data.partitions)
    most = ceil(LOAD_BOUND * max(owned.values()))
    return ceil(data.dataset * min(1, most / data.partitions))


def _reading(data: Data) -> float:
    """Seconds of a core that reading and checking all of it takes."""
    slots = SLOTS if data.partitions < SLOTS else 0
    pieces = data.partitions * READ_PARTITION + data.blocks * READ_BLOCK + slots * READ_SLOT
    return pieces + data.dataset / READ_RATE


def _memory(data: Data, part: int) -> int:
    return part + OWN_MEMORY + ceil(LEASED_BLOCK * data.blocks * part / data.dataset)

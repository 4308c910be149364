"""What data will take: bytes, shards, memory, start and packing, by arithmetic that tests compare with real datasets.

Constants that are measurements, and not limits of the code, say where they were measured. Seconds are those of that
machine; a Machine tells how another one compares.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from ringkv.change import Shards, Weights
from ringkv.cluster.errors import StartupError
from ringkv.cluster.limits import LOAD_BOUND, MAX_SEGMENT_BYTES, MAX_SHARDS, MAX_VALUE
from ringkv.cluster.place import Places
from ringkv.cluster.position import SLOTS, block_count, partition_count
from ringkv.cluster.shares import shares

KEY_BYTES: Final = 16 + 4
"""Bytes of a key, and of the offset of its value."""

BLOCK_BYTES: Final = 253
"""Bytes of a block besides: Arrow's header and footer entry, and its row in the table of blocks (docs/questions.md)."""

PARTITION_BYTES: Final = 32
"""Bytes of a partition's row in the table of partitions."""

BLOCK_ROW: Final = 20
"""Bytes of a block's row in the table of blocks, which every shard reads (dataset/format.py, which needs Arrow)."""

LINE_BYTES: Final = 36 + 1 + 1
"""Bytes of a line of text besides its value: the key, a space and the newline."""

OWN_MEMORY: Final = 100 << 20
"""Bytes of memory of a shard beside what it maps: interpreter and libraries, half of it files of these."""

LEASED_BLOCK: Final = 40
"""Bytes of memory for each block that was leased (docs/questions.md)."""

USABLE: Final = 0.9
"""The part of a machine's memory that a shard may take: the rest is the system's."""

START_SECONDS: Final = 1.2
"""Seconds from the start of `ringkv up` to its first answer, without PARTITION_SECONDS."""

PARTITION_SECONDS: Final = 14e-6
"""Seconds of a start for each partition, which is placed and leased."""

TABLE_RATE: Final = 1e9
"""Bytes a second at which a table is read and checked."""

READ_RATE: Final = 1.6e9
"""Bytes a second and core at which a shard reads ahead, checks and maps, without what each partition and block
takes besides."""

READ_START: Final = 0.008
"""Seconds of a core until reading ahead has begun, and to its end."""

READ_PARTITION: Final = 13e-6
"""Seconds of a core for each partition that is read ahead."""

READ_BLOCK: Final = 14e-6
"""The same for each block."""

PACKING_RATE: Final = 72e6
"""Bytes of text a second and core."""

PACKING_START: Final = 0.5
"""Seconds of a core for the processes that pack, until all of them are there and to their end."""

PASSES: Final = 3
"""How many times packing moves as many bytes as the dataset has, beside reading the text: it writes runs, reads them,
and writes segments."""

SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Data:
    """Data of so many `pairs`, with `values` bytes of values in all."""

    pairs: int
    values: int

    @property
    def text(self) -> int:
        """Bytes of a data file with these pairs."""
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
class Machine:
    """How many times as long a machine takes to start, to read ahead and to pack as the one of the constants."""

    start: float
    reading: float
    packing: float


WHERE_MEASURED: Final = Machine(1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Sizing:
    """What data take on so many shards, in bytes and seconds, unless something else is said.

    `part` is the most that a shard holds, `part_lost` the same while one of `zones` is lost; they are equal if there is
    only one zone. `memory` is that of the largest shard, even while a zone is lost; `cache` is the room on its disk for
    two versions. `start` is from the start of `ringkv up` to its first answer, `warm` to when a shard with a core for
    itself has read its part, `warm_core_seconds` how much of that it takes. All seconds are those of `machine`.
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
    machine: Machine


def sized(  # noqa: PLR0913, PLR0917 - as the plan has options
    data: Data,
    shards: int,
    replicas: int,
    zones: int,
    warm_rate: int,
    weights: tuple[float, ...] = (1.0,),
    machine: Machine = WHERE_MEASURED,
) -> Sizing:
    """The sizing of `data` on so many shards, of these weights in turn, that read ahead `warm_rate` bytes a second."""
    places = Shards(zones=zones, weights=weights).places(shards)
    part = _part(data, places, replicas)
    part_lost = _part(data, _left(places), replicas)
    tables = data.blocks * BLOCK_ROW + data.partitions * PARTITION_BYTES
    start = machine.start * (START_SECONDS + data.partitions * PARTITION_SECONDS + tables / TABLE_RATE)
    reading = machine.reading * part / data.dataset * _reading(data)
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
        packing_core_seconds=machine.packing * (PACKING_START + data.text / PACKING_RATE),
        packing_disk=data.text + PASSES * data.dataset,
        machine=machine,
    )


def shards_needed(data: Data, memory: int, replicas: int, zones: int) -> int:
    """The fewest shards, equally many in each zone, whose parts fit machines of so much memory, even with a zone lost.

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


def check_packable(data: Data) -> None:
    """Raises StartupError if no dataset can hold these data, whatever the number of shards."""
    if data.values > data.pairs * MAX_VALUE:
        raise StartupError(f"a value may have {MAX_VALUE:,} bytes at most; give a smaller --value-size")
    most = SLOTS * MAX_SEGMENT_BYTES
    if data.dataset > most:
        raise StartupError(
            f"{data.dataset:,} bytes are more than a dataset may have, {most:,}; make several of them, each with a"
            " cluster of its own"
        )


def drawn(sizing: Sizing) -> Weights:
    """The weights of partitions that random keys fill, equal at each call."""
    keys = np.random.default_rng(SEED).multinomial(sizing.pairs, [1 / sizing.partitions] * sizing.partitions)
    each = sizing.dataset / max(sizing.pairs, 1)
    return Weights(keys.tolist(), np.rint(keys * each).astype(np.int64).tolist())


def _left(places: Places) -> Places:
    """The shards that are left while the largest of several zones is lost; all of them if there is one zone."""
    zones: dict[str, float] = {}
    for place in places.values():
        zones[place.zone] = zones.get(place.zone, 0.0) + place.weight
    if len(zones) == 1:
        return places
    largest = max(zones, key=lambda zone: zones[zone])
    return {name: place for name, place in places.items() if place.zone != largest}


def _part(data: Data, places: Places, replicas: int) -> int:
    """The most bytes that one of the shards holds: the bound of the placement, in whole partitions."""
    owned = shares(tuple(sorted(places)), places, min(replicas, len(places)), data.partitions)
    most = ceil(LOAD_BOUND * max(owned.values()))
    return ceil(data.dataset * min(1, most / data.partitions))


def _reading(data: Data) -> float:
    """Seconds of a core that reading and checking all of it takes."""
    return READ_START + data.partitions * READ_PARTITION + data.blocks * READ_BLOCK + data.dataset / READ_RATE


def _memory(data: Data, part: int) -> int:
    return part + OWN_MEMORY + ceil(LEASED_BLOCK * data.blocks * part / data.dataset)

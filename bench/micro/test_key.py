"""From a key to its partition, and from the names of shards to who owns which: `cluster`."""

from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ringkv.cluster.position import canonical, position, slot, slot_shift
from ringkv.cluster.ring import build_ring

PARTITIONS = 4096


def test_partition_of_1000_keys(benchmark: BenchmarkFixture, keys: list[bytes]) -> None:
    shift = slot_shift(PARTITIONS)
    benchmark(lambda: [slot(key) >> shift for key in keys])


def test_position_of_1000_keys(benchmark: BenchmarkFixture, keys: list[bytes]) -> None:
    benchmark(lambda: [position(key) for key in keys])


def test_checking_1000_keys(benchmark: BenchmarkFixture, keys: list[bytes]) -> None:
    benchmark(lambda: [canonical(key) for key in keys])


@pytest.mark.parametrize("shards", [3, 16])
@pytest.mark.parametrize("replicas", [1, 2])
def test_placement_of_4096_partitions(benchmark: BenchmarkFixture, shards: int, replicas: int) -> None:
    # Rings are kept: other names each time.
    number = count()
    benchmark(lambda: build_ring([f"{next(number)}-{shard}" for shard in range(shards)], replicas, PARTITIONS))

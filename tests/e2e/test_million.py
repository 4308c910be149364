"""The whole promise at the size that it is made for: `make million`, which takes minutes."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from ringkv.dataset.generate import lines
from tests.support.data import random_keys
from tests.support.http import ask_for_all, fetch
from tests.support.processes import SpawnedCluster, Spawner

pytestmark = [pytest.mark.million, pytest.mark.timeout(1200)]

PAIRS = 1_000_000
MISSING = 100_000


@pytest.fixture(scope="module")
def million(shared_folder: Path) -> Path:
    path = shared_folder / "million.data"
    if not path.exists():
        with path.open("wb") as file:
            file.writelines(lines(PAIRS, seed=42))
    return path


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner, million: Path) -> SpawnedCluster:
    return module_spawn.up(million, "--shards", "3")


def pairs(path: Path) -> Iterator[tuple[bytes, bytes]]:
    with path.open("rb") as file:
        for line in file:
            key, _, value = line.removesuffix(b"\n").partition(b" ")
            yield key, value


async def test_a_million_pairs_come_back_byte_for_byte(cluster: SpawnedCluster, million: Path) -> None:
    asked, wrong = await ask_for_all(cluster.host, cluster.port, pairs(million), connections=64)
    assert (asked, wrong) == (PAIRS, [])


async def test_keys_that_are_not_among_a_million_are_not_found(cluster: SpawnedCluster, million: Path) -> None:
    absent = set(random_keys(MISSING, seed=43)) - {key for key, _ in pairs(million)}
    assert len(absent) == MISSING
    in_both_cases = chain(absent, (key.upper() for key in absent))
    asked, wrong = await ask_for_all(cluster.host, cluster.port, ((key, None) for key in in_both_cases), connections=64)
    assert (asked, wrong) == (2 * MISSING, [])


@pytest.mark.parametrize("shards", [3, 5, 8])
async def test_a_million_pairs_are_shared_evenly(spawn: Spawner, million: Path, shards: int) -> None:
    cluster = spawn.up(million, "--shards", str(shards))
    view = (await fetch(cluster.host, cluster.port, "/ring")).json
    keys = [shard["keys"] for shard in view["shards"]]
    assert sum(keys) == PAIRS
    assert max(keys) <= 1.06 * PAIRS / shards

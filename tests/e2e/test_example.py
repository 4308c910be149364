"""Every pair comes back as it stands in the file, and nothing else does."""

from itertools import chain
from pathlib import Path

import pytest

from tests.support.data import EXAMPLE, SHARED, random_keys, read_pairs
from tests.support.http import ask_for_all
from tests.support.processes import SpawnedCluster, Spawner


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE)


async def test_every_pair_comes_back_byte_for_byte(cluster: SpawnedCluster, example_pairs: dict[bytes, bytes]) -> None:
    assert len(example_pairs) == 10_000
    asked, wrong = await ask_for_all(cluster.host, cluster.port, example_pairs.items())
    assert (asked, wrong) == (10_000, [])


async def test_upper_case_keys_mean_the_same(cluster: SpawnedCluster, example_pairs: dict[bytes, bytes]) -> None:
    pairs = [(key.upper(), value) for key, value in example_pairs.items()]
    asked, wrong = await ask_for_all(cluster.host, cluster.port, pairs)
    assert (asked, wrong) == (10_000, [])


async def test_keys_that_are_not_in_the_file_are_not_found(
    cluster: SpawnedCluster, example_pairs: dict[bytes, bytes]
) -> None:
    keys = random_keys(4_000, seed=11)
    assert not example_pairs.keys() & set(keys)
    asked, wrong = await ask_for_all(cluster.host, cluster.port, ((key, None) for key in keys))
    assert (asked, wrong) == (4_000, [])


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.name)
async def test_every_pair_of_a_file_beside_the_checkout_comes_back(spawn: Spawner, path: Path) -> None:
    cluster = spawn.up(path)
    pairs = dict(read_pairs(path))
    upper = ((key.upper(), value) for key, value in pairs.items())
    asked, wrong = await ask_for_all(cluster.host, cluster.port, chain(pairs.items(), upper))
    assert (asked, wrong) == (2 * len(pairs), [])


async def test_an_empty_file_is_a_dataset_in_which_nothing_is_found(spawn: Spawner, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    cluster = spawn.up(tmp_path / "empty", "--shards", "2")
    asked, wrong = await ask_for_all(cluster.host, cluster.port, ((key, None) for key in random_keys(300, seed=1)))
    assert (asked, wrong) == (300, [])

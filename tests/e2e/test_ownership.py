"""A shard holds what hashes to it: its own count, the ring's table and the operating system agree."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from ringkv.cluster.ring import build_ring
from ringkv.dataset.dataset import Dataset
from tests.support.http import fetch
from tests.support.memory import resident
from tests.support.processes import Spawner, wait_for

PAIRS = 150_000


def sizes(path: Path) -> list[tuple[int, int]]:
    """Of every partition the keys, and the bytes of its blocks, as the rows of these have them."""
    with Dataset.open(path) as dataset:
        blocks = [dataset.blocks_of(partition) for partition in range(dataset.manifest.partitions)]
        return [(int(rows["keys"].sum()), int(rows["bytes"].sum())) for rows in blocks]


def _warm(client: redis.Redis) -> Any:
    """What the shard tells of itself, once it has read all that it leases."""
    info = client.info()
    return info if info["checked_bytes"] == info["leased_bytes"] else None


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("shards", [3, 5])
async def test_every_shard_has_leased_and_read_only_what_it_owns(
    spawn: Spawner, generated: Callable[..., tuple[Path, Path]], shards: int, replicas: int
) -> None:
    _, packed = generated(PAIRS)
    partitions = sizes(packed)
    cluster = spawn.up(packed, "--shards", str(shards), "--replicas", str(replicas))
    names = [f"shard-{number}" for number in range(1, shards + 1)]
    ring = build_ring(names, replicas, len(partitions))
    view = (await fetch(cluster.host, cluster.port, "/ring")).json
    assert view["ring"] == ring.ring_id
    assert [shard["name"] for shard in view["shards"]] == names
    keys = 0
    for shard in view["shards"]:
        owned = ring.owned_by(shard["name"])
        owned_keys = sum(partitions[p][0] for p in owned)
        owned_bytes = sum(partitions[p][1] for p in owned)
        with redis.Redis(unix_socket_path=shard["address"].removeprefix("unix:")) as client:
            # The warm-up reads all of it, and nothing else.
            info = wait_for(partial(_warm, client))
            assert client.dbsize() == info["leased_keys"] == shard["keys"] == owned_keys
        assert info["leased_partitions"] == shard["partitions"] == len(owned)
        assert info["name"] == shard["name"]
        assert info["leased_bytes"] == owned_bytes
        pages = resident(info["process_id"], packed)
        assert owned_bytes * 0.9 < pages < owned_bytes * 1.35 + (512 << 10)
        keys += owned_keys
    assert keys == replicas * PAIRS


async def test_more_replicas_than_shards_are_as_many_as_there_are(
    spawn: Spawner, generated: Callable[..., tuple[Path, Path]]
) -> None:
    _, packed = generated(1_000)
    cluster = spawn.up(packed, "--shards", "2", "--replicas", "3")
    view = (await fetch(cluster.host, cluster.port, "/ring")).json
    assert [shard["keys"] for shard in view["shards"]] == [1_000, 1_000]

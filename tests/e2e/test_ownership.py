"""A shard holds what hashes to it: its own count, the ring's table and the operating system agree."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from cluster.ring import build_ring
from dataset.packed import PackedFile
from tests.support.http import fetch
from tests.support.memory import resident
from tests.support.processes import Spawner

PAIRS = 150_000


def sizes(path: Path) -> list[tuple[int, int]]:
    """Of every partition the keys, and the bytes of its columns."""
    found = []
    with PackedFile.open(path) as packed:
        for partition in range(packed.header.partitions):
            extent = packed.load(partition)
            values = struct.unpack_from("<i", packed.map, extent.offsets + 4 * extent.count)[0]
            found.append((extent.count, extent.count * (8 + 16 + 4) + 4 + values))
    return found


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("shards", [3, 5])
async def test_every_shard_has_loaded_only_what_it_owns(
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
            info = client.info()
            assert client.dbsize() == info["loaded_keys"] == shard["keys"] == owned_keys
        assert info["loaded_partitions"] == shard["partitions"] == len(owned)
        assert info["name"] == shard["name"]
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

"""One flipped byte on one shard's disk: one block of it is refused by name, and with two replicas no request fails."""

from collections.abc import Callable
from pathlib import Path

import redis

from tests.e2e.test_bad_peers import Router, every_pair
from tests.support.damage import copy_dataset, flip_value_byte, place_of
from tests.support.data import read_pairs
from tests.support.processes import SpawnedShard, Spawner

PAIRS = 5000
DAMAGED = 100


def ask_all(shard: SpawnedShard, text: Path) -> tuple[set[str], int, int]:
    """How the shard refuses keys, how many of them, and how many blocks it says are corrupt; all others are right."""
    refused = []
    with redis.Redis(unix_socket_path=shard.socket) as client:
        for key, value in read_pairs(text):
            try:
                assert client.get(key) == value
            except redis.ResponseError as error:
                refused.append(str(error).split(";")[0])
        return set(refused), len(refused), client.info()["corrupt_blocks"]


async def test_one_flipped_byte_costs_one_block_of_one_shard_and_no_request(
    spawn: Spawner, generated: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    text, packed = generated(PAIRS)
    copies = {name: copy_dataset(packed, tmp_path / name) for name in ("a", "b")}
    flip_value_byte(copies["a"], DAMAGED)
    shards = {name: spawn.shard(path, "--leased", "--name", name) for name, path in copies.items()}
    router = Router(spawn, *(shard.address for shard in shards.values()), replicas=2)
    await router.serves("a", "b")
    for _ in range(3):
        await every_pair(router, text)
    reason = f"CORRUPT {copies['a']}: block {DAMAGED} is corrupt: its bytes do not match their checksum"
    assert ask_all(shards["a"], text) == ({reason}, place_of(packed, DAMAGED).row.keys, 1)
    assert ask_all(shards["b"], text) == (set(), 0, 0)

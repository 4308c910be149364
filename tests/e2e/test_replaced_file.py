"""What happens to the dataset of a cluster: overwritten, renamed, deleted, or a symlink to it switched to another."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from ringkv.dataset.format import segment_name
from tests.e2e.test_bad_peers import Router, every_pair
from tests.e2e.test_lifecycle import ring, shard_pids
from tests.support.damage import copy_dataset
from tests.support.data import read_pairs
from tests.support.http import ask_for_all
from tests.support.processes import SpawnedCluster, Spawner, wait_for

Generated = Callable[..., tuple[Path, Path]]
PAIRS = 5000


def warm(cluster: SpawnedCluster) -> bool:
    """Whether all shards have read all that they lease: what changes now was right before."""
    shards = ring(cluster)["shards"]
    return bool(shards) and all(_warm(shard["address"]) for shard in shards)


def _warm(address: str) -> bool:
    with redis.Redis(unix_socket_path=address.removeprefix("unix:")) as client:
        info = client.info()
        return bool(info["checked_bytes"] == info["leased_bytes"] > 0)


def copy_over(served: Path, other: bytes) -> None:
    served.write_bytes(other)


def overwrite_in_place(served: Path, other: bytes) -> None:
    size = served.stat().st_size
    with served.open("r+b") as file:
        file.write((other + bytes(size))[:size])


@pytest.mark.parametrize("overwrite", [copy_over, overwrite_in_place])
def test_up_ends_in_one_line_when_a_segment_is_overwritten(
    spawn: Spawner, generated: Generated, tmp_path: Path, overwrite: Callable[[Path, bytes], None]
) -> None:
    packed = copy_dataset(generated(PAIRS)[1], tmp_path / "served")
    served = packed / segment_name(0)
    cluster = spawn.up(packed, "--replicas", "2")
    wait_for(lambda: warm(cluster))
    overwrite(served, (generated(PAIRS, seed=8)[1] / segment_name(0)).read_bytes())
    assert cluster.spawned.wait() == 1
    (line,) = (line for line in cluster.spawned.err.splitlines() if "was overwritten" in line)
    assert line.startswith(f"Error: {served}: was overwritten while it was served: ")
    assert "Traceback" not in cluster.spawned.err
    wait_for(lambda: not cluster.spawned.living())


async def test_with_two_replicas_no_request_fails_while_a_shard_loses_its_copy(
    spawn: Spawner, generated: Generated, tmp_path: Path
) -> None:
    text, packed = generated(PAIRS)
    copies = {name: copy_dataset(packed, tmp_path / name) for name in ("a", "b", "c")}
    shards = {name: spawn.shard(path, "--leased", "--name", name) for name, path in copies.items()}
    router = Router(spawn, *(shard.address for shard in shards.values()), replicas=2)
    await router.serves("a", "b", "c")
    # As many bytes, and other values: what only a checksum can tell.
    await every_pair(router, text)
    with (copies["a"] / segment_name(0)).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 4)
        content = file.read(size // 2)
        file.seek(size // 4)
        file.write(bytes(byte ^ 1 for byte in content))
    shards["a"].spawned.wait_for_line("was touched")
    while shards["a"].spawned.process.poll() is None:
        await every_pair(router, text)
    await router.serves("b", "c")
    await every_pair(router, text)
    assert shards["a"].spawned.wait() == 1


def test_a_successor_serves_what_up_has_opened(spawn: Spawner, generated: Generated, tmp_path: Path) -> None:
    text, packed = generated(PAIRS)
    first = copy_dataset(packed, tmp_path / "1")
    second = copy_dataset(generated(PAIRS, seed=8)[1], tmp_path / "2")
    (tmp_path / "current").symlink_to(first)
    cluster = spawn.up(tmp_path / "current", "--no-follow")
    (tmp_path / "next").symlink_to(second)
    (tmp_path / "next").replace(tmp_path / "current")
    kill_and_read_all(cluster, "shard-2", text)
    first.rename(tmp_path / "elsewhere")
    kill_and_read_all(cluster, "shard-1", text)


def kill_and_read_all(cluster: SpawnedCluster, name: str, text: Path) -> None:
    killed = shard_pids(cluster)[name]
    os.kill(killed, signal.SIGKILL)

    def again() -> bool:
        serving = [shard["name"] for shard in ring(cluster)["shards"] if shard["state"] == "serving"]
        # Right after the kill the router still has the shard in its view, and nobody listens there.
        with suppress(ConnectionError, FileNotFoundError):
            return len(serving) == 3 and killed not in shard_pids(cluster).values()
        return False

    wait_for(again)
    assert ring(cluster)["kept_out"] == {}
    pairs = dict(read_pairs(text))
    assert asyncio.run(ask_for_all(cluster.host, cluster.port, pairs.items())) == (len(pairs), [])

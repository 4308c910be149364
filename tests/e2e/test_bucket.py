"""From a bucket to a client: published, fetched by shards on an empty disk, and read by programs without any server."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.dataset.dataset import Dataset
from ringkv.dataset.mirror import Mirror
from tests.support.data import EXAMPLE
from tests.support.http import fetch
from tests.support.metrics import Metrics
from tests.support.processes import SpawnedShard, Spawner, wait_for
from tests.support.resp import Client


@pytest.fixture
def catalog(spawn: Spawner, bucket: str) -> str:
    """A bucket to which the example is published."""
    published = spawn("publish", EXAMPLE, bucket)
    assert published.wait() == 0, published.err
    return bucket


def told(shard: SpawnedShard) -> Metrics:
    port = int(shard.spawned.wait_for_line(r"answers HTTP on 127\.0\.0\.1:(\d+)")[1])
    return Metrics.parse(asyncio.run(fetch("127.0.0.1", port, "/metrics")))


def wait_until_warm(shard: SpawnedShard) -> None:
    wait_for(lambda: told(shard)["ringkv_checked_bytes"] == told(shard)["ringkv_leased_bytes"])


def test_a_shard_serves_a_bucket_and_a_restart_fetches_nothing(
    spawn: Spawner,
    catalog: str,
    tmp_path: Path,
    example_pairs: dict[bytes, bytes],
    connect: Callable[[SpawnedShard], Client],
) -> None:
    args = ("--name", "one", "--http", "127.0.0.1:0", "--cache", str(tmp_path), "--cache-size", "1G")
    keys = list(example_pairs)[:2000]
    fetched = []
    for _ in range(2):
        shard = spawn.shard(catalog, *args)
        client = connect(shard)
        for first in range(0, len(keys), 200):
            part = keys[first : first + 200]
            assert client("MGET", *part) == [example_pairs[key] for key in part]
        wait_until_warm(shard)
        fetched.append(told(shard)["ringkv_fetched_bytes_total"])
        other = spawn("shard", catalog, *args)
        assert other.wait() == 1
        assert other.err.endswith("another process has this cache; give each shard a name of its own\n")
        shard.spawned.process.terminate()
        assert shard.spawned.wait() == 0
    assert fetched[0] > 0
    assert fetched[1] == 0


def test_the_rate_is_an_option_and_what_is_asked_for_does_not_wait_for_it(
    spawn: Spawner,
    catalog: str,
    tmp_path: Path,
    example_pairs: dict[bytes, bytes],
    connect: Callable[[SpawnedShard], Client],
) -> None:
    shard = spawn.shard(catalog, "--name", "one", "--cache", str(tmp_path), env={"RINGKV_FETCH_RATE": "1K"})
    client = connect(shard)
    assert client("CONFIG", "GET", "fetch-rate") == [b"fetch-rate", b"1024"]
    for key in list(example_pairs)[:50]:
        assert client("GET", key) == example_pairs[key]


def test_a_program_reads_a_bucket_without_any_server(
    catalog: str, tmp_path: Path, example_pairs: dict[bytes, bytes]
) -> None:
    mirror = Mirror(tmp_path / "mirror")
    for kept in (None, mirror, mirror):
        with Dataset.open(catalog, kept) as dataset:
            key = next(iter(example_pairs))
            assert dataset.get(key) == example_pairs[key]
            assert dict(dataset.items()) == example_pairs
    mirror.close()


def test_a_shard_that_is_stopped_while_its_store_is_down_leaves_without_a_word_too_many(spawn: Spawner) -> None:
    shard = spawn("shard", "http://127.0.0.1:9/catalog", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
    shard.wait_for_line("answers HTTP on")
    shard.process.terminate()
    assert shard.wait() == 0
    assert "Traceback" not in shard.err
    assert "never retrieved" not in shard.err

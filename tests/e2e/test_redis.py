"""The Redis port of a cluster: whatever a client asks, it meets one read-only Redis."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.support.data import EXAMPLE, random_keys
from tests.support.processes import SpawnedCluster, Spawner
from tests.support.resp import AT_ONCE

Redis = Any  # redis-py cannot be typed strictly
Tool = Callable[..., str]

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
OTHER = b"0cdfafb5-edb4-48a6-a7ec-5b1a75831f91"
MISSING = b"00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--redis-port", "0")


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, cluster: SpawnedCluster) -> Iterator[Redis]:
    with redis.Redis(port=cluster.redis_port, protocol=request.param) as client:
        yield client


def test_every_pair_comes_back_byte_for_byte(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    pipeline = client.pipeline(transaction=False)
    for key in example_pairs:
        pipeline.get(key)
        pipeline.get(key.upper())
    assert pipeline.execute() == [value for value in example_pairs.values() for _ in range(2)]
    assert client.mget(list(example_pairs)) == list(example_pairs.values())


def test_the_default_pipeline_which_is_a_transaction_reads_every_pair(
    client: Redis, example_pairs: dict[bytes, bytes]
) -> None:
    pipeline = client.pipeline()
    for key in example_pairs:
        pipeline.get(key)
    pipeline.mget(list(example_pairs))
    *values, together = pipeline.execute()
    assert values == together == list(example_pairs.values())
    with client.pipeline() as watching:
        watching.watch(KEY)
        assert watching.get(KEY) == b"1234"
        watching.multi()
        watching.get(OTHER)
        assert watching.execute() == [b"here is another value"]


def test_keys_that_are_not_in_the_file_are_not_there(client: Redis) -> None:
    keys = [*random_keys(2_000, seed=31), b"x", b""]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
    assert pipeline.execute() == client.mget(keys) == [None] * len(keys)
    assert client.exists(*keys) == 0


def test_mget_exists_and_strlen_agree_with_the_file(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    some = list(example_pairs.items())[:60]
    for count in (1, 3, 16, 17, 60):
        keys = [key for key, _ in some[:count]]
        assert client.mget([*keys, MISSING, keys[0].upper()]) == [
            *(value for _, value in some[:count]),
            None,
            some[0][1],
        ]
        assert client.exists(*keys, MISSING, keys[0]) == count + 1
    for key, value in some:
        assert client.strlen(key) == len(value)
    assert client.strlen(MISSING) == 0


def test_it_introduces_itself_as_a_read_only_standalone_redis(client: Redis, cluster: SpawnedCluster) -> None:
    assert client.ping() is True
    assert client.echo("hello") == b"hello"
    assert client.dbsize() == 10_000
    assert client.time()[0] > 1_700_000_000
    info = client.info()
    assert (info["redis_mode"], info["cluster_enabled"]) == ("standalone", 0)
    assert (info["keys"], info["shards"], info["replicas"], info["partitions"]) == (10_000, 3, 1, 256)
    assert info["process_id"] in cluster.spawned.living()
    assert info["total_commands_processed"] > 0
    assert client.info("cluster") == {"cluster_enabled": 0}
    assert {"get", "mget", "exists", "strlen", "hello"} <= {str(name) for name in client.command()}
    with pytest.raises(redis.ResponseError, match="cluster support disabled"):
        client.execute_command("CLUSTER", "SLOTS")
    with pytest.raises(redis.exceptions.ReadOnlyError):
        client.set(KEY, "x")
    with pytest.raises(redis.ResponseError, match="unknown command 'LEASE'"):
        client.execute_command("LEASE", "x")


def test_info_counts_every_key_that_a_shard_has_answered(cluster: SpawnedCluster) -> None:
    with redis.Redis(port=cluster.redis_port) as client:
        before = client.info("stats")
        for key in (keys := random_keys(100, seed=32)):
            client.get(key)
        client.mget(keys)
        after = client.info("stats")
    assert after["lookup_own_zone"] - before["lookup_own_zone"] == 200


def test_a_needless_password_is_taken_or_refused_as_by_a_redis_without_one(cluster: SpawnedCluster) -> None:
    with redis.Redis(port=cluster.redis_port, password="needless", protocol=3) as client:
        assert client.get(KEY) == b"1234"
    with (
        redis.Redis(port=cluster.redis_port, password="needless", protocol=2, retry=AT_ONCE) as client,
        pytest.raises(redis.AuthenticationError, match="without any password configured"),
    ):
        client.get(KEY)


def test_redis_cli_reads_values(cluster: SpawnedCluster, tool: Tool) -> None:
    def cli(*args: str) -> str:
        return tool("redis-cli", "-p", str(cluster.redis_port), *args)

    key, other, missing = KEY.decode(), OTHER.decode(), MISSING.decode()
    assert cli("GET", key) == cli("-3", "GET", key.upper()) == "1234\n"
    assert cli("MGET", key, other) == "1234\nhere is another value\n"
    assert cli("DBSIZE") == "10000\n"
    assert cli("EXISTS", key, missing) == "1\n"
    assert cli("STRLEN", key) == "4\n"
    assert cli("GET", missing) == "\n"
    assert cli("SET", key, "x").startswith("READONLY ")
    assert cli("PING") == "PONG\n"
    assert "cluster_enabled:0" in cli("INFO")

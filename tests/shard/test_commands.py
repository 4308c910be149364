"""A shard is a Redis server that can only be read: redis-py and the wire agree on it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis

from ringkv.cluster.position import position
from tests.support.data import random_keys
from tests.support.processes import SpawnedShard
from tests.support.resp import AT_ONCE, Client

Connect = Callable[[SpawnedShard], Client]
Redis = Any  # redis-py cannot be typed strictly

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
MISSING = b"00000000-0000-4000-8000-000000000000"


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, example_shard: SpawnedShard) -> Iterator[Redis]:
    with redis.Redis(unix_socket_path=example_shard.socket, protocol=request.param, retry=AT_ONCE) as client:
        yield client


def test_get_returns_the_value_or_nothing(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    for key, value in list(example_pairs.items())[:300]:
        assert client.get(key) == value
        assert client.get(key.upper()) == value
    assert client.get(MISSING) is None
    assert client.get(b"not a key at all") is None


def test_mget_keeps_the_order(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    keys = list(example_pairs)
    assert client.mget([*keys, MISSING, keys[0].upper()]) == [*example_pairs.values(), None, example_pairs[keys[0]]]


def test_exists_and_strlen_count(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    assert client.exists(KEY, MISSING, KEY.upper(), KEY) == 3
    assert client.exists(MISSING) == 0
    assert client.strlen(MISSING) == 0
    for key in list(example_pairs)[:50]:
        assert client.strlen(key) == len(example_pairs[key])


def test_dbsize_is_the_number_of_keys(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    assert client.dbsize() == len(example_pairs)


def test_pings_and_the_time_are_answered(client: Redis) -> None:
    assert client.ping() is True
    seconds, microseconds = client.time()
    assert seconds > 1_700_000_000
    assert 0 <= microseconds < 1_000_000


def test_info_says_who_it_is(client: Redis, example_shard: SpawnedShard) -> None:
    info = client.info()
    assert info["process_id"] == example_shard.spawned.pid
    assert info["keys"] == info["leased_keys"] == 10_000
    assert info["partitions"] == info["leased_partitions"] == 256
    assert info["connected_clients"] >= 1
    assert set(client.info("dataset")) == {"dataset_id", "partitions", "blocks", "keys"}
    assert "keys" not in client.info("stats")


def test_clients_may_introduce_themselves(client: Redis) -> None:
    assert client.client_setname("tester") is True
    assert client.client_setinfo("LIB-NAME", "tester") is True
    with pytest.raises(redis.ResponseError, match="no client is closed by another one"):
        client.client_kill("127.0.0.1:1")


def test_command_describes_the_commands(client: Redis) -> None:
    described = client.command()
    assert {"get", "mget", "exists", "strlen", "info", "hello"} <= {str(name) for name in described}
    assert client.command_count() == len(described)


def test_explain_tells_the_way_of_a_lookup(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    told = json.loads(client.execute_command("EXPLAIN", KEY.upper()))
    assert int(told["position"]) == position(KEY)
    assert told["partition"] == position(KEY) >> 56
    assert (told["block"], told["found"], told["refusal"]) == (position(KEY) >> 56, True, None)
    assert told["dataset"] == client.info()["dataset_id"]
    assert told["name"] == client.info()["name"]
    with Path(told["file"]).open("rb") as file:
        file.seek(told["offset"])
        assert file.read(told["size"]) == example_pairs[KEY]
    assert list(told["ns"]) == ["hash", "find", "read"]
    missing = json.loads(client.execute_command("EXPLAIN", MISSING))
    assert (missing["refusal"], missing["found"], missing["rank"], missing["offset"]) == (None, False, None, None)
    with pytest.raises(redis.ResponseError, match="not a UUID version 4: 'x'"):
        client.execute_command("EXPLAIN", "x")


def test_there_is_one_database(client: Redis) -> None:
    assert client.execute_command("SELECT", 0) in {True, b"OK"}
    with pytest.raises(redis.ResponseError, match="DB index is out of range"):
        client.execute_command("SELECT", 1)


@pytest.mark.parametrize("write", ["SET k v", "DEL k", "MSET k v", "FLUSHALL", "EXPIRE k 1", "hset k f v", "INCR k"])
def test_writes_are_refused_as_redis_does(client: Redis, write: str) -> None:
    with pytest.raises(redis.exceptions.ReadOnlyError):
        client.execute_command(*write.split())
    assert client.dbsize() == 10_000


def test_auth_without_a_secret_is_answered_as_by_redis_without_a_password(client: Redis) -> None:
    with pytest.raises(redis.AuthenticationError, match="without any password configured"):
        client.execute_command("AUTH", "guess")
    assert client.execute_command("AUTH", "default", "guess") in {True, b"OK"}
    with pytest.raises(redis.AuthenticationError, match="only the user default"):
        client.execute_command("AUTH", "somebody", "guess")


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        (["NOSUCH"], "ERR unknown command 'NOSUCH'"),
        (["nosuch", "arg"], "ERR unknown command 'NOSUCH'"),
        (["EVAL", "return 1", "0"], "ERR unknown command 'EVAL'"),
        (["SCRIPT", "LOAD", "return 1"], "ERR unknown command 'SCRIPT'"),
        (["LOLWUT"], "ERR unknown command 'LOLWUT'"),
        (["GET"], "ERR wrong number of arguments for 'get' command"),
        (["get", KEY, KEY], "ERR wrong number of arguments for 'get' command"),
        (["MGET"], "ERR wrong number of arguments for 'mget' command"),
        (["EXISTS"], "ERR wrong number of arguments for 'exists' command"),
        (["STRLEN"], "ERR wrong number of arguments for 'strlen' command"),
        (["DBSIZE", "x"], "ERR wrong number of arguments for 'dbsize' command"),
        (["SELECT"], "ERR wrong number of arguments for 'select' command"),
        (["CLIENT"], "ERR wrong number of arguments for 'client' command"),
        (["AUTH"], "ERR wrong number of arguments for 'auth' command"),
        (["HELLO", "4"], "NOPROTO unsupported protocol version: this server speaks 2 and 3"),
        (["LEASE"], "ERR want LEASE <dataset id> <ring id> <replicas> <shard> …"),
        (["\r\n+OK\r\n"], "ERR unknown command ' +OK '"),
        ([""], "ERR unknown command ''"),
    ],
)
def test_mistakes_are_named_and_the_connection_goes_on(
    example_shard: SpawnedShard, connect: Connect, args: list[str | bytes], reply: str
) -> None:
    client = connect(example_shard)
    refused = client(*args)
    assert isinstance(refused, hiredis.ReplyError)
    assert str(refused) == reply
    assert client("GET", KEY) == b"1234"


def test_commands_may_be_written_in_any_case(example_shard: SpawnedShard, connect: Connect) -> None:
    client = connect(example_shard)
    assert [client(name, KEY) for name in ("GET", "get", "gEt")] == [b"1234"] * 3


def test_quit_answers_what_came_before_it_and_closes(example_shard: SpawnedShard, connect: Connect) -> None:
    client = connect(example_shard)
    client.send(b"*2\r\n$3\r\nGET\r\n$36\r\n%b\r\n*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n" % KEY)
    assert (client.read(), client.read()) == (b"1234", b"OK")
    with pytest.raises(ConnectionError):
        client.read()


def test_hello_chooses_the_null(example_shard: SpawnedShard, connect: Connect) -> None:
    client = connect(example_shard)
    for version, null in ((b"3", b"_\r\n"), (b"2", b"$-1\r\n")):
        client("HELLO", version)
        client.send(b"*2\r\n$3\r\nGET\r\n$36\r\n%b\r\n" % MISSING)
        assert client.socket.recv(100) == null


def test_thousands_of_commands_in_one_write_are_answered_in_order(
    example_shard: SpawnedShard, example_pairs: dict[bytes, bytes]
) -> None:
    missing = random_keys(2_000, seed=5)
    expected: list[bytes | None] = []
    with redis.Redis(unix_socket_path=example_shard.socket) as client:
        pipeline = client.pipeline(transaction=False)
        for (key, value), absent in zip(example_pairs.items(), missing * 5, strict=True):
            pipeline.get(key)
            pipeline.get(absent)
            expected += [value, None]
        assert pipeline.execute() == expected

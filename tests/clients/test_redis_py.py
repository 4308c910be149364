"""redis-py, with hiredis below it: what a program in Python does with its defaults."""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis
import redis.asyncio

from tests.clients.conftest import Served
from tests.support.data import ROOT
from tests.support.processes import PATIENCE
from tests.support.resp import command

Redis = Any  # redis-py cannot be typed strictly

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
MISSING = b"00000000-0000-4000-8000-000000000000"


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, server: Served) -> Iterator[Redis]:
    with redis.Redis(port=server.port, protocol=request.param) as client:
        yield client


@pytest.fixture(params=[2, 3])
async def asynchronous(request: pytest.FixtureRequest, server: Served) -> AsyncIterator[Redis]:
    async with redis.asyncio.Redis(port=server.port, protocol=request.param) as client:
        yield client


def test_values_come_byte_for_byte(client: Redis, sample: dict[bytes, bytes]) -> None:
    keys, values = list(sample), list(sample.values())
    assert [client.get(key) for key in keys[:100]] == values[:100]
    assert client.mget(keys) == values
    assert client.mget([MISSING, "x"]) == [None, None]


@pytest.mark.parametrize("transaction", [True, False])
def test_pipelines_do_as_they_come(client: Redis, sample: dict[bytes, bytes], *, transaction: bool) -> None:
    pipeline = client.pipeline() if transaction else client.pipeline(transaction=False)
    for key in sample:
        pipeline.get(key)
    pipeline.mget(list(sample))
    pipeline.ttl(KEY)
    assert pipeline.execute() == [*sample.values(), list(sample.values()), -1]


def test_keys_are_walked_over(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    assert sorted(client.scan_iter(count=500)) == sorted(example_pairs)
    assert list(client.scan_iter(match="f8a24bb8*", count=1000)) == [KEY]
    assert list(client.scan_iter(_type="SET", count=1000)) == []
    assert client.keys("f8a24bb8*") == [KEY]
    assert client.randomkey() in example_pairs


def test_what_is_asked_about_a_key_is_answered(client: Redis, sample: dict[bytes, bytes]) -> None:
    for key, value in list(sample.items())[:20]:
        assert client.type(key) == b"string"
        assert (client.ttl(key), client.pttl(key), client.expiretime(key)) == (-1, -1, -1)
        assert client.getrange(key, 1, -2) == value[1:-1]
        assert client.strlen(key) == len(value)
        assert client.object("refcount", key) == 1
        assert client.memory_usage(key) == 20 + len(value)
    assert (client.type(MISSING), client.ttl(MISSING)) == (b"none", -2)
    assert (client.exists(KEY, MISSING), client.touch(KEY, MISSING)) == (1, 1)


def test_settings_and_figures_can_be_read(client: Redis) -> None:
    assert client.config_get("maxmemory*") == {"maxmemory": "0", "maxmemory-policy": "noeviction"}
    assert client.info("cluster") == {"cluster_enabled": 0}
    assert client.dbsize() == 10_000
    assert client.select(0)


def test_whoever_scrapes_info_is_told_the_truth(client: Redis, sample: dict[bytes, bytes]) -> None:
    before = client.info()
    for key in sample:
        client.get(key)
    client.get(MISSING)
    info = client.info("everything")
    assert info["total_commands_processed"] - before["total_commands_processed"] == len(sample) + 2
    assert info["db0"] == {"keys": 10_000, "expires": 0, "avg_ttl": 0}
    assert (info["role"], info["connected_slaves"], info["loading"]) == ("master", 0, 0)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{info['process_id']}/status").read_text().splitlines())
    assert abs(info["used_memory_rss"] - 1024 * int(status["VmRSS"].split()[0])) < 8 << 20
    assert info["used_memory"] <= info["used_memory_rss"]
    assert info["connected_clients"] == len(client.client_list())
    assert info["total_connections_received"] >= info["connected_clients"] >= 1
    used, used_before = (told["used_cpu_user"] + told["used_cpu_sys"] for told in (info, before))
    assert used > used_before
    ticks = Path(f"/proc/{info['process_id']}/stat").read_text().rpartition(")")[2].split()[11:13]
    assert used <= sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") + 0.02  # two fields of whole ticks
    # The kernel divides what a process took between the two by samples, so that one alone can stand still for a while.
    while (cpu := client.info("cpu"))["used_cpu_user"] == before["used_cpu_user"]:
        client.mget(list(sample))
    assert cpu["used_cpu_user"] > before["used_cpu_user"]
    assert [client.info(part).keys() for part in ("replication", "keyspace")] == [{"role", "connected_slaves"}, {"db0"}]
    assert info["redis_version"] in (ROOT / "docs" / "operations.md").read_text()


def test_a_write_says_why_it_is_refused(client: Redis) -> None:
    with pytest.raises(redis.exceptions.ReadOnlyError):
        client.set(KEY, "x")
    with pytest.raises(redis.exceptions.ResponseError, match="unknown command 'EVAL'"):
        client.eval("return 1", 0)


async def test_values_come_byte_for_byte_in_asyncio(asynchronous: Redis, sample: dict[bytes, bytes]) -> None:
    keys, values = list(sample), list(sample.values())
    assert [await asynchronous.get(key) for key in keys[:100]] == values[:100]
    assert await asynchronous.mget(keys) == values
    pipeline = asynchronous.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
    assert await pipeline.execute() == values
    assert [key async for key in asynchronous.scan_iter(match="f8a24bb8*", count=1000)] == [KEY]


async def test_a_default_pipeline_in_asyncio(asynchronous: Redis, sample: dict[bytes, bytes]) -> None:
    pipeline = asynchronous.pipeline()
    for key in sample:
        pipeline.get(key)
    assert await pipeline.execute() == list(sample.values())


def test_hiredis_by_itself_reads_every_reply(server: Served, sample: dict[bytes, bytes]) -> None:
    reader = hiredis.Reader()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connected:
        connected.sendall(b"".join(command("GET", key) for key in sample))
        values: list[Any] = []
        while len(values) < len(sample):
            reader.feed(connected.recv(1 << 16))
            while (value := reader.gets()) is not False:
                values.append(value)
    assert values == list(sample.values())

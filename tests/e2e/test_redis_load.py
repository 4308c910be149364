"""The Redis port of a cluster whose shards die, that is stopped, or whose clients do not read."""

import asyncio
import os
import signal
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from ringkv.resp import codec
from tests.support.data import EXAMPLE, random_keys, write_pairs
from tests.support.http import fetch
from tests.support.processes import PATIENCE, SpawnedCluster, Spawner
from tests.support.redis_port import AsyncClient
from tests.support.resp import Client, command

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


@pytest.mark.parametrize("replicas", [1, 2])
async def test_killing_shards_under_pipelined_load_fails_no_request(
    spawn: Spawner, example_pairs: dict[bytes, bytes], replicas: int
) -> None:
    cluster = spawn.up(EXAMPLE, "--redis-port", "0", "--replicas", str(replicas))
    pairs = list(example_pairs.items())
    stop = asyncio.Event()

    async def read(number: int) -> int:
        client = AsyncClient(*await asyncio.open_connection(cluster.host, cluster.redis_port))
        rounds = 0
        while not stop.is_set():
            some = pairs[(number * 1000 + rounds * 64) % 9000 :][:64]
            keys = [key for key, _ in some]
            client.send(codec.get_commands(keys), command("MGET", *keys[:8]), command("MGET", *keys))
            values = [value for _, value in some]
            assert [await client.read() for _ in keys] == values
            assert await client.read() == values[:8]
            assert await client.read() == values
            rounds += 1
        await client.close()
        return rounds

    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(number)) for number in range(6)]
        for name in ("shard-1", "shard-2", "shard-3"):
            ring = await serving(cluster, 3)
            address = next(shard["address"] for shard in ring["shards"] if shard["name"] == name)
            with redis.Redis(unix_socket_path=address.removeprefix("unix:")) as shard:
                pid = shard.info("server")["process_id"]
            os.kill(pid, signal.SIGKILL)
            await serving(cluster, 3, after=ring["epoch"])
        stop.set()
    assert min(task.result() for task in reading) > 3


async def serving(cluster: SpawnedCluster, count: int, after: int = 0) -> dict[str, Any]:
    """The ring, once so many shards serve in an epoch later than `after`."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ring: dict[str, Any] = (await fetch(cluster.host, cluster.port, "/ring")).json
            states = [shard["state"] for shard in ring["shards"]]
            if ring["epoch"] > after and states == ["serving"] * count:
                return ring
            await asyncio.sleep(0.02)


async def test_stopping_a_cluster_answers_what_is_on_its_way(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--redis-port", "0")
    clients = [AsyncClient(*await asyncio.open_connection(cluster.host, cluster.redis_port)) for _ in range(20)]
    for client in clients:
        assert await client("GET", KEY) == b"1234"
    for client in clients:
        client.send(command("MGET", *[KEY] * 10_000), command("QUIT"))
    cluster.spawned.process.send_signal(signal.SIGTERM)
    whole_answers = 0
    for client in clients:
        with suppress(ConnectionError):
            assert await client.read() == [b"1234"] * 10_000
            whole_answers += 1
        client.writer.transport.abort()
    assert cluster.spawned.wait() == 0
    assert "Traceback" not in cluster.spawned.err
    assert whole_answers


def own_memory(pid: int) -> int:
    """Bytes that no file stands behind."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def test_large_values_come_whole_and_a_slow_reader_costs_bounded_memory(spawn: Spawner) -> None:
    keys = random_keys(40, seed=41)
    pairs = {key: key * (1 << 15) for key in keys}  # 1.1 MiB each
    cluster = spawn.up(write_pairs(spawn.directory() / "data", pairs), "--redis-port", "0")
    with (
        redis.Redis(port=cluster.redis_port) as watcher,
        closing(socket.create_connection((cluster.host, cluster.redis_port), timeout=PATIENCE)) as connected,
    ):
        assert watcher.mget(keys) == list(pairs.values())
        pid = watcher.info("server")["process_id"]
        before = own_memory(pid)
        client = Client(connected)
        for _ in range(10):
            client.send(codec.get_commands(keys))
        most = max(own_memory(pid) for _ in range(300) if watcher.ping())
        assert most - before < 150 << 20
        for key in keys * 10:
            assert client.read() == pairs[key]

"""Clients of a Redis Cluster ask the shards themselves, and bridge what happens to these as they would with Redis."""

import asyncio
import gc
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import coredis
import pytest
import redis
import redis.asyncio
from glide import ClusterBatch, GlideClusterClient, GlideClusterClientConfiguration, NodeAddress, RequestError

from tests.clients.readers import NODE, NodeReader, Readers
from tests.support.data import EXAMPLE
from tests.support.nodes import Nodes
from tests.support.processes import Spawner, wait_for
from tests.support.published import KEYS, Published, value_of

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
MISSING = b"00000000-0000-4000-8000-000000000000"
REFUSED = "the dataset is immutable: a new version of the data is a new file"
SWAPS = 10

Pairs = dict[bytes, bytes]

pytestmark = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")  # coredis leaves them open


@pytest.fixture(scope="module", autouse=True)
def _collect() -> Iterator[None]:
    """What a client has left open is complained of when it is collected: here, and not in tests of others."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def port(module_spawn: Spawner) -> int:
    """That of one node of three."""
    return module_spawn.up(EXAMPLE, "--cluster-port", "0").node_port


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, port: int) -> Iterator[Any]:
    client = redis.RedisCluster(host="127.0.0.1", port=port, protocol=request.param)
    yield client
    client.close()


@pytest.fixture
async def glide(port: int) -> AsyncIterator[GlideClusterClient]:
    nodes = [NodeAddress("127.0.0.1", port)]
    client = await GlideClusterClient.create(GlideClusterClientConfiguration(nodes, request_timeout=10_000))
    yield client
    await client.close()


def test_redis_py_reads_every_pair(client: Any, example_pairs: Pairs) -> None:
    keys, values = list(example_pairs), list(example_pairs.values())
    assert client.mget_nonatomic(keys) == values
    pipeline = client.pipeline()
    for key in keys:
        pipeline.get(key)
    assert pipeline.execute() == values
    assert [client.get(key) for key in keys[:300]] == values[:300]
    assert [client.get(key.upper()) for key in keys[:100]] == values[:100]
    assert client.get(MISSING) is None
    assert sorted(client.scan_iter(count=1000)) == sorted(keys)
    assert sum(client.dbsize(target_nodes=[node]) for node in client.get_nodes()) == len(keys)
    with pytest.raises(redis.RedisError, match="SET command doesn't exist in Redis commands"):
        client.set(KEY, "x")


def test_redis_py_scans_every_key_of_all_nodes_where_each_has_two_owners(
    module_spawn: Spawner, example_pairs: Pairs
) -> None:
    """By default it would ask the nodes alone that it takes for masters: `docs/clients.md` tells it."""
    cluster = module_spawn.up(EXAMPLE, "--cluster-port", "0", "--replicas", "2", "--redis-port", "0")
    every = redis.RedisCluster.ALL_NODES
    with redis.RedisCluster(host="127.0.0.1", port=cluster.node_port) as client:
        assert sorted(client.scan_iter(count=1000, target_nodes=every)) == sorted(2 * list(example_pairs))
        assert set(client.scan_iter(count=1000)) < set(example_pairs)
        assert client.dbsize(target_nodes=every) == 2 * len(example_pairs)
    with redis.Redis(port=cluster.redis_port) as client:
        assert sorted(client.scan_iter(count=1000)) == sorted(example_pairs)


async def test_redis_py_reads_every_pair_in_asyncio(port: int, example_pairs: Pairs) -> None:
    keys, values = list(example_pairs), list(example_pairs.values())
    async with redis.asyncio.RedisCluster(host="127.0.0.1", port=port) as client:
        assert await client.mget_nonatomic(keys) == values
        pipeline = client.pipeline()
        for key in keys[:500]:
            pipeline.get(key)
        assert await pipeline.execute() == values[:500]
        assert await asyncio.gather(*map(client.get, keys[:50])) == values[:50]
        assert [await client.get(key.upper()) for key in keys[:100]] == values[:100]
        assert await client.get(MISSING) is None


async def test_coredis_reads_every_pair(port: int, example_pairs: Pairs) -> None:
    keys, values = list(example_pairs), list(example_pairs.values())
    async with coredis.RedisCluster(host="127.0.0.1", port=port) as client:
        assert await client.mget(keys) == tuple(values)
        assert [await client.get(key) for key in keys[:300]] == values[:300]
        assert [await client.get(key.upper()) for key in keys[:100]] == values[:100]
        async with client.pipeline() as pipeline:
            replies = [pipeline.get(key) for key in keys[:500]]
        assert [await reply for reply in replies] == values[:500]
        assert await client.get(MISSING) is None
        with pytest.raises(coredis.exceptions.AuthorizationError, match=REFUSED):
            await client.set(KEY, b"x")


async def test_valkey_glide_reads_every_pair(glide: GlideClusterClient, example_pairs: Pairs) -> None:
    keys: list[str | bytes] = list(example_pairs)
    values = list(example_pairs.values())
    for start in range(0, len(keys), 1000):
        assert await glide.mget(keys[start : start + 1000]) == values[start : start + 1000]
    assert [await glide.get(key) for key in keys[:300]] == values[:300]
    assert [await glide.get(key.upper()) for key in keys[:100]] == values[:100]
    batch = ClusterBatch(is_atomic=False)
    for key in keys[:500]:
        batch.get(key)
    assert await glide.exec(batch, raise_on_error=True) == values[:500]
    assert await glide.get(MISSING) is None


async def test_valkey_glide_is_refused_a_write_at_once(glide: GlideClusterClient) -> None:
    """On READONLY it would look for another master until its time is up."""
    async with asyncio.timeout(10):
        with pytest.raises(RequestError, match=REFUSED):
            await glide.set(KEY, "x")


@pytest.mark.parametrize("name", NODE)
async def test_a_program_in_javascript_reads_every_pair(port: int, node_path: Path, name: str) -> None:
    reader = await NodeReader.start(name, port, EXAMPLE, node_path)
    told = await reader.end()
    assert told.pop("single") >= 10_000
    refused = f"NOPERM {REFUSED}"
    assert told == {"many": 600, "upper": 300, "wrong": 0, "failed": [], "missing": None, "refused": refused}


def test_redis_cli_follows_where_it_is_sent(port: int, tool: Callable[..., str], example_pairs: Pairs) -> None:
    keys = [key for key, value in list(example_pairs.items())[:300] if value.isascii() and value.decode().isprintable()]
    for written in (keys, [key.upper() for key in keys]):
        shown = tool("redis-cli", "-c", "-p", str(port), stdin=b"".join(b"GET %b\n" % key for key in written))
        values = [line for line in shown.splitlines() if not line.startswith("-> Redirected to slot ")]
        assert values == [example_pairs[key].decode() for key in keys]
        assert len(values) < len(shown.splitlines())
    shown = tool("redis-cli", "--cluster", "check", f"127.0.0.1:{port}")
    assert "All nodes agree about slots configuration" in shown
    assert "All 16384 slots covered" in shown


def test_redis_benchmark_reads_from_all_nodes(port: int, tool: Callable[..., str]) -> None:
    options = ("-p", str(port), "--cluster", "-q", "-n", "2000", "-c", "10", "-t", "get")
    shown = tool("redis-benchmark", *options).replace("\r", "\n")
    assert "Cluster has 3 master nodes" in shown
    assert re.search(r"GET: [\d.]+ requests per second", shown)
    assert "rror" not in shown


async def test_shards_come_and_go_while_all_clients_read(spawn: Spawner, node_path: Path, example_pairs: Pairs) -> None:
    nodes = await asyncio.to_thread(Nodes, spawn, EXAMPLE, ("a", "b", "c"))
    readers = Readers(
        nodes.addresses["c"].port or 0, list(example_pairs), lambda key, value: value == example_pairs[key]
    )
    others = {name: await NodeReader.start(name, nodes.addresses["c"].port or 0, EXAMPLE, node_path) for name in NODE}
    async with readers.reading():
        for name in ("d", "e"):
            await asyncio.to_thread(nodes.start, name)
        await asyncio.to_thread(nodes.wait)
        await readers.go_on()
        for name in ("a", "b", "c"):
            shard = nodes.shards.pop(name)
            shard.process.terminate()
            assert await asyncio.to_thread(shard.wait) == 0
            await asyncio.to_thread(nodes.wait)
    assert readers.problems() == {}
    for name, other in others.items():
        told = await other.end()
        assert (name, told["wrong"], told["failed"], told["many"]) == (name, 0, [], 600)
    assert all("Traceback" not in shard.err for shard in nodes.shards.values())


async def test_killing_a_shard_fails_no_request_where_each_key_has_two_owners(
    spawn: Spawner, node_path: Path, example_pairs: Pairs
) -> None:
    nodes = await asyncio.to_thread(Nodes, spawn, EXAMPLE, ("a", "b", "c"), "--replicas", "2")
    port = nodes.addresses["a"].port or 0
    readers = Readers(port, list(example_pairs), lambda key, value: value == example_pairs[key])
    others = {name: await NodeReader.start(name, port, EXAMPLE, node_path) for name in NODE}
    async with readers.reading():
        nodes.shards.pop("b").process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(nodes.wait)
    assert readers.problems() == {}
    for name, other in others.items():
        told = await other.end()
        assert (name, told["wrong"], told["failed"], told["many"]) == (name, 0, [], 600)


async def test_versions_are_swapped_while_all_clients_read(spawn: Spawner, tmp_path: Path) -> None:
    published = Published(tmp_path / "catalog")
    for version in (2, 3):
        published.put(version)
    published.publish(1)
    nodes = await asyncio.to_thread(Nodes, spawn, published.path, ("a", "b", "c"))
    seen: set[object] = set()

    def right(key: bytes, value: object) -> bool:
        seen.add(value[:1] if isinstance(value, bytes) else value)
        return value in {value_of(version, key) for version in (1, 2, 3)}

    readers = Readers(nodes.addresses["a"].port or 0, KEYS, right)
    async with readers.reading():
        for version in islice(cycle((2, 3, 1)), SWAPS):
            await asyncio.to_thread(published.swap, version)
            wanted = value_of(version, KEYS[0])

            def served(wanted: bytes = wanted) -> bool:
                return wanted in [nodes.ask(nodes.addresses[name], "GET", KEYS[0].decode()) for name in nodes.shards]

            await asyncio.to_thread(wait_for, served)
    assert readers.problems() == {}
    assert seen == {b"1", b"2", b"3"}

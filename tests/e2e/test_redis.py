"""The Redis port of a cluster: whichever client asks, in whatever language, it meets one read-only Redis."""

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis
from filelock import FileLock

from cluster import resp
from tests.support.data import EXAMPLE, ROOT, random_keys, write_pairs
from tests.support.http import fetch
from tests.support.processes import PATIENCE, SpawnedCluster, SpawnedShard, Spawner
from tests.support.redis_port import AsyncClient
from tests.support.resp import Client, command

Redis = Any  # redis-py cannot be typed strictly
Tool = Callable[..., str]

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
OTHER = b"0cdfafb5-edb4-48a6-a7ec-5b1a75831f91"
MISSING = b"00000000-0000-4000-8000-000000000000"

NODE_CLIENT = "@redis/client", "6.3.1"


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--redis-port", "0")


@pytest.fixture(scope="module")
def whole(module_spawn: Spawner) -> SpawnedShard:
    """A shard that serves all of the same data by itself."""
    return module_spawn.shard(EXAMPLE)


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, cluster: SpawnedCluster) -> Iterator[Redis]:
    with redis.Redis(port=cluster.redis_port, protocol=request.param) as client:
        yield client


@pytest.fixture(scope="session")
def node_path(tool: Tool) -> Path:
    """The folder of the packages for Node.js, installed once."""
    name, version = NODE_CLIENT
    folder = ROOT / "build" / "node"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "node_modules" / name / "package.json"
    said = ""
    with FileLock(folder / "lock"):
        if not manifest.exists() or json.loads(manifest.read_text())["version"] != version:
            options = ("--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
            said = tool("npm", "install", *options, f"{name}@{version}")
    if not manifest.exists():
        reason = f"npm cannot install {name}: {said[-300:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder / "node_modules"


def test_every_pair_comes_back_byte_for_byte(client: Redis, example_pairs: dict[bytes, bytes]) -> None:
    pipeline = client.pipeline(transaction=False)
    for key in example_pairs:
        pipeline.get(key)
        pipeline.get(key.upper())
    assert pipeline.execute() == [value for value in example_pairs.values() for _ in range(2)]
    assert client.mget(list(example_pairs)) == list(example_pairs.values())


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


def test_a_needless_password_is_taken_or_refused_as_by_a_redis_without_one(cluster: SpawnedCluster) -> None:
    with redis.Redis(port=cluster.redis_port, password="needless", protocol=3) as client:
        assert client.get(KEY) == b"1234"
    with (
        redis.Redis(port=cluster.redis_port, password="needless", protocol=2) as client,
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


def test_redis_benchmark_with_a_pipeline_of_16_meets_no_error(cluster: SpawnedCluster, tool: Tool) -> None:
    options = ("-p", str(cluster.redis_port), "-n", "40000", "-c", "20", "-P", "16", "-q")
    for request in (("GET", KEY.decode()), ("MGET", KEY.decode(), OTHER.decode(), MISSING.decode())):
        shown = tool("redis-benchmark", *options, *request)
        match = re.search(r"([\d.]+) requests per second", shown.replace("\r", "\n"))
        assert match, shown
        assert "error" not in shown.lower()


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_a_client_in_another_language_reads_every_pair(
    cluster: SpawnedCluster, tool: Tool, node_path: Path, protocol: str
) -> None:
    script = Path(__file__).with_name("read_all.cjs")
    shown = tool(
        "node", str(script), str(cluster.redis_port), protocol, str(EXAMPLE), env={"NODE_PATH": str(node_path)}
    )
    assert json.loads(shown) == {
        "wrong": 0,
        "pairs": 10_000,
        "size": 10_000,
        "exists": 2,
        "length": 0,
        "missing": None,
        "pong": "PONG",
        "refused": "READONLY the dataset is immutable: a new version of the data is a new file",
    }


REQUESTS = (
    command("GET", KEY),
    command("get", KEY.upper()),
    command("GET", MISSING),
    command("PING"),
    command("PING", "hello"),
    command("ECHO", "hello"),
    command("MGET", KEY, MISSING, "x", OTHER, KEY.upper()),
    command("MGET", *[KEY, MISSING, OTHER] * 10),
    command("EXISTS", KEY, KEY, MISSING, ""),
    command("EXISTS", MISSING),
    command("STRLEN", OTHER),
    command("STRLEN", "x"),
    command("DBSIZE"),
    command("SET", "k", "v"),
    command("NOSUCH", "x"),
    command("GET"),
    command("GET", KEY, KEY),
    command("MGET"),
    command("SELECT", 0),
    command("SELECT", 1),
    command("AUTH", "x"),
    command("AUTH", "default", "x"),
    command("HELLO", 4),
    command("HELLO", 3, "SETNAME", "x"),
    command("GET", MISSING),
    command("MGET", *[MISSING] * 20),
    command("HELLO", 2, "AUTH", "default", "x"),
    command("HELLO"),
    command("CLIENT", "SETINFO", "LIB-NAME", "x"),
    command("CLIENT", "KILL", "x"),
    command("CLUSTER", "SLOTS"),
    command("READONLY"),
    command("COMMAND", "INFO", "GET", "NOSUCH"),
    command("COMMAND", "DOCS"),
    command("GET", OTHER),
)

GARBAGE = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"*1\r\n:5\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"$4\r\nPING\r\n",
    b"*2\r\n$3\r\nGET\r\n*1\r\n$36\r\n%b\r\n" % KEY,
    b"*2\r\n$3\r\nGET\r\n$-1\r\n",
    b"%1\r\n$3\r\nGET\r\n$1\r\nx\r\n",
    b"*9999999999\r\n",
    b"*2\r\n$3\r\nGET\r\n$100000000\r\n" + b"x" * (5 << 20),
)


def connect_both(cluster: SpawnedCluster, whole: SpawnedShard) -> tuple[socket.socket, socket.socket]:
    """To the router, and to the shard that serves everything alone."""
    to_router = socket.create_connection((cluster.host, cluster.redis_port), timeout=PATIENCE)
    to_router.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    to_shard = socket.socket(socket.AF_UNIX)
    to_shard.settimeout(PATIENCE)
    to_shard.connect(whole.socket)
    return to_router, to_shard


def test_the_router_and_a_shard_give_the_same_replies_wherever_requests_are_cut(
    cluster: SpawnedCluster, whole: SpawnedShard
) -> None:
    stream = b"".join(REQUESTS)
    router, shard = connect_both(cluster, whole)
    with closing(router), closing(shard), closing(socket.create_connection(router.getpeername())) as beside:
        expected = exchange(shard, [stream], len(REQUESTS))
        assert expected.count(b"-") > 10
        ping = Client(beside)
        for cut in range(len(stream) + 1):
            router.sendall(stream[:cut])
            # Its reply comes when what was sent before it has been read.
            ping("PING")
            assert exchange(router, [stream[cut:]], len(REQUESTS)) == expected, cut
        assert exchange(router, [bytes([byte]) for byte in stream], len(REQUESTS)) == expected


def exchange(connected: socket.socket, pieces: list[bytes], count: int) -> bytes:
    """Send all pieces; the bytes of so many replies."""
    for piece in pieces:
        connected.sendall(piece)
    reader, read = resp.reader(), b""
    while count:
        data = connected.recv(1 << 20)
        assert data
        read += data
        reader.feed(data)
        while reader.gets() is not resp.NOT_ENOUGH:
            count -= 1
    assert not reader.has_data()
    return read


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:24]))
def test_the_router_and_a_shard_refuse_the_same_garbage_with_the_same_words(
    cluster: SpawnedCluster, whole: SpawnedShard, garbage: bytes
) -> None:
    said = []
    for connected in connect_both(cluster, whole):
        with closing(connected):
            client = Client(connected)
            with suppress(ConnectionError):
                client.send(command("GET", KEY) + command("MGET", *[KEY] * 20) + garbage)
            assert client.read() == b"1234"
            assert client.read() == [b"1234"] * 20
            refused = client.read()
            assert isinstance(refused, hiredis.ReplyError)
            said.append(str(refused))
            with pytest.raises(ConnectionError):
                client.read()
    assert said[0] == said[1]
    assert said[0].startswith("ERR Protocol error: ")
    with redis.Redis(port=cluster.redis_port) as bystander:
        assert bystander.get(KEY) == b"1234"


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
            client.send(resp.get_commands(keys), command("MGET", *keys[:8]), command("MGET", *keys))
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
            client.send(resp.get_commands(keys))
        most = max(own_memory(pid) for _ in range(300) if watcher.ping())
        assert most - before < 150 << 20
        for key in keys * 10:
            assert client.read() == pairs[key]

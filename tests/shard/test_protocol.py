"""The wire: requests arrive in any pieces, and what is no request ends one connection and nothing else."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import hiredis
import pytest

from ringkv.resp.requests import MAX_BULK, MAX_REQUEST
from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedShard, Spawner, wait_for
from tests.support.resp import Client, command

Connect = Callable[[SpawnedShard], Client]

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
REQUESTS = (
    command("GET", KEY),
    command("MGET", KEY, KEY.upper(), "x"),
    command("EXISTS", KEY),
    command("SET", "k", "v"),
    command("NOSUCH"),
    command("PING"),
)
REPLIES = [
    "b'1234'",
    "[b'1234', b'1234', None]",
    "1",
    "READONLY the dataset is immutable: a new version of the data is a new file",
    "ERR unknown command 'NOSUCH'",
    "b'PONG'",
]


def test_commands_cut_at_any_byte_get_the_same_replies(example_shard: SpawnedShard, connect: Connect) -> None:
    stream = b"".join(REQUESTS)
    client = connect(example_shard)
    for at in range(len(stream) + 1):
        for piece in (stream[:at], stream[at:]):
            client.send(piece)
            # A reply in between makes sure that the pieces arrive apart.
            connect(example_shard)("PING") if at % 16 == 0 else None
        assert [str(client.read()) for _ in REQUESTS] == REPLIES


def test_commands_that_arrive_byte_by_byte_get_the_same_replies(example_shard: SpawnedShard, connect: Connect) -> None:
    client, other = connect(example_shard), connect(example_shard)
    for byte in b"".join(REQUESTS):
        client.send(bytes([byte]))
        other("PING")
    assert [str(client.read()) for _ in REQUESTS] == REPLIES


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"*x\r\n",
        b"*\r\n",
        b"*1\r\n$-7\r\nx\r\n",
        b"*1\r\n:5\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$3\r\nGET\r\n$-1\r\n",
        b"*1\r\n$4\r\nPINGPING\r\n",
        b'GET "not closed\r\n',
    ],
)
def test_garbage_is_refused_and_ends_only_its_own_connection(
    example_shard: SpawnedShard, connect: Connect, garbage: bytes
) -> None:
    bystander, client = connect(example_shard), connect(example_shard)
    client.send(command("GET", KEY) + garbage)
    assert client.read() == b"1234"
    refused = client.read()
    assert isinstance(refused, hiredis.ReplyError)
    assert str(refused).startswith("ERR Protocol error: ")
    with pytest.raises(ConnectionError):
        client.read()
    assert bystander("GET", KEY) == b"1234"


@pytest.mark.parametrize(
    ("head", "filler"),
    [
        (b"*1000000\r\n", b"$1\r\nx\r\n" * 8_192),
        (b"*100\r\n", b"$%d\r\n%b\r\n" % (MAX_BULK, bytes(MAX_BULK))),
        (b"", b"x" * 8_192),
    ],
    ids=["many arguments", "large arguments", "a long line"],
)
def test_an_oversized_request_is_refused_before_it_is_whole(
    example_shard: SpawnedShard, connect: Connect, head: bytes, filler: bytes
) -> None:
    client = connect(example_shard)
    client.send(head)
    sent = 0
    with suppress(ConnectionError):
        while sent < 8 * MAX_REQUEST:
            client.send(filler)
            sent += len(filler)
    assert sent < 4 * MAX_REQUEST
    assert connect(example_shard)("GET", KEY) == b"1234"


@pytest.mark.parametrize("head", [b"*2147483647\r\n", b"*4294967295\r\n", b"*9999999999\r\n", b"*1048577\r\n"])
def test_a_count_that_no_request_has_is_refused_at_once_and_costs_nothing(
    spawn: Spawner, connect: Connect, head: bytes
) -> None:
    shard = spawn.shard(EXAMPLE)
    bystander = connect(shard)
    assert bystander("GET", KEY) == b"1234"
    before = memory(shard.spawned.pid)
    for cut in range(len(head)):
        client = connect(shard)
        client.send(command("GET", KEY) + head[:cut])
        assert client.read() == b"1234"
        client.send(head[cut:])
        assert str(client.read()) == "ERR Protocol error: invalid multibulk length"
        started = time.perf_counter()
        assert bystander("GET", KEY) == b"1234"
        assert time.perf_counter() - started < 1
    assert memory(shard.spawned.pid) - before < 4 << 20


def test_a_large_request_within_the_limit_is_answered(
    example_shard: SpawnedShard, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    keys = list(example_pairs) * 7
    assert connect(example_shard)("MGET", *keys) == list(example_pairs.values()) * 7


def test_many_connections_come_and_go_without_a_trace(example_shard: SpawnedShard, connect: Connect) -> None:
    watcher = connect(example_shard)
    before = int(watcher.info()["connected_clients"])
    clients = [connect(example_shard) for _ in range(200)]
    assert all(client("GET", KEY) == b"1234" for client in clients)
    assert int(watcher.info()["connected_clients"]) == before + 200
    for number, client in enumerate(clients):
        if number % 2:
            client.send(command("GET", KEY)[:-9])
        client.socket.close()
    wait_for(lambda: int(watcher.info()["connected_clients"]) == before)


def memory(pid: int) -> int:
    """Bytes of the process's own memory: the packed file's pages are not counted."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def test_a_slow_reader_costs_no_memory_and_gets_everything_in_the_end(spawn: Spawner, connect: Connect) -> None:
    folder = spawn.directory()
    value = bytes(range(11, 256)) * (8 * 1024 * 1024 // 245)
    (folder / "data").write_bytes(KEY + b" " + value + b"\n")
    shard = spawn.shard(folder / "data", "--cache", str(folder / "cache"))
    watcher, client = connect(shard), connect(shard)
    assert watcher("GET", KEY) == value
    before = memory(shard.spawned.pid)
    client.send(command("GET", KEY) * 200)
    for _ in range(300):
        watcher("PING")
    wait_for(lambda: int(watcher.info()["total_commands_processed"]) > 300)
    assert memory(shard.spawned.pid) - before < 64 << 20
    for _ in range(200):
        assert client.read() == value
    assert client("PING") == b"PONG"

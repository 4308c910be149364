"""Values of megabytes through real processes: whole, in order, and no more of them at once than there is memory for."""

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Final

import pytest

from ringkv.cluster.limits import LARGE_VALUE, MAX_VALUE
from tests.attacks.beside import anonymous
from tests.support.data import random_keys
from tests.support.processes import Spawner
from tests.support.resp import Client, command

KEYS: Final = [key.decode() for key in random_keys(8, seed=77)]
SIZES: Final = [5, LARGE_VALUE, LARGE_VALUE + 1, 1_000_000, 4_321_000, MAX_VALUE, 0, 100_000]
MEMORY: Final = 256 << 20


def value_of(key: str) -> bytes:
    size = SIZES[KEYS.index(key)]
    return (f"{key}-{size}-".encode() * (size // 40 + 1))[:size]


@dataclass(frozen=True, slots=True)
class Served:
    http: int
    redis: int
    pids: list[int]


@pytest.fixture
def served(spawn: Spawner) -> Served:
    """For each test anew: what clients held that have gone comes back after some seconds."""
    data = spawn.directory() / "pairs.data"
    data.write_bytes(b"".join(b"%b %b\n" % (key.encode(), value_of(key)) for key in KEYS))
    memory = ("--memory", str(MEMORY))
    shard = spawn.shard(data, "--leased", "--name", "a", *memory)
    ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
    router = spawn("router", "--shards", str(shard.address), *ports, *memory)
    http = int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1])
    redis = int(router.wait_for_line(r"speaks Redis on 127\.0\.0\.1:(\d+)")[1])
    router.wait_for_line(r"topology \d+ in .* 1 shard")
    return Served(http, redis, [router.pid, shard.spawned.pid])


def get(served: Served, key: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", served.http, timeout=60)) as connection:
        connection.request(method, f"/{key}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)


def test_values_of_all_sizes_are_answered_over_http(served: Served) -> None:
    for key in KEYS:
        assert get(served, key)[:2] == (200, value_of(key))
        status, body, headers = get(served, key, "HEAD")
        assert (status, body, int(headers.get("Content-Length", 0))) == (200, b"", len(value_of(key)))
    key = KEYS[4]
    assert get(served, key, Range="bytes=4000000-")[:2] == (206, value_of(key)[4_000_000:])
    assert get(served, key, **{"If-None-Match": get(served, KEYS[0])[2]["ETag"]})[0] == 304
    with closing(http.client.HTTPConnection("127.0.0.1", served.http, timeout=60)) as connection:
        connection.request("POST", "/mget", body="\n".join(KEYS))
        lines = dict(line.split(b" ", 1) for line in connection.getresponse().read().splitlines())
    assert lines == {key.encode(): value_of(key) for key in KEYS}


def test_values_of_all_sizes_are_answered_over_redis_in_the_order_asked(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.redis), timeout=60) as connected:
        client = Client(connected)
        absent = random_keys(1, seed=78)[0].decode()
        wanted = [*KEYS, absent, *reversed(KEYS)]
        values = [None if key == absent else value_of(key) for key in wanted]
        client.send(b"".join(command("GET", key) for key in wanted) + command("PING"))
        assert [client.read() for _ in values] == values
        assert client.read() == b"PONG"
        assert client("MGET", *KEYS[:5], absent) == [*map(value_of, KEYS[:5]), None]
        assert client("MGET", *KEYS[:5] * 4) == [value_of(key) for key in KEYS[:5] * 4]
        assert client("EXISTS", *KEYS) == len(KEYS)
        assert [client("STRLEN", key) for key in KEYS] == SIZES
        client.send(command("MULTI") + b"".join(command("GET", key) for key in KEYS[:5]) + command("EXEC"))
        assert [client.read() for _ in range(7)][-1] == [value_of(key) for key in KEYS[:5]]


def test_pipelines_of_the_largest_value_stay_in_the_budget_and_small_ones_are_served_meanwhile(served: Served) -> None:
    """32 GETs of 64 MiB each, of clients that read and of clients that do not, are 1.8 KB that ask for 2 GiB."""
    key, most = KEYS[SIZES.index(MAX_VALUE)], 0
    redis, plain = command("GET", key) * 32, f"GET /{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 32
    unread = []
    for port, data in 3 * [(served.redis, redis), (served.http, plain)]:
        unread.append(socket.create_connection(("127.0.0.1", port)))
        unread[-1].sendall(data)

    def reading() -> int:
        with socket.create_connection(("127.0.0.1", served.redis), timeout=60) as client:
            client.sendall(redis)
            read = 0
            while read < MAX_VALUE and (got := client.recv(1 << 20)):
                read += len(got)
            return read

    with ThreadPoolExecutor() as threads:
        read = threads.submit(reading)
        for _ in range(300):
            assert get(served, KEYS[0])[:2] == (200, value_of(KEYS[0]))
            most = max(most, *(anonymous([pid]) for pid in served.pids))
        assert read.result() > 0
    for client in unread:
        client.close()
    assert most <= MEMORY * 1.1, f"{most >> 20} MiB"


def test_values_that_are_not_read_take_a_megabyte_each(served: Served) -> None:
    """Of 40 clients, by each of the ways to a value: all get its beginning at once, in memory for one value."""
    key, most = KEYS[SIZES.index(MAX_VALUE)], anonymous(served.pids[:1]) + MAX_VALUE
    plain = f"GET /{key} HTTP/1.1\r\nHost: x\r\n".encode()
    ways = [(served.redis, command("GET", key)), (served.http, plain + b"\r\n"), (served.http, plain + b"X: y\r\n\r\n")]
    with ExitStack() as unread:
        for port, data in 14 * ways:
            client = unread.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(data)
            assert client.recv(1000)
        assert anonymous(served.pids[:1]) <= most


@pytest.mark.parametrize("left", [1, 0])
def test_a_value_goes_on_with_another_owner_and_breaks_off_without_one(spawn: Spawner, left: int) -> None:
    data = spawn.directory() / "pairs.data"
    key = KEYS[SIZES.index(MAX_VALUE)]
    data.write_bytes(b"%b %b\n" % (key.encode(), value_of(key)))
    shards = [spawn.shard(data, "--leased", "--name", name) for name in "ab"]
    ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0", "--replicas", "2")
    router = spawn("router", "--shards", ",".join(str(shard.address) for shard in shards), *ports)
    http_port = int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1])
    redis_port = int(router.wait_for_line(r"speaks Redis on 127\.0\.0\.1:(\d+)")[1])
    router.wait_for_line(r"topology \d+ in .* 2 shard")
    plain = f"GET /{key} HTTP/1.1\r\nHost: x\r\n".encode()
    asked = [(redis_port, command("GET", key)), (http_port, plain + b"\r\n"), (http_port, plain + b"X: y\r\n\r\n")]
    with ExitStack() as staying:
        clients = [
            staying.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for port, _ in asked
        ]
        got = [bytearray() for _ in clients]
        for client, (_, request), read in zip(clients, asked, got, strict=True):
            client.sendall(request)
            read.extend(client.recv(1000))
        for shard in shards[left:]:
            shard.spawned.process.kill()
        for client, read in zip(clients, got, strict=True):
            with suppress(ConnectionResetError):
                while len(read) < MAX_VALUE and (more := client.recv(1 << 20)):
                    read.extend(more)
    whole = [read.removesuffix(b"\r\n").endswith(value_of(key)) for read in got]
    assert whole == 3 * [bool(left)]
    if not left:
        assert max(map(len, got)) < MAX_VALUE
        router.wait_for_line(r"a value of 67108864 bytes is cut off: ")


def test_replies_that_many_small_values_are_held_for_stay_in_the_budget(served: Served) -> None:
    """Of a transaction, of a large MGET, and of what is answered already but waits for a large value in front of it."""
    some, most = command("MGET", *16 * [KEYS[SIZES.index(LARGE_VALUE)]]), 0
    asked = [
        command("MULTI") + 30 * some + command("EXEC"),
        command("GET", KEYS[SIZES.index(MAX_VALUE)]) + 30 * some,
        command("MGET", *200 * [KEYS[SIZES.index(LARGE_VALUE)]]),
    ]
    unread = []
    for data in 4 * asked:
        unread.append(socket.create_connection(("127.0.0.1", served.redis)))
        unread[-1].sendall(data)
    for _ in range(300):
        assert get(served, KEYS[0])[:2] == (200, value_of(KEYS[0]))
        most = max(most, *(anonymous([pid]) for pid in served.pids))
    for client in unread:
        client.close()
    assert most <= MEMORY * 1.1, f"{most >> 20} MiB"

"""Values of megabytes through real processes: whole, in order, and no more of them at once than there is memory for."""

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
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


def test_a_value_is_let_go_when_it_is_sent_though_its_connection_stays(served: Served) -> None:
    key, before = KEYS[SIZES.index(MAX_VALUE)], anonymous(served.pids[:1])
    with ExitStack() as staying:
        for _ in range(4):
            connection = http.client.HTTPConnection("127.0.0.1", served.http, timeout=60)
            staying.enter_context(closing(connection))
            connection.request("GET", f"/{key}", headers={"X-Unusual": "so that it is not for the express lane"})
            assert connection.getresponse().read() == value_of(key)
        assert anonymous(served.pids[:1]) < before + 2 * MAX_VALUE


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

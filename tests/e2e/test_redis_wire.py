"""Router and shard are one Redis to a client: the same replies to the same bytes, however they arrive."""

import re
import socket
from contextlib import closing, suppress

import hiredis
import pytest
import redis

from ringkv.resp import codec
from tests.support.data import EXAMPLE
from tests.support.processes import PATIENCE, SpawnedCluster, SpawnedShard, Spawner
from tests.support.resp import Client, command

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
OTHER = b"0cdfafb5-edb4-48a6-a7ec-5b1a75831f91"
MISSING = b"00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--redis-port", "0")


@pytest.fixture(scope="module")
def whole(module_spawn: Spawner) -> SpawnedShard:
    """A shard that serves all of the same data by itself."""
    return module_spawn.shard(EXAMPLE)


REQUESTS = (
    command("GET", KEY),
    b"\r\n*0\r\n*-1\r\nPING\r\n",
    b"get %b\n" % KEY,
    b"  MGET \"%b\" '%b' x \r\n" % (KEY, MISSING),
    b"$4\r\n",
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
    command("CLIENT", "SETNAME", "x"),
    command("CLIENT", "GETNAME"),
    command("MULTI"),
    *[command("GET", KEY)] * 3,
    command("MGET", OTHER, MISSING),
    command("PING"),
    command("MGET", *[KEY, MISSING, OTHER] * 10),
    command("EXEC"),
    command("MULTI"),
    command("SET", "k", "v"),
    command("EXEC"),
    command("RESET"),
    command("CLIENT", "GETNAME"),
    command("COMMAND", "GETKEYS", "GET", KEY),
    command("GET", OTHER),
)

GARBAGE = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"*1\r\n:5\r\n",
    b"*2\r\n$3\r\nGET\r\n*1\r\n$36\r\n%b\r\n" % KEY,
    b"*2\r\n$3\r\nGET\r\n$-1\r\n",
    b"*2147483647\r\n",
    b"*4294967295\r\n",
    b"*2\r\n$3\r\nGET\r\n$100000000\r\n",
    b"*1000000\r\n" + b"$4\r\nabcd\r\n" * 500_000,
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
    reader, read = codec.reader(), b""
    while count:
        data = connected.recv(1 << 20)
        assert data
        read += data
        reader.feed(data)
        while reader.gets() is not codec.NOT_ENOUGH:
            count -= 1
    assert not reader.has_data()
    # A connection's id, in the reply to HELLO, is its own.
    return re.sub(rb"(\$2\r\nid\r\n:)\d+", rb"\g<1>1", read)


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

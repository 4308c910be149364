"""What a client agrees on with a server: who it is, which replies it hears, and what it is told of the server."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from ringkv.resp.server import REDIS_VERSION
from tests.support.processes import SpawnedShard
from tests.support.redis_port import told
from tests.support.resp import Client, command

Connect = Callable[[SpawnedShard], Client]

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
MISSING = b"00000000-0000-4000-8000-000000000000"


def fields(line: bytes) -> dict[str, str]:
    return dict(field.split("=", 1) for field in line.decode().split())


def test_every_connection_has_an_id_of_its_own(example_shard: SpawnedShard, connect: Connect) -> None:
    clients = [connect(example_shard) for _ in range(20)]
    ids = [client("CLIENT", "ID") for client in clients]
    assert len(set(ids)) == 20
    assert ids == [dict(zip(*[iter(client("HELLO", 2))] * 2, strict=True))[b"id"] for client in clients]
    clients[0].socket.close()
    assert connect(example_shard)("CLIENT", "ID") > max(ids)


def test_client_list_shows_who_is_connected(example_shard: SpawnedShard, connect: Connect) -> None:
    one, other = connect(example_shard), connect(example_shard)
    assert one("CLIENT", "GETNAME") is None
    assert one("CLIENT", "SETNAME", "reader") == b"OK"
    assert one("CLIENT", "SETINFO", "LIB-NAME", "lib") == b"OK"
    assert one("CLIENT", "SETINFO", "lib-ver", "1.0") == b"OK"
    assert one("CLIENT", "GETNAME") == b"reader"
    number = one("CLIENT", "ID")
    shown = {fields(line)["id"]: fields(line) for line in other("CLIENT", "LIST").splitlines()}
    assert {str(number), str(other("CLIENT", "ID"))} <= set(shown)
    mine = shown[str(number)]
    assert (mine["name"], mine["lib-name"], mine["lib-ver"], mine["resp"]) == ("reader", "lib", "1.0", "2")
    assert fields(one("CLIENT", "INFO"))["id"] == str(number)
    assert other("CLIENT", "LIST", "ID", number, 999_999).count(b"\n") == 1
    assert other("CLIENT", "LIST", "TYPE", "replica") == b""
    for wrong in ("x", "", 5000 * "1"):
        assert told(other("CLIENT", "LIST", "ID", number, wrong)) == "ERR Invalid client ID"
    assert told(one("CLIENT", "SETNAME", "a b")).startswith("ERR Client names cannot contain spaces")
    assert told(one("CLIENT", "KILL", "ID", number)).startswith("ERR no client is closed by another")
    assert told(one("CLIENT", "NONSENSE")).startswith("ERR unknown subcommand")
    assert one("CLIENT", "NO-EVICT", "ON") == one("CLIENT", "NO-TOUCH", "off") == b"OK"
    assert one("HELLO", 3, "SETNAME", "again")[b"role"] == b"master"
    assert one("CLIENT", "GETNAME") == b"again"


def test_reset_forgets_all_that_was_agreed_on(example_shard: SpawnedShard, connect: Connect) -> None:
    client = connect(example_shard)
    assert client("HELLO", 3, "SETNAME", "x")[b"proto"] == 3
    client.send(command("WATCH", KEY) + command("MULTI") + command("GET", KEY) + command("RESET"))
    assert [client.read() for _ in range(4)] == [b"OK", b"OK", b"QUEUED", b"RESET"]
    assert fields(client("CLIENT", "INFO")) | {"resp": "2", "name": "", "multi": "-1", "watch": "0"} == fields(
        client("CLIENT", "INFO")
    )
    assert told(client("EXEC")) == "ERR EXEC without MULTI"


def test_replies_that_are_not_wanted_are_left_out(example_shard: SpawnedShard, connect: Connect) -> None:
    client = connect(example_shard)
    client.send(command("CLIENT", "REPLY", "SKIP") + command("GET", KEY) + command("ECHO", "heard"))
    assert client.read() == b"heard"
    client.send(command("CLIENT", "REPLY", "OFF") + command("GET", KEY) + command("NOSUCH") + command("MGET", KEY))
    client.send(command("CLIENT", "REPLY", "SKIP") + command("PING") + command("CLIENT", "REPLY", "ON"))
    assert client.read() == b"OK"
    assert client("GET", KEY) == b"1234"
    for silence in ("SKIP", "OFF"):
        client.send(command("CLIENT", "REPLY", silence))
        assert client("CLIENT", "REPLY", "ON") == b"OK"
    client.send(2 * command("CLIENT", "REPLY", "SKIP") + command("PING") + command("ECHO", "heard"))
    assert client.read() == b"heard"
    client.send(command("CLIENT", "REPLY", "SKIP") + command("RESET") + command("ECHO", "after the reset"))
    assert client.read() == b"after the reset"
    client.send(command("CLIENT", "REPLY", "OFF") + command("QUIT"))
    with pytest.raises(ConnectionError):
        client.read()


def test_transactions_follow_the_rules_of_redis(example_shard: SpawnedShard, connect: Connect) -> None:
    client = connect(example_shard)
    assert told(client("EXEC")) == "ERR EXEC without MULTI"
    assert told(client("DISCARD")) == "ERR DISCARD without MULTI"
    assert client("MULTI") == b"OK"
    assert told(client("MULTI")) == "ERR MULTI calls can not be nested"
    assert told(client("WATCH", KEY)) == "ERR WATCH inside MULTI is not allowed"
    assert client("GET", KEY) == client("mget", KEY, "x") == client("UNWATCH") == b"QUEUED"
    assert client("EXEC") == [b"1234", [b"1234", None], b"OK"]
    not_queued = (("WATCH",), ("MULTI", "x"), ("DISCARD", "x"), ("EXEC", "x"), ("RESET", "x"))
    for refused in (("NOSUCH",), ("GET",), ("SET", "k", "v"), ("LEASE", "x"), *not_queued):
        assert client("MULTI") == b"OK"
        assert client("GET", KEY) == b"QUEUED"
        assert told(client(*refused))
        assert told(client("EXEC")).startswith("EXECABORT ")
    assert client("MULTI") == b"OK"
    assert client("DISCARD") == b"OK"
    assert client("GET", KEY) == b"1234"
    client.send(command("MULTI") + command("CLIENT", "REPLY", "OFF") + command("PING") + command("EXEC"))
    *_, (refusal, pong) = [client.read() for _ in range(4)]
    assert told(refusal).startswith("ERR CLIENT REPLY inside MULTI")
    assert pong == b"PONG"
    client.send(command("MULTI") + command("HELLO", 3) + command("GET", MISSING) + command("EXEC") + b"MULTI\r\nexec\n")
    assert [client.read() for _ in range(3)] == [b"OK", b"QUEUED", b"QUEUED"]
    hello, missing = client.read()
    assert (hello[b"proto"], missing) == (3, None)
    assert [client.read() for _ in range(2)] == [b"OK", []]


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_default_pipeline_of_redis_py_reads_every_pair(
    example_shard: SpawnedShard, example_pairs: dict[bytes, bytes], protocol: int
) -> None:
    with redis.Redis(unix_socket_path=example_shard.socket, protocol=protocol) as client:
        pipeline = client.pipeline()
        for key in example_pairs:
            pipeline.get(key)
        assert pipeline.execute() == list(example_pairs.values())


def test_info_tells_what_clients_and_exporters_ask_for(example_shard: SpawnedShard, connect: Connect) -> None:
    with redis.Redis(unix_socket_path=example_shard.socket) as client:
        info: dict[str, Any] = client.info()
        assert (info["redis_version"], info["role"], info["redis_mode"]) == (REDIS_VERSION, "master", "standalone")
        assert info["db0"] == {"keys": 10_000, "expires": 0, "avg_ttl": 0}
        assert info["loading"] == info["blocked_clients"] == info["connected_slaves"] == 0
        status = Path(f"/proc/{info['process_id']}/status").read_text()
        resident = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS"))
        assert abs(info["used_memory_rss"] - resident) < 8 << 20
        assert 0 < info["used_memory"] <= info["used_memory_rss"] <= info["used_memory_peak"]
        assert info["used_cpu_user"] > 0
        assert info["total_connections_received"] >= info["connected_clients"] > 0
        assert client.info("replication") == {"role": "master", "connected_slaves": 0}
    raw = connect(example_shard)
    assert raw("INFO", "memory", "keyspace").count(b"# ") == 2
    assert raw("INFO", "everything").count(b"# ") == raw("INFO").count(b"# ") > 9
    assert os.getpid() != info["process_id"]


def test_command_tells_what_there_is(example_shard: SpawnedShard, connect: Connect) -> None:
    client = connect(example_shard)
    names = client("COMMAND", "LIST")
    assert {b"get", b"mget", b"multi", b"client", b"reset"} <= set(names)
    assert client("COMMAND", "COUNT") == len(names) == len(client("COMMAND"))
    assert set(client("COMMAND", "LIST", "FILTERBY", "PATTERN", "m*")) == {n for n in names if n.startswith(b"m")}
    assert client("COMMAND", "LIST", "FILTERBY", "MODULE", "json") == []
    assert client("COMMAND", "GETKEYS", "MGET", "a", "b") == [b"a", b"b"]
    assert client("COMMAND", "GETKEYS", "get", "a") == [b"a"]
    assert told(client("COMMAND", "GETKEYS", "PING")) == "ERR The command has no key arguments"
    assert told(client("COMMAND", "GETKEYS", "GET")).startswith("ERR Invalid number of arguments")
    assert client("COMMAND", "DOCS", "get") == []
    client("HELLO", 3)
    assert client("COMMAND", "DOCS") == {}


def test_what_was_asked_before_a_half_close_is_answered(example_shard: SpawnedShard, connect: Connect) -> None:
    stream = command("GET", KEY) + command("MGET", KEY, MISSING) + b"PING\r\n" + command("GET", KEY)[:-3]
    for cut in range(len(stream) + 1):
        client = connect(example_shard)
        for piece in (stream[:cut], stream[cut:]):
            if piece:
                client.send(piece)
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.read() for _ in range(3)] == [b"1234", [b"1234", None], b"PONG"]
        with pytest.raises(ConnectionError):
            client.read()

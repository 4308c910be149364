"""Shards as nodes of a Redis Cluster, and the routers that tell them of each other, seen without a client."""

import json
import socket
import urllib.request
from typing import Any

import pytest

from ringkv.cluster.position import slot
from ringkv.process.address import Address
from tests.support.data import EXAMPLE
from tests.support.nodes import Nodes
from tests.support.processes import Spawner, one_line, wait_for

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


def read(nodes: Nodes, name: str, key: str = KEY) -> Any:
    """The value of a key, read from a node, or from that to which it sends its clients."""
    reply = nodes.ask(nodes.addresses[name], "GET", key)
    if isinstance(reply, Exception):
        word, moved, address = str(reply).split()
        assert (word, int(moved)) == ("MOVED", slot(key.encode()))
        return nodes.ask(Address.parse(address), "GET", key)
    return reply


def epochs(nodes: Nodes) -> set[bytes]:
    """Those by which the nodes go."""
    found = set()
    for name in nodes.shards:
        lines = nodes.ask(nodes.addresses[name], "CLUSTER", "INFO").splitlines()
        found |= {line for line in lines if line.startswith(b"cluster_current_epoch:")}
    return found


def test_what_the_last_router_has_said_is_in_force(spawn: Spawner) -> None:
    nodes = Nodes(spawn, EXAMPLE, ("a", "b", "c"))
    other = Address(f"{spawn.directory()}/redis", None)
    nodes.start_router(other, ("a", "b"))
    for name in ("a", "b"):
        wait_for(lambda name=name: nodes.owners(nodes.addresses[name]) == {"a", "b"})  # type: ignore[misc]
    assert nodes.owners(nodes.addresses["c"]) == {"a", "b", "c"}, "it knows nothing of that router"
    assert [read(nodes, name) for name in nodes.shards] == 3 * [b"1234"]
    nodes.start("d")
    nodes.wait()
    wait_for(lambda: len(epochs(nodes)) == 1)
    assert [read(nodes, name) for name in nodes.shards] == 4 * [b"1234"]


def test_direct_clients_outlive_all_routers(spawn: Spawner, example_pairs: dict[bytes, bytes]) -> None:
    nodes = Nodes(spawn, EXAMPLE, ("a", "b"))
    nodes.router.process.kill()
    nodes.router.wait()
    for key, value in list(example_pairs.items())[:50]:
        assert read(nodes, "a", key.decode()) == value
    nodes.router = nodes.start_router(nodes.redis, ("a", "b", "c"))
    nodes.start("c")
    nodes.wait()
    for key, value in list(example_pairs.items())[:50]:
        assert read(nodes, "c", key.decode()) == value


def test_a_router_tells_of_direct_requests(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--cluster-port", "0", "--redis-port", "0", "--shards", "2")

    def shards() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"http://{cluster.host}:{cluster.port}/ring", timeout=20) as response:
            found: list[dict[str, Any]] = json.load(response)["shards"]
        return found

    before = {shard["announced"]: shard["direct"] for shard in shards()}
    first = f"127.0.0.1:{cluster.node_port}"
    assert first in before
    assert len(before) == 2
    with socket.create_connection(("127.0.0.1", cluster.node_port), timeout=20) as client:
        client.sendall(100 * b"PING\r\n")
        wait_for(lambda: next(each["direct"] for each in shards() if each["announced"] == first) >= before[first] + 100)
    with socket.create_connection(("127.0.0.1", cluster.redis_port), timeout=20) as client:
        client.sendall(b"READONLY\r\nCLUSTER MYID\r\nCLUSTER KEYSLOT 123456789\r\n")
        wanted = b"+OK\r\n-ERR this is a router, and no node\r\n:12739\r\n"
        got = b""
        while len(got) < len(wanted):
            got += client.recv(100)
        assert got == wanted


def test_a_cluster_port_that_is_taken_is_one_line(spawn: Spawner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line(spawn("up", EXAMPLE, "--port", "0", "--cluster-port", str(port)))
    assert f"cannot listen on 127.0.0.1:{port}: the address is in use" in line
    line = one_line(spawn("up", EXAMPLE, "--port", "0", "--cluster-port", "65534"))
    assert "cannot listen on 3 ports from 65534 on: they end at 65535" in line


@pytest.mark.parametrize("announced", ["0.0.0.0:7000", "unix:/run/shard", "host:0", "port", "a b:7"])
def test_an_address_that_clients_cannot_use_is_one_line(spawn: Spawner, announced: str) -> None:
    line = one_line(spawn("shard", EXAMPLE, "--announce", announced))
    assert line.startswith("Error: --announce")


def test_a_port_alone_is_announced_at_the_hosts_own_address(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--announce", "7379")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(shard.socket)
        client.sendall(b"INFO shard\r\n")
        assert f"announce:{socket.gethostbyname(socket.gethostname())}:7379\r\n".encode() in client.recv(4096)

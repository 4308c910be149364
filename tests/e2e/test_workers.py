"""Several router processes on one port: any of them answers, all of them are counted, none is missed for long."""

import json
import os
import re
import signal
import socket
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.data import EXAMPLE, read_pairs
from tests.support.processes import SpawnedCluster, Spawner, one_line, wait_for

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


def get(port: int, target: str) -> bytes:
    """On a connection of its own, so that the kernel chooses a worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{target}", timeout=20) as response:
        content: bytes = response.read()
    return content


def stats(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, "stats"))
    return found


def listeners(port: int) -> set[int]:
    """The inodes of the sockets that listen on a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[9]) for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}


def wait_for_workers(port: int, count: int) -> None:
    """Until so many have a topology and are told of by whoever is asked."""
    wait_for(lambda: all(stats(port)["workers"] == count for _ in range(8)))
    wait_for(lambda: [get(port, KEY) for _ in range(16)])


def test_workers_share_the_port_and_their_figures_are_summed(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "3")
    assert len(listeners(cluster.port)) == 3
    wait_for_workers(cluster.port, 3)
    before = stats(cluster.port)
    pairs = list(read_pairs(EXAMPLE))[:300]
    for key, value in pairs:
        assert get(cluster.port, key.decode()) == value
    # Whichever worker is asked, all tell the same.
    for _ in range(6):
        now = stats(cluster.port)
        assert now["counters"]["requests"] - before["counters"]["requests"] == len(pairs)
        assert now["counters"]["found"] - before["counters"]["found"] == len(pairs)
        assert sum(now["durations"]["counts"]) - sum(before["durations"]["counts"]) == len(pairs)
        of_shards = [sum(shard["durations"]["counts"]) for shard in now["shards"]]
        assert sum(of_shards) == sum(now["durations"]["counts"])
        assert now["keys"] == before["keys"] == 10_000
        assert now["in_flight"] == now["waiting"] == 0


def worker_pids(cluster: SpawnedCluster) -> dict[str, int]:
    """The router processes by the socket on which each tells its figures."""
    found = {}
    for path in sorted(cluster.spawned.runtime.rglob("router-*.sock")):
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(path))
            found[path.stem] = int.from_bytes(
                client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little"
            )
    return found


def test_a_worker_that_dies_comes_back_and_the_others_answer_meanwhile(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2")
    wait_for_workers(cluster.port, 2)
    before = worker_pids(cluster)
    assert sorted(before) == ["router-1", "router-2"]
    os.kill(before["router-1"], signal.SIGKILL)
    # A connection that comes to the dead worker's socket waits for its next life; only what it had accepted is reset.
    for _ in range(20):
        with suppress(ConnectionResetError):
            assert get(cluster.port, KEY) == b"1234"
    wait_for(lambda: len(worker_pids(cluster)) == 2)
    wait_for_workers(cluster.port, 2)
    after = worker_pids(cluster)
    assert after["router-1"] != before["router-1"]
    assert after["router-2"] == before["router-2"]
    assert "router-1 ended with code -9 and is started again" in cluster.spawned.err


def test_a_router_by_itself_has_workers_too_and_stops_as_a_whole(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE)
    router = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0", "--workers", "2")
    match = router.wait_for_line(r"router listens on \('127.0.0.1', (\d+)\)[^$]*router listens on \('127.0.0.1', \1\)")
    port = int(match[1])
    wait_for_workers(port, 2)
    assert get(port, KEY) == b"1234"
    router.process.terminate()
    assert router.wait() == 0
    wait_for(lambda: not router.living())
    assert len(re.findall("router stopped", router.err)) == 2
    assert not list(router.runtime.iterdir())


def test_a_port_in_use_is_refused_also_by_several_workers(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2")
    assert "the address is in use" in one_line(spawn("up", EXAMPLE, "--port", str(cluster.port), "--workers", "2"))
    assert "the address is in use" in one_line(spawn("up", EXAMPLE, "--port", str(cluster.port)))


def test_a_unix_socket_cannot_be_shared(spawn: Spawner) -> None:
    address = f"unix:{spawn.directory()}/r"
    line = one_line(spawn("router", "--shards", "127.0.0.1:1", "--listen", address, "--workers", "2"))
    assert line.endswith("processes can share a port, but not a Unix socket")


@pytest.mark.parametrize("count", ["0", "-1", "65", "many"])
def test_a_wrong_number_of_workers(spawn: Spawner, count: str) -> None:
    assert "--workers" in one_line(spawn("up", EXAMPLE, "--workers", count), 2)


def test_workers_share_the_redis_port_too(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2", "--redis-port", "0")
    assert len(listeners(cluster.redis_port)) == 2
    wait_for_workers(cluster.port, 2)
    before = stats(cluster.port)["counters"]["found"]
    for _ in range(20):
        with redis.Redis(port=cluster.redis_port) as client:
            assert client.get(KEY) == b"1234"
    assert stats(cluster.port)["counters"]["found"] - before == 20


def test_a_redis_port_in_use_is_refused(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--redis-port", "0")
    line = one_line(spawn("up", EXAMPLE, "--port", "0", "--redis-port", str(cluster.redis_port)))
    assert "the address is in use" in line

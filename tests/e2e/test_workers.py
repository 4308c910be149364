"""Several router processes on one port: any of them answers, all of them are counted, none is missed for long."""

import json
import os
import re
import resource
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.data import EXAMPLE, read_pairs
from tests.support.processes import SpawnedCluster, Spawner, one_line, wait_for
from tests.support.workers import listeners, worker_pids

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"

WARMING = 16
"""The requests that `wait_for_workers` makes."""


def get(port: int, target: str) -> bytes:
    """On a connection of its own, so that the kernel chooses a worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{target}", timeout=20) as response:
        content: bytes = response.read()
    return content


def stats(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, "stats"))
    return found


def wait_for_workers(port: int, count: int) -> None:
    """Until so many have a topology and are told of by whoever is asked."""
    wait_for(lambda: all(stats(port)["workers"] == count for _ in range(8)))
    wait_for(lambda: [get(port, KEY) for _ in range(WARMING)])


def agreed(port: int, requests: int = 0) -> dict[str, Any] | None:
    """The figures, once all workers tell the same, of so many requests at least: what one has done reaches the others
    within half a second, and until then those that are asked may agree on less.
    """
    told = [stats(port) for _ in range(8)]
    alike = all(one["counters"] == told[0]["counters"] for one in told)
    return told[0] if alike and told[0]["counters"]["requests"] >= requests else None


def test_workers_share_the_port_and_their_figures_are_summed(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "3")
    assert len(listeners(cluster.port)) == 3
    wait_for_workers(cluster.port, 3)
    before = wait_for(lambda: agreed(cluster.port, WARMING))
    pairs = list(read_pairs(EXAMPLE))[:300]
    for key, value in pairs:
        assert get(cluster.port, key.decode()) == value
    wait_for(lambda: (now := agreed(cluster.port)) and now["counters"]["found"] >= before["counters"]["found"] + 300)
    for _ in range(6):
        now = stats(cluster.port)
        assert now["counters"]["requests"] - before["counters"]["requests"] == len(pairs)
        assert now["counters"]["found"] - before["counters"]["found"] == len(pairs)
        assert sum(now["durations"]["counts"]) - sum(before["durations"]["counts"]) == len(pairs)
        of_shards = [sum(shard["durations"]["counts"]) for shard in now["shards"]]
        assert sum(of_shards) + now["counters"]["hits"] == sum(now["durations"]["counts"])
        assert now["keys"] == before["keys"] == 10_000
        assert now["in_flight"] == now["waiting"] == 0


def test_a_worker_that_dies_comes_back_and_the_others_answer_meanwhile(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2")
    wait_for_workers(cluster.port, 2)
    for _ in range(50):
        get(cluster.port, KEY)
    told = wait_for(lambda: agreed(cluster.port, WARMING + 50))
    before = worker_pids(cluster)
    assert len(before) == 2
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    # A connection that comes to the dead worker's socket waits for its next life; only what it had accepted is reset.
    for _ in range(20):
        with suppress(ConnectionResetError):
            assert get(cluster.port, KEY) == b"1234"
    wait_for(lambda: len(worker_pids(cluster)) == 2)
    wait_for_workers(cluster.port, 2)
    assert killed not in worker_pids(cluster)
    assert before - {killed} < worker_pids(cluster)
    assert re.search("router-[12] ended with code -9 and is started again", cluster.spawned.err)
    # What it had done is not forgotten: a sum that falls would look like a new start of everything.
    for _ in range(8):
        now = stats(cluster.port)
        assert all(now["counters"][name] >= count for name, count in told["counters"].items())
        assert sum(now["durations"]["counts"]) >= sum(told["durations"]["counts"])


def test_a_router_by_itself_has_workers_too_and_stops_as_a_whole(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE)
    router = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0", "--workers", "2")
    match = router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)[^$]*router listens on 127\.0\.0\.1:\1")
    port = int(match[1])
    wait_for_workers(port, 2)
    assert get(port, KEY) == b"1234"
    router.process.terminate()
    assert router.wait() == 0
    wait_for(lambda: not router.living())
    assert len(re.findall("router stopped", router.err)) == 2
    assert not list(router.runtime.iterdir())


def test_a_worker_that_cannot_start_again_ends_no_other(spawn: Spawner, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("one\n")
    shard, listen = spawn.shard(EXAMPLE), ("--listen", "127.0.0.1:0", "--workers", "2")
    router = spawn("router", "--shards", str(shard.address), *listen, "--read-token-file", str(tokens))
    wait_for(lambda: router.err.count("topology 1 in") == 2)
    cluster = SpawnedCluster(router, "127.0.0.1", int(router.wait_for_line(r"listens on 127\.0\.0\.1:(\d+)")[1]))
    tokens.write_text("")
    os.kill(min(worker_pids(cluster)), signal.SIGKILL)
    router.wait_for_line("tokens has none, so nobody could read.*\n.* ended with code 1 and is started again")
    assert len(worker_pids(cluster)) == 1
    tokens.write_text("one\n")
    wait_for(lambda: router.err.count("topology 1 in") == 3)


def let_write(cluster: SpawnedCluster, size: int) -> None:
    """Let each worker write no file of more bytes: so it goes on a disk that is full."""
    for pid in worker_pids(cluster):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_workers_go_on_where_figures_cannot_be_written_and_tell_them_again_later(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2")
    wait_for_workers(cluster.port, 2)
    let_write(cluster, 1000)  # there is room for a line of log
    wait_for(lambda: cluster.spawned.err.count("cannot be written: file too large") == 2)
    for _ in range(8):
        assert stats(cluster.port)["workers"] == 2
        assert b"ringkv_workers 2.0" in get(cluster.port, "metrics")
    let_write(cluster, resource.RLIM_INFINITY)
    before = stats(cluster.port)["counters"]["requests"]
    for _ in range(50):
        get(cluster.port, KEY)
    wait_for(lambda: agreed(cluster.port, before + 50))
    again = int(time.time())
    wait_for(lambda: all(json.loads(get(cluster.port, f"history?since={again}"))["samples"] for _ in range(8)))
    assert cluster.spawned.err.count("cannot be written") == 2


def test_workers_that_could_open_no_file_tell_the_history_and_all_figures_again_later(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2")
    wait_for_workers(cluster.port, 2)
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in worker_pids(cluster)}
    for pid, (_, most) in before.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, most))
    wait_for(lambda: cluster.spawned.err.count(".json cannot be read: too many open files") == 2)
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    again = int(time.time())
    wait_for(lambda: all(json.loads(get(cluster.port, f"history?since={again}"))["samples"] for _ in range(8)))
    count = stats(cluster.port)["counters"]["requests"]
    get(cluster.port, KEY)
    wait_for(lambda: agreed(cluster.port, count + 1))
    assert cluster.spawned.err.count(".json cannot be read") == 2


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
    before = wait_for(lambda: agreed(cluster.port, WARMING))["counters"]["found"]
    for _ in range(20):
        with redis.Redis(port=cluster.redis_port) as client:
            assert client.get(KEY) == b"1234"
    wait_for(lambda: stats(cluster.port)["counters"]["found"] - before == 20)


def test_a_redis_port_in_use_is_refused(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--redis-port", "0")
    line = one_line(spawn("up", EXAMPLE, "--port", "0", "--redis-port", str(cluster.redis_port)))
    assert "the address is in use" in line


def test_a_worker_that_hangs_is_told_and_replaced(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2", "--shards", "1")
    wait_for_workers(cluster.port, 2)
    hung, other = sorted(worker_pids(cluster))
    os.kill(hung, signal.SIGSTOP)
    told = r"ERROR +ringkv.supervisor: (router-\d) has done nothing for 10 s and is killed"
    name = cluster.spawned.wait_for_line(told)[1]
    cluster.spawned.wait_for_line(f"{name} ended with code -9 and is started again")
    wait_for_workers(cluster.port, 2)
    assert other in worker_pids(cluster)
    assert len(re.findall(told, cluster.spawned.err)) == 1

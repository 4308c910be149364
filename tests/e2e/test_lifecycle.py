"""A cluster stops as a whole, however it is told to, and what dies in it comes back."""

import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedCluster, Spawner, one_line, wait_for

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


def get(cluster: SpawnedCluster, target: str) -> bytes:
    with urllib.request.urlopen(f"http://{cluster.host}:{cluster.port}/{target}", timeout=20) as response:
        content: bytes = response.read()
    return content


def ring(cluster: SpawnedCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(cluster, "ring"))
    return found


def shard_pids(cluster: SpawnedCluster) -> dict[str, int]:
    """The process behind each shard's socket, as the kernel knows it."""
    pids = {}
    for shard in ring(cluster)["shards"]:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(shard["address"].removeprefix("unix:"))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pids[shard["name"]] = int.from_bytes(credentials[:4], "little")
    return pids


def router_pid(cluster: SpawnedCluster) -> int:
    """The process that has accepted a connection to the cluster's port."""
    shards = set(shard_pids(cluster).values())
    local = f"{cluster.port:04X}"
    with socket.create_connection((cluster.host, cluster.port), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100)
        remote = f"{client.getsockname()[1]:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inode = next(at[9] for at in lines if at[1].endswith(f":{local}") and at[2].endswith(f":{remote}"))
        for pid in set(cluster.spawned.living()) - shards:
            with suppress(OSError):
                links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
                if f"socket:[{inode}]" in links:
                    return pid
    raise AssertionError("nobody has the connection")


def interrupt(cluster: SpawnedCluster) -> None:
    """What Ctrl-C in a terminal does."""
    os.killpg(cluster.spawned.pid, signal.SIGINT)


def terminate(cluster: SpawnedCluster) -> None:
    cluster.spawned.process.terminate()


def terminate_all(cluster: SpawnedCluster) -> None:
    """What `timeout` does, and `kill -- -PGID`."""
    os.killpg(cluster.spawned.pid, signal.SIGTERM)


@pytest.mark.parametrize("stop", [interrupt, terminate, terminate_all])
def test_a_cluster_that_is_told_to_stop_leaves_nothing_behind(
    spawn: Spawner, stop: Callable[[SpawnedCluster], None]
) -> None:
    cluster = spawn.up(EXAMPLE)
    assert get(cluster, KEY) == b"1234"
    assert len(cluster.spawned.living()) >= 5
    assert any(cluster.spawned.runtime.rglob("*.sock"))
    stop(cluster)
    assert cluster.spawned.wait() == 0
    wait_for(lambda: not cluster.spawned.living())
    assert list(cluster.spawned.runtime.iterdir()) == []
    assert not re.search("Traceback|has ended|ended with code", cluster.spawned.err)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((cluster.host, cluster.port))


@pytest.mark.parametrize("stop", [interrupt, terminate])
def test_a_cluster_that_is_stopped_while_it_starts_leaves_nothing_behind(
    spawn: Spawner, stop: Callable[[SpawnedCluster], None]
) -> None:
    starting = spawn("up", EXAMPLE, "--port", "0")
    wait_for(lambda: list(starting.runtime.glob("ringkv-*")))
    stop(SpawnedCluster(starting, "127.0.0.1", 0))
    assert starting.wait() == 0
    wait_for(lambda: not starting.living())
    assert list(starting.runtime.glob("ringkv-*")) == []
    assert "Traceback" not in starting.err


@pytest.mark.parametrize("command", [("up", EXAMPLE, "--port", "0"), ("publish", EXAMPLE, "catalog")])
def test_sigterm_while_a_command_is_loaded_leaves_no_folder_of_sockets(
    spawn: Spawner, command: tuple[Any, ...]
) -> None:
    starting = spawn(*command)
    wait_for(lambda: list(starting.runtime.glob("pymp-*/*")))
    starting.process.terminate()
    assert starting.wait() in {0, 128 + signal.SIGTERM}
    wait_for(lambda: not starting.living())
    assert list(starting.runtime.iterdir()) == []
    assert "Traceback" not in starting.err


def test_killing_the_supervisor_leaves_no_process(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE)
    assert len(cluster.spawned.living()) >= 5
    os.kill(cluster.spawned.pid, signal.SIGKILL)
    assert cluster.spawned.wait() == -signal.SIGKILL
    wait_for(lambda: not cluster.spawned.living())


def test_a_shard_that_dies_comes_back_under_its_name(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE)
    before = ring(cluster)
    pids = shard_pids(cluster)
    assert sorted(pids) == ["shard-1", "shard-2", "shard-3"]
    os.kill(pids["shard-2"], signal.SIGKILL)

    def back() -> bool:
        now = ring(cluster)
        return bool(now["epoch"] > before["epoch"] and now["ring"] == before["ring"])

    wait_for(back)
    assert {shard["state"] for shard in ring(cluster)["shards"]} == {"serving"}
    now = shard_pids(cluster)
    assert now["shard-2"] != pids["shard-2"]
    assert {name: pid for name, pid in now.items() if name != "shard-2"} == {
        name: pid for name, pid in pids.items() if name != "shard-2"
    }
    assert "shard-2 ended with code -9 and is started again" in cluster.spawned.err
    assert get(cluster, KEY) == b"1234"


def test_a_router_that_dies_comes_back_on_the_same_port(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE)
    before, shards = router_pid(cluster), shard_pids(cluster)
    os.kill(before, signal.SIGKILL)
    # The port stays open meanwhile: who asks now waits instead of being refused. A connection that the dead
    # router had still to accept is reset.

    def answer() -> bytes | None:
        with suppress(ConnectionResetError):
            return get(cluster, KEY)
        return None

    assert wait_for(answer) == b"1234"
    assert router_pid(cluster) != before
    assert shard_pids(cluster) == shards
    assert "router ended with code -9 and is started again" in cluster.spawned.err


def test_a_router_that_is_started_again_counts_its_uptime_from_its_own_start(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--shards", "1")
    first = router_pid(cluster)
    # As old as a router must be for the difference to be seen.
    wait_for(lambda: json.loads(get(cluster, "stats"))["uptime"] > 1)
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    uptime = json.loads(wait_for(lambda: answer(cluster, "stats")))["uptime"]
    assert 0 < uptime < time.monotonic() - killed
    assert router_pid(cluster) != first


def answer(cluster: SpawnedCluster, target: str) -> bytes | None:
    """What is answered, None where the connection is lost: one to a process that has died is reset."""
    with suppress(OSError, HTTPException):
        return get(cluster, target)
    return None


def test_clusters_run_side_by_side(spawn: Spawner) -> None:
    one, two = spawn.up(EXAMPLE, "--shards", "1"), spawn.up(EXAMPLE, "--shards", "2")
    assert one.port != two.port
    assert get(one, KEY) == get(two, KEY) == b"1234"
    interrupt(one)
    assert one.spawned.wait() == 0
    assert get(two, KEY) == b"1234"


def test_a_port_in_use_is_one_line(spawn: Spawner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for spawned in (
            spawn("up", EXAMPLE, "--port", str(port)),
            spawn("shard", EXAMPLE, "--listen", f"127.0.0.1:{port}", "--log-level", "error"),
            spawn("shard", EXAMPLE, "--listen", "127.0.0.1:0", "--http", f"127.0.0.1:{port}", "--log-level", "error"),
            spawn("router", "--shards", "127.0.0.1:1", "--listen", f"127.0.0.1:{port}"),
        ):
            line = one_line(spawned)
            assert f"cannot listen on 127.0.0.1:{port}: the address is in use" in line
            assert not list(spawned.runtime.glob("ringkv-*"))
            assert not spawned.living()

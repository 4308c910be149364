"""What serves has a name in `ps`, outlives its terminal, and says what is odd about what it was given."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.test_lifecycle import KEY, get
from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, SpawnedCluster, Spawner, wait_for

HELPERS = [*2 * ["ringkv: multiprocessing.forkserver"], "ringkv: multiprocessing.resource_tracker"]
"""Those of `ringkv up`: one server forks its shards, another one its routers."""


def titles(spawned: Spawned) -> list[str]:
    """How `ps` shows the process and its descendants, as far as they have taken a name."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode() for pid in spawned.living()]
    return sorted(line for line in lines if line.startswith("ringkv: "))


def test_the_processes_of_a_cluster_are_named(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--shards", "2")
    shards = ["ringkv: shard shard-1", "ringkv: shard shard-2"]
    assert titles(cluster.spawned) == [*HELPERS, "ringkv: router", *shards, "ringkv: up"]


def test_the_workers_of_a_router_are_told_apart(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--shards", "1", "--workers", "2")
    expected = [*HELPERS, "ringkv: router-1", "ringkv: router-2", "ringkv: shard shard-1", "ringkv: up"]
    wait_for(lambda: titles(cluster.spawned) == expected, "a worker is missing")


def test_a_shard_and_a_router_by_hand_are_named(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "ada")
    router = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0")
    router.wait_for_line("topology 1 in")
    assert titles(shard.spawned) == ["ringkv: shard ada"]
    assert titles(router) == ["ringkv: router"]


def test_the_end_of_the_terminal_ends_no_cluster(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--shards", "2")
    before = sorted(cluster.spawned.living())
    for pid in before:
        os.kill(pid, signal.SIGHUP)
    assert get(cluster, KEY) == b"1234"
    cluster.spawned.process.terminate()
    assert cluster.spawned.wait() == 0
    assert "ended with code" not in cluster.spawned.err
    assert list(cluster.spawned.runtime.iterdir()) == []


def test_the_end_of_the_terminal_ends_no_shard(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "ada").spawned
    os.kill(shard.pid, signal.SIGHUP)
    shard.process.terminate()
    assert shard.wait() == 0
    assert "shard ada stopped" in shard.err


def test_without_input_output_and_errors_nothing_stays_behind(spawn: Spawner) -> None:
    (address,) = spawn.ports(1)
    ringkv = (sys.executable, "-m", "ringkv", "up", EXAMPLE, "--shards", "1", "--port", str(address.port))
    spawned = spawn.run("bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *ringkv)
    cluster = SpawnedCluster(spawned, address.host, address.port or 0)

    def answers() -> bool:
        with suppress(OSError):
            return get(cluster, KEY) == b"1234"
        return False

    wait_for(answers)
    spawned.process.terminate()
    assert spawned.wait() == 0
    wait_for(lambda: not spawned.living(), "a process is left")


def test_more_replicas_than_shards_are_warned_of(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE, "--shards", "2", "--replicas", "5")
    line = "WARNING ringkv.deploy: --replicas 5 is more than there are shards: each of the 2 holds every key\n"
    assert cluster.spawned.err.endswith(line)


@pytest.mark.parametrize("command", ["up", "shard"])
def test_an_empty_dataset_is_warned_of(spawn: Spawner, tmp_path: Path, command: str) -> None:
    empty = tmp_path / "empty.data"
    empty.touch()
    where = ["--port", "0"] if command == "up" else ["--listen", f"unix:{spawn.directory()}/s"]
    spawned = spawn(command, empty, *where)
    spawned.wait_for_line(f"WARNING ringkv.deploy: {empty} holds no pairs: no key will be found\n")


def test_the_level_of_the_log_is_chosen_for_the_whole_cluster(spawn: Spawner) -> None:
    quiet = spawn.up(EXAMPLE, "--shards", "1")
    assert quiet.spawned.err == ""
    for args, env in ((["--log-level", "info"], {}), ([], {"RINGKV_LOG_LEVEL": "info"})):
        told = spawn.cluster(spawn("up", EXAMPLE, "--port", "0", "--shards", "1", *args, env=env))
        told.spawned.wait_for_line("INFO    ringkv.router: topology 1 in .*, 1 shard, 10,000 keys, ring")
        told.spawned.wait_for_line(r"INFO    ringkv.router: router listens on 127\.0\.0\.1:\d+\n")
        told.spawned.wait_for_line("INFO    ringkv.shard: shard shard-1 ready on")


def test_the_options_of_up_can_be_set_in_the_environment(spawn: Spawner) -> None:
    environment = {
        "RINGKV_SHARD_COUNT": "2",
        "RINGKV_REPLICAS": "2",
        "RINGKV_HOST": "127.0.0.2",
        "RINGKV_PORT": "0",
        "RINGKV_REDIS_PORT": "0",
        "RINGKV_SHARDS": "of a router: 1.2.3.4:5",
    }
    cluster = spawn.cluster(spawn("up", EXAMPLE, env=environment))
    assert cluster.host == "127.0.0.2"
    assert cluster.redis_port
    assert b'"replicas": 2' in get(cluster, "ring")
    assert get(cluster, "ring").count(b'"serving"') == 2

"""What `docker compose up` promises, with real containers."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.compose.load import unharmed
from tests.compose.project import Project, docker
from tests.support.data import EXAMPLE, read_pairs
from tests.support.http import ask_for_all
from tests.support.processes import wait_for
from tests.support.visitors import visitors

# The first test builds the image; all share one project, so one worker runs them (--dist loadgroup).
pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.timeout(500)]

FAULT_SECONDS = 3.0
"""How long a shard hangs: longer than the router waits for its heartbeat, shorter than a request's deadline."""

Fault = Callable[[Project, str], None]


async def test_compose_up_serves_every_pair_of_the_example(cluster: Project, example_pairs: dict[bytes, bytes]) -> None:
    port = cluster.port()
    asked, wrong = await ask_for_all("127.0.0.1", port, example_pairs.items())
    assert (asked, wrong) == (10_000, [])
    ring = cluster.ring(port)
    assert [shard["name"] for shard in ring["shards"]] == [f"{cluster.name}-shard-{n}" for n in (1, 2, 3)]
    assert {shard["state"] for shard in ring["shards"]} == {"serving"}
    assert sum(shard["keys"] for shard in ring["shards"]) == 10_000
    key, value = next(iter(example_pairs.items()))
    with redis.Redis(port=cluster.port(inside=6380)) as client:
        assert client.get(key) == value


def test_workers_share_the_ports_of_a_container(cluster: Project, example_pairs: dict[bytes, bytes]) -> None:
    cluster.variables["RINGKV_WORKERS"] = "2"
    try:
        cluster.up()
        wait_for(lambda: cluster.told(cluster.port()).get("workers") == 2, "no two workers")
        key, value = next(iter(example_pairs.items()))
        for _ in range(8):  # on connections of their own, among which the kernel chooses
            with redis.Redis(port=cluster.port(inside=6380)) as client:
                assert client.get(key) == value
    finally:
        del cluster.variables["RINGKV_WORKERS"]
        cluster.up()


def test_scaling_under_load_fails_no_request_and_moves_little(cluster: Project, tmp_path: Path) -> None:
    port = cluster.port()
    for shards in (5, 2, 4):
        before = len(cluster.changes())
        with unharmed(port, tmp_path, f"scaled to {shards}"):
            cluster.up(shards)
            cluster.wait_until_serving(*range(1, shards + 1), port=port)
        # Shards that start or stop together may join and leave in more than one step.
        changes = cluster.changes()[before:]
        moved, least = sum(change.moved for change in changes), sum(change.least for change in changes)
        assert 0 < least <= moved <= 1.15 * least, changes


def killed_and_started(cluster: Project, shard: str) -> None:
    docker("kill", shard)
    cluster.wait_until_serving(1, 3)
    cluster.up()


def crashed(_cluster: Project, shard: str) -> None:
    docker("exec", shard, "sh", "-c", "kill -KILL -1")
    wait_for(lambda: docker("inspect", "--format", "{{.RestartCount}}", shard).strip() != "0", "not restarted")


def restarted(_cluster: Project, shard: str) -> None:
    docker("restart", "--time", "12", shard)


def paused(_cluster: Project, shard: str) -> None:
    docker("pause", shard)
    time.sleep(FAULT_SECONDS)
    docker("unpause", shard)


@pytest.mark.parametrize("fault", [killed_and_started, crashed, restarted, paused])
def test_a_fault_of_a_shard_under_load_fails_no_request(cluster: Project, tmp_path: Path, fault: Fault) -> None:
    with unharmed(cluster.port(), tmp_path, fault.__name__):
        fault(cluster, f"{cluster.name}-shard-2")
        cluster.wait_until_serving(1, 2, 3)


def test_a_router_serves_while_another_is_restarted(cluster: Project, tmp_path: Path) -> None:
    cluster.up(routers=2)
    port = cluster.port(router=2)
    cluster.wait_until_serving(1, 2, 3, port=port)
    with unharmed(port, tmp_path, "the other router restarted"):
        docker("restart", "--time", "12", f"{cluster.name}-router-1")
        cluster.wait_until_serving(1, 2, 3)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_router_that_begins_anew_refuses_nobody(cluster: Project, tmp_path: Path, workers: str) -> None:
    cluster.variables["RINGKV_WORKERS"] = workers
    cluster.up()
    cluster.wait_until_serving(1, 2, 3)
    port = cluster.port()
    before = cluster.inspect("router")
    with unharmed(port, tmp_path, "the router began anew", may_reconnect=True), visitors(port) as clients:
        uptime = cluster.told(port)["uptime"]
        cluster.compose("kill", "--signal", "HUP", "router")
        wait_for(lambda: cluster.told(port).get("uptime", uptime) < uptime, "it did not begin anew")
        served = clients.served
        wait_for(lambda: clients.served > served + 20, "nobody is served")
    assert [router["State"]["StartedAt"] for router in cluster.inspect("router")] == [
        router["State"]["StartedAt"] for router in before
    ]


def test_containers_can_do_no_more_than_they_must(cluster: Project) -> None:
    for service in ("publish", "secret", "shard", "router"):
        for container in cluster.inspect(service):
            host, config = container["HostConfig"], container["Config"]
            assert config["User"] == "10001:10001"
            assert host["ReadonlyRootfs"] is True
            assert host["CapDrop"] == ["ALL"]
            assert not host["CapAdd"]
            assert host["Privileged"] is False
            assert "no-new-privileges:true" in host["SecurityOpt"]
            assert host["Memory"] > 0
            assert host["PidsLimit"] > 0
            writable = [mount["Destination"] for mount in container["Mounts"] if mount["RW"]]
            assert writable == {"publish": ["/packed"], "secret": ["/secret"]}.get(service, [])
    status = docker("exec", f"{cluster.name}-shard-1", "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_only_the_router_can_be_reached_and_only_from_this_machine(cluster: Project) -> None:
    (router,) = cluster.inspect("router")
    assert _published(router) == {"8000/tcp": ["127.0.0.1"], "6380/tcp": ["127.0.0.1"]}
    for container in [*cluster.inspect("shard"), *cluster.inspect("publish"), *cluster.inspect("secret")]:
        assert _published(container) == {}
    (network,) = cluster.inspect("shard")[0]["NetworkSettings"]["Networks"]
    assert docker("network", "inspect", "--format", "{{.Internal}}", network).strip() == "true"


def _published(container: dict[str, Any]) -> dict[str, list[str]]:
    ports: dict[str, list[dict[str, str]] | None] = container["NetworkSettings"]["Ports"]
    return {port: [binding["HostIp"] for binding in bindings] for port, bindings in ports.items() if bindings}


def test_prometheus_would_find_every_shard_and_every_router_once(cluster: Project) -> None:
    cluster.up(routers=2)
    cluster.wait_until_serving(1, 2, 3, port=cluster.port(2))
    scrape = """
import socket
from urllib.request import urlopen
for name, port in (("router", 8000), ("shard", 7380)):
    for address in sorted({found[4][0] for found in socket.getaddrinfo(name, port)}):
        with urlopen(f"http://{address}:{port}/metrics", timeout=10) as response:
            infos = [line for line in response.read().decode().splitlines() if line.startswith("ringkv_shard_info")]
            print(name, *infos)
"""
    # A shard is on the one network that Prometheus shares with routers and shards.
    lines = docker("exec", f"{cluster.name}-shard-1", "python", "-c", scrape).splitlines()
    shards = [f'shard ringkv_shard_info{{shard="{cluster.name}-shard-{number}"}} 1.0' for number in (1, 2, 3)]
    assert sorted(lines) == ["router", "router", *shards]


def test_compose_stop_ends_every_process_with_code_0_before_it_is_killed(cluster: Project) -> None:
    started = time.monotonic()
    cluster.compose("stop")
    took = time.monotonic() - started
    containers = [container for service in ("router", "shard") for container in cluster.inspect(service)]
    assert [container["State"]["ExitCode"] for container in containers] == [0, 0, 0, 0]
    # Compose stops the router before the shards, each within its grace period.
    assert took < 2 * min(container["Config"]["StopTimeout"] for container in containers)


def test_shards_that_are_restarted_one_by_one_fail_no_request(cluster: Project, tmp_path: Path) -> None:
    port, before = cluster.port(), [shard["State"]["StartedAt"] for shard in cluster.inspect("shard")]
    with unharmed(port, tmp_path, "restarted one by one"):
        assert cluster.restart_one_by_one().splitlines() == [f"{cluster.name}-shard-{n} is back" for n in (1, 2, 3)]
        cluster.wait_until_serving(1, 2, 3, port=port)
    assert not set(before) & {shard["State"]["StartedAt"] for shard in cluster.inspect("shard")}


async def test_data_of_other_keys_are_served_by_force(cluster: Project, tmp_path: Path) -> None:
    data = tmp_path / "other.data"
    data.write_bytes(b"0f0d1c0e-5a6b-4c7d-8e9f-a0b1c2d3e4f5 a  b\r\n1e1d1c1b-1a19-4817-9615-141312111009 ")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # pytest's folders are for their owner alone
    cluster.variables = {"DATA": str(data), "RINGKV_FORCE_SWAP": "1"}
    cluster.up()
    port = cluster.port()
    wait_for(lambda: sum(shard["keys"] for shard in cluster.ring(port).get("shards", [])) == 2, "not served")
    pairs: list[tuple[bytes, bytes | None]] = [*read_pairs(data), *((key, None) for key, _ in _first(EXAMPLE))]
    asked, wrong = await ask_for_all("127.0.0.1", port, pairs)
    assert (asked, wrong) == (3, [])


def _first(path: Path) -> list[tuple[bytes, bytes]]:
    return [next(iter(read_pairs(path)))]


def test_a_file_that_is_not_there_is_named(cluster: Project, tmp_path: Path) -> None:
    cluster.variables = {"DATA": str(tmp_path / "missing.data")}
    with pytest.raises(AssertionError, match=r"missing\.data"):
        cluster.up()
    assert not (tmp_path / "missing.data").exists()


LEASE = r"""
import socket, sys
with socket.create_connection(("127.0.0.1", 7379)) as shard:
    for secret in sys.argv[1:]:
        shard.sendall(b"AUTH " + secret.encode() + b"\r\n")
        assert shard.recv(200) == b"+OK\r\n"
    shard.sendall(b"*1\r\n$5\r\nLEASE\r\n")
    print(shard.recv(200))
"""


def test_the_first_start_makes_a_secret_that_stays(cluster: Project) -> None:
    cluster.compose("down", "--volumes")  # with it the secret of an earlier test, which may have been its own
    cluster.up()
    cluster.wait_until_serving(1, 2, 3)
    secret, shard = cluster.secret(), f"{cluster.name}-shard-1"
    assert len(secret) == 44
    assert "NOAUTH" in docker("exec", shard, "python", "-c", LEASE)
    assert "-ERR" in docker("exec", shard, "python", "-c", LEASE, secret)
    assert docker("exec", shard, "stat", "--format", "%a %U", "/secret/secret").strip() == "600 ringkv"
    assert "can lease from it" not in cluster.compose("logs", "--no-color", "shard")
    cluster.up(4)  # which looks again whether there is one
    cluster.wait_until_serving(1, 2, 3, 4)
    assert cluster.secret() == secret


def test_a_blank_secret_is_none_also_where_one_is_left(cluster: Project) -> None:
    made = cluster.secret()
    blank = ["run", "--rm", "--no-deps", "-T", "--env", "RINGKV_SECRET= "]
    try:
        cluster.compose(*blank, "secret")
        assert cluster.secret() == made
        cluster.compose(*blank, "--entrypoint", "sh -c", "secret", "printf ' ' > /secret/secret")
        cluster.compose("run", "--rm", "--no-deps", "-T", "secret")
        assert len(cluster.secret()) == 44
    finally:
        # Which is another one than the processes have read.
        cluster.compose("down", "--volumes")


def test_a_secret_of_ones_own_is_taken_and_stays_out_of_the_image(cluster: Project) -> None:
    made = cluster.secret()
    cluster.variables = {"RINGKV_SECRET": "not-for-everybody"}
    cluster.up()
    cluster.wait_until_serving(1, 2, 3)
    assert "NOAUTH" in docker("exec", f"{cluster.name}-shard-1", "python", "-c", LEASE)
    assert "-ERR" in docker("exec", f"{cluster.name}-shard-1", "python", "-c", LEASE, "not-for-everybody")
    for container in [*cluster.inspect("shard"), *cluster.inspect("router")]:
        assert "not-for-everybody" not in str(container)
    assert "RINGKV_SECRET" not in docker("image", "inspect", cluster.name)
    for secret in (made, "not-for-everybody"):
        assert secret not in docker("history", "--no-trunc", cluster.name)

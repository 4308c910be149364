"""What a shard tells Prometheus is true, and in the form that Prometheus expects."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.cluster.ring import build_ring
from tests.support.damage import copy_dataset, flip_value_byte, place_of
from tests.support.data import EXAMPLE, read_pairs
from tests.support.http import Response, fetch
from tests.support.metrics import OPENMETRICS, Metrics, check_conventions
from tests.support.processes import SpawnedShard, Spawner, wait_for
from tests.support.resp import Client

Connect = Callable[[SpawnedShard], Client]
HTTP = ("--http", "127.0.0.1:0")


def http_port(shard: SpawnedShard) -> int:
    return int(shard.spawned.wait_for_line(r"answers HTTP on 127\.0\.0\.1:(\d+)")[1])


async def scrape(shard: SpawnedShard, headers: str = "") -> Response:
    return await fetch("127.0.0.1", http_port(shard), "/metrics", headers=headers)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


@pytest.fixture(scope="module")
def shard(module_spawn: Spawner) -> SpawnedShard:
    """A shard that serves all of the example, with its HTTP port."""
    return module_spawn.shard(EXAMPLE, "--name", "one", *HTTP)


@pytest.mark.parametrize("headers", ["", OPENMETRICS])
async def test_both_forms_follow_the_conventions(shard: SpawnedShard, headers: str) -> None:
    check_conventions(Metrics.parse(await scrape(shard, headers)))


async def test_promtool_finds_nothing_to_say(shard: SpawnedShard, tool: Callable[..., str]) -> None:
    assert tool("promtool", "check", "metrics", stdin=(await scrape(shard)).body) == ""


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("Accept: */*\r\n", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
        ("Accept: application/openmetrics-text; version=none\r\n", "text/plain; version=0.0.4; charset=utf-8"),
        ("Accept: ;;,=\r\n", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_the_client_chooses_the_form(shard: SpawnedShard, accept: str, content_type: str) -> None:
    response = await scrape(shard, accept)
    assert (response.status, response.headers["Content-Type"]) == (200, content_type)


async def test_what_is_leased_is_told(spawn: Spawner, connect: Connect) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "b", "--leased", *HTTP)
    client = connect(shard)
    before = Metrics.parse(await scrape(shard))
    leased, leases, connections = (before[f"ringkv_{name}"] for name in ("leased_keys", "leases", "connections"))
    assert (leased, leases, connections) == (0, 0, 2)  # the scrape's is one of them
    dataset = client.info()["dataset_id"]
    client.lease(dataset, build_ring(("a", "b", "c"), 1, 256))
    info = client.info()
    after = Metrics.parse(await scrape(shard))
    assert after["ringkv_leased_keys"] == int(info["leased_keys"]) > 0
    assert after["ringkv_leased_bytes"] == int(info["leased_bytes"]) > 0
    assert after["ringkv_leased_partitions"] == int(info["leased_partitions"]) > 0
    assert (after["ringkv_dataset_keys"], after["ringkv_dataset_partitions"]) == (10_000, 256)
    assert after["ringkv_leases"] == 1
    assert after.labels("ringkv_shard_info") == [{"shard": "b"}]
    assert after.labels("ringkv_dataset_info") == [{"dataset": dataset}]
    assert after.labels("ringkv_build_info") == [{"version": info["ringkv_version"]}]
    assert 0 <= after["ringkv_event_loop_lag_seconds"] < 10


async def test_commands_are_counted_one_by_one(shard: SpawnedShard, connect: Connect) -> None:
    before = Metrics.parse(await scrape(shard))["ringkv_commands_total"]
    client = connect(shard)
    for _ in range(17):
        client("PING")
    assert Metrics.parse(await scrape(shard))["ringkv_commands_total"] == before + 17


async def test_the_process_is_described(shard: SpawnedShard) -> None:
    metrics = Metrics.parse(await scrape(shard))
    assert metrics["process_resident_memory_bytes"] == pytest.approx(resident_bytes(shard.spawned.pid), rel=0.2)
    assert metrics["process_cpu_seconds_total"] > 0
    assert metrics["process_open_fds"] > 3
    assert time.time() - 600 < metrics["process_start_time_seconds"] < time.time() + 1


async def test_a_damaged_block_is_counted_once_it_was_read(
    spawn: Spawner, connect: Connect, tmp_path: Path, generated: Callable[..., tuple[Path, Path]]
) -> None:
    data, packed = generated(5000)
    damaged = copy_dataset(packed, tmp_path / "damaged")
    flip_value_byte(damaged, 7)
    shard = spawn.shard(damaged, "--warm-rate", "0", *HTTP)
    client = connect(shard)
    before = Metrics.parse(await scrape(shard))
    assert (before["ringkv_corrupt_blocks"], before["ringkv_checked_bytes"]) == (0, 0)
    refused = sum(isinstance(client("GET", key), Exception) for key, _ in read_pairs(data))
    assert refused == place_of(packed, 7).row.keys > 0
    after = Metrics.parse(await scrape(shard))
    assert (after["ringkv_corrupt_blocks"], after["ringkv_leased_partitions"], after["ringkv_leased_keys"]) == (
        1,
        256,
        5000,
    )
    assert after["ringkv_checked_bytes"] == after["ringkv_leased_bytes"] - place_of(packed, 7).row.size


async def test_a_shard_that_leaves_says_so(spawn: Spawner, connect: Connect) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "b", "--leased", *HTTP)
    client = connect(shard)
    client.lease(client.info()["dataset_id"], build_ring(("b",), 1, 256))
    assert Metrics.parse(await scrape(shard))["ringkv_draining"] == 0
    shard.spawned.process.terminate()
    wait_for(lambda: client("HEARTBEAT").startswith(b"DRAINING "))
    assert Metrics.parse(await scrape(shard))["ringkv_draining"] == 1


async def test_no_key_is_taken_for_the_page_nor_the_page_for_a_key(shard: SpawnedShard) -> None:
    assert (await fetch("127.0.0.1", http_port(shard), "/metricz")).status == 400

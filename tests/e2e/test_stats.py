"""`ringkv stats` tells what a running cluster does: live on a terminal, once and plainly anywhere else."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import cycle, islice
from typing import Any

import pytest

from ringkv.activity import Activity
from ringkv.router.figures.values import Figures, ShardFigures
from ringkv.router.lookup.durations import BOUNDS, Durations
from tests.client.stub import Router, replies, running
from tests.e2e.test_lifecycle import shard_pids
from tests.support.data import EXAMPLE
from tests.support.http import ask_for_all
from tests.support.processes import SpawnedCluster, Spawner, one_line, wait_for
from tests.support.terminal import INTERRUPT, terminal

NOTHING = dict.fromkeys(
    (
        *("requests", "found", "missing", "unavailable", "refused", "abandoned"),
        *("batched", "hedged", "retried", "waited", "hits", "own_zone", "other_zone"),
    ),
    0,
)


def figures(found: int = 0, missing: int = 0, fast: int = 0, slow: int = 0, **others: Any) -> Figures:
    """So many requests that took the time of the third bucket, and so many that of the twentieth."""
    counts = [0] * (len(BOUNDS) + 1)
    counts[2], counts[19] = fast, slow
    durations = Durations(counts, fast * BOUNDS[2] + slow * BOUNDS[19])
    made = Figures(
        version="1.2.3",
        workers=1,
        uptime=90061.5,
        epoch=3,
        serial=0,
        dataset="d" * 32,
        ring="e" * 32,
        replicas=1,
        partitions=256,
        keys=10_000,
        bytes=600_000,
        in_flight=6,
        waiting=0,
        hot_keys=0,
        hot_bytes=0,
        loop_lag=0.004,
        connections=11,
        closed={"idle": 3, "evicted": 5},
        counters=NOTHING | {"found": found, "missing": missing},
        durations=durations,
        shards=(ShardFigures("one", "h:1", "serving", 0, 256, 10_000, 600_000, 300_000, 6, durations),),
        kept_out={},
    )
    return replace(made, **others)


def page(told: Figures) -> bytes:
    return json.dumps({"bounds": BOUNDS, **asdict(told)}).encode()


def test_rates_and_quantiles_are_those_of_the_time_between() -> None:
    before, after = figures(found=1000, fast=500, slow=500), figures(found=1300, missing=100, fast=890, slow=510)
    activity = Activity.between(before, after, seconds=2.0)
    assert (activity.requests, activity.rates["found"], activity.rates["missing"]) == (200, 150, 50)
    assert activity.p50 is not None
    assert activity.p99 is not None
    assert BOUNDS[1] < activity.p50 <= BOUNDS[2]
    assert BOUNDS[18] < activity.p99 <= BOUNDS[19]
    (shard,) = activity.shards
    assert (shard.requests, shard.p50, shard.p99) == (200, activity.p50, activity.p99)


def test_without_requests_there_are_no_quantiles() -> None:
    activity = Activity.between(figures(found=7, fast=7), figures(found=7, fast=7), seconds=1.0)
    assert (activity.requests, activity.p50, activity.p99) == (0, None, None)


def test_a_worker_that_was_started_again_takes_nothing_away() -> None:
    activity = Activity.between(figures(found=1000, fast=1000), figures(found=10, slow=10), seconds=1.0)
    assert activity.requests == 0
    assert activity.p50 is not None
    assert min(activity.rates.values()) == 0


def test_a_shard_that_has_just_come_has_done_nothing_yet() -> None:
    activity = Activity.between(figures(shards=()), figures(fast=100), seconds=1.0)
    assert [(shard.name, shard.requests, shard.p99) for shard in activity.shards] == [("one", 0, None)]


def test_hits_and_reads_in_the_zone_are_parts_of_what_was_asked() -> None:
    before = figures(counters=NOTHING | {"requests": 1000, "hits": 900, "own_zone": 100, "other_zone": 7})
    after = figures(counters=NOTHING | {"requests": 1400, "hits": 1000, "own_zone": 325, "other_zone": 82})
    activity = Activity.between(before, after, seconds=2.0)
    assert (activity.hot_share, activity.zone_share) == (0.25, 0.75)
    assert [activity.rates[name] for name in ("hits", "own_zone", "other_zone")] == [50, 112.5, 37.5]
    quiet = Activity.between(after, after, seconds=2.0)
    assert (quiet.hot_share, quiet.zone_share) == (None, None)


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE)


@pytest.fixture
def stub() -> Iterator[Router]:
    """What answers in a router's place, with whatever a test puts into `faults`."""
    with running(Router("127.0.0.1")) as started:
        yield started


def url(cluster: SpawnedCluster) -> str:
    return f"http://{cluster.host}:{cluster.port}"


async def test_json_tells_the_rates_of_real_requests(
    spawn: Spawner, cluster: SpawnedCluster, example_pairs: dict[bytes, bytes]
) -> None:
    stats = spawn("stats", "--url", url(cluster), "--json")
    asked = 0
    while stats.process.poll() is None:
        pairs: list[tuple[bytes, bytes | None]] = list(islice(cycle(example_pairs.items()), 200))
        found, wrong = await ask_for_all(cluster.host, cluster.port, pairs, connections=4)
        asked += found
        assert not wrong
    assert (stats.process.returncode, stats.err) == (0, "")
    told = json.loads(stats.out)
    assert 0 < told["requests"] * told["seconds"] <= asked
    assert told["rates"]["found"] == told["requests"]
    assert 0 < told["p50"] <= told["p99"] < 5
    assert 1 <= told["seconds"] < 5
    assert [shard["name"] for shard in told["shards"]] == ["shard-1", "shard-2", "shard-3"]
    assert sum(shard["keys"] for shard in told["shards"]) == told["keys"] == 10_000
    assert {shard["state"] for shard in told["shards"]} == {"serving"}


@pytest.mark.parametrize("option", [[], ["--once"]])
def test_without_a_terminal_one_plain_account_is_printed(
    spawn: Spawner, cluster: SpawnedCluster, option: list[str]
) -> None:
    stats = spawn("stats", "--url", url(cluster), "--interval", "0.2", *option)
    assert stats.wait() == 0, stats.err
    assert "\x1b" not in stats.out
    assert "10,000 keys" in stats.out
    assert re.search(r"epoch \d+, 256 partitions, 1 replica *\n", stats.out)
    for number in (1, 2, 3):
        assert f"shard-{number}  serving" in stats.out


def test_on_a_terminal_it_follows_the_cluster_until_ctrl_c(spawn: Spawner) -> None:
    cluster = spawn.up(EXAMPLE)
    with terminal("stats", "--url", url(cluster), "--interval", "0.2") as shown:
        epoch = shown.wait_for(r"epoch (\d+), (?:.|\n)*shard-1 +serving(?:.|\n)*shard-2 +serving")[1]
        os.kill(shard_pids(cluster)["shard-2"], signal.SIGKILL)
        shown.wait_for(rf"epoch (?!{epoch},)\d+, (?:.|\n)*shard-2 +serving")
        cluster.spawned.process.terminate()
        shown.wait_for(rf"no answer from {url(cluster)}: Connection refused; is a router there\?")
        shown.type(INTERRUPT)
        assert shown.end() == 0
    assert shown.raw.count("\x1b[?1049h") == shown.raw.count("\x1b[?1049l") == 1
    assert "Traceback" not in shown.text


def test_on_a_terminal_too_an_unreachable_router_is_one_line() -> None:
    with terminal("stats", "--url", "http://127.0.0.1:1") as shown:
        assert shown.end() == 1
    said = "Error: no answer from http://127.0.0.1:1: Connection refused; is a router there?"
    assert shown.text.splitlines()[-1].strip() == said


def test_once_on_a_terminal_leaves_the_account_there(cluster: SpawnedCluster) -> None:
    with terminal("stats", "--url", url(cluster), "--interval", "0.2", "--once") as shown:
        assert shown.end() == 0
    assert "shard-3" in shown.text
    assert "\x1b[?1049h" not in shown.raw


def test_what_the_router_tells_cannot_command_the_terminal(spawn: Spawner, stub: Router) -> None:
    evil = figures(waiting=5, kept_out={"h:2": "a\x1b[2Jb\r\n[bold]c"}, shards=(), workers=2, dataset=None)
    stub.faults += [replies(200, page(evil), Content_Type="application/json")] * 2
    stats = spawn("stats", "--url", stub.url, "--interval", "0.1")
    assert stats.wait() == 0, stats.err
    assert "\x1b" not in stats.out
    assert "kept out: h:2: a?[2Jb [bold]c" in stats.out
    assert "none yet: no shard has been reached" in stats.out
    assert "ringkv 1.2.3, up 1 d 1 h, 2 workers" in stats.out
    assert "6 in flight, 5 wait for a shard" in stats.out


def test_hot_values_and_zones_are_told(spawn: Spawner, stub: Router) -> None:
    zoned = replace(figures().shards[0], zone="zone-1")
    before = figures(zone="zone-2", hot_keys=1234, hot_bytes=56_000, shards=(zoned, replace(zoned, zone="")))
    counters = NOTHING | {"requests": 200, "hits": 90, "own_zone": 27, "other_zone": 83}
    pages = [page(told) for told in (before, replace(before, counters=counters))]
    stub.faults += [replies(200, told, Content_Type="application/json") for told in pages]
    stats = spawn("stats", "--url", stub.url, "--interval", "0.1")
    assert stats.wait() == 0, stats.err
    assert re.search(r"zone +zone-2; 24\.5 % of its reads from shards there", stats.out)
    assert re.search(
        r"hot +1,234 values kept in the router, 56\.0 kB; 45\.0 % of single keys hit them, \d+/s", stats.out
    )
    assert re.search(r"one +serving +zone-1 +256(?:.|\n)*one +serving +- +256", stats.out)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b"null",
        pytest.param(b"[" * 100_000, id="deep"),
        page(figures()).replace(b'"bounds": [', b'"bounds": [1, '),
        page(figures()).replace(b'"epoch"', b'"other"'),
        page(figures()).replace(b'"counts"', b'"other"'),
    ],
)
def test_what_is_no_router_is_one_line(spawn: Spawner, stub: Router, body: bytes) -> None:
    stub.faults.append(replies(200, body, Content_Type="application/json"))
    line = one_line(spawn("stats", "--url", stub.url))
    assert line == f"Error: {stub.url} does not tell its figures as a ringkv router of this version does"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--url", "http://127.0.0.1:1"], 1, "no answer from http://127.0.0.1:1"),
        (["--url", "nonsense"], 1, "not the URL of a router"),
        (["--interval", "0"], 2, "0 is not in the range"),
        (["--interval", "x"], 2, "'x' is not a valid float"),
        (["extra"], 2, "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line(spawn: Spawner, args: list[str], code: int, said: str) -> None:
    assert said in one_line(spawn("stats", *args), code)


def test_a_reader_that_goes_away_is_no_error(spawn: Spawner, cluster: SpawnedCluster) -> None:
    stats = spawn.run("sh", "-c", f"{sys.executable} -m ringkv stats --url {url(cluster)} --interval 0.1 | true")
    assert (stats.wait(), stats.err) == (0, "")


def test_ctrl_c_without_a_terminal_is_an_interruption(spawn: Spawner, stub: Router) -> None:
    stub.faults.append(replies(200, page(figures())))
    stats = spawn("stats", "--url", stub.url, "--interval", "60")
    wait_for(lambda: stub.paths)
    stats.process.send_signal(signal.SIGINT)
    assert (stats.wait(), stats.out, stats.err) == (130, "", "")

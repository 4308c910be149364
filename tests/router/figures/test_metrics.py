"""What a router tells Prometheus is what it has done, and in the form that Prometheus expects."""

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice

import pytest

from ringkv.process.connections import ConnectionGuard
from ringkv.process.exposition import exposition
from ringkv.router.figures.metrics import router_families
from ringkv.router.figures.own import own_figures
from ringkv.router.figures.values import RESULTS, Figures, ShardFigures, State, add, past
from ringkv.router.lookup.durations import BOUNDS, Durations
from tests.support.data import EXAMPLE, random_keys
from tests.support.fake_shard import Start, nothing, silence
from tests.support.http import Response, ask_for_all, fetch, request_bytes, vanish
from tests.support.metrics import OPENMETRICS, Metrics, check_conventions
from tests.support.processes import SpawnedCluster, Spawner, eventually
from tests.support.routed import A, Routed
from tests.support.router import Serve

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
OTHERS = ("requests", "hits", "hedged", "retried", "waited", "batched", "swapped", "gated", "unauthorized")
ZONES = ("own_zone", "other_zone")
COUNTERS = dict.fromkeys((*RESULTS, *OTHERS, *ZONES), 0)


def durations(**counts: int) -> Durations:
    """So many in the bucket that ends with that bound, by its index."""
    made = Durations()
    for bucket, count in counts.items():
        made.counts[int(bucket.removeprefix("b"))] = count
        made.seconds += count * BOUNDS[min(int(bucket.removeprefix("b")), len(BOUNDS) - 1)]
    return made


def shard(name: str, state: State = "serving", **others: int) -> ShardFigures:
    amounts = {
        "serial": 8,
        "partitions": 128,
        "keys": 5000,
        "bytes": 300_000,
        "checked": 200_000,
        "in_flight": 3,
        "direct": 40,
    } | others
    return ShardFigures(
        name=name,
        address=f"{name}:7379",
        state=state,
        durations=durations(b4=10),
        announced="",
        zone="",
        weight=1.0,
        **amounts,
    )


FIGURES = Figures(
    version="1.2.3",
    workers=1,
    uptime=12.5,
    epoch=3,
    serial=7,
    dataset="d" * 32,
    ring="e" * 32,
    replicas=1,
    partitions=256,
    keys=10_000,
    bytes=600_000,
    in_flight=6,
    waiting=2,
    hot_keys=12,
    hot_bytes=3400,
    loop_lag=0.004,
    connections=11,
    closed={"idle": 3, "evicted": 5},
    counters=COUNTERS
    | {"requests": 1000, "hits": 300, "found": 900, "missing": 80, "unavailable": 9, "refused": 7, "abandoned": 4}
    | {"swapped": 5, "gated": 1, "unauthorized": 6},
    durations=durations(b0=5, b10=20, b35=1),
    shards=(shard("a"), shard("b", "lost", keys=0)),
    kept_out={"10.0.0.9:7379": "it serves another dataset"},
    extra_owners={"3": ["b"], "17": ["a", "b"]},
)


def told(figures: Figures) -> Metrics:
    body, content_type = exposition(router_families(figures), "")
    return Metrics.parse(Response(200, {"Content-Type": content_type}, body))


async def scrape(cluster: SpawnedCluster, headers: str = "") -> Response:
    return await fetch(cluster.host, cluster.port, "/metrics", headers=headers)


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE)


def test_every_figure_has_its_metric() -> None:
    metrics = told(FIGURES)
    assert {result: metrics.value("ringkv_requests_total", result=result) for result in RESULTS} == {
        "found": 900,
        "missing": 80,
        "unavailable": 9,
        "refused": 7,
        "abandoned": 4,
    }
    assert metrics["ringkv_requests_in_flight"] == 6
    assert metrics["ringkv_requests_waiting"] == 2
    assert (metrics["ringkv_hot_hits_total"], metrics["ringkv_hot_misses_total"]) == (300, 700)
    assert (metrics["ringkv_hot_keys"], metrics["ringkv_hot_bytes"]) == (12, 3400)
    assert metrics["ringkv_event_loop_lag_seconds"] == 0.004
    assert metrics["ringkv_topology_epoch"] == 3
    assert (metrics["ringkv_keys"], metrics["ringkv_bytes"], metrics["ringkv_partitions"]) == (10_000, 600_000, 256)
    assert (metrics["ringkv_replicas"], metrics["ringkv_workers"], metrics["ringkv_ready"]) == (1, 1, 1)
    assert metrics["ringkv_kept_out_shards"] == 1
    assert metrics["ringkv_extra_owners"] == 3
    assert metrics["ringkv_unauthorized_total"] == 6
    assert (metrics["ringkv_served_serial"], metrics["ringkv_offered_serial"]) == (7, 8)
    assert (metrics["ringkv_swaps_total"], metrics["ringkv_swaps_refused_total"]) == (5, 1)
    assert metrics.labels("ringkv_build_info") == [{"version": "1.2.3"}]
    assert metrics.labels("ringkv_dataset_info") == [{"dataset": "d" * 32}]


def test_each_shard_has_its_own() -> None:
    metrics = told(FIGURES)
    assert [metrics.value("ringkv_shard_up", shard=name) for name in "ab"] == [1, 0]
    assert [metrics.value("ringkv_shard_keys", shard=name) for name in "ab"] == [5000, 0]
    assert metrics.value("ringkv_shard_bytes", shard="a") == 300_000
    assert metrics.value("ringkv_shard_partitions", shard="a") == 128
    assert metrics.value("ringkv_shard_requests_in_flight", shard="a") == 3
    assert metrics.value("ringkv_shard_reply_duration_seconds_count", shard="a") == 10


def test_a_histogram_is_cumulative_up_to_infinity() -> None:
    metrics = told(FIGURES)
    buckets = metrics.families["ringkv_request_duration_seconds"].samples
    found = [(sample.labels["le"], sample.value) for sample in buckets if sample.name.endswith("_bucket")]
    assert [float(bound) for bound, _ in found] == [*BOUNDS, float("inf")]
    assert [value for _, value in found] == [5] * 10 + [25] * (len(BOUNDS) - 10) + [26]
    assert metrics["ringkv_request_duration_seconds_count"] == 26
    assert metrics["ringkv_request_duration_seconds_sum"] == pytest.approx(FIGURES.durations.seconds)


def test_a_shard_that_is_lost_here_and_serves_there_is_told_of_once() -> None:
    moved = replace(shard("a", "lost"), address="elsewhere:7379")
    for shards in ((moved, shard("a")), (shard("a"), moved)):
        assert told(replace(FIGURES, shards=shards)).value("ringkv_shard_up", shard="a") == 1


async def test_what_a_shard_holds_that_came_back_elsewhere_is_told_once(start: Start) -> None:
    here, there = await start(here=nothing, there=nothing)
    there.name = here.name
    routed = Routed([here, there])
    await routed.serves(A)
    await here.end()
    await eventually(lambda: there.held == [A.dataset_id])

    def shards() -> tuple[ShardFigures, ...]:
        return own_figures(routed.lookups, routed.controller, ConnectionGuard(), 0, 0).shards

    await eventually(lambda: [each.state for each in shards()] == ["lost", "serving"])
    assert [(each.partitions, each.keys, each.bytes) for each in shards()] == [(0, 0, 0), (256, 1, 100)]
    routed.running.cancel()
    await asyncio.gather(routed.running, return_exceptions=True)


def test_a_shard_that_was_never_met_has_no_name_to_tell() -> None:
    metrics = told(replace(FIGURES, shards=(shard("", "lost"), shard("", "lost"), shard("a"))))
    assert metrics.labels("ringkv_shard_up") == [{"shard": "a"}]


@pytest.mark.parametrize(
    ("epoch", "states", "ready"),
    [(0, [], 0), (1, ["lost", "lost"], 0), (1, ["joining"], 0), (1, ["lost", "draining"], 1), (2, ["serving"], 1)],
)
def test_ready_is_what_readyz_says(epoch: int, states: list[State], ready: int) -> None:
    shards = tuple(shard(f"s{number}", state) for number, state in enumerate(states))
    assert told(replace(FIGURES, epoch=epoch, shards=shards))["ringkv_ready"] == ready


def test_a_router_without_a_topology_yet_tells_what_it_knows() -> None:
    nothing = replace(
        FIGURES, epoch=0, dataset=None, ring=None, replicas=None, partitions=None, keys=0, bytes=0, shards=()
    )
    metrics = told(nothing)
    check_conventions(metrics)
    assert (metrics["ringkv_topology_epoch"], metrics["ringkv_partitions"]) == (0, 0)
    assert metrics.labels("ringkv_dataset_info") == []


def test_of_several_workers_no_single_process_is_described() -> None:
    assert not [name for name in told(replace(FIGURES, workers=2)).families if name.startswith("process_")]
    assert [name for name in told(FIGURES).families if name.startswith("process_")]


def test_what_a_shard_has_replied_counts_also_to_a_worker_that_has_not_met_it_yet() -> None:
    busy = replace(FIGURES, shards=(shard("a"), shard("b")))
    begun = replace(FIGURES, shards=(shard("", "lost"),))
    # The second time it dies before it has met a shard.
    for written in (add(begun, past(busy)), add(begun, past(add(begun, past(busy))))):
        read = Figures.parse(json.loads(json.dumps(asdict(written))))
        metrics = told(add(busy, read))
        for name in "ab":
            assert metrics.value("ringkv_shard_reply_duration_seconds_count", shard=name) == 20
        met = add(busy, past(read))
        assert ([each.durations.count for each in met.shards], met.gone) == ([20, 20], {})


def test_whichever_worker_answers_tells_what_a_shard_has_counted_last() -> None:
    late, early = (replace(FIGURES, shards=(shard("a", direct=count),)) for count in (50, 60))

    def direct(figures: Figures) -> float:
        return told(figures).value("ringkv_shard_direct_requests_total", shard="a")

    assert direct(add(late, early)) == direct(add(early, late)) == 60
    # A shard that is started again counts from 0, however much a worker had heard that has ended.
    assert direct(add(late, past(early))) == 50


async def test_what_a_shard_has_replied_counts_also_after_it_has_gone(serve: Serve) -> None:
    router = await serve(silence)
    router.lookups.shard_durations["gone"].observe_all(0.001, 3)
    found = (await router("/stats")).json
    assert {name: sum(replies["counts"]) for name, replies in found["gone"].items()} == {"gone": 3}
    assert "gone" not in {each["name"] for each in found["shards"]}


@pytest.mark.parametrize("headers", ["", OPENMETRICS])
async def test_both_forms_follow_the_conventions(cluster: SpawnedCluster, headers: str) -> None:
    check_conventions(Metrics.parse(await scrape(cluster, headers)))


async def test_promtool_finds_nothing_to_say(cluster: SpawnedCluster, tool: Callable[..., str]) -> None:
    assert tool("promtool", "check", "metrics", stdin=(await scrape(cluster)).body) == ""


async def test_counters_agree_with_what_was_sent(cluster: SpawnedCluster, example_pairs: dict[bytes, bytes]) -> None:
    before = Metrics.parse(await scrape(cluster))
    wanted: dict[bytes, bytes | None] = dict(list(example_pairs.items())[:700])
    absent = random_keys(30, seed=77)
    asked, wrong = await ask_for_all(cluster.host, cluster.port, [*wanted.items(), *((key, None) for key in absent)])
    assert (asked, wrong) == (730, [])
    after = Metrics.parse(await scrape(cluster))

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert {result: grown("ringkv_requests_total", result=result) for result in RESULTS} == {
        "found": 700,
        "missing": 30,
        "unavailable": 0,
        "refused": 0,
        "abandoned": 0,
    }
    assert grown("ringkv_request_duration_seconds_count") == 730
    assert 0 < grown("ringkv_request_duration_seconds_sum") < 730
    shards = [labels["shard"] for labels in after.labels("ringkv_shard_up")]
    assert shards == ["shard-1", "shard-2", "shard-3"]
    # Of a request that was hedged, nobody knows whose reply it was.
    replies = sum(grown("ringkv_shard_reply_duration_seconds_count", shard=shard) for shard in shards)
    assert replies + grown("ringkv_hedged_total") >= 730 >= replies
    assert sum(after.value("ringkv_shard_keys", shard=shard) for shard in shards) == after["ringkv_keys"] == 10_000
    assert sum(after.value("ringkv_shard_bytes", shard=shard) for shard in shards) == after["ringkv_bytes"]
    assert sum(after.value("ringkv_shard_partitions", shard=shard) for shard in shards) == 256


async def test_whichever_worker_answers_tells_of_all(spawn: Spawner, example_pairs: dict[bytes, bytes]) -> None:
    cluster = spawn.up(EXAMPLE, "--workers", "2")

    async def told_by_somebody() -> Metrics:
        return Metrics.parse(await scrape(cluster))

    async with asyncio.timeout(30):
        while (await told_by_somebody())["ringkv_workers"] < 2:
            pass
    pairs: list[tuple[bytes, bytes | None]] = list(islice(example_pairs.items(), 500))
    assert await ask_for_all(cluster.host, cluster.port, pairs) == (500, [])
    # On connections of their own, among which the kernel chooses. What one worker has done reaches the other
    # within half a second, and the sum never falls.
    told, all_told = 0.0, 0
    async with asyncio.timeout(30):
        while all_told < 8:
            metrics = await told_by_somebody()
            check_conventions(metrics)
            before, told = told, metrics.value("ringkv_requests_total", result="found")
            assert before <= told <= 500
            assert metrics["ringkv_request_duration_seconds_count"] == told
            all_told += told == 500


async def test_what_goes_wrong_is_counted_by_how_it_ended(
    serve: Serve, short_deadline: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert short_deadline
    router = await serve(silence)

    async def results() -> dict[str, float]:
        metrics = Metrics.parse(await router("/metrics"))
        return {result: metrics.value("ringkv_requests_total", result=result) for result in RESULTS}

    _, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(request_bytes(f"/{KEY}"))
    await router.shards[0].arrived(1)
    assert Metrics.parse(await router("/metrics"))["ringkv_requests_in_flight"] == 1
    vanish(writer)
    await eventually(lambda: not router.lookups.in_flight)
    assert await results() == dict.fromkeys(RESULTS, 0) | {"abandoned": 1}
    assert (await router(f"/{KEY}")).status == 503
    assert await results() == dict.fromkeys(RESULTS, 0) | {"abandoned": 1, "unavailable": 1}
    monkeypatch.setattr("ringkv.router.lookup.lookup.MAX_IN_FLIGHT", 0)
    assert (await router(f"/{KEY}")).status == 503
    assert await results() == dict.fromkeys(RESULTS, 0) | {"abandoned": 1, "unavailable": 1, "refused": 1}
    assert (await router(f"/{KEY}", headers='If-None-Match: "dataset-1"\r\n')).status == 304
    assert sum((await results()).values()) == 3


async def test_a_shard_that_is_lost_and_comes_back_is_told_of(spawn: Spawner) -> None:
    shards = {name: spawn.shard(EXAMPLE, "--leased", "--name", name) for name in ("a", "b")}
    addresses = ",".join(str(shard.address) for shard in shards.values())
    router = spawn("router", "--shards", addresses, "--listen", "127.0.0.1:0")
    port = int(router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])

    async def up() -> list[float]:
        metrics = Metrics.parse(await fetch("127.0.0.1", port, "/metrics"))
        return [metrics["ringkv_topology_epoch"], *(metrics.value("ringkv_shard_up", shard=name) for name in "ab")]

    router.wait_for_line("topology 1 in")
    assert await up() == [1, 1, 1]
    shards["b"].spawned.process.send_signal(signal.SIGSTOP)
    router.wait_for_line("topology 2 in")
    assert await up() == [2, 1, 0]
    shards["b"].spawned.process.send_signal(signal.SIGCONT)
    router.wait_for_line("topology 3 in")
    assert await up() == [3, 1, 1]

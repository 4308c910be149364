"""The hour of history is what the router has done, sample by sample, bounded, and of all workers."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from ringkv.router.figures.history import History
from ringkv.router.figures.values import Figures, ShardFigures, State
from ringkv.router.lookup.durations import Durations
from ringkv.router.policy import HISTORY_INTERVAL, HISTORY_SAMPLES
from tests.support.data import EXAMPLE
from tests.support.http import ask_for_all, fetch
from tests.support.processes import PATIENCE, SpawnedCluster, Spawner

NOTHING = Figures(
    version="1", workers=1, uptime=1.0, epoch=1, serial=0, dataset="d", ring="r", replicas=1, partitions=256, keys=0,
    bytes=0, in_flight=0, waiting=0, hot_keys=0, hot_bytes=0, loop_lag=0.0, connections=2, closed={},
    durations=Durations(), shards=(), kept_out={},
    counters=dict.fromkeys(("requests", "batched", "unavailable", "refused"), 0),
)  # fmt: skip


def done(times: int, state: State = "serving") -> Figures:
    """After so many rounds of 50 requests of 1 ms to shard a, 40 keys in batches, 3 errors."""
    durations = Durations()
    durations.observe_all(0.001, 50 * times)
    shard = ShardFigures("a", "a:1", state, 0, 256, 10, 10, 10, 0, durations)
    counters = {"requests": 50 * times, "batched": 40 * times, "unavailable": 2 * times, "refused": times}
    return replace(NOTHING, counters=counters, durations=durations, shards=(shard,))


def history_of(*looks: Figures, monkeypatch: pytest.MonkeyPatch) -> History:
    """One look each 2 s of a clock that stands at 1,000,000 Unix seconds at the first."""
    clock = iter(range(0, 10**9, 2))
    monkeypatch.setattr("ringkv.router.figures.history.time.monotonic", lambda: float(next(clock)))
    unix: Iterator[float] = iter([1_000_000.9 + 2 * step for step in range(1, len(looks))])
    remaining = iter(looks)
    history = History(lambda: next(remaining), lambda: next(unix))
    for _ in looks:
        history.sample()
    return history


def times(history: History, since: int) -> list[int]:
    return [sample["at"] for sample in json.loads(history.told(since))["samples"]]


def test_a_sample_is_the_difference_of_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(done(0), done(4), done(4), monkeypatch=monkeypatch)
    first, second = json.loads(history.told())["samples"]
    within = pytest.approx(0.001, rel=0.42)
    quantiles = {"p50": within, "p99": within}
    assert first == {
        "at": 1_000_002, "requests": 180.0, "errors": 6.0, **quantiles,
        "shards": {"a": {"requests": 100.0, **quantiles}},
    }  # fmt: skip
    silence = {"p50": None, "p99": None}
    assert second == {
        "at": 1_000_004, "requests": 0, "errors": 0, **silence, "shards": {"a": {"requests": 0, **silence}},
    }  # fmt: skip


def test_a_shard_that_is_lost_or_has_just_come_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = (NOTHING, done(1), done(2), done(2, "lost"), done(3))
    samples = json.loads(history_of(*looks, monkeypatch=monkeypatch).told())["samples"]
    rates = [sample["shards"].get("a", {}).get("requests") for sample in samples]
    assert rates == [None, 25.0, None, 25.0]


def test_whoever_has_seen_samples_gets_those_that_came_after(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(*map(done, range(4)), monkeypatch=monkeypatch)
    told = [times(history, since) for since in (0, 1_000_004, 1_000_006)]
    assert told == [[1_000_002, 1_000_004, 1_000_006], [1_000_006], []]


def test_where_the_clock_is_set_back_what_comes_is_told_at_once() -> None:
    clock = iter([5000, 5005, 5010, 1005, 1010, 9000])
    looks = map(done, range(7))
    history = History(lambda: next(looks), lambda: float(next(clock)))
    for _ in range(5):
        history.sample()
    assert times(history, 5005) == [1005]
    history.sample()
    assert times(history, 1005) == [1010]
    history.sample()
    assert times(history, 1010) == [9000]
    assert times(history, 0) == [1005, 1010, 9000]
    assert times(history, 9000 + HISTORY_INTERVAL) == []  # another worker may have been so much ahead


def test_an_hour_is_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(*map(done, range(2 * HISTORY_SAMPLES)), monkeypatch=monkeypatch)
    told = history.told()
    assert len(json.loads(told)["samples"]) == HISTORY_SAMPLES
    assert HISTORY_SAMPLES * HISTORY_INTERVAL == 3600
    assert len(told) < 200 * HISTORY_SAMPLES


async def told(cluster: SpawnedCluster, query: str = "") -> list[dict[str, Any]]:
    response = await fetch(cluster.host, cluster.port, f"/history{query}")
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert response.json["interval"] == HISTORY_INTERVAL
    samples: list[dict[str, Any]] = response.json["samples"]
    return samples


async def new_samples(cluster: SpawnedCluster, since: int, count: int = 1) -> list[dict[str, Any]]:
    """The samples after that one, as soon as there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            samples = await told(cluster, f"?since={since}")
            if len(samples) >= count:
                return samples
            await asyncio.sleep(0.5)


async def test_it_adds_up_to_what_was_asked_whichever_worker_tells(
    spawn: Spawner, example_pairs: dict[bytes, bytes]
) -> None:
    """With one worker and with two at once: each waits for four samples, which is 20 s."""
    pairs: list[tuple[bytes, bytes | None]] = list(islice(example_pairs.items(), 600))
    clusters = [spawn.up(EXAMPLE, "--workers", str(workers)) for workers in (1, 2)]
    async with asyncio.TaskGroup() as tasks:
        for cluster in clusters:
            tasks.create_task(adds_up(cluster, pairs))


async def adds_up(cluster: SpawnedCluster, pairs: list[tuple[bytes, bytes | None]]) -> None:
    # After the first samples of all workers.
    before = (await new_samples(cluster, 0, 2))[-1]["at"]
    assert await ask_for_all(cluster.host, cluster.port, pairs) == (600, [])
    # Until all of it is counted: a sample with something, and later one without.
    async with asyncio.timeout(PATIENCE):
        rates = [0.0]
        while not any(rates) or rates[-1]:
            samples = await new_samples(cluster, before)
            rates = [sample["requests"] for sample in samples]
    # On a busy machine a sample is late, and its rate is that of more than its interval.
    assert 400 < HISTORY_INTERVAL * sum(rates) < 800
    assert sum(HISTORY_INTERVAL * shard["requests"] for sample in samples for shard in sample["shards"].values()) > 300
    assert {name for sample in samples for name in sample["shards"]} == {"shard-1", "shard-2", "shard-3"}
    busy = max(samples, key=lambda sample: sample["requests"])
    assert 0 < busy["p50"] <= busy["p99"] < 5
    assert all(sample["errors"] == 0 for sample in samples)
    ages = [sample["at"] for sample in samples]
    assert ages == sorted(set(ages))


@pytest.fixture(scope="module")
def small(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--shards", "1")


@pytest.mark.parametrize("since", ["-1", "yesterday", "1.5", "", "9" * 5000])
async def test_what_is_no_time_is_refused(small: SpawnedCluster, since: str) -> None:
    response = await fetch(small.host, small.port, f"/history?since={since}")
    assert response.status == 400
    assert response.body.startswith(b"not a time in Unix seconds")

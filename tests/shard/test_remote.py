"""A shard whose dataset lies in a store: it fetches what it owns, once, and what is asked for first of all."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

import ringkv.shard.hydration
import ringkv.shard.reads
from ringkv.cluster.ring import build_ring
from ringkv.dataset.catalog import new_folder
from ringkv.dataset.dataset import Dataset
from ringkv.shard.http import build_app
from ringkv.shard.server import Followed
from tests.support.damage import flip_value_byte
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.published import KEYS, Published, pairs_of, value_of
from tests.support.redis_port import told
from tests.support.served import Asker, Served, in_block, serving
from tests.support.web import Web, web

ALL = 1 << 40
"""A rate that holds nothing up."""


@pytest.fixture
def published(tmp_path: Path) -> Published:
    made = Published(tmp_path / "catalog")
    made.publish(1)
    return made


@pytest.fixture
def remote(published: Published) -> Iterator[Web]:
    with web(published.path) as served:
        yield served


@pytest.fixture
def source(remote: Web, tmp_path: Path) -> Followed:
    return Followed(remote.url, tmp_path / "cache")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.shard.reads, "FETCH_SECONDS", 0.3)
    monkeypatch.setattr(ringkv.shard.hydration, "MAX_PAUSE", 0.1)


async def is_warm(served: Served) -> None:
    blocks = served.store.blocks
    await eventually(lambda: blocks.bytes == blocks.checked_bytes > 0)


def healed(served: Served) -> bool:
    return served.state.fetches.healed >= 2


def fetching(served: Served) -> bool:
    return served.state.fetches.in_flight > 0


async def all_right(client: Asker, version: int = 1) -> None:
    for first in range(0, len(KEYS), 100):
        keys = KEYS[first : first + 100]
        assert await client("MGET", *keys) == [value_of(version, key) for key in keys]


async def answers(client: Asker, key: bytes) -> bool:
    """Whether the key has its value, and is not refused."""
    reply = await client("GET", key)
    if isinstance(reply, bytes):
        assert reply == value_of(1, key)
        return True
    assert told(reply).startswith("NOTLEASED "), reply
    return False


async def test_what_is_leased_is_fetched_and_checked_before_anybody_asks(source: Followed, remote: Web) -> None:
    async with serving(source, ALL) as served:
        await is_warm(served)
        assert len(remote.ranges()) == 1
        await all_right(await served.connect())
        assert len(remote.ranges()) == 1
        assert served.version.reads.done == 0


async def test_a_restart_fetches_nothing(source: Followed, remote: Web) -> None:
    async with serving(source, ALL) as served:
        await is_warm(served)
    remote.asked.clear()
    async with serving(source, ALL) as served:
        await is_warm(served)
        await all_right(await served.connect())
    assert {asked.path for asked in remote.asked} == {"current.json"}


async def test_what_is_asked_for_is_fetched_at_once_a_block_a_request(source: Followed, remote: Web) -> None:
    async with serving(source) as served:
        client = await served.connect()
        blocks = in_block(served.store, KEYS)
        for number, keys in enumerate(list(blocks.values())[:20], 1):
            assert await client("MGET", *keys) == [value_of(1, key) for key in keys]
            assert len(remote.ranges()) == number
        assert sum(asked.size for asked in remote.ranges()) <= served.store.blocks.bytes // 4
        for keys in list(blocks.values())[:20]:
            assert await client("GET", keys[0]) == value_of(1, keys[0])
        assert len(remote.ranges()) == 20
        assert served.store.blocks.checked_bytes > 0
        await all_right(client)


async def test_many_who_ask_for_a_block_cause_one_request(source: Followed, remote: Web) -> None:
    async with serving(source) as served:
        keys = max(in_block(served.store, KEYS).values(), key=len)
        clients = [await served.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(("GET", keys[number % len(keys)]))
        assert [await client.read() for client in clients] == [
            value_of(1, keys[number % len(keys)]) for number in range(20)
        ]
        assert len(remote.ranges()) == 1


async def test_a_shard_of_three_fetches_little_more_than_it_owns_and_one_that_gains_what_it_gains(
    published: Published, source: Followed, remote: Web
) -> None:
    four, three = (build_ring(names, 1, 256) for names in (("one", "two", "x", "y"), ("one", "two", "x")))
    dataset = pack_pairs(published.path, {key: key * 60 for key in KEYS})
    with Dataset.open(dataset) as opened:
        published.datasets[2] = opened.manifest.dataset_id
    dataset.rename(published.path / new_folder(published.datasets[2]))
    published.swap(2)
    async with serving(source, ALL, leased=True) as served:
        blocks = served.store.blocks
        lease = await served.version.leases.grant(four.owned_by("one"))
        await is_warm(served)
        owned = blocks.bytes
        fetched = sum(asked.size for asked in remote.ranges())
        assert fetched <= 1.3 * owned
        remote.asked.clear()
        await served.version.leases.grant(three.owned_by("one"))
        served.version.leases.end(lease)
        await is_warm(served)
        assert sum(asked.size for asked in remote.ranges()) <= 1.3 * (blocks.bytes - owned)


async def test_no_more_requests_are_under_way_than_memory_is_meant_for(
    source: Followed, remote: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.shard.hydration, "MAX_REQUEST", 2_000)
    async with serving(source, ALL) as served:
        await is_warm(served)
        assert len(remote.ranges()) > 30
        assert remote.most <= 9  # and the look at the catalog


async def test_what_is_asked_for_does_not_wait_for_what_is_fetched_ahead(source: Followed, remote: Web) -> None:
    async with serving(source, ALL, fetch_rate=1) as served:
        client = await served.connect()
        await eventually(remote.ranges)  # the first request needs no patience, the next one much
        blocks = list(in_block(served.store, KEYS).values())
        began = time.monotonic()
        assert await client("GET", blocks[-1][0]) == value_of(1, blocks[-1][0])
        assert time.monotonic() - began < 20
        assert served.state.fetches.rate == 1


async def test_the_rate_is_changed_while_the_shard_serves(source: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.shard.hydration, "MIN_REQUEST", 2_000)
    async with serving(source, ALL, fetch_rate=1000) as served:
        client, blocks = await served.connect(), served.store.blocks
        assert await client("CONFIG", "GET", "fetch-*") == [b"fetch-rate", b"1000"]
        await asyncio.sleep(0.2)
        assert blocks.checked_bytes < blocks.bytes
        assert await client("CONFIG", "SET", "fetch-rate", "10M") == b"OK"
        assert await client("CONFIG", "GET", "fetch-rate") == [b"fetch-rate", b"10485760"]
        await is_warm(served)


async def test_a_damaged_block_in_the_cache_heals_itself(
    source: Followed, remote: Web, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(source, ALL) as served:
        await is_warm(served)
        folder = served.version.dataset.path
    for rate in (0, ALL):
        flip_value_byte(folder, 7)
        flip_value_byte(folder, 200)
        remote.asked.clear()
        async with serving(source, rate) as served:
            await all_right(await served.connect())
            await eventually(partial(healed, served))
        assert 2 <= len(remote.ranges()) <= 4  # who asks does not wait for what is fetched ahead
        assert f"{folder}/segment-00000.arrow: the block at byte " in caplog.text


@pytest.mark.parametrize("rate", [0, ALL])
async def test_a_damaged_block_in_the_store_is_refused_by_name_and_no_other(
    published: Published, remote: Web, source: Followed, rate: int
) -> None:
    flip_value_byte(published.folder(1), 7)
    async with serving(source, rate) as served:
        client = await served.connect()
        for block, keys in in_block(served.store, KEYS).items():
            for key in keys:
                reply = await client("GET", key)
                if block == 7:
                    where = f"{remote.url}/{published.folder(1).name}"
                    assert told(reply).startswith(f"CORRUPT {where}: block 7 is corrupt: "), reply
                else:
                    assert reply == value_of(1, key)
        assert set(served.store.blocks.corrupt) == {7}


async def test_what_comes_damaged_once_is_right_the_second_time(source: Followed, remote: Web) -> None:
    async with serving(source) as served:
        client = await served.connect()
        for fault in ("flip", "500", "cut"):
            remote.fault, remote.fails = fault, 1
            key = KEYS[len(remote.asked)]
            assert await client("GET", key) == value_of(1, key)
        assert not served.store.blocks.corrupt


async def test_the_warm_up_outlives_whatever_the_store_does(
    source: Followed, remote: Web, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    del impatient
    monkeypatch.setattr(ringkv.shard.hydration, "MAX_REQUEST", 20_000)
    faults = ["500", "cut", "503", "short", "refuse", "404"] * 2
    async with serving(source, leased=True) as served:
        pass
    async with serving(source, ALL, leased=True) as served:
        remote.fault, remote.fails, remote.failing = "flip", 1, "segment"
        await served.version.leases.grant(range(256))
        blocks = served.store.blocks

        def trouble() -> bool:
            if remote.fails == 0 and faults:
                remote.fault, remote.fails = faults.pop(), 1
            return blocks.checked_bytes == blocks.bytes

        await eventually(trouble)
        assert len(faults) < 10
        remote.fault = ""
        await all_right(await served.connect())


@pytest.mark.parametrize("fault", ["refuse", "hang", "404"])
async def test_while_the_store_is_down_what_is_here_is_served_and_the_rest_refused_in_time(
    source: Followed, remote: Web, fault: str, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    del impatient
    caplog.set_level(logging.INFO)
    async with serving(source) as served:
        client = await served.connect()
        here = [keys[0] for keys in in_block(served.store, KEYS).values()][::2]
        for key in here:
            assert await client("GET", key) == value_of(1, key)
        remote.fault = fault
        fetches = served.state.fetches
        away = [keys[0] for keys in in_block(served.store, KEYS).values()][1::2][:20]
        began = time.monotonic()
        clients = [await served.connect() for _ in away]
        for key, other in zip(away, clients, strict=True):
            other.send(("GET", key))
        for key in here:
            assert await client("GET", key) == value_of(1, key)
        for other in clients:
            assert told(await other.read()).startswith(f"NOTLEASED {remote.url}/")
        assert time.monotonic() - began < 10
        assert fetches.unavailable
        remote.fault = ""
        remote.gate.set()
        for key in away:
            assert await client("GET", key) == value_of(1, key)
        assert not fetches.failing
        warnings = [record for record in caplog.records if "is tried again and again" in record.getMessage()]
        assert len(warnings) <= 2  # of the dataset, and of the look at the catalog


async def test_a_shard_that_closes_does_not_wait_for_the_store(source: Followed, remote: Web) -> None:
    async with serving(source, ALL) as served:
        client = await served.connect()
        await is_warm(served)
    for rate in (0, ALL):
        for path in (source.cache or Path()).glob("mirrors/*/*/segment-*"):
            path.unlink()
        async with serving(source, rate) as served:
            remote.fault = "hang"
            client = await served.connect()
            client.send(("GET", KEYS[0]))
            await eventually(partial(fetching, served))
            began = time.monotonic()
        assert time.monotonic() - began < 3
        remote.fault = ""
        remote.gate.set()
        remote.gate.clear()


async def test_a_client_that_has_gone_leaves_nothing_behind(source: Followed, remote: Web) -> None:
    async with serving(source) as served:
        remote.fault = "hang"
        client = await served.connect()
        client.send(("GET", KEYS[0]))
        await eventually(lambda: served.state.fetches.in_flight == 1)
        client.close()
        remote.fault = ""
        remote.gate.set()
        await eventually(lambda: (served.version.reads.in_flight, len(served.state.clients)) == (0, 0))
        assert await answers(await served.connect(), KEYS[0])


async def test_with_a_cache_that_is_too_small_every_answer_is_right(remote: Web, tmp_path: Path) -> None:
    """Partitions come and go, and so do their places on the disk."""
    source = Followed(remote.url, tmp_path / "cache", 60_000)
    rng = random.Random(7)
    async with serving(source, ALL, leased=True) as served:
        client = await served.connect()
        leases = served.version.leases
        held = [await leases.grant(rng.sample(range(256), 90)) for _ in range(2)]
        right = 0
        for _ in range(60):
            held.append(await leases.grant(rng.sample(range(256), 60)))
            leases.end(held.pop(0))
            for key in rng.sample(KEYS, 30):
                right += await answers(client, key)
        assert right > 500
        mirror = served.shard._mirror  # noqa: SLF001 - what it takes is what is promised
        assert mirror is not None
        assert mirror.room.taken() <= 60_000 + 8192


async def test_the_next_version_is_fetched_beside_the_one_that_is_served(
    published: Published, source: Followed
) -> None:
    async with serving(source, ALL) as served:
        client = await served.connect()
        await all_right(client)
        published.publish(2)
        await eventually(lambda: served.state.versions.newest.about.serial == 2)
        await all_right(client, 2)
        newest = served.state.versions.newest.store.blocks
        await eventually(lambda: newest.bytes == newest.checked_bytes > 0)
    assert pairs_of(2).keys() == set(KEYS)


async def test_without_the_store_a_shard_starts_with_what_it_had(source: Followed, remote: Web) -> None:
    async with serving(source, ALL) as served:
        await is_warm(served)
    remote.fault = "refuse"
    async with serving(source) as served:
        await all_right(await served.connect())


async def test_probes_are_told_what_cannot_be_fetched(source: Followed, remote: Web, impatient: None) -> None:
    del impatient
    async with serving(source) as served, TestClient(TestServer(build_app(served.state))) as probe:

        async def ready() -> tuple[int, str]:
            answer = await probe.get("/readyz")
            return answer.status, await answer.text()

        client = await served.connect()
        assert await answers(client, KEYS[0])
        assert await ready() == (200, "ready\n")
        remote.fault = "404"
        await eventually(lambda: served.state.versions.behind)
        assert await ready() == (200, "ready\n")
        assert not await answers(client, KEYS[1])
        status, text = await ready()
        assert (status, text[:54]) == (503, "what is asked for cannot be fetched: " + remote.url[:17])
        remote.fault = ""
        assert await answers(client, KEYS[1])
        assert await ready() == (200, "ready\n")

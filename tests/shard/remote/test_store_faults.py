"""A shard and a store that sends damage, nothing at all, or too late; and a cache that is too small."""

import logging
import shutil
import time
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

import ringkv.shard.hydration
from ringkv.cluster.errors import CacheError
from ringkv.cluster.position import slot
from ringkv.dataset.catalog import new_folder
from ringkv.dataset.mirror import MIRRORS, Mirror
from ringkv.process.address import Address
from ringkv.shard.http import build_app
from ringkv.shard.settings import Direct, Followed
from tests.shard.remote.conftest import impatient
from tests.support.damage import flip_value_byte
from tests.support.fetched import ALL, all_right, answers, is_warm
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.published import KEYS, Published, pairs_of, value_of
from tests.support.redis_port import told
from tests.support.served import Served, in_block, serving
from tests.support.web import Web


async def healed(served: Served, count: int) -> None:
    await eventually(lambda: served.state.fetches.healed >= count)


async def fetching(served: Served) -> None:
    await eventually(lambda: served.state.fetches.in_flight > 0)


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
            await healed(served, 2)
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


@pytest.mark.parametrize("rate", [0, ALL])
async def test_a_damaged_block_is_served_once_its_data_are_published_again(
    published: Published, remote: Web, source: Followed, rate: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    damaged = published.folder(1)
    flip_value_byte(damaged, 7)
    async with serving(source, rate) as served:
        client = await served.connect()
        assert told(await client("GET", in_block(served.store, KEYS)[7][0])).startswith("CORRUPT ")
        whole = published.put(1).name
        remote.fault, remote.failing = "404", f"{whole}/blocks"
        published.catalog.swap(published.catalog.current(), published.datasets[1], whole, "a tester", forced=False)
        await eventually(lambda: served.state.versions.behind)
        remote.fault = ""
        await eventually(lambda: not served.state.versions.behind)
        shutil.rmtree(damaged)  # as it would be pruned
        await all_right(client)
        assert served.store.blocks.corrupt == {}
        assert [version.about.serial for version in served.state.versions.offered] == [2]
    assert caplog.text.count(f"what is fetched comes from {remote.url}/{whole} now") == 1


async def test_data_that_are_published_again_in_other_files_are_fetched_from_where_they_were(
    published: Published, remote: Web, source: Followed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(source) as served:
        whole = pack_pairs(tmp_path, pairs_of(1), segment_size=60_000)
        folder = new_folder(published.datasets[1])
        whole.rename(published.path / folder)
        published.catalog.swap(published.catalog.current(), published.datasets[1], folder, "a tester", forced=False)
        await eventually(lambda: served.state.versions.newest.about.serial == 2)
        await all_right(await served.connect())
        assert not any(folder in asked.path for asked in remote.ranges())
    assert caplog.text.count(f"{remote.url}/{folder}: has the same data in other files: ") == 1


async def test_what_comes_damaged_once_is_right_the_second_time(source: Followed, remote: Web) -> None:
    async with serving(source) as served:
        client = await served.connect()
        for fault in ("flip", "500", "cut"):
            remote.fault, remote.fails = fault, 1
            key = KEYS[len(remote.asked)]
            assert await client("GET", key) == value_of(1, key)
        assert not served.store.blocks.corrupt


@pytest.mark.usefixtures("eager")
async def test_the_warm_up_outlives_whatever_the_store_does(
    source: Followed, remote: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_a_version_that_the_store_has_lost_does_not_keep_the_next_one_from_being_fetched(
    source: Followed, published: Published, remote: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.shard.hydration, "MAX_REQUEST", 2_000)
    monkeypatch.setattr(ringkv.shard.hydration, "TOGETHER", 1)
    remote.fault, remote.failing = "404", f"{published.folder(1).name}/segment"
    async with serving(source, ALL, leased=True) as served:
        await served.version.leases.grant(range(256))
        await eventually(lambda: served.state.fetches.errors >= 20)
        published.publish(2)
        await eventually(lambda: served.state.versions.newest.about.serial == 2)
        newest = served.state.versions.newest
        await newest.leases.grant(range(256))
        await eventually(lambda: newest.store.blocks.checked_bytes == newest.store.blocks.bytes)
        assert served.store.blocks.checked_bytes == 0


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("fault", ["refuse", "hang", "404"])
async def test_while_the_store_is_down_what_is_here_is_served_and_the_rest_refused_in_time(
    source: Followed, remote: Web, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(source) as served:
        client = await served.connect()
        here = [keys[0] for keys in in_block(served.store, KEYS).values()][::2]
        for key in here:
            assert await client("GET", key) == value_of(1, key)
        remote.fault = fault
        fetches = served.state.fetches
        away = [keys[0] for keys in in_block(served.store, KEYS).values()][1::2][:20]
        assert not fetches.unavailable
        began = time.monotonic()
        clients = [await served.connect() for _ in away]
        with impatient():
            for key, other in zip(away, clients, strict=True):
                other.send(("GET", key))
            for key in here:
                assert await client("GET", key) == value_of(1, key)
            for other in clients:
                assert told(await other.read()).startswith(f"NOTLEASED {remote.url}/")
        assert time.monotonic() - began < 10
        assert served.state.fetches.unavailable
        remote.fault = ""
        remote.gate.set()
        for key in away:
            assert await client("GET", key) == value_of(1, key)
        assert not fetches.failing
        warnings = [record for record in caplog.records if "is tried again and again" in record.getMessage()]
        assert len(warnings) <= 2  # of the dataset, and of the look at the catalog


async def test_keys_that_cannot_be_fetched_are_not_left_out_silently(source: Followed, remote: Web) -> None:
    direct = Direct(Address("127.0.0.1", 7000), grace=60.0)
    async with serving(source, direct=direct) as served:
        client = await served.connect()
        cursor, here = await client("SCAN", 0, "COUNT", 1000)
        away = slot(next(key for key in KEYS if key not in here))
        remote.fault = "refuse"
        with impatient():
            assert await client("SCAN", 0, "COUNT", 1000) == [cursor, here]
            for request in (("SCAN", cursor), ("KEYS", "*"), ("CLUSTER", "COUNTKEYSINSLOT", away)):
                assert told(await client(*request)).startswith(f"NOTLEASED {remote.url}/"), request
        remote.fault = ""
        assert sorted(await client("KEYS", "*")) == sorted(KEYS)


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
            await fetching(served)
            began = time.monotonic()
        assert time.monotonic() - began < 3
        remote.fault = ""
        remote.gate.set()
        remote.gate.clear()


async def test_a_shard_that_closes_does_not_wait_for_what_its_catalog_says(source: Followed, remote: Web) -> None:
    async with serving(source) as served:
        remote.fault, remote.failing = "hang", "current.json"
        served.shard.look_now()
        await eventually(lambda: remote.together > 0)
        began = time.monotonic()
    assert time.monotonic() - began < 3


async def test_a_shard_that_closes_does_not_wait_for_the_tables_of_a_version(
    published: Published, source: Followed, remote: Web
) -> None:
    async with serving(source) as served:
        remote.fault, remote.failing = "hang", "blocks.arrow"
        published.publish(2)
        served.shard.look_now()
        await eventually(lambda: remote.together > 0)
        began = time.monotonic()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("limit", [None, 1 << 20])
async def test_a_cache_that_was_removed_is_made_again_for_the_next_version(
    published: Published, remote: Web, tmp_path: Path, limit: int | None
) -> None:
    source = Followed(remote.url, tmp_path / "cache", limit)
    async with serving(source, ALL) as served:
        client = await served.connect()
        await is_warm(served)
        shutil.rmtree(tmp_path / "cache")
        await all_right(client)
        published.publish(2)
        await eventually(lambda: served.state.versions.newest.about.serial == 2)
        await all_right(client, 2)
        with pytest.raises(CacheError, match="another process has this cache"):
            Mirror(tmp_path / "cache" / MIRRORS / "one")


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


async def test_without_the_store_a_shard_starts_with_what_it_had(source: Followed, remote: Web) -> None:
    async with serving(source, ALL) as served:
        await is_warm(served)
    remote.fault = "refuse"
    async with serving(source) as served:
        await all_right(await served.connect())


@pytest.mark.usefixtures("eager")
async def test_probes_are_told_what_cannot_be_fetched(source: Followed, remote: Web) -> None:
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
        with impatient():
            assert not await answers(client, KEYS[1])
        status, text = await ready()
        assert (status, text[:54]) == (503, "what is asked for cannot be fetched: " + remote.url[:17])
        remote.fault = ""
        assert await answers(client, KEYS[1])
        assert await ready() == (200, "ready\n")

"""A shard whose dataset lies in a store: it fetches what it owns, once, and what is asked for first of all."""

import asyncio
import random
import time
from pathlib import Path

import pytest

import ringkv.shard.hydration
import ringkv.shard.reads
from ringkv.cluster.ring import build_ring
from ringkv.dataset.catalog import new_folder
from ringkv.dataset.dataset import Dataset
from ringkv.shard.settings import Followed
from tests.support.fetched import ALL, all_right, answers, is_warm
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.published import KEYS, Published, pairs_of, value_of
from tests.support.served import in_block, serving
from tests.support.web import Web


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
    monkeypatch.setattr(ringkv.shard.hydration, "TOGETHER", 1)
    async with serving(source, ALL) as served:
        await is_warm(served)
        assert len(remote.ranges()) > 30
        assert remote.most <= 9  # and the look at the catalog


@pytest.mark.parametrize(("command", "few"), [("HEARTBEAT", True), ("DBSIZE", False)])
async def test_a_router_that_looks_after_a_shard_is_nobody_who_asks(
    source: Followed, remote: Web, monkeypatch: pytest.MonkeyPatch, command: str, *, few: bool
) -> None:
    """While somebody asks, requests are small."""
    monkeypatch.setattr(ringkv.shard.hydration, "MIN_REQUEST", 20_000)
    async with serving(source, ALL, leased=True) as served:
        client = await served.connect()
        blocks = served.store.blocks
        await client(command)
        await served.version.leases.grant(range(256))
        while blocks.checked_bytes < blocks.bytes:
            await client(command)
        assert (len(remote.ranges()) == 1) == few


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

"""SCAN on the router: every key of all shards once, whatever the shards do meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import hiredis
import pytest

import ringkv.router.redis.scan
from ringkv.cluster.cursor import CURSORS, behind, cell
from ringkv.cluster.limits import KEYS_LIMIT
from ringkv.cluster.position import position, slot
from ringkv.process.address import Address
from ringkv.resp import codec
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import BATCHES, FEW_KEYS
from tests.support.data import random_keys
from tests.support.fake_shard import PARTITIONS, FakeShard, KeysAnswer, Start, topology_of, value
from tests.support.processes import eventually, short_directory
from tests.support.redis_port import AsyncClient, Serve, ServedPort
from tests.support.scanned import telling

KEYS = sorted(random_keys(2_000, seed=61), key=position)
CELLS = CURSORS // PARTITIONS


def error(code: str) -> KeysAnswer:
    return lambda _shard, _cursor, _count: codec.error(code, "as it was told")


def silence(_shard: FakeShard, _cursor: int, _count: int) -> None:
    return None


def garbage(_shard: FakeShard, _cursor: int, _count: int) -> bytes:
    return codec.array([codec.bulk("0"), codec.bulk("x")])


def close(shard: FakeShard, _cursor: int, _count: int) -> None:
    shard.abort()


@pytest.fixture
async def port() -> AsyncIterator[ServedPort]:
    """A Redis port in front of nobody yet."""
    with short_directory() as folder:
        port = ServedPort(Lookups(), Address(f"{folder}/redis", None))
        await port.start()
        yield port
        await port.end()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits 5 seconds for what does not come; a shard on a busy machine has its time."""
    monkeypatch.setattr(ringkv.router.redis.scan, "DEADLINE", 1.0)
    monkeypatch.setattr(ringkv.router.redis.scan, "BATCH_PATIENCE", 0.5)


async def scan(client: AsyncClient, *options: str | int) -> list[bytes]:
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, keys = await client("SCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found


def told(reply: Any) -> str:
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


@pytest.mark.parametrize("count", [10, 100, 1000, 10**6])
async def test_all_shards_together_have_every_key_once(start: Start, port: ServedPort, count: int) -> None:
    shards = await start(a=value, b=value, c=value)
    for shard in shards:
        shard.answer_keys = telling(KEYS)
    port.lookups.swap(await topology_of(shards, 1, keys=len(KEYS) // 3))
    client = await port.connect()
    assert await scan(client, "COUNT", count) == KEYS
    assert all(shard.scanned for shard in shards)
    assert port.lookups.in_flight == 0


@pytest.mark.parametrize("fault", [silence, garbage, close, error("NOTLEASED"), error("CORRUPT"), error("ERR")])
@pytest.mark.usefixtures("impatient")
async def test_what_one_owner_does_not_tell_another_one_does(start: Start, port: ServedPort, fault: KeysAnswer) -> None:
    bad, good = await start(a=value, b=value)
    bad.answer_keys, good.answer_keys = fault, telling(KEYS)
    port.lookups.swap(await topology_of([bad, good], 2))
    client = await port.connect()
    assert await scan(client, "COUNT", 1000) == KEYS
    assert bad.scanned


async def test_a_partition_whose_owner_is_lost_is_told_by_its_next_owner(start: Start, port: ServedPort) -> None:
    lost, other = await start(a=value, b=value)
    lost.answer_keys, other.answer_keys = close, telling(KEYS)
    port.lookups.swap(await topology_of([lost, other], 1))
    client = await port.connect()
    scanning = asyncio.create_task(scan(client, "COUNT", 1000))
    await eventually(lambda: lost.scanned)
    port.lookups.swap(await topology_of([other], 1, epoch=2))
    assert await scanning == KEYS


@pytest.mark.usefixtures("impatient")
async def test_what_nobody_tells_is_an_error_and_never_the_end(start: Start, port: ServedPort) -> None:
    (shard,) = await start()
    client = await port.connect()
    assert told(await client("SCAN", 0)) == "CLUSTERDOWN no shard that owns this key could be reached"
    assert told(await client("KEYS", "*")).startswith("CLUSTERDOWN ")
    shard.answer_keys = error("NOTLEASED")
    port.lookups.swap(await topology_of([shard], 1))
    assert told(await client("SCAN", 0)) == "CLUSTERDOWN as it was told"
    assert told(await client("KEYS", "*")).startswith("CLUSTERDOWN ")
    assert told(await client("RANDOMKEY")).startswith("CLUSTERDOWN ")
    assert await client("PING") == b"PONG"
    assert port.lookups.in_flight == 0


@pytest.mark.usefixtures("impatient")
async def test_what_an_owner_told_before_it_fell_silent_is_the_reason(start: Start, port: ServedPort) -> None:
    (shard,) = await start()
    refused = error("NOTLEASED")

    def answer(shard: FakeShard, cursor: int, count: int) -> bytes | None:
        return refused(shard, cursor, count) if len(shard.scanned) < 3 else None

    shard.answer_keys = answer
    port.lookups.swap(await topology_of([shard], 1))
    client = await port.connect()
    assert told(await client("SCAN", 0)) == "CLUSTERDOWN as it was told"
    assert len(shard.scanned) >= 3


async def test_scans_of_a_shard_that_does_not_answer_hold_up_nobody_who_asks_others(
    start: Start, port: ServedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.redis.scan, "DEADLINE", 60.0)
    monkeypatch.setattr(ringkv.router.redis.scan, "BATCH_PATIENCE", 0.05)
    stuck, other = await start(a=value, b=value)
    stuck.answer_keys, other.answer_keys = silence, telling(KEYS)
    topology = await topology_of([stuck, other], 1)
    port.lookups.swap(topology)
    (link,) = (link for name, link in topology.links.items() if name == "a")
    cursor = CELLS * next(p for p, owners in enumerate(topology.routes) if link in owners)
    clients = [await port.connect() for _ in range(BATCHES)]
    scans = [asyncio.create_task(client("SCAN", cursor)) for client in clients]
    await eventually(lambda: port.lookups.in_flight == BATCHES)
    keys = [key for key in KEYS if link not in topology.routes[slot(key) >> topology.shift]][: FEW_KEYS + 9]
    async with asyncio.timeout(10):
        assert await (await port.connect())("MGET", *keys) == [b"%b of b" % key for key in keys]
    assert not any(scan.done() for scan in scans)
    port.lookups.swap(await topology_of([other], 1, epoch=2))
    for _, found in await asyncio.gather(*scans):
        assert found


async def test_keys_before_a_damaged_partition_are_told_and_then_the_damage(start: Start, port: ServedPort) -> None:
    (shard,) = await start()
    whole = telling(KEYS)
    damaged = 5 * CELLS

    def answer(shard: FakeShard, cursor: int, count: int) -> bytes | None:
        return (
            codec.error("CORRUPT", "/data: partition 5 is damaged")
            if cursor == damaged
            else whole(shard, cursor, count)
        )

    shard.answer_keys = answer
    port.lookups.swap(await topology_of([shard], 1))
    client = await port.connect()
    cursor, keys = await client("SCAN", 0, "COUNT", 1000)
    assert (int(cursor), keys) == (damaged, [key for key in KEYS if cell(position(key)) < damaged])
    assert "partition 5 is damaged" in told(await client("SCAN", cursor, "COUNT", 1000))


async def test_a_cursor_stays_valid_when_the_dataset_is_replaced(start: Start, port: ServedPort) -> None:
    """Also by one with other partitions: keys that are in both are told once."""
    shared, before, after = KEYS[::3], KEYS[1::3], KEYS[2::3]
    old, new = await start(a=value, b=value)
    old.answer_keys = telling(sorted(shared + before, key=position))
    new.answer_keys = telling(sorted(shared + after, key=position), partitions=4 * PARTITIONS)
    port.lookups.swap(await topology_of([old], 1, keys=1300))
    client = await port.connect()
    cursor, found = await client("SCAN", 0, "COUNT", 700)
    assert len(found) >= 700
    port.lookups.swap(await topology_of([new], 1, epoch=2, keys=1300))
    while cursor != b"0":
        cursor, keys = await client("SCAN", cursor, "COUNT", 50)
        found += keys
    assert len(set(found)) == len(found)
    assert set(shared) <= set(found) <= set(KEYS)


@pytest.mark.parametrize("swaps", [1, 2, 3])
async def test_all_keys_in_one_reply_are_of_one_dataset(start: Start, port: ServedPort, swaps: int) -> None:
    """Each time when the first page of it has been told, the dataset is replaced."""
    shards = await start(a=value, b=value, c=value, d=value)
    topologies = [await topology_of([shard], 1, epoch, 1000) for epoch, shard in enumerate(shards, 1)]
    parts = [sorted(KEYS[at::4] + KEYS[3 - at :: 4], key=position) for at in range(4)]
    following = iter(topologies[1 : swaps + 1])

    def answering(part: list[bytes]) -> KeysAnswer:
        tell, seen = telling(part), list[int]()

        def answer(shard: FakeShard, cursor: int, count: int) -> bytes | None:
            if not cursor and 0 not in seen and (topology := next(following, None)):
                port.lookups.swap(topology)
            seen.append(cursor)
            return tell(shard, cursor, count)

        return answer

    for shard, part in zip(shards, parts, strict=True):
        shard.answer_keys = answering(part)
    port.lookups.swap(topologies[0])
    client = await port.connect()
    reply = await client("KEYS", "*")
    if swaps == 3:
        assert told(reply) == "TRYAGAIN the dataset was replaced again and again while it was read"
    else:
        assert reply == parts[swaps]


async def test_keys_of_a_large_dataset_are_refused_with_the_way_to_get_them(start: Start, port: ServedPort) -> None:
    shards = await start(a=value, b=value)
    port.lookups.swap(await topology_of(shards, 1, keys=KEYS_LIMIT // 2 + 1))
    client = await port.connect()
    assert told(await client("KEYS", "f8a2*")) == (
        "ERR KEYS looks at every key, and here are 100002, more than 100000: use SCAN with MATCH"
    )
    assert [shard.scanned for shard in shards] == [[], []]


async def test_a_client_that_goes_leaves_nothing_behind(start: Start, port: ServedPort) -> None:
    (shard,) = await start()
    port.lookups.swap(await topology_of([shard], 1))
    client = await port.connect()
    client.send(codec.array([codec.bulk("SCAN"), codec.bulk("0")]))
    await eventually(lambda: shard.scanned)
    assert port.lookups.in_flight == 1
    client.writer.transport.abort()
    await eventually(lambda: port.lookups.in_flight == 0)


async def test_a_page_asks_no_more_of_the_shards_than_it_is_likely_to_need(start: Start, port: ServedPort) -> None:
    (shard,) = await start()
    shard.answer_keys = telling(KEYS)
    port.lookups.swap(await topology_of([shard], 1, keys=len(KEYS)))
    client = await port.connect()
    for count, partitions in ((1, 1), (10, 5), (100, 20), (1000, 150)):
        shard.scanned.clear()
        cursor, keys = await client("SCAN", 0, "COUNT", count)
        assert count <= len(keys) < 1.3 * count + 5
        assert int(cursor) == behind(position(keys[-1])) or int(cursor) % CELLS == 0
        assert len(shard.scanned) <= partitions
        assert max(wanted for _, wanted in shard.scanned) == count


async def test_long_patterns_and_many_of_them_are_refused_before_they_hold_anybody_up(
    start: Start, serve: Serve
) -> None:
    shard = (await start(a=value))[0]
    client = await (await serve(shard)).connect()
    long, refusal = b"*a" * 200_000, "ERR patterns of more than 1024 bytes"
    started = time.process_time()
    for asked in (
        ("SCAN", 0, "MATCH", long),
        ("KEYS", long),
        ("CONFIG", "GET", long),
        ("CONFIG", "GET", *120 * ["0123456789"]),
        ("COMMAND", "LIST", "FILTERBY", "PATTERN", long),
    ):
        assert told(await client(*asked)) == refusal
    assert time.process_time() - started < 1

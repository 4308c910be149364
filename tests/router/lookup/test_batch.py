"""Many keys at once: every value in its place, and no call fails while a copy of its keys can be reached."""

import asyncio
from dataclasses import replace

import pytest

import ringkv.router.lookup.batch
import ringkv.router.lookup.ledger
import ringkv.router.lookup.lookup
from ringkv.cluster.errors import ShardUnavailable, TooManyRequests
from ringkv.cluster.position import slot
from ringkv.resp import codec
from ringkv.router.lookup.batch import fetch
from ringkv.router.lookup.lookup import Lookups
from tests.support.batches import get_many, lookups_of, values_of
from tests.support.data import random_keys
from tests.support.fake_shard import (
    FakeShard,
    Start,
    close,
    corrupt,
    each,
    garbage,
    half_then_close,
    not_leased,
    nothing,
    silence,
    topology_of,
    value,
)
from tests.support.processes import eventually

KEYS = random_keys(300, seed=21)


def owned(lookups: Lookups, keys: list[bytes]) -> list[bytes]:
    """The value of each key as the first of its owners in the topology has it."""
    topology = lookups.topology
    assert topology is not None
    names = {link: name.encode() for name, link in topology.links.items()}
    return [b"%b of %b" % (key, names[topology.routes[slot(key) >> topology.shift][0]]) for key in keys]


async def test_values_come_in_the_order_asked_each_from_an_owner(start: Start) -> None:
    shards = await start(a=value, b=value, c=value)
    lookups = await lookups_of(shards)
    assert await get_many(lookups, KEYS) == owned(lookups, KEYS)
    assert sum(shard.batches != [] for shard in shards) == 3
    assert [sum(shard.batches) for shard in shards] == [len(shard.asked) for shard in shards]
    assert lookups.counters.batched == len(KEYS)
    assert lookups.counters.requests == 0
    assert lookups.in_flight == 0


async def test_a_key_may_stand_twice_and_may_not_be_there(start: Start) -> None:
    gone = set(KEYS[::3])
    shards = await start(a=lambda shard, key: codec.NULL if key in gone else value(shard, key))
    asked = [*KEYS, *reversed(KEYS), KEYS[0], KEYS[1], KEYS[1]]
    found = await get_many(await lookups_of(shards), asked)
    assert found == [None if key in gone else b"%b of a" % key for key in asked]


async def test_nothing_may_be_there(start: Start) -> None:
    assert await get_many(await lookups_of(await start(a=nothing)), KEYS) == [None] * len(KEYS)


async def test_a_shard_gets_many_keys_in_small_commands_one_after_the_other(start: Start) -> None:
    answered: list[int] = []
    waiting = asyncio.Event()

    def later(_shard: FakeShard, keys: list[bytes]) -> None:
        answered.append(len(keys))
        waiting.set()

    (shard,) = await start(a=value)
    shard.answer_batch = later
    keys = random_keys(1300, seed=22)
    asking = asyncio.create_task(get_many(await lookups_of([shard]), keys))
    for number, size in enumerate([512, 512, 276]):
        await waiting.wait()
        waiting.clear()
        await asyncio.sleep(0.01)
        assert answered[number:] == [size]
        shard.write(each(shard, keys[number * 512 :][:size]) or b"")
    assert await asking == values_of("a", keys)


async def test_copies_share_the_work(start: Start) -> None:
    shards = await start(a=value, b=value, c=value)
    await get_many(await lookups_of(shards, 3), KEYS)
    assert [shard.batches for shard in shards] != [[300], [], []]
    assert max(sum(shard.batches) for shard in shards) < 200


@pytest.mark.parametrize("fault", [close, half_then_close, not_leased, corrupt, silence, garbage])
@pytest.mark.usefixtures("no_deadline", "impatient")
async def test_with_two_owners_the_fault_of_one_fails_nothing(start: Start, fault: object) -> None:
    shards = await start(a=fault, b=value)
    lookups = await lookups_of(shards, 2)
    async with asyncio.timeout(20):
        assert await get_many(lookups, KEYS) == values_of("b", KEYS)
    assert shards[0].asked
    assert lookups.in_flight == 0


@pytest.mark.parametrize("fault", [close, half_then_close, not_leased, garbage, silence])
@pytest.mark.usefixtures("no_deadline", "impatient")
async def test_with_one_owner_keys_wait_for_the_next_topology(start: Start, fault: object) -> None:
    dying, heir = await start(a=fault, b=value)
    lookups = await lookups_of([dying])
    asking = asyncio.create_task(get_many(lookups, KEYS))
    async with asyncio.timeout(20):
        await eventually(lambda: lookups.in_flight == lookups.counters.requests == 4)
        assert not asking.done()
        lookups.swap(replace(await topology_of([heir], 1), epoch=2))
        dying.abort()
        assert await asking == values_of("b", KEYS)
    assert lookups.in_flight == 0


@pytest.mark.usefixtures("no_deadline")
async def test_keys_before_the_first_topology_wait_for_it(start: Start) -> None:
    shards = await start(a=value)
    lookups = Lookups()
    asking = asyncio.create_task(get_many(lookups, KEYS))
    await eventually(lambda: lookups.in_flight == 1)
    lookups.swap(await topology_of(shards, 1))
    async with asyncio.timeout(20):
        assert await asking == values_of("a", KEYS)


@pytest.mark.parametrize(
    "odd",
    [
        b"*1\r\n$1\r\nx\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"$1\r\nx\r\n",
        b"+OK\r\n",
        b":300\r\n",
        b"-TOOLARGE ask for fewer\r\n",
    ],
)
@pytest.mark.usefixtures("no_deadline")
async def test_what_is_no_answer_to_a_batch_is_asked_one_by_one(start: Start, odd: bytes) -> None:
    (shard,) = await start(a=value)
    shard.answer_batch = lambda _shard, _keys: odd
    lookups = await lookups_of([shard])
    async with asyncio.timeout(20):
        assert await get_many(lookups, KEYS) == values_of("a", KEYS)
    assert lookups.counters.requests == len(KEYS)


@pytest.mark.usefixtures("no_deadline", "impatient")
async def test_a_late_answer_is_dropped_and_those_behind_it_keep_their_order(start: Start) -> None:
    (shard,) = await start(a=silence)
    lookups = await lookups_of([shard])
    asking = asyncio.create_task(get_many(lookups, KEYS))
    await shard.arrived(len(KEYS) + 4)
    shard.answer = value
    shard.write(each(shard, KEYS) or b"")
    shard.write(b"".join(value(shard, key) for key in shard.asked[len(KEYS) :]))
    async with asyncio.timeout(20):
        assert await asking == values_of("a", KEYS)
        assert await get_many(lookups, KEYS) == values_of("a", KEYS)
    assert lookups.in_flight == 0


@pytest.mark.parametrize("way", ["answered", "lost"])
async def test_a_cancelled_call_leaves_nothing_behind(start: Start, caplog: pytest.LogCaptureFixture, way: str) -> None:
    (shard,) = await start(a=value)
    shard.answer_batch = lambda _shard, _keys: None
    lookups = await lookups_of([shard])
    calls = [asyncio.create_task(get_many(lookups, KEYS)) for _ in range(20)]
    await shard.arrived(4 * len(KEYS))
    assert lookups.in_flight == 20
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert lookups.in_flight == 0
    if way == "answered":
        shard.write((each(shard, KEYS) or b"") * 4)
        shard.answer_batch = each
        assert await get_many(lookups, KEYS) == values_of("a", KEYS)
    else:
        shard.abort()
        await eventually(lambda: not lookups.topology or not lookups.topology.links["a"].open)
    assert caplog.text == ""


@pytest.mark.usefixtures("impatient")
async def test_a_call_that_is_cancelled_while_it_looks_up_leaves_nothing_behind(start: Start) -> None:
    (shard,) = await start(a=silence)
    lookups = await lookups_of([shard])
    call = asyncio.create_task(get_many(lookups, KEYS))
    await shard.arrived(len(KEYS) + 4)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert lookups.in_flight == 0


@pytest.mark.parametrize("fault", [close, not_leased, corrupt, silence, garbage])
@pytest.mark.usefixtures("impatient", "short_deadline")
async def test_when_nobody_can_tell_that_is_said_and_never_missing(start: Start, fault: object) -> None:
    lookups = await lookups_of(await start(a=fault, b=fault), 2)
    with pytest.raises(ShardUnavailable):
        await get_many(lookups, KEYS)
    assert lookups.in_flight == 0


@pytest.mark.usefixtures("short_deadline")
async def test_without_any_shard_the_deadline_ends_it() -> None:
    lookups = Lookups()
    with pytest.raises(ShardUnavailable, match="no shard that owns this key could be reached"):
        await get_many(lookups, KEYS)
    assert lookups.in_flight == 0


async def test_more_calls_than_the_limit_are_refused_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.router.lookup.ledger, "MAX_IN_FLIGHT", 0)
    lookups = await lookups_of(await start(a=value))
    with pytest.raises(TooManyRequests, match="wait already"):
        await get_many(lookups, KEYS)
    assert lookups.counters.refused == 1


async def test_a_shard_has_few_batches_at_once_and_every_call_its_turn(start: Start) -> None:
    (shard,) = await start(a=value)
    waiting: list[list[bytes]] = []

    def later(_shard: FakeShard, keys: list[bytes]) -> None:
        waiting.append(keys)

    shard.answer_batch = later
    lookups = await lookups_of([shard])
    calls = [asyncio.create_task(get_many(lookups, KEYS[number:])) for number in range(50)]
    for _ in calls:
        await eventually(lambda: waiting)
        await asyncio.sleep(0)
        assert len(waiting) <= 4
        shard.write(each(shard, waiting.pop(0)) or b"")
    async with asyncio.timeout(20):
        assert await asyncio.gather(*calls) == [values_of("a", KEYS[number:]) for number in range(50)]


@pytest.mark.parametrize(("room", "count"), [(0, 4), (200, 8), (10_000, 244), (1 << 30, 300)])
async def test_large_values_come_a_few_at_a_time(start: Start, room: int, count: int) -> None:
    (shard,) = await start(a=value)
    shard.answer_batch = lambda _shard, _keys: codec.error("TOOLARGE", "ask for fewer keys at once")
    lookups = await lookups_of([shard])
    batch = await fetch(lookups, KEYS, room)
    assert batch.values == values_of("a", KEYS)[:count]


async def test_what_a_batch_has_brought_before_a_large_value_is_kept(start: Start) -> None:
    small, large = await start(a=value, b=value)
    large.answer_batch = lambda _shard, _keys: codec.error("TOOLARGE", "ask for fewer keys at once")
    lookups = await lookups_of([small, large])
    batch = await fetch(lookups, KEYS, 0)
    assert 4 <= len(batch.values) < len(KEYS)
    assert batch.values == owned(lookups, KEYS)[: len(batch.values)]
    assert len(large.asked) - sum(large.batches) == 4

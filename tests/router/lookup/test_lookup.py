"""A request never fails while a copy of its key can be reached before the deadline."""

import asyncio

import pytest

import ringkv.router.lookup.lookup
from ringkv.cluster.errors import ShardUnavailable, TooManyRequests
from ringkv.router.lookup.lookup import Lookups
from tests.support.batches import lookups_of
from tests.support.data import random_keys
from tests.support.fake_shard import (
    Answer,
    Start,
    close,
    corrupt,
    garbage,
    half_then_close,
    not_leased,
    nothing,
    silence,
    topology_of,
    value,
)
from tests.support.processes import eventually

KEYS = random_keys(60, seed=12)
ONE_OF_TWO = [close, half_then_close, not_leased, silence, garbage]


def values_of(names: str, key: bytes) -> set[bytes]:
    return {b"%b of %b" % (key, name.encode()) for name in names}


@pytest.mark.parametrize("fault", ONE_OF_TWO)
@pytest.mark.usefixtures("no_deadline")
async def test_with_two_owners_the_fault_of_one_fails_no_request(start: Start, fault: object) -> None:
    shards = await start(a=fault, b=value)
    lookups = await lookups_of(shards, 2)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*map(lookups.get, KEYS))
    assert found == [b"%b of b" % key for key in KEYS]
    assert shards[0].asked
    assert lookups.in_flight == 0


@pytest.mark.parametrize("fault", [close, half_then_close, not_leased, garbage])
@pytest.mark.usefixtures("no_deadline")
async def test_with_one_owner_requests_wait_for_the_next_topology(start: Start, fault: object) -> None:
    dying, heir = await start(a=fault, b=value)
    lookups = await lookups_of([dying], 1)
    asking = [asyncio.create_task(lookups.get(key)) for key in KEYS]
    await dying.arrived(1)
    async with asyncio.timeout(20):
        await eventually(lambda: lookups.counters.waited >= len(KEYS))
        assert not any(task.done() for task in asking)
        lookups.swap(await topology_of([heir], 1, epoch=2))
        assert await asyncio.gather(*asking) == [b"%b of b" % key for key in KEYS]
    assert lookups.in_flight == 0


@pytest.mark.usefixtures("no_deadline")
async def test_requests_before_the_first_topology_wait_for_it(start: Start) -> None:
    shards = await start(a=value)
    lookups = Lookups()
    asking = [asyncio.create_task(lookups.get(key)) for key in KEYS]
    await asyncio.sleep(0)
    lookups.swap(await topology_of(shards, 1))
    async with asyncio.timeout(20):
        assert await asyncio.gather(*asking) == [b"%b of a" % key for key in KEYS]


@pytest.mark.usefixtures("no_deadline")
async def test_a_silent_owner_is_hedged_within_the_budget(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringkv.router.lookup.hedging.HEDGE_BURST", 20)
    silent, quick = await start(a=silence, b=silence)
    lookups = await lookups_of([silent, quick], 2)
    asking = [asyncio.create_task(lookups.get(key)) for key in KEYS]
    allowed = 20 + len(KEYS) // 10
    await eventually(lambda: len(silent.asked) + len(quick.asked) >= len(KEYS) + 20)
    await asyncio.sleep(0.2)  # all of them are past the hedge delay, the bucket is empty
    assert 20 <= lookups.counters.hedged <= allowed
    assert len(silent.asked) + len(quick.asked) == len(KEYS) + lookups.counters.hedged
    silent.abort()
    quick.abort()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert lookups.in_flight == 0


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("fault", [close, not_leased, silence, garbage])
async def test_when_nothing_is_left_the_deadline_says_unavailable_and_never_missing(
    start: Start, fault: object, replicas: int, short_deadline: float
) -> None:
    shards = await start(a=fault, b=fault)
    lookups = await lookups_of(shards, replicas)
    before = asyncio.get_running_loop().time()
    async with asyncio.timeout(20):
        found = await asyncio.gather(*map(lookups.get, KEYS), return_exceptions=True)
    assert {type(reply) for reply in found} == {ShardUnavailable}
    assert asyncio.get_running_loop().time() - before >= short_deadline
    assert lookups.counters.unavailable == len(KEYS)
    assert lookups.in_flight == 0


async def test_what_has_arrived_while_the_router_stood_still_is_no_late_answer(start: Start) -> None:
    (shard,) = await start(a=silence)
    topology = await topology_of([shard], 1)
    transport = topology.links["a"]._transport  # noqa: SLF001 - it reads when a router that stood still would
    call_soon = asyncio.get_running_loop().call_soon
    now = 100.0

    def clock() -> float:
        if now > 100:
            call_soon(transport.resume_reading)  # behind this tick
        return now

    lookups = Lookups(clock=clock)
    lookups.swap(topology)
    asking = asyncio.create_task(lookups.get(KEYS[0]))
    await shard.arrived(1)
    transport.pause_reading()
    shard.write(value(shard, KEYS[0]))
    now += 60
    assert await asking in values_of("a", KEYS[0])


async def test_the_reason_of_the_last_owner_is_passed_on(start: Start, short_deadline: float) -> None:
    assert short_deadline
    lookups = await lookups_of(await start(a=not_leased), 1)
    outcome = await lookups.get(KEYS[0])
    assert isinstance(outcome, ShardUnavailable)
    assert "partition 7 is not leased here" in str(outcome)


async def test_a_damaged_copy_and_a_lost_one_wait_for_the_next_topology(start: Start) -> None:
    damaged, dying, healthy = await start(a=corrupt, b=silence, c=value)
    lookups = await lookups_of([damaged, dying], 2)
    asking = asyncio.create_task(lookups.get(KEYS[0]))
    await dying.arrived(1)
    await damaged.arrived(1)
    dying.abort()
    await eventually(lambda: lookups.counters.waited == 1)
    lookups.swap(await topology_of([healthy], 1))
    assert await asking == b"%b of c" % KEYS[0]


@pytest.mark.usefixtures("no_deadline")
async def test_a_damaged_partition_is_told_at_once_when_no_other_owner_has_it(start: Start) -> None:
    lookups = await lookups_of(await start(a=corrupt, b=corrupt), 2)
    async with asyncio.timeout(20):
        outcome = await lookups.get(KEYS[0])
    assert isinstance(outcome, ShardUnavailable)
    assert "partition 7 is damaged" in str(outcome)


@pytest.mark.usefixtures("no_deadline")
async def test_a_damaged_partition_is_read_from_the_other_owner(start: Start) -> None:
    lookups = await lookups_of(await start(a=corrupt, b=value), 2)
    async with asyncio.timeout(20):
        assert await asyncio.gather(*map(lookups.get, KEYS)) == [b"%b of b" % key for key in KEYS]


@pytest.mark.usefixtures("no_deadline")
async def test_only_an_owner_says_that_a_key_is_missing(start: Start) -> None:
    lookups = await lookups_of(await start(a=not_leased, b=nothing), 2)
    async with asyncio.timeout(20):
        assert await asyncio.gather(*map(lookups.get, KEYS)) == [None] * len(KEYS)


@pytest.mark.usefixtures("no_deadline")
async def test_a_late_reply_after_a_hedge_is_not_given_twice(start: Start) -> None:
    late, quick = await start(a=silence, b=silence)
    lookups = await lookups_of([late, quick], 2)
    replies: list[object] = []
    lookups.start(KEYS[0], replies.append)
    await asyncio.gather(late.arrived(1), quick.arrived(1))
    for shard in (late, quick):
        shard.write(value(shard, KEYS[0]))
    links = lookups.topology.links if lookups.topology else {}
    await eventually(lambda: not any(link.in_flight for link in links.values()))
    assert len(replies) == 1
    assert replies[0] in values_of("ab", KEYS[0])


@pytest.mark.usefixtures("no_deadline")
@pytest.mark.parametrize("refusal", [not_leased, corrupt])
async def test_an_owner_that_refuses_what_another_has_answered_keeps_its_link(start: Start, refusal: Answer) -> None:
    late, quick = await start(a=silence, b=silence)
    lookups = await lookups_of([late, quick], 2)
    asking = asyncio.create_task(lookups.get(KEYS[0]))
    await asyncio.gather(late.arrived(1), quick.arrived(1))
    quick.write(value(quick, KEYS[0]))
    assert await asking == b"%b of b" % KEYS[0]
    late.write(refusal(late, KEYS[0]) or b"")
    link = late.links[0]
    await eventually(lambda: not link.in_flight)
    assert await link.call("HEARTBEAT")


@pytest.mark.usefixtures("no_deadline")
async def test_a_callback_that_raises_does_not_disturb_the_ones_behind_it(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    for way in ("answered", "lost"):
        first, second = await start(**{f"{way}1": silence, f"{way}2": value})
        lookups = await lookups_of([first], 1)
        replies: list[object] = []

        def fail(_reply: object) -> None:
            raise RuntimeError("the client has gone")

        for key in KEYS[:10]:
            lookups.start(key, fail)
            lookups.start(key, replies.append)
        await first.arrived(20)
        if way == "answered":
            first.write(b"".join(value(first, key) for key in first.asked))
        else:
            first.abort()
            lookups.swap(await topology_of([second], 1, epoch=2))
        await eventually(lambda: len(replies) == 10)  # noqa: B023 - awaited within its turn
        assert "could not be delivered" in caplog.text
        assert lookups.in_flight == 0


async def test_more_requests_than_the_limit_are_refused_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.router.lookup.lookup, "MAX_IN_FLIGHT", 5)
    lookups = await lookups_of(await start(a=silence), 1)
    asking = [asyncio.create_task(lookups.get(key)) for key in KEYS[:5]]
    await asyncio.sleep(0)
    assert isinstance(await lookups.get(KEYS[5]), TooManyRequests)
    assert lookups.counters.refused == 1
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert lookups.in_flight == 0


@pytest.mark.usefixtures("no_deadline")
async def test_the_owner_with_the_fewest_requests_in_flight_is_asked(start: Start) -> None:
    slow, quick = await start(a=silence, b=value)
    lookups = await lookups_of([slow, quick], 2)
    async with asyncio.timeout(20):
        for key in KEYS:
            assert await lookups.get(key) == b"%b of b" % key
    # One at a time: as soon as one request hangs there, the other owner looks better.
    assert len(slow.asked) <= 1


@pytest.mark.usefixtures("no_deadline")
async def test_a_swap_lets_the_old_links_finish_and_close(start: Start) -> None:
    old, new = await start(a=silence, b=value)
    lookups = await lookups_of([old], 1)
    before = lookups.topology
    assert before is not None
    asking = asyncio.create_task(lookups.get(KEYS[0]))
    await old.arrived(1)
    lookups.swap(await topology_of([new], 1, epoch=2))
    before.retire()
    assert await lookups.get(KEYS[1]) == b"%b of b" % KEYS[1]
    assert all(link.open for link in before.links.values())
    old.write(value(old, KEYS[0]))
    async with asyncio.timeout(20):
        assert await asking == b"%b of a" % KEYS[0]
        await before.links["a"].closed

"""The gate of a router that nobody has asked for anything: it tries keys of what is served, by itself or by others."""

import asyncio
from contextlib import AsyncExitStack

import pytest

import ringkv.router.members.gate
from ringkv.cluster.position import position
from tests.support.fake_shard import FakeShard, KeysAnswer, Start, corrupt, not_leased, nothing
from tests.support.processes import eventually
from tests.support.routed import KEYS, A, B, C, Route, Routed, holding
from tests.support.scanned import telling

TOLD = telling(sorted(KEYS, key=position))


def tell_keys(routed: Routed, answer: KeysAnswer = TOLD) -> None:
    for shard in routed.shards:
        shard.answer_keys = answer


@pytest.fixture
async def started(start: Start) -> list[FakeShard]:
    """Shards that offer B and A, of which B has no key."""
    shards = await start(x=nothing, y=nothing)
    for shard in shards:
        shard.answer_keys = TOLD
    return shards


async def begin(shards: list[FakeShard], stack: AsyncExitStack) -> Routed:
    """A router that starts now."""
    routed = Routed(shards, offered=(B, A))
    for shard in shards:
        shard.of[B.dataset_id] = nothing

    async def end() -> None:
        routed.running.cancel()
        await asyncio.gather(routed.running, return_exceptions=True)

    stack.push_async_callback(end)
    return routed


async def test_keys_are_drawn_where_too_few_were_asked_for(route: Route, caplog: pytest.LogCaptureFixture) -> None:
    routed = await route()
    tell_keys(routed)
    for shard in routed.shards:
        shard.of[B.dataset_id] = holding(b"b", KEYS[:50])
    for key in KEYS[:10]:
        routed.lookups.sample.take(key)
    routed.offer(B, A)
    await eventually(lambda: routed.controller.versions.refused)
    assert "keys of what is served are not in it, more than 10 %" in caplog.text
    assert routed.controller.versions.version == A
    routed.offer(C, B)
    await routed.serves(C)


async def test_what_no_shard_tells_is_not_drawn(route: Route) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[B.dataset_id] = nothing
    routed.offer(B, A)
    await routed.serves(B)


async def test_a_shard_that_says_nothing_when_keys_are_drawn_holds_up_nobody(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.members.gate, "GATE_PATIENCE", 0.05)
    routed = await route()
    tell_keys(routed, lambda *_: None)
    for shard in routed.shards:
        shard.of[B.dataset_id] = nothing
    routed.offer(B, A)
    await routed.serves(B)


async def test_what_one_owner_does_not_tell_is_drawn_from_another_one(route: Route) -> None:
    routed = await route(replicas=2)
    routed.shards[1].answer_keys = TOLD
    for shard in routed.shards:
        shard.of[B.dataset_id] = nothing
    routed.offer(B, A)
    await eventually(lambda: routed.controller.versions.refused)


async def test_keys_that_cannot_be_read_as_their_blocks_are_damaged_are_gone(route: Route) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[B.dataset_id] = corrupt
    await routed.ask()
    routed.offer(B, A)
    await eventually(lambda: routed.controller.versions.refused)
    assert routed.controller.versions.version == A


async def test_keys_that_cannot_be_fetched_for_a_moment_are_not_gone(
    route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[B.dataset_id] = not_leased  # as a shard says whose store does not answer
    await routed.ask()
    routed.offer(B, A)
    await eventually(lambda: routed.controller.versions.refused or "no shard has told" in caplog.text)
    assert routed.controller.versions.refused == {}
    assert routed.controller.versions.version == A
    for shard in routed.shards:
        shard.of[B.dataset_id] = holding(b"b", KEYS)
    await routed.serves(B)


async def test_a_router_that_starts_begins_with_what_others_serve_and_refuses_what_they_have(
    started: list[FakeShard],
) -> None:
    for shard in started:
        shard.served = A.dataset_id
    async with AsyncExitStack() as stack:
        routed = await begin(started, stack)
        await eventually(lambda: routed.controller.versions.refused)
        assert routed.controller.versions.version == A
        assert await routed.lookups.find(KEYS[0]) == (b"%b of a" % KEYS[0], A.dataset_id)
        await eventually(lambda: all(shard.heard == (A.dataset_id.encode(),) for shard in started))


async def test_a_router_that_starts_serves_the_newest_where_none_is_served(started: list[FakeShard]) -> None:
    async with AsyncExitStack() as stack:
        routed = await begin(started, stack)
        await routed.serves(B)
        assert routed.lookups.counters.swapped == 0

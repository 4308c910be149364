"""A swap to another version waits for its shards to read ahead, but not for long."""

from dataclasses import replace

import pytest

import ringkv.router.members.warmth
from ringkv.cluster.lease import LeaseRequest
from tests.support.fake_shard import FakeShard, leased
from tests.support.processes import eventually
from tests.support.routed import A, B, Route, Routed


def leased_cold(shard: FakeShard, request: LeaseRequest) -> bytes:
    """From now on heartbeats are of what was leased, of which nothing is checked yet."""
    shard.heartbeat = replace(shard.heartbeat, checked=0)
    return leased(shard, request)


def offer_cold(routed: Routed) -> None:
    for shard in routed.shards:
        shard.answer_lease = leased_cold
    routed.offer(B, A)


async def heartbeats(routed: Routed) -> None:
    """Wait until each shard has answered a few more."""
    pulses = [member.pulse for member in routed.controller.members.values()]
    wanted = [pulse.answered + 3 for pulse in pulses]
    await eventually(lambda: all(pulse.answered >= count for pulse, count in zip(pulses, wanted, strict=True)))


async def test_a_swap_waits_until_all_shards_have_checked_what_they_have_leased(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.members.warmth, "WARM_PATIENCE", 60.0)
    routed = await route()
    offer_cold(routed)
    await eventually(lambda: all(B.dataset_id in shard.held for shard in routed.shards))
    for shard in routed.shards:
        await heartbeats(routed)
        assert routed.controller.versions.version == A
        shard.heartbeat = replace(shard.heartbeat, checked=96)
    await routed.serves(B)


async def test_a_swap_does_not_wait_for_shards_that_read_nothing_ahead(route: Route) -> None:
    routed = await route()
    offer_cold(routed)
    await routed.serves(B)
    assert all(not shard.heartbeat.checked for shard in routed.shards)

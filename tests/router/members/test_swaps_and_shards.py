"""Shards that are lost, leave, join, or run ahead in the middle of a swap: nothing fails, nobody is left out for it."""

import asyncio
from dataclasses import replace

import pytest

import ringkv.router.members.arrivals
import ringkv.router.members.leasing
from ringkv.cluster.lease import WRONG_DATASET, LeaseRequest
from ringkv.resp import codec
from ringkv.router.members.events import Kind
from tests.support.fake_shard import FakeShard, leased
from tests.support.processes import eventually
from tests.support.routed import KEYS, A, B, C, Route, holding


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_shard_that_is_lost_in_the_middle_of_a_swap_is_left_out_of_it(route: Route, replicas: int) -> None:
    routed = await route("xyz", replicas)
    first, second, dying = routed.shards
    dying.answer_lease = lambda _shard, _request: None
    routed.offer(B, A)
    versions = routed.controller.versions
    await eventually(lambda: versions.coming and versions.coming.waiting_for == {"z": "has not leased it yet"})
    assert versions.version == A
    assert any(request.dataset_id == B.dataset_id for request in dying.leases)
    await dying.end()
    await routed.serves(B)
    assert routed.lookups.topology is not None
    assert routed.lookups.topology.links.keys() == {"x", "y"}
    for key in KEYS:
        assert await routed.lookups.find(key) == (b"%b of b" % key, B.dataset_id)
    # What they had leased together with the third one is given back.
    await eventually(lambda: [shard.held.count(B.dataset_id) for shard in (first, second)] == [1, 1])


async def test_a_shard_that_offers_something_else_when_it_is_asked_is_asked_what(
    route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    """It has gone over to newer versions between its heartbeat and the lease: no reason to keep it out."""
    routed = await route()
    first, second = routed.shards
    gone: list[LeaseRequest] = []

    def late(shard: FakeShard, request: LeaseRequest) -> bytes:
        gone.append(request)
        shard.answer_lease = lambda _shard, _request: codec.simple("OK 1 100")
        routed.offer(C, B)
        return codec.error(WRONG_DATASET, "y offers other datasets")

    second.answer_lease = late
    routed.offer(B, A)
    await routed.serves(C)
    assert len(gone) == 1
    assert routed.lookups.topology is not None
    assert routed.lookups.topology.links.keys() == {"x", "y"}
    assert routed.told(Kind.REFUSAL) == []
    assert C.dataset_id in first.held
    assert "WARNING" not in {record.levelname for record in caplog.records}


async def test_a_shard_that_leaves_after_a_swap_does_not_wait_for_what_is_kept(route: Route) -> None:
    routed = await route()
    staying, leaving = routed.shards
    routed.offer(B, A)
    await routed.serves(B)
    leaving.heartbeat = replace(leaving.heartbeat, draining=True)
    await eventually(lambda: leaving.held == [])
    assert A.dataset_id in staying.held
    for key in KEYS:
        assert await routed.lookups.find(key) == (b"%b of b" % key, B.dataset_id)


async def test_shards_that_are_ahead_serve_on_until_the_others_follow(route: Route) -> None:
    """They offer the served version no more, and cannot lease it anew; nobody is left out for that."""
    routed = await route("xyz")
    ahead, *others = routed.shards
    topology = routed.lookups.topology
    ahead.offer(replace(C, serial=9), replace(B, serial=8))
    await eventually(lambda: routed.controller.versions.coming)
    for key in KEYS:
        assert await routed.lookups.find(key) == (b"%b of a" % key, A.dataset_id)
    assert routed.lookups.topology is topology
    assert routed.controller.kept_out == {}
    for shard in others:
        shard.offer(replace(B, serial=8), A)
    await routed.serves(replace(B, serial=8))
    assert routed.lookups.topology is not None
    assert len(routed.lookups.topology.links) == 3


async def test_a_shard_that_joins_leaves_nobody_out_who_is_ahead(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    """The served version could be leased anew on the others alone, which would get all that the one ahead has."""
    monkeypatch.setattr(ringkv.router.members.arrivals, "JOIN_SETTLE", 0.05)
    routed = await route("xyz")
    ahead, behind, joining = routed.shards
    lookups = routed.lookups
    joining.heartbeat = replace(joining.heartbeat, draining=True)
    await eventually(lambda: lookups.topology and lookups.topology.links.keys() == {"x", "y"})
    topology = lookups.topology
    later = replace(B, serial=8)
    ahead.offer(replace(C, serial=9), later)
    await eventually(lambda: routed.controller.versions.coming)
    joining.heartbeat = replace(joining.heartbeat, draining=False)
    (member,) = [member for member in routed.controller.members.values() if member.name == "z"]
    await eventually(lambda: not member.draining)
    await asyncio.sleep(0.3)  # several times as long as a join waits for others
    assert lookups.topology is topology
    for shard in (behind, joining):
        shard.offer(later, A)
    await routed.serves(later)
    # One of the two may have been asked first what it offers: the other one joins then.
    await eventually(lambda: lookups.topology and lookups.topology.links.keys() == {"x", "y", "z"})


async def test_when_what_is_served_cannot_be_leased_anew_the_others_go_on_with_what_they_offer(route: Route) -> None:
    routed = await route("xyz")
    first, second, dying = routed.shards
    later, latest = replace(B, serial=8), replace(C, serial=9)
    for shard in (first, second):
        shard.offer(latest, later)
    dying.offer(A)
    await eventually(lambda: routed.controller.versions.coming)
    for key in KEYS:
        assert await routed.lookups.find(key) == (b"%b of a" % key, A.dataset_id)
    await dying.end()
    await routed.serves(latest)
    assert routed.lookups.topology is not None
    assert routed.lookups.topology.links.keys() == {"x", "y"}
    for key in KEYS:
        assert await routed.lookups.find(key) == (b"%b of c" % key, C.dataset_id)


async def test_when_those_that_are_left_have_nothing_in_common_the_newest_is_served(route: Route) -> None:
    routed = await route("xyz")
    first, second, dying = routed.shards
    later, latest = replace(B, serial=8), replace(C, serial=9)
    first.offer(latest)
    second.offer(later)
    members = routed.controller.members.values()
    await eventually(
        lambda: {member.identity.versions for member in members if member.identity} == {(latest,), (later,), (A,)}
    )
    await dying.end()
    await routed.serves(latest)
    for key in KEYS:
        assert await routed.lookups.find(key) == (b"%b of c" % key, C.dataset_id)


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_shard_that_is_lost_while_the_gate_waits_takes_nothing_of_what_is_served(
    route: Route, *, leaves: bool
) -> None:
    """It is leased anew first: the gate may wait for disks, for as long as a request may wait for an owner."""
    routed = await route("xyz")
    *others, dying = routed.shards
    await routed.ask()
    for shard in routed.shards:
        shard.of[B.dataset_id] = lambda _shard, _key: None
    routed.offer(B, A)
    await eventually(lambda: all(B.dataset_id in shard.held for shard in routed.shards))
    if leaves:  # then it has no part in the next version, and serves on until that has taken over
        dying.heartbeat = replace(dying.heartbeat, draining=True)
        await eventually(lambda: B.dataset_id not in dying.held)
        await eventually(lambda: all(B.dataset_id in shard.held for shard in others))
    await dying.end()
    found = await asyncio.gather(*map(routed.lookups.find, KEYS))
    assert found == [(b"%b of a" % key, A.dataset_id) for key in KEYS]
    for shard in others:
        shard.of[B.dataset_id] = holding(b"b", KEYS)
    await routed.serves(B)


async def test_a_version_that_is_rolled_back_before_it_serves_never_does(route: Route) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.heartbeat = replace(shard.heartbeat, checked=0)  # the swap waits for what they read ahead
    epoch = routed.lookups.topology.epoch if routed.lookups.topology else 0
    routed.offer(B, A)
    await eventually(lambda: all(B.dataset_id in shard.held for shard in routed.shards))
    back = replace(A, serial=9)
    routed.offer(back, B)
    await routed.serves(back)
    await eventually(lambda: all(shard.held == [A.dataset_id] for shard in routed.shards))
    assert routed.lookups.topology is not None
    assert routed.lookups.topology.epoch == epoch
    assert routed.lookups.counters.swapped == 0


async def test_a_shard_that_answers_no_lease_does_not_keep_others_from_taking_over(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeats are answered all the same, as those of a shard are whose disk hangs."""
    routed = await route("xyz")
    hanging, _, dying = routed.shards
    hanging.answer_lease = lambda _shard, _request: None
    monkeypatch.setattr(ringkv.router.members.leasing, "LEASE_PATIENCE", 0.2)
    await dying.end()
    found = await asyncio.gather(*(routed.lookups.find(key) for key in KEYS))
    assert found == [(b"%b of a" % key, A.dataset_id) for key in KEYS]
    assert routed.lookups.topology is not None
    assert routed.lookups.topology.links.keys() == {"y"}
    problem = f"x at {hanging.address} gave no lease: no answer in time"
    assert routed.told(Kind.REFUSAL) == [problem]
    hanging.answer_lease = leased
    await eventually(lambda: routed.lookups.topology and routed.lookups.topology.links.keys() == {"x", "y"})

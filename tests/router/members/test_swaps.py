"""From one version to the next: leased beside the one that is served, tried at the gate, swapped, and then kept."""

import asyncio
from dataclasses import replace

import pytest

import ringkv.router.lookup.kept
import ringkv.router.members.controller
import ringkv.router.members.versions
from ringkv.cluster.lease import WRONG_RING, LeaseRequest
from ringkv.resp import codec
from ringkv.router.members.events import Kind
from tests.support.fake_shard import FakeShard, leased, nothing
from tests.support.processes import eventually
from tests.support.routed import KEYS, A, B, C, Route, holding


async def test_a_version_that_all_shards_offer_takes_over_and_the_one_before_is_kept(route: Route) -> None:
    routed = await route()
    lookups = routed.lookups
    assert await lookups.find(KEYS[0]) == (b"%b of a" % KEYS[0], A.dataset_id)
    routed.offer(B, A)
    await routed.serves(B)
    assert await lookups.find(KEYS[0]) == (b"%b of b" % KEYS[0], B.dataset_id)
    assert await lookups.find(KEYS[0], A.dataset_id) == (b"%b of a" % KEYS[0], A.dataset_id)
    assert [topology.dataset_id for topology, _ in lookups.kept] == [A.dataset_id]
    assert all(sorted(shard.held) == [A.dataset_id, B.dataset_id] for shard in routed.shards)
    assert lookups.counters.swapped == 1
    assert routed.told() == [
        f"version 5 (dataset {A.dataset_id[:12]}) by user5 at {A.at} is served",
        f"version 6 (dataset {B.dataset_id[:12]}) was published by user6 at {B.at}",
        f"version 6 (dataset {B.dataset_id[:12]}) by user6 at {B.at} is served",
    ]


async def test_what_is_kept_is_given_back_after_a_while(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.router.lookup.kept, "KEEP_SECONDS", 0.2)
    routed = await route()
    routed.offer(B, A)
    await routed.serves(B)
    await eventually(lambda: all(shard.held == [B.dataset_id] for shard in routed.shards))
    assert list(routed.lookups.kept) == []
    assert routed.lookups.holding(A.dataset_id) is None


async def test_few_datasets_are_kept_and_none_twice(route: Route) -> None:
    routed = await route()
    for serial, version in enumerate([B, C, B, A, B], 10):
        swapped = replace(version, serial=serial)
        routed.offer(swapped)
        await routed.serves(swapped)
    kept = [topology.dataset_id for topology, _ in routed.lookups.kept]
    assert kept == [C.dataset_id, A.dataset_id]
    await eventually(lambda: all(sorted(shard.held) == sorted([*kept, B.dataset_id]) for shard in routed.shards))


async def test_a_shard_that_lags_is_named_and_the_old_version_serves_on(
    route: Route, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ringkv.router.members.versions, "LAG_TOLD", 0.5)
    routed = await route()
    quick, slow = routed.shards
    quick.offer(B, A)
    await eventually(lambda: routed.controller.versions.coming)
    coming = routed.controller.versions.coming
    assert coming is not None
    assert (coming.version, coming.waiting_for, coming.refused) == (B, {"y": "offers version 5 yet"}, None)
    await eventually(lambda: "version 6 is held up: y offers version 5 yet" in caplog.text)
    assert routed.controller.versions.version == A
    assert routed.told()[-1].endswith("is held up: y offers version 5 yet")
    slow.offer(B, A)
    await routed.serves(B)
    assert routed.controller.versions.coming is None
    assert "version 6 is served after " in caplog.text
    assert caplog.text.count("held up") == 1


async def test_a_version_that_lacks_too_many_keys_is_refused(route: Route, caplog: pytest.LogCaptureFixture) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[B.dataset_id] = holding(b"b", KEYS[:89])
    await routed.ask()
    routed.offer(B, A)
    await eventually(lambda: routed.controller.versions.refused)
    reason = "11 of 100 keys that were asked for lately are not in it, more than 10 %"
    assert reason in caplog.text
    assert routed.controller.versions.version == A
    assert await routed.lookups.find(KEYS[0]) == (b"%b of a" % KEYS[0], A.dataset_id)
    await eventually(lambda: all(shard.held == [A.dataset_id] for shard in routed.shards))
    assert routed.lookups.counters.gated == 1
    await eventually(lambda: (now := routed.controller.versions.coming) and now.refused)
    # The next one is right again.
    routed.offer(C, B)
    await routed.serves(C)
    assert routed.controller.versions.refused == {}
    assert reason in routed.told()[2]


async def test_a_version_that_lacks_few_keys_passes_the_gate(route: Route) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[B.dataset_id] = holding(b"b", KEYS[:90])
    await routed.ask()
    routed.offer(B, A)
    await routed.serves(B)


async def test_a_version_that_is_forced_passes_the_gate_and_that_is_said(
    route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[B.dataset_id] = nothing
    await routed.ask()
    forced = replace(B, forced=True)
    routed.offer(forced, A)
    await routed.serves(forced)
    assert "version 6 is forced by user6: 100 of 100 keys" in caplog.text


async def test_of_too_few_keys_the_gate_tells_nothing(route: Route) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[A.dataset_id] = holding(b"a", KEYS[:19])
        shard.of[B.dataset_id] = nothing
    await routed.ask()
    routed.offer(B, A)
    await routed.serves(B)


async def test_a_version_that_no_shard_leases_is_asked_for_less_and_less_often(
    route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left out, as there is no other; and the events are not full of it."""
    routed = await route()
    clock = asyncio.get_running_loop().time
    asked: list[float] = []

    def refuse(shard: FakeShard, request: LeaseRequest) -> bytes | None:
        if request.dataset_id == A.dataset_id:
            return leased(shard, request)
        asked.append(clock())
        return codec.error(WRONG_RING, "versions differ")

    for shard in routed.shards:
        shard.answer_lease = refuse
    routed.offer(B, A)
    await eventually(lambda: asked and asked[-1] - asked[0] > 2)
    assert len(asked) < 30
    assert await routed.lookups.find(KEYS[0]) == (b"%b of a" % KEYS[0], A.dataset_id)
    assert len(set(routed.told(Kind.REFUSAL))) == len(routed.told(Kind.REFUSAL)) > 0
    assert "no new topology: shard x at " in caplog.text
    for shard in routed.shards:
        shard.answer_lease = leased
    await routed.serves(B)


async def test_a_rollback_after_a_refusal_leases_nothing_anew(route: Route) -> None:
    routed = await route()
    for shard in routed.shards:
        shard.of[B.dataset_id] = nothing
    await routed.ask()
    routed.offer(B, A)
    await eventually(lambda: routed.controller.versions.refused)
    epoch = routed.lookups.topology.epoch if routed.lookups.topology else 0
    back = replace(A, serial=7)
    routed.offer(back, B)
    await routed.serves(back)
    assert routed.lookups.topology is not None
    assert routed.lookups.topology.epoch == epoch
    assert routed.lookups.counters.swapped == 0
    assert routed.told()[-1].startswith("version 7 ")


async def test_every_owner_of_a_key_that_was_asked_for_has_read_it_before_the_swap(route: Route) -> None:
    routed = await route(replicas=2)
    await routed.ask()
    read: dict[str, set[bytes]] = {shard.name: set() for shard in routed.shards}

    def reading(shard: FakeShard, key: bytes) -> bytes:
        if routed.controller.versions.version == A:
            read[shard.name].add(key)
        return codec.bulk(b"there")

    for shard in routed.shards:
        shard.of[B.dataset_id] = reading
    routed.offer(B, A)
    await routed.serves(B)
    assert read == {"x": set(KEYS), "y": set(KEYS)}


async def test_when_the_router_ends_every_lease_is_given_back(route: Route) -> None:
    routed = await route()
    routed.offer(B, A)
    await routed.serves(B)
    routed.running.cancel()
    await asyncio.gather(routed.running, return_exceptions=True)
    await eventually(lambda: all(shard.held == [] for shard in routed.shards))

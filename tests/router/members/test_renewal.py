"""What is kept of the version before outlives its shards: the others lease what those held of it."""

import asyncio
from dataclasses import replace

import pytest

import ringkv.router.lookup.lookup
from ringkv.cluster.errors import ShardUnavailable
from ringkv.cluster.lease import WRONG_DATASET, LeaseRequest
from ringkv.resp import codec
from ringkv.router.lookup.batch import fetch
from tests.support.fake_shard import FakeShard, leased
from tests.support.processes import eventually
from tests.support.routed import KEYS, A, B, Route, Routed


async def swapped(route: Route, replicas: int) -> Routed:
    """A router of three shards that has gone over from A to B."""
    routed = await route("xyz", replicas)
    routed.offer(B, A)
    await routed.serves(B)
    return routed


async def ask(routed: Routed) -> None:
    """Ask for all keys of A, one by one and together."""
    lookups = routed.lookups
    found, batch = await asyncio.gather(
        asyncio.gather(*[lookups.find(key, A.dataset_id) for key in KEYS]),
        fetch(lookups, KEYS, dataset_id=A.dataset_id),
    )
    assert found == [(b"%b of a" % key, A.dataset_id) for key in KEYS]
    assert batch.values == [b"%b of a" % key for key in KEYS]


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_shard_that_is_lost_after_a_swap_takes_nothing_of_the_version_before(
    route: Route, replicas: int
) -> None:
    routed = await swapped(route, replicas)
    *others, dying = routed.shards
    until = [left for _, left in routed.lookups.kept]
    await dying.end()
    await ask(routed)
    await eventually(lambda: [topology.links.keys() for topology, _ in routed.lookups.kept] == [{"x", "y"}])
    await eventually(lambda: all(sorted(shard.held) == [A.dataset_id, B.dataset_id] for shard in others))
    assert [left for _, left in routed.lookups.kept] <= until, "it is kept no longer than before"


async def test_a_shard_that_leaves_after_a_swap_gives_what_is_kept_to_the_others(route: Route) -> None:
    routed = await swapped(route, 1)
    *others, leaving = routed.shards
    leaving.heartbeat = replace(leaving.heartbeat, draining=True)
    await eventually(lambda: leaving.held == [])
    await ask(routed)
    assert all(A.dataset_id in shard.held for shard in others)


async def test_what_is_not_leased_anew_is_not_asked_for_again_and_again(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.lookup.lookup, "DEADLINE", 1.0)
    routed = await swapped(route, 1)
    *others, dying = routed.shards
    refused: list[str] = []

    def refuse(shard: FakeShard, request: LeaseRequest) -> bytes | None:
        if request.dataset_id != A.dataset_id:
            return leased(shard, request)
        refused.append(shard.name)
        return codec.error(WRONG_DATASET, "it is gone")

    for shard in others:
        shard.answer_lease = refuse
    await dying.end()
    answers = await asyncio.gather(*[routed.lookups.find(key, A.dataset_id) for key in KEYS])
    assert any(isinstance(reply, ShardUnavailable) for reply, _ in answers)
    assert 1 <= len(refused) <= 2
    assert await routed.lookups.find(KEYS[0]) == (b"%b of b" % KEYS[0], B.dataset_id)


async def test_what_is_kept_is_leased_anew_behind_what_is_served(route: Route) -> None:
    """A shard that is lost while others take their time to lease the version before is replaced all the same."""
    routed = await swapped(route, 1)
    *others, dying = routed.shards
    asked: list[str] = []

    def late(shard: FakeShard, request: LeaseRequest) -> bytes | None:
        if request.dataset_id != A.dataset_id:
            return leased(shard, request)
        asked.append(shard.name)
        return None

    for shard in others:
        shard.answer_lease = late
    dying.offer(B)  # so it has no part in leasing A anew
    await eventually(
        lambda: [m for m in routed.controller.members.values() if m.identity and len(m.identity.versions) < 2]
    )
    kept = routed.lookups.holding(A.dataset_id)
    assert kept is not None
    kept.links["z"].close()
    await eventually(lambda: asked)
    await dying.end()
    found = await asyncio.gather(*map(routed.lookups.find, KEYS))
    assert found == [(b"%b of b" % key, B.dataset_id) for key in KEYS]
    for shard in others:
        shard.answer_lease = leased
        shard.abort()  # what was asked before is never answered
    await eventually(lambda: all(sorted(shard.held) == [A.dataset_id, B.dataset_id] for shard in others))
    await ask(routed)

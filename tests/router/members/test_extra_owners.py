"""Routers lease extra owners of hot partitions, ask all owners in turn, and agree, whatever each of them has seen."""

import asyncio
from dataclasses import replace

import pytest

import ringkv.router.members.owners
from ringkv.cluster.hot import Extra, Load
from ringkv.cluster.position import slot
from ringkv.router.members.events import Kind
from tests.support.fake_shard import FakeShard
from tests.support.processes import eventually
from tests.support.routed import KEYS, A, B, Route, Routed

HOT = slot(KEYS[0]) >> 6


def tell(shards: list[FakeShard], busy: int, part: int, extra: Extra | None = None) -> None:
    """Have all shards tell such a load with the hot partition, and what they were leased with last."""
    for shard in shards:
        latest = max((lease.extra for lease in shard.leases), default=Extra())
        load = Load(busy, ((HOT, part),))
        shard.heartbeat = replace(shard.heartbeat, load=load, extra=extra or latest)


def extra_of(routed: Routed) -> dict[int, tuple[str, ...]]:
    topology = routed.lookups.topology
    return topology.ring.extra_owners if topology else {}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.router.members.owners, "HOT_AFTER", 0.0)
    monkeypatch.setattr(ringkv.router.members.owners, "COOL_AFTER", 0.0)


async def test_a_hot_partition_is_leased_on_one_more_shard_and_all_its_owners_are_asked(route: Route) -> None:
    routed = await route()
    before = [len(shard.leases) for shard in routed.shards]
    tell(routed.shards, 100, 90)
    await eventually(lambda: extra_of(routed))
    topology = routed.lookups.topology
    assert topology is not None
    assert set(topology.ring.owners[HOT]) == {shard.name for shard in routed.shards}
    assert all(shard.leases[-1].extra == Extra(1, ((HOT, 1),)) for shard in routed.shards)
    assert all(shard.leases[-1].ring_id == topology.ring.ring_id for shard in routed.shards)
    assert topology.dataset.keys == len(routed.shards), "extra copies are not counted"
    for shard in routed.shards:
        shard.asked.clear()
    for _ in range(20):  # one after the other: nobody has anything in flight
        assert (await routed.lookups.get(KEYS[0])) == b"%b of a" % KEYS[0]
    assert [len(shard.asked) for shard in routed.shards] == [10, 10]
    await eventually(lambda: routed.told(Kind.HOT))
    (told,) = routed.told(Kind.HOT)
    assert told.startswith(f"partition {HOT} gains ")
    assert told.endswith(("% of the time of x, busy for 100 % of it", "% of the time of y, busy for 100 % of it"))
    tell(routed.shards, 3, 1)
    await eventually(lambda: len(routed.told(Kind.HOT)) == 2)
    assert extra_of(routed) == {}
    assert all(shard.leases[-1].extra == Extra(2, ()) for shard in routed.shards)
    assert [len(shard.leases) - count for shard, count in zip(routed.shards, before, strict=True)] == [2, 2]
    assert routed.told(Kind.HOT)[1].startswith(f"partition {HOT} loses ")


async def test_no_request_fails_while_owners_come_and_go(route: Route) -> None:
    routed = await route()
    asked = 0
    going = True

    async def ask() -> None:
        nonlocal asked
        while going:
            for key in KEYS:
                assert await routed.lookups.get(key) == b"%b of a" % key
                asked += 1

    asking = [asyncio.create_task(ask()) for _ in range(8)]
    for _ in range(2):
        tell(routed.shards, 100, 90)
        await eventually(lambda: extra_of(routed))
        tell(routed.shards, 3, 1)
        await eventually(lambda: not extra_of(routed))
    going = False
    await asyncio.gather(*asking)
    assert asked > 1000
    assert routed.lookups.counters.unavailable == 0


async def test_a_router_takes_over_what_another_has_said_and_keeps_it_with_the_next_version(route: Route) -> None:
    routed = await route()
    said = Extra(41, ((HOT, 1),))
    tell(routed.shards, 50, 50, said)
    await eventually(lambda: extra_of(routed))
    assert all(shard.leases[-1].extra == said for shard in routed.shards)
    routed.offer(B, A)
    await routed.serves(B)
    assert all(shard.leases[-1].extra == said for shard in routed.shards)
    assert extra_of(routed)

"""GETs that arrive together are asked for together, and survive what may happen to their one reply."""

from collections.abc import Callable

import pytest

from ringkv.resp import codec
from tests.support.data import random_keys
from tests.support.fake_shard import (
    FakeShard,
    Start,
    close,
    corrupt,
    garbage,
    half_then_close,
    not_leased,
    nothing,
    silence,
    together,
    topology_of,
    value,
)
from tests.support.processes import eventually
from tests.support.redis_port import Serve
from tests.support.resp import command

KEYS = random_keys(600, seed=21)


def few_together(shard: FakeShard, keys: list[bytes]) -> bytes:
    return together(shard, keys[1:])


@pytest.mark.parametrize("fault", [silence, not_leased, corrupt, close, half_then_close, garbage])
async def test_gets_that_come_together_survive_the_fault_of_one_owner(
    start: Start, serve: Serve, fault: Callable[[FakeShard, bytes], bytes | None]
) -> None:
    shards = await start(a=fault, b=value)
    port = await serve(*shards, replicas=2)
    client = await port.connect()
    for _ in range(3):
        client.send(codec.get_commands(KEYS[:30]), command("PING"))
        assert [await client.read() for _ in range(30)] == [b"%b of b" % key for key in KEYS[:30]]
        assert await client.read() == b"PONG"
    assert shards[0].batches or shards[1].batches
    assert port.lookups.in_flight == 0
    assert port.lookups.counters.requests == 90


async def test_a_reply_with_too_few_values_is_asked_for_again_key_by_key(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    shard.answer_batch = few_together
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:30]))
    assert [await client.read() for _ in range(30)] == [b"%b of a" % key for key in KEYS[:30]]
    assert shard.asked == KEYS[:30] * 2


async def test_with_one_owner_gets_that_come_together_wait_for_the_next_topology(start: Start, serve: Serve) -> None:
    dying, heir = await start(a=silence, b=value)
    port = await serve(dying)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:30]))
    await dying.arrived(30)
    dying.abort()
    await eventually(lambda: port.lookups.waiting == 30)
    port.lookups.swap(await topology_of([heir], 1, epoch=2))
    assert [await client.read() for _ in range(30)] == [b"%b of b" % key for key in KEYS[:30]]


async def test_gets_that_come_together_are_counted_one_by_one(start: Start, serve: Serve) -> None:
    shards = await start(a=value, b=nothing)
    port = await serve(*shards)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:30]), command("MGET", *KEYS[:3]))
    found = [await client.read() for _ in range(30)]
    counters = port.lookups.counters
    assert await client.read() == found[:3]
    assert counters.requests == 33
    assert (
        counters.missing
        == (found + found[:3]).count(None)
        == sum(key in shards[1].asked for key in KEYS[:30]) + (found[:3].count(None))
    )
    assert port.lookups.durations().count == 0  # those of links that no controller has made are kept by the links
    assert port.port.server.commands == 31


async def test_a_late_reply_to_gets_that_were_looked_up_meanwhile_is_dropped(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:10]))
    await shard.arrived(20)
    assert shard.batches == [10]
    others = codec.array([codec.bulk(b"late")] * 10)
    shard.write(others + b"".join(value(shard, key) for key in KEYS[:10]))
    assert [await client.read() for _ in range(10)] == [b"%b of a" % key for key in KEYS[:10]]
    assert port.lookups.in_flight == 0

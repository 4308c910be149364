"""GETs that arrive together are asked for together, and survive what may happen to their replies."""

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
    topology_of,
    value,
)
from tests.support.processes import eventually
from tests.support.redis_port import Serve
from tests.support.resp import command

KEYS = random_keys(600, seed=21)


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
    assert port.lookups.in_flight == 0
    assert port.lookups.counters.requests == 90


@pytest.mark.parametrize("odd", [codec.error("NOTLEASED", "partition 7 is not leased here"), b":5\r\n", b"*0\r\n"])
@pytest.mark.parametrize("refused", [KEYS[:1], KEYS[3:9], KEYS[29:30], KEYS[:30]])
async def test_only_the_keys_without_a_value_are_asked_for_again(
    start: Start, serve: Serve, odd: bytes, refused: list[bytes]
) -> None:
    def once(shard: FakeShard, key: bytes) -> bytes:
        return odd if key in refused and shard.asked.count(key) == 1 else value(shard, key)

    (shard,) = await start(a=once)
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:30]), command("PING"))
    assert [await client.read() for _ in range(30)] == [b"%b of a" % key for key in KEYS[:30]]
    assert await client.read() == b"PONG"
    assert shard.asked == KEYS[:30] + refused
    assert port.lookups.in_flight == 0
    assert port.lookups.counters.requests == 30
    assert port.lookups.counters.retried == len(refused)


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
    shard.write(codec.bulk(b"late") * 10 + b"".join(value(shard, key) for key in KEYS[:10]))
    assert [await client.read() for _ in range(10)] == [b"%b of a" % key for key in KEYS[:10]]
    assert port.lookups.in_flight == 0

"""Hot values in replies of the Redis port: in their places, and of the dataset of all others."""

import pytest

from ringkv.resp import codec
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, Start, silence, topology_of, value
from tests.support.redis_port import Serve, ServedPort
from tests.support.resp import command

KEYS = random_keys(40, seed=71)
HOT, COLD = KEYS[::2], KEYS[1::2]
ROOM = 1 << 20


async def heated(serve: Serve, shard: FakeShard) -> ServedPort:
    """A port that has the values of HOT at hand."""
    port = await serve(shard, hot_memory=ROOM)
    client = await port.connect()
    for key in HOT:
        while key not in port.lookups.hot:
            client.send(command("GET", key))
            assert await client.read() == b"%b of a" % key
    return port


async def test_hot_keys_among_gets_that_come_together_keep_their_places(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    port = await heated(serve, shard)
    shard.asked.clear()
    client = await port.connect()
    client.send(codec.get_commands(KEYS), command("PING"))
    assert [await client.read() for _ in KEYS] == [b"%b of a" % key for key in KEYS]
    assert await client.read() == b"PONG"
    assert shard.asked == COLD
    assert port.lookups.in_flight == 0


async def test_gets_that_are_all_hot_need_no_shard(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    port = await heated(serve, shard)
    shard.answer = silence
    client = await port.connect()
    client.send(codec.get_commands(HOT), codec.get_commands(HOT[:1]), command("MGET", *HOT[:9]))
    assert [await client.read() for _ in HOT] == [b"%b of a" % key for key in HOT]
    assert await client.read() == b"%b of a" % HOT[0]
    assert await client.read() == [b"%b of a" % key for key in HOT[:9]]


async def test_what_comes_together_becomes_hot(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    port = await serve(shard, hot_memory=ROOM)
    client = await port.connect()
    while len(port.lookups.hot) < len(KEYS):
        client.send(codec.get_commands(KEYS))
        assert [await client.read() for _ in KEYS] == [b"%b of a" % key for key in KEYS]


@pytest.mark.parametrize("asked", [("MGET", HOT[0], COLD[0]), ("MGET", COLD[0], HOT[0], HOT[1])])
async def test_values_of_before_a_swap_are_not_mixed_with_those_of_after(
    start: Start, serve: Serve, asked: tuple[str | bytes, ...]
) -> None:
    (shard,) = await start(a=value)
    port = await heated(serve, shard)
    lookups = port.lookups
    before = lookups.topology
    assert before is not None
    shard.answer = silence
    count = len(shard.asked)
    client = await port.connect()
    client.send(command(*asked))
    await shard.arrived(count + 1)
    shard.answer = lambda _shard, key: codec.bulk(b"%b of the next" % key)
    lookups.swap(await topology_of([shard], 1, epoch=2))
    before.links["a"].close()
    assert await client.read() == [b"%b of the next" % key for key in asked[1:] if isinstance(key, bytes)]

"""The replies to commands about one key or many: absent keys, sizes, and one dataset at a time."""

from itertools import pairwise

import pytest

import ringkv.router.redis.replies
from ringkv.router.policy import FEW_KEYS
from tests.support.data import random_keys
from tests.support.fake_shard import Start, nothing, silence, together, topology_of, value
from tests.support.processes import eventually
from tests.support.redis_port import Serve, told
from tests.support.resp import command

KEYS = random_keys(600, seed=21)


async def test_a_key_that_cannot_be_is_not_there_and_no_shard_is_asked(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    client = await (await serve(shard)).connect()
    for key in (b"", b"x", KEYS[0] + b"0", KEYS[0][:-1], b"\xff" * 36, KEYS[0].replace(b"-4", b"-1"), b"k" * 100_000):
        assert await client("GET", key) is None
        assert await client("EXISTS", key, key) == 0
        assert await client("MGET", key) == [None]
        assert await client("MGET", *[key] * 20) == [None] * 20
        assert await client("STRLEN", key) == 0
    assert shard.asked == []
    assert await client("GET", KEYS[0].upper()) == b"%b of a" % KEYS[0]


@pytest.mark.parametrize("count", [1, 2, FEW_KEYS, FEW_KEYS + 1, 600])
async def test_many_keys_are_answered_in_the_order_asked(start: Start, serve: Serve, count: int) -> None:
    port = await serve(*await start(a=value, b=value, c=nothing))
    client = await port.connect()
    single = [await client("GET", key) for key in KEYS[:count]]
    keys = [part for key in KEYS[:count] for part in (key, b"x", key.upper())]
    values = [part for found in single for part in (found, None, found)]
    there = sum(found is not None for found in values)
    for null in (None, 3):
        if null:
            await client("HELLO", 3)
        client.send(command("GET", KEYS[0]), command("MGET", *keys), command("EXISTS", *keys), command("GET", KEYS[0]))
        assert [await client.read() for _ in range(4)] == [single[0], values, there, single[0]]
    assert port.lookups.in_flight == 0


@pytest.mark.parametrize("count", [3, 40])
async def test_what_was_answered_before_a_swap_is_of_the_dataset_before(start: Start, serve: Serve, count: int) -> None:
    old, new = await start(a=silence, b=value)
    port = await serve(old)
    client = await port.connect()
    client.send(command("MGET", *KEYS[:count]))
    await old.arrived(count)
    port.lookups.swap(await topology_of([new], 1, epoch=2))
    replies = together(old, KEYS[:count])
    old.write(replies if count <= FEW_KEYS else b"*%d\r\n%b" % (count, replies))
    assert await client.read() == [b"%b of a" % key for key in KEYS[:count]]
    assert await client("MGET", *KEYS[:3]) == [b"%b of b" % key for key in KEYS[:3]]


@pytest.mark.parametrize("count", [3, 40])
async def test_values_of_two_datasets_are_never_in_one_answer(start: Start, serve: Serve, count: int) -> None:
    """Some keys were answered, by a shard that is gone now; the others can only be answered of the next dataset."""
    old, new = await start(a=silence, b=value)
    port = await serve(old)
    client = await port.connect()
    client.send(command("MGET", *KEYS[:count]))
    await old.arrived(count)
    if count <= FEW_KEYS:
        old.write(value(old, KEYS[0]))
        await eventually(lambda: port.lookups.in_flight == count - 1)
    port.lookups.swap(await topology_of([new], 1, epoch=2))
    old.abort()
    assert await client.read() == [b"%b of b" % key for key in KEYS[:count]]
    assert port.lookups.in_flight == 0


async def test_a_few_keys_whose_dataset_is_replaced_again_and_again_are_told_to_try_again(
    start: Start, serve: Serve
) -> None:
    shards = await start(a=silence, b=silence, c=silence, d=value)
    port = await serve(shards[0])
    client = await port.connect()
    client.send(command("MGET", *KEYS[:2]))
    await shards[0].arrived(2)
    for epoch, (shard, next_) in enumerate(pairwise(shards), 2):
        # It answers one of the two keys, and is gone: the next one is asked for the other, and then for both again.
        shard.write(value(shard, KEYS[0]))
        await eventually(lambda: port.lookups.in_flight == 1)
        port.lookups.swap(await topology_of([next_], 1, epoch=epoch))
        shard.abort()
        await next_.arrived(1)
        if next_ is not shards[-1]:
            next_.write(value(next_, KEYS[1]))
            await next_.arrived(3)
    assert told(await client.read()) == "CLUSTERDOWN the dataset was replaced again and again; try again later"
    assert port.lookups.in_flight == 0


async def test_an_answer_that_would_be_too_large_is_refused(
    start: Start, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.redis.replies, "MGET_REPLY", 1000)
    client = await (await serve(*await start(a=value))).connect()
    assert told(await client("MGET", *KEYS)).startswith("ERR these values have more than 1000 bytes: ask for fewer")
    assert await client("MGET", KEYS[0]) == [b"%b of a" % KEYS[0]]


@pytest.mark.parametrize(("replicas", "keys"), [(1, 3), (2, 1), (3, 1), (5, 1)])
async def test_the_size_of_the_dataset_counts_each_key_once(
    start: Start, serve: Serve, replicas: int, keys: int
) -> None:
    client = await (await serve(*await start(a=value, b=value, c=value), replicas=replicas)).connect()
    assert await client("DBSIZE") == keys

"""CLIENT TRACKING: who keeps values hears when another dataset is served, and of nothing else."""

import asyncio
from typing import Any

import hiredis
import pytest

from ringkv.process.connections import ConnectionLimits
from ringkv.resp import codec
from tests.support.data import random_keys
from tests.support.fake_shard import Start, silence, topology_of, value
from tests.support.processes import eventually
from tests.support.redis_port import Serve
from tests.support.resp import command

KEY = random_keys(1, seed=71)[0]
FLUSH = [b"invalidate", None]


def told(reply: Any) -> str:
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


async def test_another_dataset_is_pushed_as_a_flush_to_who_wants_to_know(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    port = await serve(shard)
    tracking, other = await port.connect(), await port.connect()
    for client in (tracking, other):
        assert await client("HELLO", 3)
    assert await tracking("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "f8", "NOLOOP") == b"OK"
    assert await tracking("GET", KEY) == b"%b of a" % KEY
    assert (await tracking("CLIENT", "TRACKINGINFO"))[b"flags"] == [b"on", b"bcast", b"noloop"]
    port.lookups.swap(await topology_of([shard], 1, epoch=2))
    assert await tracking.read() == FLUSH
    assert await tracking("PING") == b"PONG"
    assert await other("PING") == b"PONG"
    assert await tracking("CLIENT", "TRACKING", "OFF") == b"OK"
    port.lookups.swap(await topology_of([shard], 1, epoch=3))
    assert await tracking("PING") == b"PONG"


async def test_a_change_of_the_shards_alone_is_no_flush(start: Start, serve: Serve) -> None:
    first, second = await start(a=value, b=value)
    port = await serve(first)
    client = await port.connect()
    await client("HELLO", 3)
    await client("CLIENT", "TRACKING", "ON")
    port.lookups.swap(await topology_of([first, second], 1))
    assert await client("PING") == b"PONG"


async def test_the_flush_comes_behind_values_that_may_be_old(start: Start, serve: Serve) -> None:
    """A client that got it before them would keep them."""
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    await client("HELLO", 3)
    await client("CLIENT", "TRACKING", "ON")
    client.send(command("GET", KEY) + command("ECHO", "first"))
    await eventually(lambda: shard.asked)
    port.lookups.swap(await topology_of([shard], 1, epoch=2))
    client.send(command("ECHO", "second"))
    shard.write(codec.bulk("old"))
    assert [await client.read() for _ in range(4)] == [b"old", b"first", FLUSH, b"second"]
    assert port.lookups.in_flight == 0


async def test_a_flush_goes_to_the_connection_that_was_named(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    port = await serve(shard)
    reading, listening = await port.connect(), await port.connect()
    await listening("HELLO", 3)
    number = await listening("CLIENT", "ID")
    assert await reading("CLIENT", "TRACKING", "ON", "REDIRECT", number) == b"OK"
    assert await reading("CLIENT", "GETREDIR") == number
    port.lookups.swap(await topology_of([shard], 1, epoch=2))
    assert await listening.read() == FLUSH
    await listening.close()
    await eventually(lambda: port.port.server.connections == 1)
    port.lookups.swap(await topology_of([shard], 1, epoch=3))
    assert await reading("PING") == b"PONG"


async def test_who_had_another_connection_told_hears_that_it_has_gone(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    port = await serve(shard)
    reading, listening = await port.connect(), await port.connect()
    for client in (reading, listening):
        await client("HELLO", 3)
    number = await listening("CLIENT", "ID")
    assert await reading("CLIENT", "TRACKING", "ON", "REDIRECT", number) == b"OK"
    assert (await reading("CLIENT", "TRACKINGINFO"))[b"flags"] == [b"on"]
    await listening.close()
    await eventually(lambda: port.port.server.connections == 1)
    assert (await reading("CLIENT", "TRACKINGINFO"))[b"flags"] == [b"on", b"broken_redirect"]
    port.lookups.swap(await topology_of([shard], 1, epoch=2))
    assert await reading.read() == [b"tracking-redir-broken", number]
    assert await reading("PING") == b"PONG"


async def test_what_cannot_be_told_is_refused(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    client = await (await serve(shard)).connect()
    assert "needs HELLO 3" in told(await client("CLIENT", "TRACKING", "ON"))
    assert await client("CLIENT", "TRACKINGINFO") == [b"flags", [b"off"], b"redirect", -1, b"prefixes", []]
    assert await client("CLIENT", "GETREDIR") == -1
    await client("HELLO", 3)
    assert "does not exist" in told(await client("CLIENT", "TRACKING", "ON", "REDIRECT", 99))
    of_redirect = [("ON", "REDIRECT", number) for number in ("x", "-1x", 5000 * "1")]
    for wrong in ((), ("MAYBE",), ("ON", "NOSUCH"), ("ON", "PREFIX"), *of_redirect):
        assert told(await client("CLIENT", "TRACKING", *wrong)) == "ERR syntax error"
    assert "OPTIN or OPTOUT" in told(await client("CLIENT", "CACHING", "YES"))
    assert await client("CLIENT", "TRACKING", "ON", "OPTIN") == b"OK"
    assert await client("CLIENT", "CACHING", "YES") == b"OK"
    assert told(await client("CLIENT", "CACHING", "x")) == "ERR syntax error"
    assert await client("CLIENT", "GETREDIR") == 0


async def test_clients_that_only_listen_do_not_take_the_places_of_others(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    port = await serve(shard, limits=ConnectionLimits(most=3, idle=0.1))
    silent = [await port.connect() for _ in range(3)]
    for client in silent:
        await client("HELLO", 3)
        assert await client("CLIENT", "TRACKING", "ON") == b"OK"
    await asyncio.sleep(0.5)  # five looks
    assert sum(port.port.server.guard.closed.values()) == 0
    assert await (await port.connect())("PING") == b"PONG"
    assert port.port.server.guard.closed["evicted"] == 1
    with pytest.raises(ConnectionError):
        await silent[0].read()

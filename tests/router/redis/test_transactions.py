"""EXEC's replies are one array in the order queued, and all of one dataset, whatever is swapped meanwhile."""

import asyncio
from typing import Any

import pytest

from ringkv.resp import session, transaction
from ringkv.resp.queue import MAX_QUEUED
from tests.support.data import random_keys
from tests.support.fake_shard import Start, close, silence, together, topology_of, value
from tests.support.processes import eventually
from tests.support.redis_port import AsyncClient, Serve, told
from tests.support.resp import command

KEYS = random_keys(300, seed=61)


def of(name: bytes, keys: list[bytes]) -> list[bytes]:
    return [b"%b of %b" % (key, name) for key in keys]


def gets(keys: list[bytes]) -> list[bytes]:
    return [command("GET", key) for key in keys]


def begin(client: AsyncClient, requests: list[bytes]) -> None:
    client.send(command("MULTI"), *requests, command("EXEC"))


async def end(client: AsyncClient, requests: list[bytes]) -> Any:
    """The reply to EXEC."""
    assert await client.read() == b"OK"
    assert [await client.read() for _ in requests] == [b"QUEUED"] * len(requests)
    return await client.read()


async def test_replies_are_one_array_in_the_order_queued(start: Start, serve: Serve) -> None:
    port = await serve(*await start(a=value, b=value))
    client = await port.connect()
    single = [await client("GET", key) for key in KEYS]
    requests = [
        *gets(KEYS[:40]),
        command("PING"),
        command("MGET", *KEYS[:3]),
        command("MGET", *KEYS[:40]),
        *gets(KEYS[:2]),
        command("GET", "x"),
        command("EXISTS", KEYS[0], "x"),
        *gets(KEYS),
    ]
    client.send(*gets(KEYS[:3]))
    begin(client, requests)
    client.send(*gets(KEYS[:3]))
    assert [await client.read() for _ in range(3)] == single[:3]
    assert await end(client, requests) == [
        *single[:40],
        b"PONG",
        single[:3],
        single[:40],
        *single[:2],
        None,
        1,
        *single,
    ]
    assert [await client.read() for _ in range(3)] == single[:3]
    assert port.lookups.in_flight == 0


async def test_gets_of_a_transaction_are_asked_for_together(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    client = await (await serve(shard)).connect()
    begin(client, gets(KEYS[:30]))
    assert await end(client, gets(KEYS[:30])) == of(b"a", KEYS[:30])
    assert shard.asked == KEYS[:30]


@pytest.mark.parametrize("requests", [gets(KEYS[:9]), [command("MGET", *KEYS[:9])], [command("MGET", *KEYS[:40])]])
async def test_a_dataset_that_is_replaced_meanwhile_makes_it_read_again(
    start: Start, serve: Serve, requests: list[bytes]
) -> None:
    old, new = await start(a=silence, b=value)
    port = await serve(old)
    client = await port.connect()
    requests = [command("GET", KEYS[0]), command("PING"), *requests]
    begin(client, requests)
    await old.arrived(10)
    port.lookups.swap(await topology_of([new], 1, epoch=2))
    # Whatever comes of the old dataset now must not be in the answer.
    old.answer = value
    old.write(b"".join(value(old, key) for key in old.asked[:1]))
    if old.batches:
        old.write(b"*9\r\n" + together(old, old.asked[1:10]))
    else:
        old.write(together(old, old.asked[1:10]))
    found = await end(client, requests)
    flat = [value for part in found for value in (part if isinstance(part, list) else [part])]
    keys = KEYS[: len(flat) - 2]
    assert flat == [*of(b"b", KEYS[:1]), b"PONG", *of(b"b", keys)]
    assert port.lookups.in_flight == 0


async def test_datasets_that_come_and_go_under_load_are_never_mixed(start: Start, serve: Serve) -> None:
    shards = await start(a=value, b=value)
    port = await serve(shards[0])
    clients = [await port.connect() for _ in range(4)]
    stop = asyncio.Event()
    requests = [*gets(KEYS[:40]), command("MGET", *KEYS[:5]), command("MGET", *KEYS[:40])]

    names: set[bytes] = set()

    async def read(client: AsyncClient) -> None:
        while not stop.is_set():
            begin(client, requests)
            found = await end(client, requests)
            if isinstance(found, list):
                values = [value for part in found for value in (part if isinstance(part, list) else [part])]
                (name,) = {value.split()[-1] for value in values}
                names.add(name)
            else:
                assert told(found).startswith("TRYAGAIN ")

    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(read(client))
        epoch = 1
        # Slower and slower, so that a busy machine too gets through a transaction between two swaps.
        while epoch < 60 or names != {b"a", b"b"}:
            epoch += 1
            port.lookups.swap(await topology_of([shards[epoch % 2]], 1, epoch=epoch))
            await asyncio.sleep(0.001 * epoch)
        stop.set()
    assert port.lookups.in_flight == 0


async def test_a_dataset_that_is_replaced_again_and_again_is_told_to_try_again(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    begin(client, gets(KEYS[:2]))
    for attempt in range(1, session.ATTEMPTS + 1):
        await shard.arrived(2 * attempt)
        port.lookups.swap(await topology_of([shard], 1, epoch=1 + attempt))
        shard.write(together(shard, KEYS[:2]))
    assert told(await end(client, gets(KEYS[:2]))).startswith("TRYAGAIN ")
    assert await client("PING") == b"PONG"


@pytest.mark.parametrize("resp", [2, 3])
async def test_a_watch_fails_when_the_dataset_was_replaced_and_only_then(start: Start, serve: Serve, resp: int) -> None:
    old, new = await start(a=value, b=value)
    port = await serve(old)
    client = await port.connect()
    await client("HELLO", resp)
    assert await client("WATCH", KEYS[0], KEYS[1]) == b"OK"
    begin(client, gets(KEYS[:1]))
    assert await end(client, gets(KEYS[:1])) == of(b"a", KEYS[:1])
    assert await client("WATCH", KEYS[0]) == b"OK"
    assert await client("GET", KEYS[0]) == b"%b of a" % KEYS[0]
    port.lookups.swap(await topology_of([new], 1, epoch=2))
    begin(client, gets(KEYS[:1]))
    assert await end(client, gets(KEYS[:1])) is None
    begin(client, gets(KEYS[:1]))
    assert await end(client, gets(KEYS[:1])) == of(b"b", KEYS[:1])
    assert await client("WATCH", KEYS[0]) == b"OK"
    port.lookups.swap(await topology_of([old], 1, epoch=3))
    assert await client("UNWATCH") == b"OK"
    begin(client, gets(KEYS[:1]))
    assert await end(client, gets(KEYS[:1])) == of(b"a", KEYS[:1])


async def test_an_unreachable_owner_is_an_error_in_its_place(start: Start, serve: Serve, short_deadline: float) -> None:
    assert short_deadline
    client = await (await serve(*await start(a=close))).connect()
    begin(client, [command("GET", KEYS[0]), command("PING")])
    found = await end(client, [command("GET", KEYS[0]), command("PING")])
    assert told(found[0]).startswith("CLUSTERDOWN ")
    assert found[1] == b"PONG"


async def test_a_client_that_vanishes_in_a_transaction_leaves_no_lookup_behind(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    begin(client, [*gets(KEYS[:20]), command("MGET", *KEYS[:3])])
    await shard.arrived(23)
    for connection in list(port.port.server.clients.values()):
        connection.abort()
    await eventually(lambda: port.lookups.in_flight == 0)
    assert port.port.server.connections == 0


async def test_what_a_transaction_holds_is_bounded(start: Start, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await (await serve(*await start(a=value))).connect()
    assert await client("MULTI") == b"OK"
    large = command("ECHO", b"x" * (1 << 20))
    replies = []
    for _ in range(MAX_QUEUED >> 20):
        client.send(large)
        replies.append(await client.read())
    assert told(replies[-1]).startswith("ERR a transaction may hold at most")
    assert told(await client("EXEC")).startswith("EXECABORT ")
    monkeypatch.setattr(transaction, "MAX_REPLIES", 1000)
    begin(client, gets(KEYS[:40]))
    assert told(await end(client, gets(KEYS[:40]))).startswith("ERR these replies have more than 1000 bytes")
    begin(client, gets(KEYS[:4]))
    assert await end(client, gets(KEYS[:4])) == of(b"a", KEYS[:4])

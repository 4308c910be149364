"""The end of a connection to the Redis port, whoever ends it and whenever."""

import asyncio
import gc
import socket
import struct

import pytest

from ringkv.resp import codec
from ringkv.router.redis.port import RedisConnection
from tests.support.data import random_keys
from tests.support.fake_shard import (
    Start,
    silence,
    together,
    value,
)
from tests.support.processes import eventually
from tests.support.redis_port import Serve
from tests.support.resp import command

KEYS = random_keys(600, seed=21)


async def test_a_client_that_vanishes_leaves_no_lookup_behind(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    async with await asyncio.get_running_loop().create_server(port.port.connection, "127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(codec.get_commands(KEYS[:20]))
        writer.write(command("MGET", *KEYS[:3]) + command("EXISTS", KEYS[5]) + command("MGET", *KEYS))
        await shard.arrived(24)
        # Without a wait for what is unsent, the end is a reset, and not the end of one half.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await eventually(lambda: port.lookups.in_flight == 0)
    assert port.lookups.counters.abandoned == 24
    assert port.port.server.connections == 0


@pytest.mark.parametrize(
    "asked",
    [
        ("INFO",),
        ("COMMAND",),
        ("CLIENT", "LIST"),
        ("CONFIG", "GET", "*"),
        ("SCAN", 0),
        ("KEYS", "*"),
        ("RANDOMKEY",),
        ("MGET", *KEYS),
    ],
)
async def test_of_what_is_asked_at_the_last_moment_nothing_is_left_to_complain_of(
    start: Start, serve: Serve, asked: tuple[str | bytes | int, ...]
) -> None:
    """Of a coroutine that was never begun Python would complain, and the test fail by that."""
    port = await serve(*await start(a=value))
    await port.connect()
    server = port.port.server
    await eventually(lambda: server.connections == 1)
    (connection,) = server.clients.values()
    assert isinstance(connection, RedisConnection)
    connection.abort()
    connection.data_received(command(*asked))
    await eventually(lambda: server.connections == 0)
    await asyncio.sleep(0)
    gc.collect()


async def test_a_client_that_has_closed_its_half_is_answered_all_the_same(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:20]), command("PING"), codec.get_commands(KEYS[:1])[:-9])
    client.writer.write_eof()
    await shard.arrived(20)
    shard.write(together(shard, KEYS[:20]))
    assert [await client.read() for _ in range(21)] == [*(b"%b of a" % key for key in KEYS[:20]), b"PONG"]
    with pytest.raises(ConnectionError):
        await client.read()
    await eventually(lambda: port.port.server.connections == 0)


async def test_a_pipeline_deeper_than_the_window_is_answered_whole_after_the_end_of_its_half(
    start: Start, serve: Serve
) -> None:
    port = await serve(*await start(a=value))
    client = await port.connect()
    client.send(codec.get_commands(KEYS * 10), command("MGET", *KEYS[:40]), command("GET", KEYS[0]))
    client.writer.write_eof()
    for key in KEYS * 10:
        assert await client.read() == b"%b of a" % key
    assert await client.read() == [b"%b of a" % key for key in KEYS[:40]]
    assert await client.read() == b"%b of a" % KEYS[0]
    with pytest.raises(ConnectionError):
        await client.read()


async def test_the_end_of_a_connection_in_the_middle_of_a_request_disturbs_nobody(start: Start, serve: Serve) -> None:
    port = await serve(*await start(a=value))
    other = await port.connect()
    for cut in range(1, len(codec.get_commands(KEYS[:1]))):
        client = await port.connect()
        client.send(codec.get_commands(KEYS[1:3]), codec.get_commands(KEYS[:1])[:cut])
        await client.close()
    assert await other("GET", KEYS[0]) == b"%b of a" % KEYS[0]
    await eventually(lambda: port.port.server.connections == 1)
    assert port.lookups.in_flight == 0


async def test_quit_and_garbage_wait_for_what_came_before_them(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    for number, (last, reply) in enumerate(
        [
            (command("QUIT"), "b'OK'"),
            (b"*nonsense\r\n", "ERR Protocol error: invalid multibulk length"),
            (b"*2\r\n$3\r\nGET\r\n$100000000\r\n", "ERR Protocol error: invalid bulk length"),
        ],
        1,
    ):
        client = await port.connect()
        client.send(codec.get_commands(KEYS[:9]), last, codec.get_commands(KEYS[9:12]))
        await shard.arrived(9 * number)
        shard.write(together(shard, KEYS[:9]))
        assert [await client.read() for _ in range(9)] == [b"%b of a" % key for key in KEYS[:9]]
        assert str(await client.read()).startswith(reply)
        with pytest.raises(ConnectionError):
            await client.read()
    assert len(shard.asked) == 27


async def test_a_drain_answers_what_was_begun_and_closes(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    busy, idle = await port.connect(), await port.connect()
    assert await idle("PING") == b"PONG"
    busy.send(codec.get_commands(KEYS[:9]))
    await shard.arrived(9)
    draining = asyncio.create_task(port.drain(20))
    with pytest.raises(ConnectionError):
        await idle.read()
    busy.send(codec.get_commands(KEYS[9:12]))
    await asyncio.sleep(0)
    assert not draining.done()
    shard.write(together(shard, KEYS[:9]))
    assert [await busy.read() for _ in range(9)] == [b"%b of a" % key for key in KEYS[:9]]
    with pytest.raises(ConnectionError):
        await busy.read()
    await draining
    assert len(shard.asked) == 9
    assert port.lookups.in_flight == 0


async def test_a_drain_cuts_off_who_does_not_end(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:9]))
    await shard.arrived(9)
    await port.drain(0.05)
    with pytest.raises(ConnectionError):
        await client.read()
    assert port.lookups.in_flight == 0

"""Every request gets its reply in its turn, however many wait, and nothing grows without end."""

import asyncio

from ringkv.resp import codec
from ringkv.resp.limits import FIRST_WINDOW, MAX_UNSENT, MAX_WINDOW
from tests.support.data import random_keys
from tests.support.fake_shard import (
    FakeShard,
    Start,
    nothing,
    silence,
    together,
    value,
)
from tests.support.processes import eventually
from tests.support.redis_port import Serve
from tests.support.resp import command

KEYS = random_keys(600, seed=21)


async def test_replies_keep_the_order_of_the_requests_however_late_each_is(start: Start, serve: Serve) -> None:
    late, quick = await start(a=silence, b=value)
    port = await serve(late, quick)
    client = await port.connect()
    client.send(*(part for key in KEYS[:15] for part in (command("GET", key), command("ECHO", key))))
    await eventually(lambda: len(late.asked) + len(quick.asked) == 15)
    assert late.asked
    assert quick.asked
    late.write(b"".join(value(late, key) for key in late.asked))
    for key in KEYS[:15]:
        assert await client.read() == b"%b of %b" % (key, b"a" if key in late.asked else b"b")
        assert await client.read() == key
    assert port.lookups.in_flight == 0


async def test_what_is_known_in_one_turn_leaves_in_one_write(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    written: list[bytes] = []

    class Recording(asyncio.Transport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

        def close(self) -> None: ...

    connection = port.port.connection()
    connection.connection_made(Recording())
    connection.data_received(command("PING") * 3 + codec.get_commands(KEYS[:20]) + command("PING"))
    assert written == [b"+PONG\r\n" * 3]
    await shard.arrived(20)
    shard.write(together(shard, KEYS[:20]))
    await eventually(lambda: port.lookups.in_flight == 0)
    await asyncio.sleep(0)
    assert written[1:] == [b"".join(value(shard, key) for key in KEYS[:20]) + b"+PONG\r\n"]
    connection.connection_lost(None)


async def test_a_deep_pipeline_is_answered_whole_with_no_more_than_a_window_at_once(start: Start, serve: Serve) -> None:
    most = 0

    def watched(shard: FakeShard, key: bytes) -> bytes:
        nonlocal most
        most = max(most, port.lookups.in_flight)
        return value(shard, key)

    (shard,) = await start(a=watched)
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS * 10))
    for key in KEYS * 10:
        assert await client.read() == b"%b of a" % key
    assert FIRST_WINDOW < most <= MAX_WINDOW


async def test_a_client_that_does_not_read_is_not_read_from_and_holds_few_large_values(
    start: Start, serve: Serve
) -> None:
    large = bytes(1 << 20)
    (shard,) = await start(a=lambda _shard, _key: codec.bulk(large))
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS[:200]))
    await shard.arrived(1)
    await eventually(lambda: port.lookups.in_flight == 0)
    other = await port.connect()
    for _ in range(20):
        assert await other("PING") == b"PONG"
    assert len(set(shard.asked)) <= FIRST_WINDOW
    assert port.lookups.in_flight == 0
    asked = []
    for _ in KEYS[:200]:
        assert await client.read() == large
        asked.append(len(set(shard.asked)))
    ahead = [count - number for number, count in enumerate(asked) if number > 60]
    assert max(ahead) <= 8 * MAX_UNSENT // len(large)


async def test_small_values_after_large_ones_widen_the_window_again(start: Start, serve: Serve) -> None:
    large = set(KEYS[:4])
    (shard,) = await start(a=lambda _shard, key: codec.bulk(bytes(8 << 20) if key in large else key))
    port = await serve(shard)
    client = await port.connect()
    client.send(codec.get_commands(KEYS))
    for key in KEYS:
        assert len(await client.read()) == (8 << 20 if key in large else len(key))


async def test_the_null_is_that_of_the_moment_of_the_request(start: Start, serve: Serve) -> None:
    port = await serve(*await start(a=nothing))
    client = await port.connect()
    get, hello = codec.get_commands(KEYS[:1]), [command("HELLO", version) for version in (3, 2)]
    client.send(get, command("MGET", KEYS[0]), hello[0], get, command("MGET", *KEYS[:40]), hello[1], get)
    client.send(command("QUIT"))
    stream = b""
    while data := await client._stream.read(10_000):  # noqa: SLF001 - the bytes as they are
        stream += data
    assert stream.startswith(b"$-1\r\n*1\r\n$-1\r\n%")
    assert b"_\r\n*40\r\n" + b"_\r\n" * 40 + b"*14\r\n" in stream
    assert stream.endswith(b"$-1\r\n+OK\r\n")

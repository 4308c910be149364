"""The Redis port: every request gets its own reply in its turn, whatever shards do, and nothing grows without end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import hiredis
import pytest

import router.batch
import router.lookup
import router.reading
from cluster import resp
from cluster.address import Address
from cluster.connection import FIRST_WINDOW, MAX_REQUEST, MAX_UNSENT, MAX_WINDOW
from router.lookup import Lookups
from router.reading import FEW
from tests.support.data import random_keys
from tests.support.fake_shard import (
    FakeShard,
    Start,
    close,
    corrupt,
    garbage,
    half_then_close,
    not_loaded,
    nothing,
    silence,
    topology_of,
    value,
)
from tests.support.processes import eventually, short_directory
from tests.support.redis_port import ServedPort
from tests.support.resp import command

KEYS = random_keys(600, seed=21)
Serve = Callable[..., Awaitable[ServedPort]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a Redis port in front of the shards, or of nobody."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_directory())

        async def served(*shards: FakeShard, replicas: int = 1) -> ServedPort:
            lookups = Lookups()
            if shards:
                lookups.swap(await topology_of(list(shards), replicas))
            port = ServedPort(lookups, Address(f"{folder}/redis", None))
            await port.start()
            stack.push_async_callback(port.end)
            return port

        yield served


def told(reply: object) -> str:
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


def together(shard: FakeShard, keys: list[bytes]) -> bytes:
    """The reply to one MGET, which GETs that arrive together become."""
    return resp.array([value(shard, key) for key in keys])


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
    assert port.lookups.unanswered == 0


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
    connection.data_received(command("PING") * 3 + resp.get_commands(KEYS[:20]) + command("PING"))
    assert written == [b"+PONG\r\n" * 3]
    await shard.arrived(20)
    shard.write(together(shard, KEYS[:20]))
    await eventually(lambda: port.lookups.unanswered == 0)
    await asyncio.sleep(0)
    assert written[1:] == [b"".join(value(shard, key) for key in KEYS[:20]) + b"+PONG\r\n"]
    connection.connection_lost(None)


async def test_a_deep_pipeline_is_answered_whole_with_no_more_than_a_window_at_once(start: Start, serve: Serve) -> None:
    most = 0

    def watched(shard: FakeShard, key: bytes) -> bytes:
        nonlocal most
        most = max(most, port.lookups.unanswered)
        return value(shard, key)

    (shard,) = await start(a=watched)
    port = await serve(shard)
    client = await port.connect()
    client.send(resp.get_commands(KEYS * 10))
    for key in KEYS * 10:
        assert await client.read() == b"%b of a" % key
    assert FIRST_WINDOW < most <= MAX_WINDOW


async def test_a_client_that_does_not_read_is_not_read_from_and_holds_few_large_values(
    start: Start, serve: Serve
) -> None:
    large = bytes(1 << 20)
    (shard,) = await start(a=lambda _shard, _key: resp.bulk(large))
    port = await serve(shard)
    client = await port.connect()
    client.send(resp.get_commands(KEYS[:200]))
    await shard.arrived(1)
    await eventually(lambda: port.lookups.unanswered == 0)
    other = await port.connect()
    for _ in range(20):
        assert await other("PING") == b"PONG"
    assert len(set(shard.asked)) <= FIRST_WINDOW
    assert port.lookups.unanswered == 0
    asked = []
    for _ in KEYS[:200]:
        assert await client.read() == large
        asked.append(len(set(shard.asked)))
    ahead = [count - number for number, count in enumerate(asked) if number > 60]
    assert max(ahead) <= 8 * MAX_UNSENT // len(large)


async def test_small_values_after_large_ones_widen_the_window_again(start: Start, serve: Serve) -> None:
    large = set(KEYS[:20])
    (shard,) = await start(a=lambda _shard, key: resp.bulk(bytes(8 << 20) if key in large else key))
    port = await serve(shard)
    client = await port.connect()
    client.send(resp.get_commands(KEYS))
    for key in KEYS:
        assert len(await client.read()) == (8 << 20 if key in large else len(key))


async def test_a_client_that_vanishes_leaves_no_lookup_behind(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    client.send(
        resp.get_commands(KEYS[:20]), command("MGET", *KEYS[:3]), command("EXISTS", KEYS[5]), command("MGET", *KEYS)
    )
    await shard.arrived(24)
    client.writer.transport.abort()
    await eventually(lambda: port.lookups.unanswered == 0)
    assert port.lookups.counters.abandoned == 24
    assert port.port.server.connections == 0


async def test_the_end_of_a_connection_in_the_middle_of_a_request_disturbs_nobody(start: Start, serve: Serve) -> None:
    port = await serve(*await start(a=value))
    other = await port.connect()
    for cut in range(1, len(resp.get_commands(KEYS[:1]))):
        client = await port.connect()
        client.send(resp.get_commands(KEYS[1:3]), resp.get_commands(KEYS[:1])[:cut])
        await client.close()
    assert await other("GET", KEYS[0]) == b"%b of a" % KEYS[0]
    await eventually(lambda: port.port.server.connections == 1)
    assert port.lookups.unanswered == 0


@pytest.mark.parametrize("request_", [("GET",), ("STRLEN",), ("MGET", KEYS[1]), ("EXISTS", *KEYS[1 : FEW + 9])])
async def test_an_unreachable_owner_is_clusterdown_and_the_connection_goes_on(
    start: Start, serve: Serve, short_deadline: float, request_: tuple[bytes | str, ...]
) -> None:
    assert short_deadline
    (shard,) = await start(a=close)
    port = await serve(shard)
    client = await port.connect()
    name, *keys = request_
    client.send(command(name, KEYS[0], *keys), command("PING"))
    assert told(await client.read()) == "CLUSTERDOWN no shard that owns this key could be reached"
    assert await client.read() == b"PONG"
    assert port.lookups.unanswered == 0


async def test_a_damaged_partition_is_clusterdown_with_its_reason(start: Start, serve: Serve) -> None:
    client = await (await serve(*await start(a=corrupt))).connect()
    assert told(await client("GET", KEYS[0])) == "CLUSTERDOWN CORRUPT /data: partition 7 is damaged"


@pytest.mark.parametrize("request_", [("GET",), ("MGET", KEYS[1]), ("MGET", *KEYS[1 : FEW + 9])])
async def test_too_many_requests_are_told_to_try_again(
    start: Start, serve: Serve, monkeypatch: pytest.MonkeyPatch, request_: tuple[bytes | str, ...]
) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    waiting, client = await port.connect(), await port.connect()
    waiting.send(resp.get_commands(KEYS[:20]))
    await shard.arrived(20)
    monkeypatch.setattr(router.lookup, "MAX_UNANSWERED", 20)
    monkeypatch.setattr(router.batch, "MAX_UNANSWERED", 20)
    name, *keys = request_
    assert told(await client(name, KEYS[0], *keys)).startswith("TRYAGAIN ")
    shard.write(together(shard, KEYS[:20]))
    for key in KEYS[:20]:
        assert await waiting.read() == b"%b of a" % key
    assert port.lookups.unanswered == 0


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


@pytest.mark.parametrize("count", [1, 2, FEW, FEW + 1, 600])
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
    assert port.lookups.unanswered == 0


async def test_the_null_is_that_of_the_moment_of_the_request(start: Start, serve: Serve) -> None:
    port = await serve(*await start(a=nothing))
    client = await port.connect()
    get, hello = resp.get_commands(KEYS[:1]), [command("HELLO", version) for version in (3, 2)]
    client.send(get, command("MGET", KEYS[0]), hello[0], get, command("MGET", *KEYS[:40]), hello[1], get)
    client.send(command("QUIT"))
    stream = b""
    while data := await client._stream.read(10_000):  # noqa: SLF001 - the bytes as they are
        stream += data
    assert stream.startswith(b"$-1\r\n*1\r\n$-1\r\n%")
    assert b"_\r\n*40\r\n" + b"_\r\n" * 40 + b"*12\r\n" in stream
    assert stream.endswith(b"$-1\r\n+OK\r\n")


@pytest.mark.parametrize("count", [3, 40])
async def test_values_of_two_datasets_are_never_in_one_answer(start: Start, serve: Serve, count: int) -> None:
    old, new = await start(a=silence, b=value)
    port = await serve(old)
    client = await port.connect()
    client.send(command("MGET", *KEYS[:count]))
    await old.arrived(count)
    port.lookups.swap(await topology_of([new], 1, epoch=2))
    if count <= FEW:
        old.write(b"".join(value(old, key) for key in KEYS[:count]))
        assert "dataset dataset-1 was replaced by dataset-2 meanwhile" in told(await client.read())
    else:
        old.abort()
        assert await client.read() == [b"%b of b" % key for key in KEYS[:count]]
    assert await client("MGET", *KEYS[:3]) == [b"%b of b" % key for key in KEYS[:3]]


async def test_an_answer_that_would_be_too_large_is_refused(
    start: Start, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router.reading, "MAX_REPLY", 1000)
    client = await (await serve(*await start(a=value))).connect()
    assert told(await client("MGET", *KEYS)).startswith("ERR these values have more than 1000 bytes: ask for fewer")
    assert await client("MGET", KEYS[0]) == [b"%b of a" % KEYS[0]]


async def test_quit_and_garbage_wait_for_what_came_before_them(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    for number, (last, reply) in enumerate(
        [
            (command("QUIT"), "b'OK'"),
            (b"nonsense\r\n", "ERR Protocol error: "),
            (b"*2\r\n$3\r\nGET\r\n$100000000\r\n" + b"x" * (MAX_REQUEST + 1), "ERR Protocol error: a request may"),
        ],
        1,
    ):
        client = await port.connect()
        client.send(resp.get_commands(KEYS[:9]), last, resp.get_commands(KEYS[9:12]))
        await shard.arrived(9 * number)
        shard.write(together(shard, KEYS[:9]))
        assert [await client.read() for _ in range(9)] == [b"%b of a" % key for key in KEYS[:9]]
        assert str(await client.read()).startswith(reply)
        with pytest.raises(ConnectionError):
            await client.read()
    assert len(shard.asked) == 27


async def test_without_a_topology_it_says_what_it_can(serve: Serve, short_deadline: float) -> None:
    assert short_deadline
    client = await (await serve()).connect()
    assert await client("PING") == b"PONG"
    assert told(await client("DBSIZE")).startswith("CLUSTERDOWN ")
    info = await client.info()
    assert (info["keys"], info["epoch"], info["dataset_id"]) == ("0", "0", "")
    assert info["cluster_enabled"] == "0"
    for name, count in (("GET", 1), ("MGET", 3), ("MGET", 40)):
        assert told(await client(name, *KEYS[:count])).startswith("CLUSTERDOWN ")


@pytest.mark.parametrize(("replicas", "keys"), [(1, 3), (2, 1), (3, 1), (5, 1)])
async def test_the_size_of_the_dataset_counts_each_key_once(
    start: Start, serve: Serve, replicas: int, keys: int
) -> None:
    client = await (await serve(*await start(a=value, b=value, c=value), replicas=replicas)).connect()
    assert await client("DBSIZE") == keys


async def test_the_loss_of_an_owner_fails_no_request(start: Start, serve: Serve) -> None:
    dying, heir = await start(a=silence, b=value)
    port = await serve(dying, heir, replicas=2)
    client = await port.connect()
    for _ in range(5):
        client.send(resp.get_commands(KEYS[:30]), command("MGET", *KEYS[:5]), command("MGET", *KEYS[:40]))
    await dying.arrived(1)
    dying.abort()
    expected = [b"%b of b" % key for key in KEYS]
    for _ in range(5):
        assert [await client.read() for _ in range(30)] == expected[:30]
        assert await client.read() == expected[:5]
        assert await client.read() == expected[:40]


async def test_a_drain_answers_what_was_begun_and_closes(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    busy, idle = await port.connect(), await port.connect()
    assert await idle("PING") == b"PONG"
    busy.send(resp.get_commands(KEYS[:9]))
    await shard.arrived(9)
    draining = asyncio.create_task(port.drain(20))
    with pytest.raises(ConnectionError):
        await idle.read()
    busy.send(resp.get_commands(KEYS[9:12]))
    await asyncio.sleep(0)
    assert not draining.done()
    shard.write(together(shard, KEYS[:9]))
    assert [await busy.read() for _ in range(9)] == [b"%b of a" % key for key in KEYS[:9]]
    with pytest.raises(ConnectionError):
        await busy.read()
    await draining
    assert len(shard.asked) == 9
    assert port.lookups.unanswered == 0


async def test_a_drain_cuts_off_who_does_not_end(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    client = await port.connect()
    client.send(resp.get_commands(KEYS[:9]))
    await shard.arrived(9)
    await port.drain(0.05)
    with pytest.raises(ConnectionError):
        await client.read()
    assert port.lookups.unanswered == 0


def few_together(shard: FakeShard, keys: list[bytes]) -> bytes:
    return together(shard, keys[1:])


@pytest.mark.parametrize("fault", [silence, not_loaded, corrupt, close, half_then_close, garbage])
async def test_gets_that_come_together_survive_the_fault_of_one_owner(
    start: Start, serve: Serve, fault: Callable[[FakeShard, bytes], bytes | None]
) -> None:
    shards = await start(a=fault, b=value)
    port = await serve(*shards, replicas=2)
    client = await port.connect()
    for _ in range(3):
        client.send(resp.get_commands(KEYS[:30]), command("PING"))
        assert [await client.read() for _ in range(30)] == [b"%b of b" % key for key in KEYS[:30]]
        assert await client.read() == b"PONG"
    assert shards[0].batches or shards[1].batches
    assert port.lookups.unanswered == 0
    assert port.lookups.counters.requests == 90


async def test_a_reply_with_too_few_values_is_asked_for_again_key_by_key(start: Start, serve: Serve) -> None:
    (shard,) = await start(a=value)
    shard.answer_batch = few_together
    port = await serve(shard)
    client = await port.connect()
    client.send(resp.get_commands(KEYS[:30]))
    assert [await client.read() for _ in range(30)] == [b"%b of a" % key for key in KEYS[:30]]
    assert shard.asked == KEYS[:30] * 2


async def test_with_one_owner_gets_that_come_together_wait_for_the_next_topology(start: Start, serve: Serve) -> None:
    dying, heir = await start(a=silence, b=value)
    port = await serve(dying)
    client = await port.connect()
    client.send(resp.get_commands(KEYS[:30]))
    await dying.arrived(30)
    dying.abort()
    await eventually(lambda: port.lookups.waiting == 30)
    port.lookups.swap(await topology_of([heir], 1, epoch=2))
    assert [await client.read() for _ in range(30)] == [b"%b of b" % key for key in KEYS[:30]]


async def test_gets_that_come_together_are_counted_one_by_one(start: Start, serve: Serve) -> None:
    shards = await start(a=value, b=nothing)
    port = await serve(*shards)
    client = await port.connect()
    client.send(resp.get_commands(KEYS[:30]), command("MGET", *KEYS[:3]))
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
    client.send(resp.get_commands(KEYS[:10]))
    await shard.arrived(20)
    assert shard.batches == [10]
    others = resp.array([resp.bulk(b"late")] * 10)
    shard.write(others + b"".join(value(shard, key) for key in KEYS[:10]))
    assert [await client.read() for _ in range(10)] == [b"%b of a" % key for key in KEYS[:10]]
    assert port.lookups.unanswered == 0

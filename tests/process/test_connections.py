"""A client that keeps a process waiting is let go, and so is the one that is idle for longest where there are too many.

At every port alike: the router's HTTP with the express lane and without, its Redis port, both ports of a shard.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from ringkv.cluster.ring import build_ring
from ringkv.process.address import Address, bind
from ringkv.process.closings import TELL_SECONDS
from ringkv.process.connections import ConnectionGuard, ConnectionLimits
from ringkv.resp import codec
from ringkv.shard.http import runner
from tests.support.data import EXAMPLE, read_pairs
from tests.support.fake_shard import Answer, FakeShard, silence
from tests.support.packed import pack_pairs
from tests.support.processes import eventually, short_directory
from tests.support.redis_port import ServedPort
from tests.support.resp import command
from tests.support.served import serving
from tests.support.twins import twin_of

KEY, SMALL = next(read_pairs(EXAMPLE))
LARGE = b"v" * (4 << 20)
"""More than the kernel keeps for a client that does not read."""

HTTP = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % KEY
REDIS = command("GET", KEY)


@dataclass
class Port:
    """What listens, and how it is asked; `whole` tells whether what came back is a whole answer."""

    address: Address
    guard: ConnectionGuard
    request: bytes
    silent: Callable[[], None]  # from now on no request is answered
    late: Callable[[], None]  # the one that was not answered is

    @asynccontextmanager
    async def client(self, host: str = "127.0.0.1") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(30):
            if self.address.port is None:
                reader, writer = await asyncio.open_unix_connection(self.address.host, limit=1 << 12)
            else:
                reader, writer = await asyncio.open_connection(
                    self.address.host, self.address.port, limit=1 << 12, local_addr=(host, 0)
                )
            try:
                yield reader, writer
            finally:
                writer.transport.abort()

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, answered."""
        writer.write(self.request)
        while not (await reader.read(1 << 16)).rstrip().endswith(SMALL):
            assert not reader.at_eof()


Serving = Callable[..., AbstractAsyncContextManager[Port]]


@asynccontextmanager
async def fake_shard(content: bytes) -> AsyncIterator[FakeShard]:
    with short_directory() as folder:
        answer: Answer = lambda _shard, _key: codec.bulk(content)  # noqa: E731
        shard = FakeShard("a", Address(f"{folder}/a", None), answer)
        await shard.start()
        yield shard
        await shard.end()


def silent_and_late(shard: FakeShard, content: bytes) -> tuple[Callable[[], None], Callable[[], None]]:
    return lambda: setattr(shard, "answer", silence), lambda: shard.write(codec.bulk(content))


def of_router(*, express: bool) -> Serving:
    @asynccontextmanager
    async def served(limits: ConnectionLimits, _folder: Path, content: bytes = SMALL) -> AsyncIterator[Port]:
        async with fake_shard(content) as shard, twin_of([shard], express=express, limits=limits) as twin:
            yield Port(Address("127.0.0.1", twin.port), twin.guard, HTTP, *silent_and_late(shard, content))

    return served


@asynccontextmanager
async def of_redis(limits: ConnectionLimits, _folder: Path, content: bytes = SMALL) -> AsyncIterator[Port]:
    async with fake_shard(content) as shard, twin_of([shard], express=True) as twin:
        with short_directory() as folder:
            port = ServedPort(twin.lookups, Address(f"{folder}/r", None), limits)
            await port.start()
            yield Port(port.address, port.port.server.guard, REDIS, *silent_and_late(shard, content))
            await port.end()


@asynccontextmanager
async def of_shard(limits: ConnectionLimits, folder: Path, content: bytes = SMALL) -> AsyncIterator[Port]:
    async with serving(pack_pairs(folder, {KEY: content}), limits=limits) as served:
        yield Port(served.address, served.state.guard, REDIS, lambda: None, lambda: None)


@asynccontextmanager
async def of_shards_http(limits: ConnectionLimits, folder: Path, content: bytes = SMALL) -> AsyncIterator[Port]:
    async with serving(pack_pairs(folder, {KEY: content}), limits=limits) as served:
        port = runner(served.state)
        await port.setup()
        listening = bind(Address("127.0.0.1", 0))
        await web.SockSite(port, listening).start()
        yield Port(Address.of(listening), served.state.guard, HTTP, lambda: None, lambda: None)
        await port.cleanup()


PORTS = {
    "the lane": of_router(express=True),
    "aiohttp": of_router(express=False),
    "redis": of_redis,
    "shard": of_shard,
    "shard's http": of_shards_http,
}


@pytest.fixture(params=list(PORTS))
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serving:
    return lambda limits, content=SMALL: PORTS[request.param](limits, tmp_path, content)


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait until the other side has closed."""
    try:
        while await reader.read(1 << 16):
            pass
    except ConnectionError:
        return


async def test_who_sends_nothing_is_let_go(serve: Serving) -> None:
    async with serve(ConnectionLimits(header=0.2)) as port, port.client() as (reader, _):
        await ended(reader)
        assert port.guard.closed["header"] == 1
        await eventually(lambda: len(port.guard) == 0)


async def test_who_sends_a_half_request_byte_by_byte_is_let_go(serve: Serving) -> None:
    async with serve(ConnectionLimits(header=0.5)) as port, port.client() as (reader, writer):
        await port.ask(reader, writer)
        ending = asyncio.create_task(ended(reader))
        for byte in range(len(port.request) - 1):
            writer.write(port.request[byte : byte + 1])
            if (await asyncio.wait([ending], timeout=0.1))[0]:
                break
        assert ending.done()
        assert port.guard.closed["header"] == 1


async def test_who_asks_for_nothing_more_is_let_go(serve: Serving) -> None:
    async with serve(ConnectionLimits(idle=0.2)) as port, port.client() as (reader, writer):
        await port.ask(reader, writer)
        await ended(reader)
        assert port.guard.closed["idle"] == 1


async def test_who_does_not_read_is_let_go(serve: Serving) -> None:
    async with serve(ConnectionLimits(send=0.3), LARGE) as port, port.client() as (_, writer):
        for _ in range(4):
            writer.write(port.request)
        await eventually(lambda: port.guard.closed["send"] == 1)
        await eventually(lambda: len(port.guard) == 0)


async def test_who_asks_now_and_then_stays(serve: Serving) -> None:
    async with serve(ConnectionLimits(header=0.6, idle=0.6)) as port, port.client() as (reader, writer):
        for _ in range(15):
            await port.ask(reader, writer)
            await asyncio.sleep(0.1)  # the pauses are what is tested
        assert sum(port.guard.closed.values()) == 0


async def test_without_limits_nobody_is_let_go(serve: Serving) -> None:
    limits = ConnectionLimits(header=0, idle=0, body=0, send=0, most=0)
    async with serve(limits) as port, port.client() as (reader, writer), port.client():
        await port.ask(reader, writer)
        await asyncio.sleep(0.5)  # five looks
        assert sum(port.guard.closed.values()) == 0
        assert len(port.guard) == 2


@pytest.mark.parametrize("name", ["the lane", "aiohttp", "redis"])
async def test_who_waits_for_the_process_is_not_let_go(name: str, tmp_path: Path) -> None:
    limits = ConnectionLimits(header=0.1, idle=0.1, body=0.1, send=0.1)
    async with PORTS[name](limits, tmp_path) as port, port.client() as (reader, writer):
        port.silent()
        writer.write(port.request)
        await asyncio.sleep(0.5)  # five looks
        port.late()
        assert (await reader.read(1 << 16)).rstrip().endswith(SMALL)
        assert sum(port.guard.closed[reason] for reason in ("header", "body", "send")) == 0


async def test_where_there_are_too_many_the_one_idle_for_longest_goes(serve: Serving) -> None:
    async with serve(ConnectionLimits(most=2)) as port, port.client() as oldest, port.client() as older:
        for client in (oldest, older, oldest):
            await port.ask(*client)
            await asyncio.sleep(0.3)  # a look at each
        async with port.client() as newest:
            await port.ask(*newest)
            await ended(older[0])
            await port.ask(*oldest)
        assert port.guard.closed["evicted"] == 1


@pytest.mark.parametrize("name", ["the lane", "aiohttp", "redis"])
async def test_where_nobody_is_idle_the_new_one_is_refused(name: str, tmp_path: Path) -> None:
    async with PORTS[name](ConnectionLimits(most=1), tmp_path) as port, port.client() as (reader, writer):
        await port.ask(reader, writer)
        port.silent()
        writer.write(port.request)
        await asyncio.sleep(0.3)  # a look
        async with port.client() as (refused, _):
            told = await refused.read()
        assert told == (b"-ERR max number of clients reached\r\n" if name == "redis" else b"")
        assert port.guard.closed["refused"] == 1
        port.late()
        assert (await reader.read(1 << 16)).rstrip().endswith(SMALL)


@pytest.mark.parametrize("name", ["the lane", "shard's http"])
async def test_one_address_cannot_take_the_places_of_others(name: str, tmp_path: Path) -> None:
    async with PORTS[name](ConnectionLimits(per_peer=2), tmp_path) as port, port.client("127.0.0.2") as other:
        await port.ask(*other)
        async with port.client() as first, port.client() as second, port.client() as third:
            await ended(first[0])
            await port.ask(*second)
            await port.ask(*third)
        await port.ask(*other)
        assert port.guard.closed["evicted"] == 1


async def test_what_was_closed_is_told_once_a_second_at_most(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ringkv.process")
    began = time.monotonic()
    async with of_shard(ConnectionLimits(header=0.1, most=2), tmp_path) as port:
        for _ in range(20):
            async with port.client(), port.client(), port.client() as (reader, _):
                await ended(reader)
        told = [record.getMessage() for record in caplog.records if record.name == "ringkv.process"]
        seconds = time.monotonic() - began
        assert len([line for line in told if line.startswith("no more connections")]) <= seconds / TELL_SECONDS + 1
        assert any(line.endswith("closed whose clients sent no whole request, or did not read") for line in told)


async def test_a_lease_may_be_silent(tmp_path: Path) -> None:
    limits = ConnectionLimits(header=0.2, idle=0.2)
    ring_id = build_ring(["one"], 1, 256).ring_id  # before anybody is connected, as it takes a while
    async with (
        of_shard(limits, tmp_path) as port,
        port.client() as (reader, writer),
        port.client() as (watching, asker),
    ):
        asker.write(command("INFO"))
        info = (await watching.readuntil(b"db0:")) + await watching.readuntil(b"blocks:")
        dataset = info.partition(b"dataset_id:")[2].split(b"\r\n")[0]
        writer.write(command("LEASE", dataset, ring_id, 1, "one"))
        assert (await reader.readuntil(b"\r\n")).startswith(b"+OK 1 ")
        await ended(watching)
        await port.ask(reader, writer)
        assert port.guard.closed["idle"] == 1


async def test_who_waits_to_be_told_of_another_dataset_may_be_silent(tmp_path: Path) -> None:
    limits = ConnectionLimits(header=0.2, idle=0.2)
    async with (
        of_redis(limits, tmp_path) as port,
        port.client() as tracking,
        port.client() as told,
        port.client() as other,
    ):
        told[1].write(command("HELLO", 3) + command("CLIENT", "ID"))
        await told[0].readuntil(b"modules\r\n*0\r\n:")
        number = (await told[0].readuntil(b"\r\n")).strip()
        tracking[1].write(command("CLIENT", "TRACKING", "ON", "REDIRECT", number))
        assert await tracking[0].readuntil(b"\r\n") == b"+OK\r\n"
        await port.ask(*other)
        await ended(other[0])
        await port.ask(*tracking)
        await port.ask(*told)
        assert port.guard.closed["idle"] == 1


async def test_a_body_that_pauses_is_refused_and_its_connection_closed(tmp_path: Path) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    for name in ("the lane", "aiohttp", "shard's http"):
        (tmp_path / name).mkdir()
        limits = ConnectionLimits(body=0.2)
        async with PORTS[name](limits, tmp_path / name) as port, port.client() as (reader, writer):
            writer.write(head)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200 ")
            await ended(reader)
            assert port.guard.closed["body"] == 1

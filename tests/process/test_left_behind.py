"""What has ended leaves nothing for the collector of garbage: to look at all that there is, it stops everybody else."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ringkv.process.address import Address
from ringkv.process.http import GuardedConnection
from ringkv.resp import codec
from ringkv.resp.connection import Connection
from ringkv.resp.pending import Pending
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, silence, value
from tests.support.processes import eventually, short_directory
from tests.support.redis_port import ServedPort
from tests.support.resp import command
from tests.support.twins import twin_of

KEYS = random_keys(3, seed=77)
GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % KEYS[0]
POST = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"

HTTP = {
    "answered": GET,
    "not answered": 3 * GET,
    "waiting behind each other": 20 * GET,
    "malformed": b"GET /\0 HTTP/9\r\n\r\n",
    "of another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a part of a head": GET[:-3],
    "a part of a body": POST % b"mget" + b"x" * 100_000,
    "a part of a body that nobody wants": POST % b"healthz" + b"x" * 100_000,
    "malformed in a body": b"POST /mget HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
}
REDIS = {
    "answered": command("GET", KEYS[0]),
    "a part of a request": command("GET", KEYS[0])[:-3],
    "several keys": command("MGET", *KEYS),
    "waiting behind each other": 3 * command("MGET", *KEYS) + 20 * command("GET", KEYS[0]),
    "that takes turns": 20 * command("CLIENT", "LIST"),
    "a transaction": command("MULTI") + 3 * command("MGET", *KEYS) + command("EXEC"),
    "nonsense": b"*1\r\n:1\r\n",
}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(kind: type) -> list[Any]:
    return [each for each in gc.get_objects() if isinstance(each, kind)]


@asynccontextmanager
async def shard() -> AsyncIterator[FakeShard]:
    with short_directory() as folder:
        fake = FakeShard("a", Address(f"{folder}/a", None), value)
        await fake.start()
        yield fake
        await fake.end()


@pytest.mark.parametrize("answers", [True, False], ids=["shards answer", "shards are silent"])
@pytest.mark.parametrize("express", [True, False], ids=["the lane", "aiohttp"])
@pytest.mark.parametrize("case", HTTP)
async def test_a_client_of_http_that_goes_leaves_no_connection(case: str, *, express: bool, answers: bool) -> None:
    async with shard() as fake, twin_of([fake], express=express) as twin:
        if not answers:
            fake.answer = silence
        reader, writer = await asyncio.open_connection("127.0.0.1", twin.port)
        await eventually(lambda: len(twin.guard) == 1 == len(alive(GuardedConnection)))
        writer.write(HTTP[case])
        await _read_a_while(reader)
        writer.transport.abort()
        await eventually(lambda: not alive(GuardedConnection))


@pytest.mark.parametrize("answers", [True, False], ids=["shards answer", "shards are silent"])
@pytest.mark.parametrize("case", REDIS)
async def test_a_client_of_redis_that_goes_leaves_no_connection(case: str, *, answers: bool) -> None:
    async with shard() as fake, twin_of([fake], express=True) as twin:
        port = ServedPort(twin.lookups, Address(f"{fake.address.host}.redis", None))
        await port.start()
        if not answers:
            fake.answer = silence
        reader, writer = await asyncio.open_unix_connection(port.address.host)
        await eventually(lambda: len(alive(Connection)) == 1)
        writer.write(REDIS[case])
        await _read_a_while(reader)
        writer.transport.abort()
        await eventually(lambda: not alive(Connection))
        await port.end()


async def test_a_reply_that_was_sent_leaves_nothing_of_what_it_was_made_of() -> None:
    async with shard() as fake, twin_of([fake], express=True) as twin:
        fake.answer = lambda _shard, key: codec.bulk(key * 100)
        port = ServedPort(twin.lookups, Address(f"{fake.address.host}.redis", None))
        await port.start()
        reader, writer = await asyncio.open_unix_connection(port.address.host)
        for request in (command("MGET", *KEYS), command("STRLEN", KEYS[0]), command("GET", KEYS[0])):
            writer.write(request)
            assert await reader.read(1 << 16)
            await eventually(lambda: not alive(Pending))
        writer.transport.abort()
        await port.end()


async def _read_a_while(reader: asyncio.StreamReader) -> None:
    """What comes at once, if anything does."""
    try:
        async with asyncio.timeout(0.1):
            while await reader.read(1 << 16):
                pass
    except (TimeoutError, ConnectionError):
        return

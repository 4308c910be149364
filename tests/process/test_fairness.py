"""What one client sends, however odd, is worked on in small parts: others have their turn between them."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp.web_protocol import RequestHandler

from ringkv.process.connections import DEFAULT_LIMITS
from ringkv.process.turns import TURN_SECONDS
from ringkv.router.http.connection import HttpConnection
from ringkv.router.redis.pipeline import Pipeline
from tests.process.test_connections import KEY, PORTS, SMALL

LONGEST = 0.1
"""Seconds of processor time of one turn of the event loop, with what the test itself needs: usual are a few ms."""

POST = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
BODY = b"x\r\n\r\n" * 100_000
CHUNKED = b"POST /%b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n"
ENDS = b"%x\r\n%b\r\n" % (len(BODY), BODY)
KEYS = (KEY + b"\n") * 80_000

JUNK = {
    "lines without a word": ("redis", b"\r\n" * 500_000),
    "requests without arguments": ("redis", b"*0\r\n*-1\r\n" * 100_000),
    "lines of many words in quotes": ("redis", 300 * (b"ECHO" + b' ""' * 1000 + b"\r\n")),
    "the same at a shard": ("shard", 300 * (b"ECHO" + b' ""' * 1000 + b"\r\n")),
    "blank lines before a request": ("the lane", b"\r\n" * 500_000),
    "a body full of ends of heads": ("the lane", POST % (b"nowhere", len(BODY), BODY)),
    "a chunked body full of ends of heads": ("the lane", CHUNKED % (b"nowhere", ENDS)),
    "a body of tiny chunks": ("the lane", CHUNKED % (b"nowhere", 100_000 * b"1\r\nx\r\n")),
    "many keys": ("the lane", POST % (b"mget", len(KEYS) + 1, KEYS)),
}
"""By name: to which port, and what is sent."""


@asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """The longest turn of the event loop meanwhile, in seconds of processor time."""
    longest = [0.0]

    async def watch() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest[0], before = max(longest[0], now - before), now

    # As servers do: a turn is not to be as long as the collector looks at all of pytest.
    gc.collect()
    gc.freeze()
    watching = asyncio.create_task(watch())
    try:
        yield longest
    finally:
        watching.cancel()
        gc.unfreeze()


@pytest.mark.parametrize(("name", "junk"), JUNK.values(), ids=JUNK)
async def test_junk_is_worked_on_in_small_parts(
    name: str, junk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How long aiohttp reads a body that nobody wants: its ten seconds may be too few for a busy machine.
    defaults = RequestHandler.__init__.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "lingering_time", 300.0)
    async with PORTS[name](DEFAULT_LIMITS, tmp_path) as port, port.client() as (reader, writer):
        await port.ask(reader, writer)
        rest = junk + (b"" if b"mget" in junk else port.request)
        async with turns() as longest:
            for at in range(0, len(rest), 1 << 16):
                writer.write(rest[at : at + (1 << 16)])
                await asyncio.sleep(0)
            if b"mget" in junk:
                async with port.client() as (other, asking):
                    for _ in range(50):
                        await port.ask(other, asking)
            else:
                read = b""
                while not read.rstrip().endswith(SMALL):
                    read = read[-100:] + await reader.read(1 << 16)
                    assert not reader.at_eof()
    assert longest[0] < LONGEST


@pytest.mark.parametrize(
    ("name", "begin"),
    [("redis", (Pipeline, "send")), ("the lane", (HttpConnection, "_parse"))],
    ids=["redis", "the lane"],
)
async def test_of_many_clients_that_send_much_at_once_a_few_are_begun_in_one_turn(
    name: str, begin: tuple[type, str], tmp_path: Path
) -> None:
    clients, pipeline, begun = 30, 160, [0]
    usual = getattr(*begin)

    def counted(connection: Any) -> Any:
        begun[-1] += 1
        time.sleep(TURN_SECONDS / 5)  # so that it does not depend on how quick the machine is
        return usual(connection)

    async def next_turns() -> None:
        while True:
            await asyncio.sleep(0)
            begun.append(0)

    async with PORTS[name](DEFAULT_LIMITS, tmp_path) as port, AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(port.client()) for _ in range(clients)]
        watching = asyncio.create_task(next_turns())
        with patch.object(*begin, counted):
            for _, writer in opened:
                writer.write(pipeline * port.request)
            read = await asyncio.gather(*(answers(reader, pipeline) for reader, _ in opened))
        watching.cancel()
    assert read == clients * [pipeline]
    assert max(begun) < clients // 2


async def answers(reader: asyncio.StreamReader, count: int) -> int:
    """How many small values come, until there are so many."""
    read = b""
    while read.count(SMALL) < count:
        read += await reader.readexactly(1)
        read += await reader.read(1 << 16)
    return read.count(SMALL)


async def test_blank_lines_are_parsed_many_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pieces = list[int]()
    parse = RequestHandler.data_received

    def counted(handler: RequestHandler, data: bytes) -> None:
        pieces.append(len(data))
        parse(handler, data)

    monkeypatch.setattr(RequestHandler, "data_received", counted)
    async with PORTS["the lane"](DEFAULT_LIMITS, tmp_path) as port, port.client() as (reader, writer):
        writer.write(b"\r\n" * 100_000)
        await port.ask(reader, writer)
    assert sum(pieces) >= 200_000
    assert len(pieces) < 100

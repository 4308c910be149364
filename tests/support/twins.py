"""Two routers in front of the same shards, with the express lane and without: what one answers the other must too."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from ringkv.process.access import Access
from ringkv.process.address import Address, bind
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionGuard, ConnectionLimits
from ringkv.process.tokens import TokenFile
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.port import HttpPort, HttpSettings
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog
from ringkv.router.settings import Cluster, Discovery
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, topology_of

KEY, OTHER = random_keys(2, seed=14)
HOST = b"Host: x\r\n"
PLAIN = b"GET /%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST)
SECOND = b"GET /%b HTTP/1.1\r\n%b\r\n" % (OTHER, HOST)
PROBE = b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n"
"""Sent last: what comes back tells what state the connection was left in."""

QUIET = 0.5
"""Seconds without a byte after which a connection is taken to be left open, with nothing more to come."""

SLICE = 0.02
"""Seconds that are waited for in one piece."""


@dataclass
class Twin:
    port: int
    lookups: Lookups
    runner: HttpPort
    guard: ConnectionGuard


Twins = tuple[Twin, Twin]


@asynccontextmanager
async def twins_of(
    shards: list[FakeShard], cors: str | None = None, tokens: TokenFile | None = None
) -> AsyncIterator[Twins]:
    """Two routers in front of the same shards: with the lane, and without."""
    async with (
        twin_of(shards, express=True, cors=cors, tokens=tokens) as fast,
        twin_of(shards, express=False, cors=cors, tokens=tokens) as slow,
    ):
        yield fast, slow


@asynccontextmanager
async def twin_of(
    shards: list[FakeShard],
    *,
    express: bool,
    cors: str | None = None,
    proxied: bool = False,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    tokens: TokenFile | None = None,
    hot_memory: int = 0,
) -> AsyncIterator[Twin]:
    lookups = Lookups(hot_memory=hot_memory)
    lookups.swap(await topology_of(shards, 1))
    controller = Controller(Cluster(Discovery(frozenset())), lookups, EventLog())
    guard = ConnectionGuard(limits)
    runner = HttpPort(
        lookups,
        Reporter(lookups, controller, guard),
        guard,
        HttpSettings(shutdown_timeout=5, cors=cors, proxied=proxied, express=express, access=Access(tokens)),
    )
    await runner.setup()
    try:
        listening = bind(Address("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        yield Twin(listening.getsockname()[1], lookups, runner, guard)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def talk(port: int, pieces: list[bytes]) -> bytes:
    """All that comes back for these pieces, sent one by one, and for a probe after them."""
    async with connection(port) as (reader, writer):
        received = await _read(reader, 0)
        for piece in pieces:
            writer.write(piece)
            # Long enough for the router to read the piece by itself; a longer gap changes nothing.
            received += await _read(reader, 0.002)
        # What is written to a connection that the router has closed may take its last answer with it.
        received += await _read(reader, 0.05)
        if not reader.at_eof():
            writer.write(PROBE)
            before = b"".join(pieces).count(b"GET /healthz ")
            while not reader.at_eof() and received.count(b"\r\n\r\nok\n") <= before:
                # A request that is not whole, or one that waits for its body, swallows the probe.
                more = await _read(reader, QUIET)
                received += more
                if not more:
                    break
        end = b"(closed)" if reader.at_eof() else b"(open)"
    return re.sub(rb"Date: [^\r]+", b"Date: now", received) + end


async def _read(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """What comes within some seconds, as soon as anything does.

    They are waited for in slices: a process that stands still meanwhile, on a busy machine, loses one of these alone.
    """
    slices = max(1, round(seconds / SLICE))
    for _ in range(slices):
        try:
            async with asyncio.timeout(seconds / slices):
                return await reader.read(1 << 16)
        except TimeoutError:
            continue
        except ConnectionError:
            reader.feed_eof()
            break
    return b""


def batched(items: list[tuple[bytes, bytes]], size: int) -> list[list[tuple[bytes, bytes]]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


async def both(twins: Twins, *pieces: bytes) -> tuple[bytes, bytes]:
    fast, slow = await asyncio.gather(*(talk(twin.port, list(pieces)) for twin in twins))
    return fast, slow

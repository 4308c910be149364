"""A hot value is answered as a shard's would be, byte for byte, in the express lane and on aiohttp's way."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.fake_shard import Start, silence, value
from tests.support.http import fetch
from tests.support.processes import PATIENCE
from tests.support.twins import HOST, KEY, PLAIN, SECOND, Twin, Twins, both, connection, talk, twin_of

ROOM = 1 << 20


@pytest.fixture(params=[True, False], ids=["express", "aiohttp"])
async def twins(start: Start, request: pytest.FixtureRequest) -> AsyncIterator[Twins]:
    """A router that has KEY's value at hand, and one that keeps nothing."""
    shards = await start(a=value)
    async with (
        twin_of(shards, express=request.param, hot_memory=ROOM) as hot,
        twin_of(shards, express=request.param) as cold,
    ):
        await heat(hot)
        yield hot, cold


async def heat(twin: Twin) -> None:
    while KEY not in twin.lookups.hot:
        assert (await fetch("127.0.0.1", twin.port, f"/{KEY.decode()}")).status == 200


def asked(headers: bytes, method: bytes = b"GET", target: bytes = KEY) -> bytes:
    return b"%b /%b HTTP/1.1\r\n%b%b\r\n" % (method, target, HOST, headers)


@pytest.mark.parametrize(
    "pieces",
    [
        [PLAIN],
        [PLAIN, PLAIN, PLAIN],
        [PLAIN, SECOND, PLAIN],
        [PLAIN + SECOND + PLAIN],
        [SECOND + PLAIN],
        [PLAIN[:30], PLAIN[30:]],
        [PLAIN, PLAIN[:50], PLAIN[50:], SECOND],
        [asked(b"Connection: close\r\n")],
        [asked(b"", b"HEAD"), PLAIN],
        [asked(b"Range: bytes=2-5\r\n"), PLAIN],
        [asked(b"Range: bytes=900-\r\n")],
        [asked(b'If-None-Match: "dataset-1"\r\n'), PLAIN],
        [asked(b"If-None-Match: *\r\n"), PLAIN],
        [asked(b"", target=KEY.upper())],
        [asked(b"", target=KEY + b"?dataset=" + 32 * b"0")],
        [PLAIN, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", PLAIN],
    ],
)
async def test_a_hot_value_is_answered_as_any_other(twins: Twins, pieces: list[bytes]) -> None:
    hits = twins[0].lookups.counters.hits
    of_hot, of_cold = await both(twins, *pieces)
    assert of_hot == of_cold
    assert twins[0].lookups.counters.hits >= hits
    assert twins[1].lookups.counters.hits == 0


async def test_a_hot_value_needs_no_shard(start: Start) -> None:
    (shard,) = await start(a=value)
    async with twin_of([shard], express=True, hot_memory=ROOM) as twin:
        await heat(twin)
        shard.answer = silence
        count = len(shard.asked)
        received = await talk(twin.port, 20 * [PLAIN])
        assert received.count(b"%b of a" % KEY) == 20
        assert len(shard.asked) == count


async def test_what_waits_behind_a_lookup_is_answered_behind_it_though_it_is_hot(start: Start) -> None:
    (shard,) = await start(a=value)
    async with twin_of([shard], express=True, hot_memory=ROOM) as twin:
        await heat(twin)
        shard.answer = silence
        count = len(shard.asked)
        async with connection(twin.port) as (reader, writer):
            writer.write(SECOND)
            await shard.arrived(count + 1)
            writer.write(PLAIN)
            shard.write(b"$5\r\nfirst\r\n")
            async with asyncio.timeout(PATIENCE):
                received = await reader.readuntil(b"%b of a" % KEY)
        assert b"first" in received

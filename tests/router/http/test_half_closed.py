"""A client that has closed its sending side is answered what it asked before, then the connection is closed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.data import EXAMPLE
from tests.support.fake_shard import Start, silence, topology_of, value
from tests.support.haproxy import Haproxy
from tests.support.mget import FEW, lines, pairs
from tests.support.processes import PATIENCE, Spawner
from tests.support.twins import HOST, KEY, OTHER, PLAIN, SECOND, batched, connection, twin_of, twins_of

ODD = b"GET /%b HTTP/1.1\r\n%bX-Odd: 1\r\n\r\n" % (OTHER, HOST)
UPGRADE = b"GET /%b HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % (KEY, HOST)
OLD = b"GET /%b HTTP/1.0\r\n\r\n" % KEY
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
MGET = b"POST /mget HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(lines(FEW)), lines(FEW))
MANY = 60 * PLAIN + 60 * ODD

ASKED = {
    "in the lane": (PLAIN, [KEY]),
    "on aiohttp's way": (ODD, [OTHER]),
    "HTTP/1.0": (OLD, [KEY]),
    "pipelined": (PLAIN + SECOND, [KEY, OTHER]),
    "a lane's request before a general one": (PLAIN + ODD, [KEY, OTHER]),
    "behind an upgrade": (UPGRADE + 20 * SECOND + ODD, [KEY] + 21 * [OTHER]),
    "many more than aiohttp reads ahead": (MANY, 60 * [KEY] + 60 * [OTHER]),
}


async def told(port: int, *pieces: bytes) -> bytes:
    """All that comes back for these pieces when the client closes its sending side behind them."""
    async with asyncio.timeout(PATIENCE), connection(port) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.002)  # long enough to be read by itself; a longer gap changes nothing
        writer.write_eof()
        return await reader.read()


def values(received: bytes) -> list[bytes]:
    """The keys whose values were answered."""
    return [part.split(b"\r\n\r\n")[1][:36] for part in received.split(b"HTTP/1.")[1:]]


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_what_was_asked_is_answered(start: Start, asked: tuple[bytes, list[bytes]]) -> None:
    request, keys = asked
    async with twins_of(await start(a=value)) as twins:
        for twin in twins:
            assert values(await told(twin.port, request)) == keys


@pytest.mark.parametrize("asked", [PLAIN + SECOND, PLAIN + ODD + SECOND], ids=["plain", "odd"])
async def test_wherever_it_is_cut_all_of_it_is_answered(start: Start, asked: bytes) -> None:
    keys = [KEY, OTHER] if asked == PLAIN + SECOND else [KEY, OTHER, OTHER]
    cuts = [(asked[:at], asked[at:]) for at in range(1, len(asked), 3)]
    async with twins_of(await start(a=value)) as twins:
        for some in batched(cuts, 16):
            for twin in twins:
                answers = await asyncio.gather(*(told(twin.port, *pieces) for pieces in some))
                assert [values(answer) for answer in answers] == len(some) * [keys]


async def test_many_keys_and_probes_are_answered(start: Start) -> None:
    async with twins_of(await start(a=value)) as twins:
        for twin in twins:
            assert (await told(twin.port, HEALTH)).endswith(b"\r\n\r\nok\n")
            received = await told(twin.port, MGET[:-5], MGET[-5:])
            assert b"".join(line + b"\n" for line in pairs(FEW).splitlines()) in received
            assert received.endswith(b"0\r\nRingkv-Missing: 0\r\n\r\n")


@pytest.mark.parametrize("request_bytes", [PLAIN, ODD], ids=["lane", "aiohttp"])
async def test_what_has_to_wait_for_a_shard_is_waited_for(start: Start, request_bytes: bytes) -> None:
    hung, healthy = await start(a=silence, b=value)
    async with twin_of([hung], express=True) as twin, connection(twin.port) as (reader, writer):
        writer.write(request_bytes)
        writer.write_eof()
        await hung.arrived(1)
        await asyncio.sleep(0.05)  # for the end of the client's side to arrive too
        twin.lookups.swap(await topology_of([healthy], 1))
        hung.abort()
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).endswith(b" of b")


@pytest.mark.parametrize("part", [b"", PLAIN[:1], PLAIN[:-1], ODD[:-2]])
async def test_half_a_request_was_not_asked(start: Start, part: bytes) -> None:
    async with twins_of(await start(a=value)) as twins:
        for twin in twins:
            assert await told(twin.port, part) == b""
            assert values(await told(twin.port, PLAIN + part)) == [KEY]


async def test_half_a_body_is_refused_at_once_and_in_good_order(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    async with twins_of(await start(a=value)) as twins:
        for twin in twins:
            received = await told(twin.port, MGET[:-5])
            assert received.startswith(b"HTTP/1.1 400 ")
            assert received.endswith(b"\r\n\r\nthe body is not framed as HTTP wants it\n")
    assert caplog.text == ""


async def test_who_leaves_without_having_asked_leaves_nothing(start: Start) -> None:
    async with twin_of(await start(a=value), express=True) as twin:
        await asyncio.gather(*(told(twin.port) for _ in range(50)))


def test_netcat_is_answered(spawn: Spawner, tool: Callable[..., str]) -> None:
    cluster = spawn.up(EXAMPLE)
    key = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
    for request in (
        b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % key,
        b"GET /%b HTTP/1.0\r\n\r\n" % key,
        2 * (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % key),
    ):
        said = tool("nc", "-N", cluster.host, str(cluster.port), stdin=request)
        assert said.count("\r\n\r\n1234") == request.count(b"GET")


async def test_haproxy_in_tcp_mode_hands_the_end_on(start: Start, tmp_path: Path, haproxy: Haproxy) -> None:
    async with twins_of(await start(a=value)) as twins:
        for twin in twins:
            front = haproxy(tmp_path / str(twin.port), f"mode tcp\n server r 127.0.0.1:{twin.port}\n")
            for request, keys in ASKED.values():
                assert values(await told(front, request)) == keys

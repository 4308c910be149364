"""The express lane and its slow twin: the same bytes in, the same bytes out, the same connection afterwards."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.limits import LARGE_VALUE
from ringkv.resp import codec
from ringkv.router.http.connection import HttpConnection
from ringkv.router.http.express import Lane
from ringkv.router.http.unremarkable import leaves_nothing_behind, unremarkable
from ringkv.router.lookup.large import WINDOW
from tests.support.fake_shard import Answer, FakeShard, Start, nothing, silence, topology_of, value
from tests.support.http import vanish
from tests.support.processes import eventually
from tests.support.twins import (
    HOST,
    KEY,
    OTHER,
    PLAIN,
    PROBE,
    SECOND,
    Twins,
    batched,
    both,
    connection,
    talk,
    twin_of,
    twins_of,
)


def get(headers: bytes = b"", key: bytes = KEY) -> bytes:
    return b"GET /%b HTTP/1.1\r\n%b%b\r\n" % (key, HOST, headers)


ODD = {
    "plain": PLAIN,
    "no headers at all": b"GET /%b HTTP/1.1\r\n\r\n" % KEY,
    "curl": get(b"User-Agent: curl/8.1\r\nAccept: */*\r\n"),
    "keep-alive": get(b"Connection: keep-alive\r\n"),
    "close": get(b"Connection: close\r\n"),
    "two in one read": PLAIN + SECOND,
    "three in one read": PLAIN + SECOND + PLAIN,
    "a lane's request before a general one": PLAIN + get(b"X-Odd: 1\r\n", OTHER),
    "a general one before a lane's": get(b"X-Odd: 1\r\n") + SECOND,
    "upper case": get(key=KEY.upper()),
    "not a UUID": get(key=b"ring-of-fire"),
    "version 1": get(key=b"%b1%b" % (KEY[:14], KEY[15:])),
    "one character more": get(key=KEY + b"0"),
    "query": b"GET /%b?x=1 HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "two slashes": b"GET //%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "percent-encoded": b"GET /%%%02x%b HTTP/1.1\r\n%b\r\n" % (KEY[0], KEY[1:], HOST),
    "absolute form": b"GET http://x/%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "HTTP/1.0": b"GET /%b HTTP/1.0\r\n%b\r\n" % (KEY, HOST),
    "HTTP/1.0 keep-alive": b"GET /%b HTTP/1.0\r\n%bConnection: keep-alive\r\n\r\n" % (KEY, HOST),
    "HTTP/2.0": b"GET /%b HTTP/2.0\r\n%b\r\n" % (KEY, HOST),
    "HEAD": b"HEAD /%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "HEAD and GET": b"HEAD /%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST) + SECOND,
    "POST": b"POST /%b HTTP/1.1\r\n%bContent-Length: 3\r\n\r\nabc" % (KEY, HOST),
    "POST of what looks like a request": b"POST /%b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b"
    % (KEY, HOST, len(PLAIN), PLAIN),
    "DELETE": b"DELETE /%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "lower-case method": b"get /%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "body on GET": get(b"Content-Length: 5\r\n") + b"hello",
    "empty body on GET": get(b"Content-Length: 0\r\n"),
    "body that is a request": get(b"Content-Length: %d\r\n" % len(SECOND)) + SECOND,
    "chunked": get(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n",
    "expect": get(b"Expect: 100-continue\r\n"),
    "expect nonsense": get(b"Expect: miracles\r\n"),
    "expect no text": get(b"Expect: \xff\r\n"),
    "upgrade": get(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "if-none-match": get(b'If-None-Match: "dataset-1"\r\n'),
    "range": get(b"Range: bytes=0-3\r\n"),
    "a part": get(b"Range: bytes=2-5\r\n"),
    "a part that is not there": get(b"Range: bytes=900-\r\n"),
    "a host with a port": b"GET /%b HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n" % KEY,
    "an empty host": b"GET /%b HTTP/1.1\r\nHost:\r\n\r\n" % KEY,
    "no host at all": b"GET /%b HTTP/1.1\r\nHost: a b\r\n\r\n" % KEY,
    "a host with a path": b"GET /%b HTTP/1.1\r\nHost: a/b\r\n\r\n" % KEY,
    "a host with a user": b"GET /%b HTTP/1.1\r\nHost: u@a\r\n\r\n" % KEY,
    "origin": get(b"Origin: https://app.example\r\n"),
    "OPTIONS": b"OPTIONS /%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "OPTIONS of all": b"OPTIONS * HTTP/1.1\r\n%b\r\n" % HOST,
    "too long a URL": b"GET /%b?%b HTTP/1.1\r\n%b\r\n" % (KEY, b"x" * 8000, HOST),
    "h2c": get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"),
    "h2c before another": get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + SECOND + PLAIN,
    "two hosts": b"GET /%b HTTP/1.1\r\n%b%b\r\n" % (KEY, HOST, HOST),
    "two user agents": get(b"User-Agent: a\r\nUser-Agent: b\r\n"),
    "folded header": get(b"User-Agent: a\r\n b\r\n"),
    "space before the colon": get(b"User-Agent : a\r\n"),
    "no space after the colon": get(b"User-Agent:a\r\n"),
    "tab after the colon": get(b"User-Agent:\ta\r\n"),
    "empty value": get(b"User-Agent:\r\n"),
    "control character": get(b"User-Agent: a\x01b\r\n"),
    "nul": get(b"User-Agent: a\x00b\r\n"),
    "bytes above 127": get(b"User-Agent: \xff\xfe\r\n"),
    "bare line feeds": b"GET /%b HTTP/1.1\nHost: x\n\n" % KEY,
    "bare carriage return": get(b"User-Agent: a\rb\r\n"),
    "empty line first": b"\r\n" + PLAIN,
    "two empty lines first": b"\r\n\r\n" + PLAIN,
    "two spaces": b"GET  /%b HTTP/1.1\r\n%b\r\n" % (KEY, HOST),
    "trailing space": b"GET /%b HTTP/1.1 \r\n%b\r\n" % (KEY, HOST),
    "long header": get(b"User-Agent: %b\r\n" % (b"a" * 3000)),
    "too long header": get(b"User-Agent: %b\r\n" % (b"a" * 9000)),
    "many headers": get(b"".join(b"X-%d: 1\r\n" % n for n in range(60))),
    "too many headers": get(b"".join(b"X-%d: 1\r\n" % n for n in range(200))),
    "garbage behind a lane's request": PLAIN + b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "a malformed request between two": PLAIN + get(b"User-Agent : a\r\n") + SECOND,
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a Redis command": b"*1\r\n$4\r\nPING\r\n",
    "other pages": b"GET /ring-not HTTP/1.1\r\n%b\r\n" % HOST + PLAIN,
}


@pytest.fixture
async def twins(start: Start) -> AsyncIterator[Twins]:
    async with twins_of(await start(a=value)) as both:
        yield both


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_whatever_is_odd_about_a_request_the_answer_is_the_same(twins: Twins, odd: bytes) -> None:
    for pieces in ([odd], [SECOND, odd], [odd, SECOND]):
        fast, slow = await both(twins, *pieces)
        assert fast == slow


@pytest.mark.parametrize("name", ["plain", "curl", "origin", "garbage", "OPTIONS", "POST", "upper case"])
async def test_for_pages_of_other_origins_it_is_the_same_too(start: Start, name: str) -> None:
    async with twins_of(await start(a=value), cors="https://app.example") as twins:
        fast, slow = await both(twins, ODD[name])
    assert fast == slow
    assert fast.count(b"\r\nAccess-Control-Allow-Origin: https://app.example\r\n") == fast.count(b"HTTP/1.")


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "two in one read",
        "a lane's request before a general one",
        "a general one before a lane's",
        "body that is a request",
        "chunked",
        "h2c before another",
    ],
)
async def test_wherever_a_request_is_cut_the_answer_is_the_same(twins: Twins, name: str) -> None:
    whole = ODD[name]
    cuts = [(whole[:at], whole[at:]) for at in range(1, len(whole))]
    for some in batched(cuts, 8):
        answers = await asyncio.gather(*(both(twins, *pieces) for pieces in some))
        for pieces, (fast, slow) in zip(some, answers, strict=True):
            assert fast == slow, pieces


async def test_the_plain_request_takes_the_lane_and_the_odd_one_does_not(twins: Twins) -> None:
    fast, _ = twins
    for request, in_lane in ((PLAIN, True), (ODD["curl"], True), (ODD["upper case"], False), (ODD["close"], False)):
        with patch.object(Lane, "head_of_value", autospec=True, side_effect=Lane.head_of_value) as head:
            await talk(fast.port, [request])
        assert head.called == in_lane, request


async def test_what_comes_before_aiohttps_task_waits_for_it_takes_the_lane(twins: Twins) -> None:
    """As it does where many are answered in one turn of uvloop's, which reads before tasks go on."""
    fast, _ = twins
    connect, finish = HttpConnection.connection_made, HttpConnection.finish_response

    def connected(self: HttpConnection, transport: asyncio.BaseTransport) -> None:
        connect(self, transport)
        self.data_received(PLAIN)

    async def finished(self: HttpConnection, *args: Any) -> tuple[web.StreamResponse, bool]:
        done = await finish(self, *args)
        self.data_received(SECOND)
        return done

    with (
        patch.object(HttpConnection, "connection_made", connected),
        patch.object(HttpConnection, "finish_response", finished),
    ):
        async with connection(fast.port) as (reader, writer), asyncio.timeout(10):
            await reader.readuntil(b"%b of a" % KEY)
            writer.write(PROBE)
            assert b"\r\n\r\nok\n" in await reader.readuntil(b"%b of a" % OTHER)
    assert fast.runner.server is not None
    assert fast.runner.server.requests_count == 1


async def test_nothing_is_begun_behind_an_answer_that_ends_the_connection(start: Start) -> None:
    [shard] = await start(a=value)
    finish = HttpConnection.finish_response

    async def finished(self: HttpConnection, *args: Any) -> tuple[web.StreamResponse, bool]:
        done = await finish(self, *args)
        self.data_received(SECOND)
        return done

    async with twin_of([shard], express=True) as twin:
        with patch.object(HttpConnection, "finish_response", finished):
            answers = await talk(twin.port, [b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n"])
        assert b" 400 Bad Request\r\n" in answers
        assert answers.endswith(b"(closed)")
        assert not shard.asked


@given(
    st.lists(
        st.sampled_from(
            [
                b"GET ",
                b"/",
                KEY,
                b" HTTP/1.1",
                b"\r\n",
                b"Host",
                b": ",
                b"x",
                b"Connection",
                b"close",
                b"Content-Length",
                b"5",
                b"\n",
                b"\r",
                b" ",
                b"\x00",
            ]
        ),
        max_size=14,
    )
)
def test_a_head_that_could_go_on_is_never_taken_for_a_whole_one(parts: list[bytes]) -> None:
    data = b"".join(parts)
    if leaves_nothing_behind(data):
        assert data.endswith(b"\r\n\r\n")
        assert data.count(b"\r\n\r\n") == 1
        assert b"Content-Length" not in data.split(b"\r\n", 1)[1]
    if unremarkable(data):
        assert data.startswith(b" HTTP/1.1\r\n")
        assert data.count(b"\r\n\r\n") == 1
        assert data.endswith(b"\r\n\r\n")


async def test_answers_keep_the_order_of_their_requests_when_the_first_is_slow(start: Start) -> None:
    """The second request arrives by itself while the first one waits in the lane."""
    hung, healthy = await start(a=silence, b=value)
    async with twin_of([hung], express=True) as twin, connection(twin.port) as (reader, writer):
        writer.write(PLAIN)
        await hung.arrived(1)
        writer.write(PROBE)
        await writer.drain()
        twin.lookups.swap(await topology_of([healthy], 1))
        hung.abort()
        async with asyncio.timeout(10):
            received = await reader.readuntil(b"ok\n")
        assert received.index(b"%b of b" % KEY) < received.index(b"ok\n")


async def test_a_client_that_goes_in_the_middle_leaves_nothing_in_the_lane(start: Start) -> None:
    [hung] = await start(a=silence)
    async with twin_of([hung], express=True) as twin, connection(twin.port) as (_, writer):
        writer.write(PLAIN)
        await hung.arrived(1)
        assert twin.lookups.in_flight == 1
        vanish(writer)
        await eventually(lambda: twin.lookups.counters.abandoned == 1)
        assert twin.lookups.in_flight == 0


async def test_a_router_that_is_told_to_stop_answers_what_is_in_the_lane(start: Start) -> None:
    hung, healthy = await start(a=silence, b=value)
    router = twin_of([hung], express=True)
    twin = await router.__aenter__()
    async with connection(twin.port) as (reader, writer):
        writer.write(PLAIN)
        await hung.arrived(1)
        stopping = asyncio.create_task(router.__aexit__(None, None, None))
        twin.lookups.swap(await topology_of([healthy], 1))
        hung.abort()
        async with asyncio.timeout(10):
            assert (await reader.read()).endswith(b"%b of b" % KEY)
            await stopping


async def test_a_slow_reader_is_answered_one_value_at_a_time(start: Start) -> None:
    """However many requests it sends ahead, no more than one large value waits for it."""
    size = 8 << 20
    [shard] = await start(a=lambda _shard, _key: b"$%d\r\n%b\r\n" % (size, b"v" * size))
    async with twin_of([shard], express=True) as twin, connection(twin.port) as (reader, writer):
        for _ in range(10):
            writer.write(PLAIN)
            await writer.drain()
            await asyncio.sleep(0.005)
        await shard.arrived(1)
        await asyncio.sleep(0.1)
        assert len(shard.asked) <= 2
        async with asyncio.timeout(30):
            for _ in range(10):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"Content-Length: %d\r\n" % size in head
                assert await reader.readexactly(size) == b"v" * size


async def test_large_values_come_one_after_the_other_and_leave_no_memory_claimed(start: Start) -> None:
    size = 2 * WINDOW + 5

    def large(_shard: FakeShard, asked: bytes) -> bytes:
        """Of a key the size is told; of a piece only its end is known."""
        if len(asked) == len(KEY):
            return codec.error("LARGE", str(size))
        return codec.bulk(b"v" * ((int(asked) - 1) % LARGE_VALUE + 1))

    async with twin_of(await start(a=large), express=True) as twin, connection(twin.port) as (reader, writer):
        async with asyncio.timeout(30):
            for request in (PLAIN, SECOND, PLAIN):
                writer.write(request)
                assert b"Content-Length: %d\r\n" % size in await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(size) == b"v" * size
        await eventually(lambda: not twin.lookups.budget.claimed)


@pytest.mark.parametrize("kind", [nothing, value])
async def test_what_is_there_and_what_is_not_is_told_alike_in_both_lanes(start: Start, kind: Answer) -> None:
    async with twins_of(await start(a=kind)) as twins:
        fast, slow = await both(twins, PLAIN)
    assert fast == slow
    assert fast.startswith(b"HTTP/1.1 404 Not Found\r\n" if kind is nothing else b"HTTP/1.1 200 OK\r\n")

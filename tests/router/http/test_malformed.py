"""What is no HTTP is refused with 400, and takes nothing from the requests that stand before it."""

import pytest

from tests.support.fake_shard import Start, value
from tests.support.twins import HOST, KEY, OTHER, PLAIN, SECOND, both, talk, twin_of, twins_of

ODD = b"GET /%b HTTP/1.1\r\n%bX-Odd: 1\r\n\r\n" % (OTHER, HOST)
UPGRADE = b"GET /%b HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % (KEY, HOST)
MALFORMED = {
    "a space before the colon": b"GET /ring HTTP/1.1\r\nHost : x\r\n\r\n",
    "no method": b"\x16\x03\x01\x02\r\n\r\n",
    "two lengths": b"POST /mget HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "too long a header": b"GET /ring HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * 9000),
    "chunks without a length": b"POST /mget HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a control character in the path": b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
}


def answers(received: bytes) -> list[bytes]:
    """The status of each answer."""
    return [answer[2:5] for answer in received.split(b"HTTP/1.")[1:]]


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("good", [[PLAIN], [ODD], [PLAIN, ODD], [ODD, PLAIN, SECOND], [UPGRADE, *4 * [PLAIN]]], ids=len)
async def test_what_stands_before_it_is_answered(
    start: Start, good: list[bytes], malformed: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"".join([*good, malformed])
    statuses = len(good) * [b"200"] + [b"431" if len(malformed) > 9000 else b"400"]
    async with twins_of(await start(a=value)) as twins:
        for pieces in ([request], [request, SECOND], [request + SECOND], [request[:-3], request[-3:]]):
            fast, slow = await both(twins, *pieces)
            assert fast == slow
            assert answers(fast) == statuses
            assert fast.endswith(b"(closed)")
            assert KEY in fast or OTHER in fast
    assert caplog.records == []


@pytest.mark.parametrize("target", [b"GET /" + KEY, b"CONNECT /readyz", b"CONNECT x:80"])
async def test_an_expectation_that_is_no_text_is_400(
    start: Start, target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with twin_of(await start(a=value), express=True) as twin:
        received = await talk(twin.port, [b"%b HTTP/1.1\r\n%bExpect: \xff\r\n\r\n" % (target, HOST)])
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"no expectation: '\\udcff'\n" in received
    assert caplog.records == []


async def test_a_body_full_of_ends_of_heads_is_read_as_one(start: Start) -> None:
    """A head's end is looked for everywhere, and means nothing within a body."""
    body = 10_000 * b"\r\n\r\n"
    request = b"POST /nowhere HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(body), body)
    async with twins_of(await start(a=value)) as twins:
        fast, slow = await both(twins, request + PLAIN)
    assert fast == slow
    assert answers(fast) == [b"405", b"200", b"200"]


async def test_a_batch_by_a_version_that_is_none_is_answered_as_by_the_oldest(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"POST /mget HTTP/2.0\r\n%bContent-Length: 0\r\n\r\n" % HOST
    async with twin_of(await start(a=value), express=True) as twin:
        received = await talk(twin.port, [request])
    assert b" 200 OK\r\n" in received
    assert b"Ringkv-Missing: 0\r\n" in received
    assert caplog.records == []

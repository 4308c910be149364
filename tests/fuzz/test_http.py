"""Whatever comes, the express lane and aiohttp answer alike, nothing is a defect, and nobody is kept waiting."""

import random
import re
from collections.abc import AsyncIterator

import pytest

from ringkv.process.connections import ConnectionGuard
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.port import HttpPort, HttpSettings
from ringkv.router.members.controller import Controller
from ringkv.router.members.events import EventLog
from ringkv.router.settings import Cluster, Discovery
from tests.fuzz.cases import cases, mutated, pieces
from tests.fuzz.wires import Wire, lookups
from tests.support.data import random_keys

KEYS = random_keys(20, seed=13)
METHODS = [b"GET"] * 12 + [b"HEAD", b"POST", b"OPTIONS", b"PUT", b"get", b"TRACE", b"CONNECT"]
VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.1 "]
HEADERS = [
    b"User-Agent: curl/8.1", b"Accept: */*", b"Accept-Encoding: gzip", b"Connection: keep-alive", b"Connection: close",
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Upgrade: h2c",
    b"Transfer-Encoding: gzip, chunked", b"Expect: 100-continue", b"Expect: \xff", b"Range: bytes=2-5",
    b"If-None-Match: *", b"Content-Encoding: gzip", b"Host: y", b"Origin: https://a.example", b"X: \xff", b"X:",
    b"Y : 1", b"Range: bytes=9-", b"Connection: Upgrade\r\nUpgrade: websocket", b" folded", b"Referer: /",
    b"User-Agent: \x01", b"If-Range: x",
]  # fmt: skip
BODIES = [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"\r\n", KEYS[0] + b"\n"]

DEFECT = re.compile(rb"HTTP/1\.[01] 5(?!03)")
DATE = re.compile(rb"Date: [^\r]+")


def target(chooser: random.Random) -> bytes:
    key = chooser.choice(KEYS)
    return chooser.choice(
        [b"/" + key] * 8
        + [b"/" + key.upper(), b"/%s?x=1" % key, b"//" + key, b"/healthz", b"/readyz", b"/mget", b"/mget?format=json"]
        + [
            b"*",
            b"/nowhere/at",
            b"http://x/" + key,
            b"/" + key[:-1],
            b"/%%%02x%b" % (key[0], key[1:]),
            b"/\xc3\xa4",
            b"/%0a",
        ]
    )


def request(chooser: random.Random) -> bytes:
    if chooser.random() < 0.4:
        return b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % chooser.choice(KEYS)
    if chooser.random() < 0.2:
        body = b"".join(b"%b\n" % key for key in chooser.sample(KEYS, chooser.randint(0, 20)))
        length = len(body) + chooser.choice([0] * 8 + [-1, 1])
        return b"POST /mget HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (length, body)
    headers = [b"Host: x"] * chooser.choice([0] + [1] * 9) + chooser.sample(HEADERS, chooser.choice([0, 1, 1, 2, 3]))
    head = b" ".join([chooser.choice(METHODS), target(chooser), chooser.choice(VERSIONS)])
    body = chooser.choice(BODIES) if chooser.random() < 0.3 else b""
    return b"\r\n".join([head, *headers, b"", body])


class Router:
    def __init__(self, *, express: bool) -> None:
        self.lookups = lookups()
        guard = ConnectionGuard()
        controller = Controller(Cluster(Discovery(frozenset())), self.lookups, EventLog())
        settings = HttpSettings(shutdown_timeout=1, express=express)
        self.port = HttpPort(self.lookups, Reporter(self.lookups, controller, guard), guard, settings)

    async def answers(self, sent: list[bytes]) -> bytes:
        assert self.port.server is not None
        return DATE.sub(b"Date: now", await Wire(self.port.server()).send(sent))


@pytest.fixture
async def routers() -> AsyncIterator[tuple[Router, Router]]:
    both = Router(express=True), Router(express=False)
    for router in both:
        await router.port.setup()
    yield both
    for router in both:
        await router.port.cleanup()


async def test_the_lane_and_aiohttp_answer_alike(
    routers: tuple[Router, Router], caplog: pytest.LogCaptureFixture
) -> None:
    fast, slow = routers
    answered = 0
    for seed, chooser in cases(1200):
        sent = b"".join(request(chooser) for _ in range(chooser.choice([1, 1, 2, 3])))
        if chooser.random() < 0.5:
            sent = mutated(chooser, sent)
        cut = pieces(chooser, sent)
        one, other = await fast.answers(cut), await slow.answers(cut)
        assert one == other, (seed, cut)
        assert not DEFECT.search(one), (seed, cut)
        assert not caplog.records, (seed, cut)
        answered += one.startswith(b"HTTP/1.1 200 ")
        assert fast.lookups.in_flight == slow.lookups.in_flight == 0
    assert answered

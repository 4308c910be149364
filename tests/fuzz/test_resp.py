"""Whatever comes, and however it is cut, a Redis port replies the same, nothing is a defect, and nobody waits."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringkv.dataset.segment import Segment
from ringkv.process.connections import ConnectionGuard
from ringkv.router.redis.port import RedisPort
from tests.fuzz.cases import cases, mutated, pieces
from tests.fuzz.wires import Wire, lookups
from tests.support.data import random_keys
from tests.support.packed import pack_pairs
from tests.support.resp import command
from tests.support.served import serving

KEYS = random_keys(20, seed=17)
COMMANDS: list[tuple[Any, ...]] = [
    ("PING",), ("PING", "x"), ("ECHO", "x"), ("HELLO", 3), ("HELLO", 2), ("HELLO", 4), ("SELECT", 0), ("SELECT", 1),
    ("MULTI",), ("EXEC",), ("EXEC",), ("DISCARD",), ("WATCH", KEYS[0]), ("RESET",), ("QUIT",), ("DBSIZE",),
    ("CLIENT", "REPLY", "OFF"), ("CLIENT", "REPLY", "ON"), ("CLIENT", "REPLY", "SKIP"), ("CLIENT", "SETNAME", "a"),
    ("CLIENT", "GETNAME"), ("CLIENT", "TRACKING", "ON"), ("CLIENT",), ("COMMAND", "COUNT"), ("SET", "a", "b"), ("NO",),
    ("LEASE", "a", "b", 1, "c"), ("LEASE", "a", "b", 99999999999, *map(str, range(50))), ("KEYSFROM", -1, 5),
    ("KEYSFROM", 1 << 70, 5), ("SCAN", "x"), ("TYPE", KEYS[0]), ("STRLEN", KEYS[1]), ("GETRANGE", KEYS[1], 0, -1),
    ("EXPLAIN", "x"), ("CONFIG", "GET", "*"), ("CLUSTER", "SLOTS"), ("READONLY",), ("TTL", KEYS[0]), ("",),
]  # fmt: skip
ID = re.compile(rb"(?<=\$2\r\nid\r\n):\d+")
"""Of the connection, in the reply to HELLO."""

LINES = [
    b"PING\r\n",
    b"GET %b\r\n" % KEYS[0],
    b"\r\n",
    b'ECHO "a b"\r\n',
    b"'\r\n",
    b"GET / HTTP/1.1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
]


def request(chooser: random.Random) -> bytes:
    dice = chooser.random()
    if dice < 0.4:
        return command("GET", chooser.choice(KEYS)) * chooser.choice([1, 1, 2, 20])
    if dice < 0.6:
        return command(
            chooser.choice(["MGET", "EXISTS", "mget"]), *chooser.choices(KEYS, k=chooser.choice([1, 2, 9, 20]))
        )
    return chooser.choice(LINES) if dice < 0.7 else command(*chooser.choice(COMMANDS))


async def same(connect: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    """The same replies to requests that come whole and cut, for all cases."""

    async def replies(sent: list[bytes]) -> bytes:
        return ID.sub(b":1", await Wire(connect()).send(sent))

    right = 0
    for seed, chooser in cases(800):
        sent = b"".join(request(chooser) for _ in range(chooser.randint(1, 5)))
        if chooser.random() < 0.5:
            sent = mutated(chooser, sent)
        cut = pieces(chooser, sent)
        whole = await replies([sent] if sent else [])
        assert whole == await replies(cut), (seed, cut)
        assert not caplog.records, (seed, cut)
        right += whole.startswith(b"$")
    assert right


async def test_the_routers_port(caplog: pytest.LogCaptureFixture) -> None:
    known = lookups()
    port = RedisPort(known, ConnectionGuard())
    await same(port.connection, caplog)
    assert (known.in_flight, len(port.server.clients)) == (0, 0)


async def test_a_shards_port(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segment, "read_now", Segment.read)  # so that it never takes a thread, and turns can be counted
    async with serving(pack_pairs(tmp_path, dict.fromkeys(KEYS[:10], b"v" * 50))) as served:
        await same(served.shard.connection, caplog)
        assert not served.state.clients

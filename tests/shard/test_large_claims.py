"""What a shard's own clients ask for that is large waits for memory, whichever command or port it comes by."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest
from aiohttp import web

from ringkv.cluster.lease import LeaseRequest
from ringkv.cluster.limits import LARGE_VALUE, MAX_BATCH
from ringkv.cluster.ring import build_ring
from ringkv.process.address import Address, bind
from ringkv.process.budget import LEAST
from ringkv.process.connections import ConnectionLimits
from ringkv.shard.http import runner
from tests.support.data import random_keys
from tests.support.http import Response, fetch
from tests.support.memory import evict
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.served import Asker, Disk, Served, serving

KEYS = random_keys(24, seed=131)
LARGE, HUGE, ABSENT, MEDIUM = KEYS[0], KEYS[1], KEYS[2], KEYS[3:23]
SMALL = KEYS[23]
PAIRS = {
    LARGE: b"0123456789" * 100_000,
    HUGE: b"h" * (MAX_BATCH + 1),
    SMALL: b"few",
} | dict.fromkeys(MEDIUM, b"m" * LARGE_VALUE)

Request = tuple[bytes | str | int, ...]


def executed(*requests: Request) -> list[Request]:
    """As a transaction."""
    return [("MULTI",), *requests, ("EXEC",)]


def gets(keys: list[bytes]) -> list[Request]:
    return [("GET", key) for key in keys]


def mget(keys: list[bytes]) -> Request:
    return ("MGET", *keys)


WHOLE: list[tuple[list[Request], Any]] = [
    ([("GET", LARGE)], PAIRS[LARGE]),
    ([("MGET", LARGE)], [PAIRS[LARGE]]),
    ([("GETRANGE", LARGE, 5, -1)], PAIRS[LARGE][5:]),
    ([("SUBSTR", LARGE, -500_000, -2)], PAIRS[LARGE][-500_000:-1]),
    (executed(("GET", LARGE)), [PAIRS[LARGE]]),
    (executed(("MGET", LARGE.upper())), [[PAIRS[LARGE]]]),
    (executed(("GETRANGE", LARGE, 0, 400_000)), [PAIRS[LARGE][:400_001]]),
    (executed(*gets(MEDIUM)), [PAIRS[key] for key in MEDIUM]),
    (executed(*3 * [mget(MEDIUM[:12])]), 3 * [[PAIRS[key] for key in MEDIUM[:12]]]),
]
"""Requests, and the reply to the last of them."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_pairs(tmp_path_factory.mktemp("large"), PAIRS)


@pytest.fixture
async def served(packed: Path) -> AsyncIterator[Served]:
    """With the least memory that there can be."""
    async with serving(packed, limits=ConnectionLimits(memory=LEAST)) as served:
        yield served


@asynccontextmanager
async def http_port(served: Served) -> AsyncIterator[tuple[str, int]]:
    port = runner(served.state)
    await port.setup()
    try:
        listening = bind(Address("127.0.0.1", 0))
        await web.SockSite(port, listening).start()
        yield listening.getsockname()
    finally:
        await port.cleanup()


async def last(client: Asker, requests: list[Request]) -> Any:
    client.send(*requests)
    return [await client.read() for _ in requests][-1]


@pytest.mark.parametrize(("requests", "reply"), WHOLE)
async def test_what_is_large_in_a_reply_waits_for_memory_and_gives_it_back(
    served: Served, requests: list[Request], reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = served.state.guard.budget
    client = await served.connect()
    with monkeypatch.context() as patch:
        patch.setattr("ringkv.process.budget.PATIENCE", 0.05)
        with await budget.claim(budget.most):
            told = await last(client, requests)
            if isinstance(told, list):
                (told,) = told
            assert isinstance(told, hiredis.ReplyError)
            assert str(told).startswith("TRYAGAIN no memory for ")
    claimed = await budget.claim(budget.most)
    waiting = asyncio.create_task(last(client, requests))
    await eventually(lambda: budget.waited_for)
    assert not waiting.done()
    claimed.release()
    assert await waiting == reply
    assert await client("PING") == b"PONG"
    await eventually(lambda: budget.claimed == 0)
    await eventually(lambda: budget.held == 0)


async def test_what_turns_out_to_be_large_with_a_lease_waits_for_memory_also_of_who_was_there_before(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringkv.process.budget.PATIENCE", 0.05)
    async with serving(packed, leased=True, limits=ConnectionLimits(memory=LEAST)) as served:
        client, router = await served.connect(), await served.connect()
        assert str(await client("GET", LARGE)).startswith("NOTLEASED")
        about = served.version.about
        ring = build_ring(("one",), 1, about.partitions)
        request = LeaseRequest(about.dataset_id, ring.ring_id, ring.replicas, ring.names)
        assert (await router(*request.command())).startswith(b"OK 23 ")
        budget = served.state.guard.budget
        with await budget.claim(budget.most):
            assert str(await client("GET", LARGE)).startswith("TRYAGAIN no memory for ")
        assert await client("GET", LARGE) == PAIRS[LARGE]


@pytest.mark.parametrize("requests", [requests for requests, _ in WHOLE])
@pytest.mark.parametrize("cold", [False, True])
async def test_who_goes_while_he_waits_for_memory_holds_nobody_up(
    served: Served,
    requests: list[Request],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    cold: bool,
) -> None:
    monkeypatch.setattr("ringkv.process.budget.PATIENCE", 600.0)
    if cold:
        Disk().install(monkeypatch.setattr)
    budget = served.state.guard.budget
    client = await served.connect()
    claimed = await budget.claim(budget.most)
    client.send(*requests, ("GET", LARGE))  # whose turn does not come
    await eventually(lambda: budget.waited_for)
    (connection,) = served.state.clients.values()
    connection.abort()
    await connection.closed
    await asyncio.sleep(0)
    budget.grant()
    assert not budget.waited_for
    claimed.release()
    assert budget.claimed == 0
    assert not served.version.leases._kept  # noqa: SLF001 - for these its version would stay open
    del connection
    gc.collect()  # by which a task that has failed, and that nobody waits for, is logged
    assert not caplog.records


async def test_the_http_port_waits_for_memory_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = served.state.guard.budget

    async def get(key: bytes) -> Response:
        return await fetch(*address, f"/{key.decode()}")

    async with http_port(served) as address:
        with monkeypatch.context() as patch:
            patch.setattr("ringkv.process.budget.PATIENCE", 0.05)
            with await budget.claim(budget.most):
                refused = await get(LARGE)
                assert (refused.status, refused.body) == (
                    503,
                    b"no memory for a value of 1000000 bytes; try again later\n",
                )
                assert (await get(SMALL)).body == PAIRS[SMALL]
        claimed = await budget.claim(budget.most)
        waiting = asyncio.create_task(get(LARGE))
        await eventually(lambda: budget.waited_for)
        claimed.release()
        assert (await waiting).body == PAIRS[LARGE]
        await eventually(lambda: budget.claimed == 0)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (("STRLEN", HUGE), MAX_BATCH + 1),
        (("EXISTS", HUGE, LARGE, ABSENT), 2),
        (("TYPE", HUGE), b"string"),
        (("TTL", HUGE), -1),
        (("OBJECT", "ENCODING", HUGE), b"raw"),
        (("MEMORY", "USAGE", HUGE), MAX_BATCH + 21),
        (("GETRANGE", LARGE, 7, 8), b"78"),
        (("GETRANGE", LARGE, 10**9, -1), b""),
        (("GETRANGE", ABSENT, 0, -1), b""),
        (("MGET", ABSENT), [None]),
        (("MGET", SMALL), [b"few"]),
    ],
)
async def test_what_is_small_in_a_reply_needs_no_memory_however_large_the_value_is(
    served: Served, request_: Request, reply: Any
) -> None:
    budget = served.state.guard.budget
    with await budget.claim(budget.most):
        assert await (await served.connect())(*request_) == reply


async def test_several_values_in_a_reply_have_as_much_as_one_reply_may_have(served: Served) -> None:
    client = await served.connect()
    assert await client("MGET", LARGE, ABSENT, SMALL) == [PAIRS[LARGE], None, PAIRS[SMALL]]
    assert await client("MGET", ABSENT, HUGE, ABSENT, ABSENT) == [None, PAIRS[HUGE], None, None]
    for keys in ((HUGE, SMALL), (SMALL, HUGE), (HUGE, ABSENT, HUGE), 5 * [LARGE]):
        assert str(await client("MGET", *keys)).startswith("TOOLARGE the values have more than 4194304 bytes")
    assert await client("MGET", HUGE) == [PAIRS[HUGE]]


async def test_replies_of_a_transaction_that_memory_has_no_place_for_are_refused(served: Served) -> None:
    client = await served.connect()
    requests = executed(*80 * gets(MEDIUM[:1]))
    most = served.state.guard.budget.most // 2
    assert most < 80 * LARGE_VALUE
    assert str(await last(client, requests)).startswith(f"ERR these replies have more than {most} bytes")
    assert await client("GET", SMALL) == PAIRS[SMALL]


@pytest.mark.parametrize(("requests", "reply"), WHOLE[:6])
async def test_large_values_that_have_to_be_read_from_disk_are_answered(
    packed: Path, monkeypatch: pytest.MonkeyPatch, requests: list[Request], reply: Any
) -> None:
    evict(packed)
    disk = Disk()
    disk.install(monkeypatch.setattr)
    async with serving(packed) as served:
        async with asyncio.timeout(30):
            assert await last(await served.connect(), requests) == reply
    assert disk.reads

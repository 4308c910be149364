"""GETs that come together are answered as if they had come one by one, whatever stands among them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from ringkv.cluster.ring import build_ring
from ringkv.resp.limits import FLUSH_BYTES
from ringkv.resp.requests import MAX_BULK, MAX_REQUEST
from ringkv.shard.connection import ShardConnection
from tests.support.data import random_keys
from tests.support.packed import pack_pairs
from tests.support.processes import PATIENCE, eventually
from tests.support.served import Asker, Served, serving

LARGE = FLUSH_BYTES + 1
PAIRS = {key: key * 3 for key in random_keys(500, seed=81)}
PAIRS |= {key: bytes([number]) * LARGE for number, key in enumerate(random_keys(5, seed=82))}
ABSENT = random_keys(3, seed=83)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_pairs(tmp_path_factory.mktemp("pipelines"), PAIRS)


@pytest.fixture
async def served(packed: Path) -> AsyncIterator[Served]:
    async with serving(packed) as served:
        yield served


async def together(client: Asker, requests: Sequence[tuple[bytes, ...]]) -> list[object]:
    client.send(*requests)
    return [await client.read() for _ in requests]


async def one_by_one(client: Asker, requests: Sequence[tuple[bytes, ...]]) -> list[object]:
    return [await client(*request) for request in requests]


def shown(replies: list[object]) -> list[object]:
    """Errors are compared by their texts."""
    return [str(reply) if isinstance(reply, Exception) else reply for reply in replies]


@pytest.mark.parametrize(
    "odd",
    [
        [(b"GET", ABSENT[0])],
        [(b"GET", next(iter(PAIRS)).upper())],
        [(b"GET", b"x" * 36)],
        [(b"GET", b"\n" * 36), (b"get", next(iter(PAIRS)))],
        [(b"GET", key) for key in PAIRS if len(PAIRS[key]) == LARGE],
        [(b"STRLEN", next(iter(PAIRS)))],
        [(b"GET",), (b"MGET", *ABSENT, next(iter(PAIRS)))],
        [(b"MULTI",), (b"GET", next(iter(PAIRS))), (b"EXEC",)],
        [(b"CLIENT", b"REPLY", b"SKIP"), (b"PING",), (b"PING",)],
    ],
    ids=["absent", "upper", "no-key", "newlines", "large", "strlen", "mget", "transaction", "silence"],
)
@pytest.mark.parametrize("at", [0, 7, 299])
async def test_a_pipeline_is_answered_as_its_requests_are(
    served: Served, odd: list[tuple[bytes, ...]], at: int
) -> None:
    plain = [(b"GET", key) for key in list(PAIRS)[:300]]
    requests = [*plain[:at], *odd, *plain[at:]]
    client = await served.connect()
    if odd[0][0] == b"CLIENT":  # of what has no reply nobody can wait for the reply
        client.send(*requests)
        replies = [await client.read() for _ in range(len(plain) + 1)]
        assert replies == [*(PAIRS[key] for _, key in plain[:at]), b"PONG", *(PAIRS[key] for _, key in plain[at:])]
        return
    assert shown(await together(client, requests)) == shown(await one_by_one(client, requests))
    replies = await together(client, plain)
    assert replies == [PAIRS[key] for _, key in plain]


async def test_keys_of_others_are_refused_and_the_others_answered(packed: Path) -> None:
    async with serving(packed, leased=True) as served:
        client = await served.connect()
        manifest = served.store.dataset.manifest
        ring = build_ring(("one", "two"), 1, manifest.partitions)
        await client("LEASE", manifest.dataset_id, ring.ring_id, 1, *ring.names)
        requests = [(b"GET", key) for key in [*PAIRS, *ABSENT]]
        replies = await together(client, requests)
        assert shown(replies) == shown(await one_by_one(client, requests))
        answered = [reply for reply in replies if not isinstance(reply, Exception)]
        assert 0 < len(answered) < len(replies)
        told = zip(replies, requests, strict=True)
        assert all(reply == PAIRS.get(key) for reply, (_, key) in told if not isinstance(reply, Exception))


async def test_of_who_reads_no_replies_little_is_read_and_all_of_it_is_answered_when_he_does(served: Served) -> None:
    client = await served.connect()
    assert await client("PING") == b"PONG"
    said = [bytes([number]) * (MAX_BULK // 4) for number in range(16 * MAX_REQUEST // MAX_BULK)]
    client.send(*((b"ECHO", text) for text in said))
    (connection,) = served.state.clients.values()
    assert isinstance(connection, ShardConnection)
    requests = connection._requests  # noqa: SLF001 - how much is read is what is promised
    await eventually(lambda: requests.held > MAX_REQUEST)
    for _ in range(500):
        await asyncio.sleep(0)
        assert requests.held < MAX_REQUEST + MAX_BULK
    async with asyncio.timeout(PATIENCE):
        assert [await client.read() for _ in said] == said

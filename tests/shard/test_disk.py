"""Blocks that the kernel reads while one thread waits for the oldest of them: whatever becomes of each of the reads."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringkv.dataset.segment import Segment
from ringkv.shard.disk import LATE_SECONDS, THREADS
from ringkv.shard.reads import MAX_READS
from tests.support.data import random_keys
from tests.support.memory import evict
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.served import Served, in_block, serving

PAIRS = {key: b"%b of many bytes: " % key + key * 40 for key in random_keys(4_000, seed=81)}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_pairs(tmp_path_factory.mktemp("disk"), PAIRS, segment_size=1 << 20)


class Threads:
    """What threads read, by offset; those that are to hang do so until `gate` is set. What hangs is never in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.hanging: set[int] = set()
        self.reads: list[int] = []
        self.looks = 0
        read, read_now = Segment.read, Segment.read_now

        def slow(segment: Segment, offset: int, size: int) -> bytes:
            self.reads.append(offset)
            if offset in self.hanging:
                assert self.gate.wait(30)
            return read(segment, offset, size)

        def now(segment: Segment, offset: int, size: int) -> bytearray | None:
            self.looks += 1
            return None if offset in self.hanging else read_now(segment, offset, size)

        monkeypatch.setattr(Segment, "read", slow)
        monkeypatch.setattr(Segment, "read_now", now)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Threads]:
    made = Threads(monkeypatch)
    yield made
    made.gate.set()


def one_a_block(served: Served) -> list[bytes]:
    return [keys[0] for keys in in_block(served.store, PAIRS).values()]


def offset(served: Served, key: bytes) -> int:
    return served.store.blocks.row(served.store.block_of(key)).offset


async def test_threads_read_few_of_the_blocks_that_are_asked_for_together(packed: Path, threads: Threads) -> None:
    evict(packed)
    async with serving(packed) as served:
        client = await served.connect()
        keys = one_a_block(served)
        assert await client("MGET", *keys) == [PAIRS[key] for key in keys]
        assert served.version.reads.done > len(keys) // 2
        assert len(threads.reads) < served.version.reads.done // 2


@pytest.mark.parametrize("hanging", [1, 3])
async def test_reads_that_hang_hold_up_no_others(packed: Path, threads: Threads, hanging: int) -> None:
    evict(packed)
    async with serving(packed) as served:
        keys = one_a_block(served)[100:140]
        stuck, others = keys[:hanging], keys[hanging:]
        threads.hanging = {offset(served, key) for key in stuck}
        waiting = [await served.connect() for _ in stuck]
        for client, key in zip(waiting, stuck, strict=True):
            client.send(("GET", key))
        await eventually(lambda: served.version.reads.in_flight == hanging)
        clients = [await served.connect() for _ in others]
        for client, key in zip(clients, others, strict=True):
            client.send(("GET", key))
        async with asyncio.timeout(10):
            assert [await client.read() for client in clients] == [PAIRS[key] for key in others]
        assert served.version.reads.in_flight == hanging
        threads.gate.set()
        assert [await client.read() for client in waiting] == [PAIRS[key] for key in stuck]


async def test_a_read_that_hangs_is_not_looked_at_again_and_again(packed: Path, threads: Threads) -> None:
    async with serving(packed) as served:
        client, key = await served.connect(), one_a_block(served)[100]
        threads.hanging = {offset(served, key)}
        client.send(("GET", key))
        await eventually(lambda: len(threads.reads) == 1)
        before = threads.looks
        await asyncio.sleep(10 * LATE_SECONDS)
        assert threads.looks - before <= 2
        threads.gate.set()
        assert await client.read() == PAIRS[key]


async def test_what_the_kernel_does_not_read_ahead_is_read_all_the_same(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory is so short that it reads nothing ahead, or gives it back before it was looked at."""
    monkeypatch.setattr(Segment, "read_ahead", lambda *_: None)
    evict(packed)
    async with serving(packed) as served:
        client, keys = await served.connect(), one_a_block(served)
        assert await client("MGET", *keys) == [PAIRS[key] for key in keys]


async def test_no_more_reads_are_under_way_than_may_be(packed: Path, threads: Threads) -> None:
    async with serving(packed) as served:
        client, keys = await served.connect(), one_a_block(served)
        threads.hanging = {offset(served, key) for key in keys}
        client.send(("MGET", *keys))
        await eventually(lambda: len(threads.reads) == THREADS)
        assert served.version.reads.in_flight == len(keys) > MAX_READS
        await asyncio.sleep(2 * LATE_SECONDS)
        assert len(threads.reads) == THREADS
        threads.gate.set()
        assert await client.read() == [PAIRS[key] for key in keys]
        assert served.version.reads.in_flight == 0


async def test_what_no_thread_can_be_started_for_is_read_all_the_same(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    refused = []

    def full(thread: threading.Thread) -> None:
        if thread.name == "ringkv-reads":
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    evict(packed)
    async with serving(packed) as served:
        client = await served.connect()
        keys = one_a_block(served)
        with monkeypatch.context() as system:
            system.setattr(threading.Thread, "start", full)
            async with asyncio.timeout(10):
                assert await client("GET", keys[0]) == PAIRS[keys[0]]
        assert refused
        async with asyncio.timeout(10):
            assert await client("MGET", *keys) == [PAIRS[key] for key in keys]

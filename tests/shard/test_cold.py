"""Blocks that are not in memory: read by threads, beside everything else, and what cannot be read is refused alone."""

import asyncio
import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest

import ringkv.shard.blocks
from ringkv.cluster.ring import build_ring
from ringkv.dataset.segment import Segment
from ringkv.shard.blocks import Blocks
from ringkv.shard.looks import Looks
from ringkv.shard.store import Store
from tests.support.damage import flip
from tests.support.data import random_keys
from tests.support.memory import evict, resident
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.resp import command
from tests.support.served import Asker, Disk, Served, in_block, serving

PAIRS = {key: b"%b is the value" % key for key in random_keys(4_000, seed=71)}
ABSENT = random_keys(200, seed=72)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_pairs(tmp_path_factory.mktemp("cold"), PAIRS, segment_size=60_000)


@pytest.fixture
def on_tmpfs() -> Iterator[Path]:
    """Where no file system says whether a read would have to wait."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield pack_pairs(Path(folder), PAIRS)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    made.install(monkeypatch.setattr)
    yield made
    made.gate.set()


def told(reply: Any) -> str:
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


async def all_right(client: Asker) -> None:
    """Every key has its value, one by one and many at once."""
    keys = [*PAIRS, *ABSENT]
    client.send(*(("GET", key) for key in keys))
    assert [await client.read() for _ in keys] == [PAIRS.get(key) for key in keys]
    for at in range(0, len(keys), 100):
        assert await client("MGET", *keys[at : at + 100]) == [PAIRS.get(key) for key in keys[at : at + 100]]


async def test_blocks_that_arrive_between_two_looks_are_answered(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_now = Segment.read_now
    looked: set[tuple[Segment, int]] = set()

    def now(segment: Segment, offset: int, size: int) -> bytearray | None:
        first = (segment, offset) not in looked
        looked.add((segment, offset))
        return None if first else read_now(segment, offset, size)

    async with serving(packed) as served:
        monkeypatch.setattr(Segment, "read_now", now)
        monkeypatch.setattr(Looks, "are_worth_it", lambda _looks: True)
        client = await served.connect()
        async with asyncio.timeout(30):
            for keys in in_block(served.store, PAIRS).values():
                assert await client("MGET", *keys, *keys) == 2 * [PAIRS[key] for key in keys]


async def test_a_lease_reads_no_block(packed: Path, disk: Disk) -> None:
    evict(packed)
    async with serving(packed, leased=True) as served:
        client = await served.connect()
        manifest = served.store.dataset.manifest
        ring = build_ring(("one", "two"), 1, manifest.partitions)
        reply = await client("LEASE", manifest.dataset_id, ring.ring_id, 1, *ring.names)
        assert reply.startswith(b"OK ")
        blocks = served.store.blocks
        assert len(blocks.rows) == len(ring.owned_by("one"))
        assert (blocks.checked_bytes, served.version.reads.done, disk.reads) == (0, 0, [])
        for partition in ring.owned_by("one"):
            row = blocks.row(partition)
            segment = served.store.dataset.segments[served.store.dataset.segment_of(partition)]
            if row.offset > 1 << 16:  # not among what was read ahead when the segment was opened
                assert segment.read_now(row.offset, row.size) is None


async def test_who_waits_for_a_block_keeps_nobody_else_waiting(packed: Path, disk: Disk) -> None:
    evict(packed)
    async with serving(packed) as served:
        mine, other = await served.connect(), await served.connect()
        groups = list(in_block(served.store, PAIRS).values())
        hot, cold = groups[0][0], groups[200][0]
        assert await mine("GET", hot) == PAIRS[hot]
        disk.gate.clear()
        mine.send(("GET", cold), ("GET", hot), ("PING",))
        await eventually(lambda: served.version.reads.in_flight == 1)
        waiting = asyncio.create_task(mine.read())
        for _ in range(100):
            assert await other("GET", hot) == PAIRS[hot]
        assert await other("PING") == b"PONG"
        assert not waiting.done()
        disk.gate.set()
        assert await waiting == PAIRS[cold]
        assert [await mine.read(), await mine.read()] == [PAIRS[hot], b"PONG"]
        assert served.version.reads.in_flight == 0


async def test_a_null_is_of_the_dialect_in_which_it_was_asked_for(packed: Path, disk: Disk) -> None:
    evict(packed)
    async with serving(packed) as served:
        reader, writer = await asyncio.open_unix_connection(served.address.host)
        asked = (("GET", ABSENT[0]), ("MGET", *ABSENT[1:3]), ("MULTI",), ("GET", ABSENT[3]), ("HELLO", 3), ("EXEC",))
        disk.gate.clear()
        writer.write(b"".join(command(*each) for each in (*asked, ("GET", ABSENT[4]), ("RESET",))))
        await eventually(lambda: served.version.reads.in_flight)
        disk.gate.set()
        replies = await reader.readuntil(b"+RESET\r\n")
        assert replies.startswith(b"$-1\r\n*2\r\n$-1\r\n$-1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$-1\r\n%7\r\n")
        assert replies.endswith(b"\r\n_\r\n+RESET\r\n")
        writer.close()


async def test_many_who_wait_for_one_block_read_it_once(packed: Path, disk: Disk) -> None:
    evict(packed)
    async with serving(packed) as served:
        keys = max(in_block(served.store, PAIRS).values(), key=len)
        clients = [await served.connect() for _ in range(5)]
        disk.gate.clear()
        for client in clients:
            client.send(*(("GET", key) for key in keys))
        await eventually(lambda: served.version.reads.in_flight == 1)
        await asyncio.sleep(0.05)
        disk.gate.set()
        for client in clients:
            assert [await client.read() for _ in keys] == [PAIRS[key] for key in keys]
        assert len(disk.reads) == 1


@pytest.mark.parametrize("name", ["MGET", "EXISTS"])
async def test_many_keys_have_their_blocks_read_side_by_side(packed: Path, disk: Disk, name: str) -> None:
    evict(packed)
    async with serving(packed) as served:
        client = await served.connect()
        keys = [keys[0] for keys in in_block(served.store, PAIRS).values()][150:162]
        disk.gate.clear()
        client.send((name, *keys))
        await eventually(lambda: disk.together == len(keys))
        disk.gate.set()
        assert await client.read() == ([PAIRS[key] for key in keys] if name == "MGET" else len(keys))


@pytest.mark.parametrize("how", ["of the block alone", "by another lookup"])
async def test_every_pair_is_read_from_a_cold_disk(packed: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "by another lookup":
        monkeypatch.setattr(Blocks, "proves", lambda *_: False)
    evict(packed)
    async with serving(packed) as served:
        await all_right(await served.connect())
        assert served.version.reads.done > 0
        assert served.store.blocks.checked_bytes == served.store.blocks.bytes


@pytest.mark.parametrize("together", [False, True])
async def test_one_cold_key_is_looked_up_once(packed: Path, monkeypatch: pytest.MonkeyPatch, *, together: bool) -> None:
    """It is found in the block that has come; so are absent keys, and those that are not in lower case."""
    looked: list[bytes] = []
    get = Store.get

    def counted(store: Store, key: bytes) -> bytes | None:
        looked.append(key)
        return get(store, key)

    evict(packed)
    monkeypatch.setattr(Looks, "are_worth_it", lambda _looks: False)
    monkeypatch.setattr(Store, "get", counted)
    async with serving(packed) as served:
        client, blocks = await served.connect(), list(in_block(served.store, [*PAIRS, *ABSENT]).values())
        keys = [keys[-1] for keys in blocks[100:140]]
        asked = [key.upper() if number % 3 == 2 else key for number, key in enumerate(keys)]
        if together:
            client.send(*(("GET", key) for key in asked))
            assert [await client.read() for _ in asked] == [PAIRS.get(key) for key in keys]
        else:
            assert [await client("GET", key) for key in asked] == [PAIRS.get(key) for key in keys]
        assert any(key in ABSENT for key in looked)
        assert (looked, served.version.reads.done) == (keys, len(keys))


async def test_a_block_that_the_disk_cannot_read_is_refused_alone(packed: Path, disk: Disk) -> None:
    evict(packed)
    async with serving(packed) as served:
        client = await served.connect()
        groups = in_block(served.store, PAIRS)
        bad = list(groups)[200]
        disk.broken[served.store.blocks.row(bad).offset] = OSError(errno.EIO, os.strerror(errno.EIO))
        for block, keys in groups.items():
            if served.store.dataset.segment_of(block) != served.store.dataset.segment_of(bad):
                continue
            for key in keys:
                reply = await client("GET", key)
                if block == bad:
                    assert told(reply).startswith(
                        f"CORRUPT {packed}: block {bad} is corrupt: cannot be read: Input/out"
                    )
                else:
                    assert reply == PAIRS[key]
        assert told(await client("MGET", groups[bad][0])).startswith("CORRUPT ")
        assert set(served.store.blocks.corrupt) == {bad}


async def test_where_nothing_tells_whether_a_read_waits_it_works_all_the_same(on_tmpfs: Path) -> None:
    async with serving(on_tmpfs) as served:
        assert not any(segment.nowait for segment in served.store.dataset.segments)
        await all_right(await served.connect())
        assert served.version.reads.done > 0


@pytest.mark.parametrize("where", ["a file system that tells what would wait", "one that does not"])
async def test_with_less_memory_than_data_nothing_is_mapped_and_all_is_right(
    packed: Path, on_tmpfs: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = on_tmpfs if where == "one that does not" else packed
    monkeypatch.setattr(ringkv.shard.blocks, "available", lambda: 1000)
    async with serving(folder, warm_rate=1 << 30) as served:
        client = await served.connect()
        assert not served.store.blocks.mapped
        for _ in range(2):
            await all_right(client)
        assert resident(os.getpid(), folder) <= len(served.store.dataset.segments) << 16
        explained = await client("EXPLAIN", next(iter(PAIRS)))
        assert b'"found": true' in explained


async def test_blocks_that_leave_the_memory_while_others_are_read_are_not_read_for_ever(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are there while it is found out which are not, and gone when these have been read, and so on."""
    monkeypatch.setattr(ringkv.shard.blocks, "available", lambda: 1000)
    async with serving(packed) as served:
        client = await served.connect()
        keys = [keys[0] for keys in in_block(served.store, PAIRS).values()][:8]
        rows = [served.store.blocks.row(served.store.block_of(key)).offset for key in keys]
        looks: Counter[int] = Counter()

        def fickle(segment: Segment, offset: int, size: int) -> bytes | None:
            looks[offset] += 1
            return segment.read(offset, size) if looks[offset] <= 2 and offset in rows[:4] else None

        monkeypatch.setattr(Segment, "read_now", fickle)
        async with asyncio.timeout(10):
            assert await client("MGET", *keys) == [PAIRS[key] for key in keys]


async def test_a_block_behind_the_end_of_a_file_that_was_cut_off_is_refused_and_not_read_for_ever(
    packed: Path, tmp_path: Path
) -> None:
    cut = shutil.copytree(packed, tmp_path / "cut")
    async with serving(cut) as served:
        client = await served.connect()
        os.truncate(served.store.dataset.segments[0].path, 4096)
        key = next(key for key in PAIRS if served.store.blocks.row(served.store.block_of(key)).offset > 4096)
        async with asyncio.timeout(10):
            assert told(await client("GET", key)).startswith("NOTLEASED ")


async def test_a_lease_that_ends_while_a_block_is_read_refuses_it(packed: Path, disk: Disk) -> None:
    evict(packed)
    async with serving(packed) as served:
        client = await served.connect()
        keys = [keys[0] for keys in in_block(served.store, PAIRS).values()]
        disk.gate.clear()
        client.send(("GET", keys[200]), ("MGET", keys[201], keys[202]), ("PING",))
        await eventually(lambda: served.version.reads.in_flight == 3)
        await end_lease(served)
        disk.gate.set()
        for _ in range(2):
            assert told(await client.read()).startswith("NOTLEASED ")
        assert await client.read() == b"PONG"
        assert served.version.reads.in_flight == 0
        served.version.everything = await served.version.leases.grant(range(256))
        await all_right(client)


async def end_lease(served: Served) -> None:
    lease = served.version.everything
    assert lease is not None
    served.version.leases.end(lease)
    served.version.everything = None
    await eventually(lambda: not served.store.blocks.rows)  # it is let go of in pieces


async def test_a_client_that_has_gone_leaves_no_read_behind(packed: Path, disk: Disk) -> None:
    evict(packed)
    async with serving(packed) as served:
        client, other = await served.connect(), await served.connect()
        key = [keys[0] for keys in in_block(served.store, PAIRS).values()][200]
        disk.gate.clear()
        client.send(("GET", key))
        await eventually(lambda: served.version.reads.in_flight == 1)
        client.close()
        await asyncio.sleep(0.05)
        disk.gate.set()
        await eventually(lambda: (served.version.reads.in_flight, len(served.state.clients)) == (0, 1))
        assert await other("GET", key) == PAIRS[key]


@pytest.mark.parametrize("warm_rate", [0, 1 << 30])
async def test_one_wrong_place_in_the_table_refuses_that_block_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_rate: int
) -> None:
    """Where a block lies has no digest: only what is read there shows that it is the wrong place."""
    monkeypatch.setattr("ringkv.cluster.position.MIN_BLOCKS", 1 << 15)
    folder = pack_pairs(tmp_path, PAIRS)
    async with serving(folder) as served:
        groups = in_block(served.store, PAIRS)
        rows = {block: served.store.blocks.row(block) for block in groups}
    # The last block of a partition, which then seems to end before the first one of it begins.
    bad = next(block for block in groups if block % 2 and block - 1 in groups and rows[block].offset & 1 << 16)
    table = (folder / "blocks.arrow").read_bytes()
    at = table.index(b"".join(rows[block].offset.to_bytes(4, "little") for block in (bad - 1, bad))) + 4
    flip(folder / "blocks.arrow", at + 2)
    async with serving(folder, warm_rate, leased=True) as served:
        client, blocks = await served.connect(), served.store.blocks
        await served.version.leases.grant([bad // 2])
        if warm_rate:
            await eventually(lambda: (blocks.checked_bytes, set(blocks.corrupt)) == (rows[bad - 1].size, {bad}))
        for key in groups[bad - 1]:
            assert await client("GET", key) == PAIRS[key]
        for key in groups[bad]:
            assert told(await client("GET", key)).startswith(f"CORRUPT {folder}: block {bad} is corrupt: ")

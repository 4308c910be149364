"""The warm-up: it reads and checks all that is leased, what was asked for first, no faster than it may."""

import asyncio
import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.cluster.lease import LeaseRequest
from ringkv.cluster.ring import build_ring
from ringkv.shard import warmup
from ringkv.shard.restraint import Restraint
from tests.support.damage import flip_value_byte, place_of
from tests.support.data import random_keys
from tests.support.memory import evict
from tests.support.packed import pack_pairs
from tests.support.processes import eventually
from tests.support.served import Disk, in_block, serving

PAIRS = {key: b"%b is the value" % key for key in random_keys(4_000, seed=81)}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack_pairs(tmp_path, PAIRS, segment_size=60_000)


async def test_everything_is_read_and_checked_before_anybody_asks(packed: Path) -> None:
    evict(packed)
    async with serving(packed, warm_rate=1 << 30) as served:
        blocks = served.store.blocks
        await eventually(lambda: blocks.checked_bytes == blocks.bytes)
        client = await served.connect()
        for key, value in list(PAIRS.items())[:500]:
            assert await client("GET", key) == value
        assert served.version.reads.done == 0


async def test_small_partitions_are_read_together(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread for each of them would take longer than what it reads, and while somebody asks each waits its turn."""
    pieces = 0

    def counted(*args: object) -> object:
        nonlocal pieces
        pieces += 1
        return read(*args)

    read: Callable[..., object] = warmup._read  # noqa: SLF001 - its calls are what is counted
    monkeypatch.setattr(warmup, "_read", counted)
    async with serving(packed, warm_rate=1 << 30) as served:
        blocks = served.store.blocks
        await eventually(lambda: blocks.checked_bytes == blocks.bytes)
        segments = len(served.version.dataset.segments)
        assert 1 < segments < blocks.dataset.manifest.partitions // 2
        assert pieces == segments


async def test_damage_is_found_by_it(packed: Path) -> None:
    flip_value_byte(packed, 7)
    flip_value_byte(packed, 200)
    async with serving(packed, warm_rate=1 << 30) as served:
        blocks = served.store.blocks
        await eventually(lambda: set(blocks.corrupt) == {7, 200})
        await eventually(lambda: blocks.checked_bytes == blocks.bytes - blocks.row(7).size - blocks.row(200).size)


async def test_a_block_that_the_disk_cannot_read_is_refused_alone_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read together with others, of which then none comes."""
    packed, disk = pack_pairs(tmp_path, PAIRS), Disk()
    disk.broken[place_of(packed, 7).row.offset] = OSError(errno.EIO, "Input/output error")
    disk.install(monkeypatch.setattr)
    async with serving(packed, warm_rate=1 << 30) as served:
        blocks = served.store.blocks
        await eventually(lambda: set(blocks.corrupt) == {7})
        assert "cannot be read: Input/output error" in blocks.corrupt[7]
        await eventually(lambda: blocks.checked_bytes == blocks.bytes - blocks.row(7).size)


async def test_at_a_rate_of_0_nothing_is_read_ahead(packed: Path) -> None:
    async with serving(packed, warm_rate=0) as served:
        await asyncio.sleep(0.2)
        assert served.store.blocks.checked_bytes == 0


async def test_no_more_is_read_in_a_second_than_the_rate_allows(packed: Path) -> None:
    rate = 200_000
    async with serving(packed, warm_rate=rate) as served:
        blocks = served.store.blocks
        began = time.monotonic()
        while (passed := time.monotonic() - began) < 1.0:
            # What may be made up for is a tenth of a second, and the block that is read now.
            assert blocks.checked_bytes <= rate * (passed + 0.2) + 10_000
            await asyncio.sleep(0.02)
        assert blocks.checked_bytes >= rate * 0.3


async def test_what_was_asked_for_is_read_first(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evict(packed)
    monkeypatch.setattr("ringkv.shard.warmup.AT_ONCE", 5_000)
    disk = Disk()
    disk.install(monkeypatch.setattr)
    disk.gate.clear()
    async with serving(packed, warm_rate=1 << 30) as served:
        groups = in_block(served.store, PAIRS)
        late = max(groups)
        await eventually(lambda: len(disk.reads) == 1)
        client = await served.connect()
        client.send(("GET", groups[late][0]))
        await eventually(lambda: served.version.reads.in_flight == 1)
        asked = len(disk.reads)
        order: list[int] = []
        window_of = served.version.warmup._window  # noqa: SLF001 - its order is what is promised

        def noting(size: int) -> list[int]:
            window = window_of(size)
            order.extend(window)
            return window

        monkeypatch.setattr(served.version.warmup, "_window", noting)
        disk.gate.set()
        assert await client.read() == PAIRS[groups[late][0]]
        assert asked >= 1
        blocks = served.store.blocks
        await eventually(lambda: blocks.checked_bytes == blocks.bytes)
        assert order[0] == late
        assert order[1:] == sorted(order[1:])


async def test_a_partition_that_is_released_while_it_is_read_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several groups of blocks, as it is more than is read at once."""
    monkeypatch.setattr("ringkv.cluster.position.MIN_BLOCKS", 1 << 15)
    monkeypatch.setattr("ringkv.shard.warmup.AT_ONCE", 1)
    keys = random_keys(5_000, seed=82)
    folder = pack_pairs(tmp_path, {key: key for key in keys})
    disk = Disk()
    disk.install(monkeypatch.setattr)
    disk.gate.clear()
    async with serving(folder, warm_rate=1 << 30, leased=True) as served:
        filled = in_block(served.store, keys)
        partition = next(block // 2 for block in filled if {block, block ^ 1} <= filled.keys())
        lease = await served.version.leases.grant([partition])
        await eventually(lambda: len(disk.reads) == 1)
        served.version.leases.end(lease)
        disk.gate.set()
        await eventually(lambda: len(disk.reads) == 2)
        await served.version.leases.grant([partition])
        blocks = served.store.blocks
        await eventually(lambda: blocks.checked_bytes == blocks.bytes > 0)


async def test_what_routers_ask_for_themselves_holds_nothing_up(packed: Path) -> None:
    async with serving(packed, leased=True) as served:
        router, client = await served.connect(), await served.connect()
        about, state = served.version.about, served.state
        ring = build_ring(["one"], 1, about.partitions)
        lease = LeaseRequest(about.dataset_id, ring.ring_id, 1, ring.names).command()
        key, other = list(PAIRS)[:2]
        before = state.asked
        for request in (("INFO",), ("HEARTBEAT",), lease, ("EXISTS", key), ("EXISTS", other), ("HEARTBEAT",)):
            assert not isinstance(await router(*request), Exception)
            assert state.asked == before
        assert await router("GET", key) == PAIRS[key]
        assert await client("EXISTS", key) == 1
        assert state.asked == before + 2


@pytest.mark.parametrize("change", [0, -1])
async def test_requests_that_do_not_count_are_no_reason_to_wait(change: int) -> None:
    """They are taken off when they come, and counted with all others when they are answered."""
    asked = 10
    restraint = Restraint(lambda: asked)
    asked += change
    assert not await restraint.wait()

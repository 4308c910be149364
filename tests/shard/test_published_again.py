"""The same data published again into a folder: a shard reads them from there, under the leases that it has granted."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.cluster.errors import PartitionNotLeased
from ringkv.cluster.position import position, shift_to
from ringkv.cluster.ring import build_ring
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import MANIFEST
from ringkv.dataset.segment import LOOK_SECONDS
from ringkv.shard.settings import Followed
from tests.support.damage import flip_value_byte
from tests.support.processes import Spawner, eventually, wait_for
from tests.support.published import KEYS, Published, value_of
from tests.support.redis_port import told
from tests.support.served import Asker, Disk, Served, in_block, serving
from tests.support.versioned import Versioned

RING = build_ring(("one",), 1, 256)
VALUES = [value_of(1, key) for key in KEYS]
DAMAGED = 7


def again(published: Published, before: Callable[[Path], None] = lambda _: None) -> Path:
    """Publish the data of version 1 once more; returns the folder."""
    folder = published.put(1, before)
    published.catalog.swap(published.catalog.current(), published.datasets[1], folder.name, "a tester", forced=False)
    return folder


async def leasing(served: Served, published: Published) -> Asker:
    """A connection that leases all."""
    client = await served.connect()
    assert (await client("LEASE", published.datasets[1], RING.ring_id, 1, "one")).startswith(b"OK 2000 ")
    return client


async def reads_from(served: Served, folder: Path) -> None:
    served.shard.look_now()
    await eventually(lambda: served.version.dataset.path == folder)


def opened_in(folder: Path) -> int:
    """How many files of the folder this process has mapped or open."""
    opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return str([*opened, Path("/proc/self/maps").read_text()]).count(f"{folder}")


@pytest.mark.parametrize("leased", [False, True])
async def test_a_damaged_block_is_served_from_the_folder_that_is_whole(published: Published, *, leased: bool) -> None:
    damaged = published.folder(1)
    flip_value_byte(damaged, DAMAGED)
    async with serving(Followed(published.path), leased=leased) as served:
        client = await leasing(served, published) if leased else await served.connect()
        other = await served.connect()
        key = in_block(served.store, KEYS)[DAMAGED][0]
        assert told(await client("GET", key)).startswith("CORRUPT ")
        whole = again(published)
        await reads_from(served, whole)
        assert [await asker("MGET", *KEYS) for asker in (client, other)] == [VALUES, VALUES]
        assert await client("GET", key) == value_of(1, key)
        assert [version.about.serial for version in served.state.versions.offered] == [2]
        assert served.state.versions.leases == 1
        await eventually(lambda: not opened_in(damaged))
        shutil.rmtree(damaged)
        assert await client("MGET", *KEYS) == VALUES
        client.close()
        await eventually(lambda: served.state.versions.leases == (0 if leased else 1))
        assert served.version.store.blocks.keys == (0 if leased else 2000)


def test_routers_need_no_other_version_and_no_request_fails(spawn: Spawner, published: Published) -> None:
    damaged = published.folder(1)
    flip_value_byte(damaged, DAMAGED)
    versioned = Versioned(spawn, {"one": published.path, "two": published.path})
    with Dataset.open(damaged) as dataset:
        shift = shift_to(dataset.manifest.blocks)
    bad = [key for key in KEYS if position(key) >> shift == DAMAGED]
    good = [key for key in KEYS if key not in bad]
    assert {versioned.value(key)[0] for key in bad} == {503}
    whole = again(published)
    for shard in versioned.shards.values():
        while f"what is read comes from {whole} now" not in shard.err:
            for key in good[:20]:
                assert versioned.value(key)[:2] == (200, value_of(1, key))
            assert shard.process.poll() is None
    shutil.rmtree(damaged)
    for key in bad + good[20:100]:
        assert versioned.value(key)[:2] == (200, value_of(1, key))
    wait_for(lambda: versioned.ask("versions")["served"]["serial"] == 2)


async def test_requests_under_way_are_answered_while_a_shard_goes_over(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    disk.install(monkeypatch.setattr)
    damaged = published.folder(1)
    async with serving(Followed(published.path), leased=True) as served:
        client, before = await leasing(served, published), served.version.reads
        disk.gate.clear()
        client.send(*(("GET", key) for key in KEYS[:40]), ("MGET", *KEYS[40:80]), ("STRLEN", KEYS[80]))
        await eventually(lambda: before.in_flight > 40)
        whole = again(published)
        await reads_from(served, whole)
        disk.gate.set()
        assert [await client.read() for _ in range(40)] == VALUES[:40]
        assert await client.read() == VALUES[40:80]
        assert await client.read() == len(VALUES[80])
        await eventually(lambda: not opened_in(damaged))


async def test_what_is_published_again_and_cannot_be_read_changes_nothing(published: Published) -> None:
    first = published.folder(1)
    async with serving(Followed(published.path), leased=True) as served:
        client, versions = await leasing(served, published), served.state.versions
        again(published, lambda folder: (folder / MANIFEST).unlink())
        served.shard.look_now()
        await eventually(lambda: versions.behind)
        assert served.version.dataset.path == first
        assert await client("MGET", *KEYS) == VALUES
        await reads_from(served, again(published))
        assert not versions.behind
        assert await client("MGET", *KEYS) == VALUES


async def test_going_over_leaves_nothing_open_and_what_is_read_now_is_watched(published: Published) -> None:
    async with serving(Followed(published.path), leased=True) as served:
        client = await leasing(served, published)
        tasks = len(asyncio.all_tasks())
        for _ in range(5):
            before = served.version.dataset.path
            await reads_from(served, again(published))
            assert await client("MGET", *KEYS) == VALUES
            await eventually(lambda before=before: not opened_in(before))  # type: ignore[misc]
        await eventually(lambda: len(asyncio.all_tasks()) == tasks)
        now = served.version.dataset.path
        published.publish(2)
        served.shard.look_now()
        await eventually(lambda: len(served.state.versions.offered) == 2)
        await asyncio.sleep(2 * LOOK_SECONDS)  # so that the next write is at another time
        flip_value_byte(now, DAMAGED)
        await eventually(lambda: served.version.lost)


async def test_a_version_that_is_lost_or_closed_while_it_goes_over_stays_so(published: Published) -> None:
    async with serving(Followed(published.path), leased=True) as served:
        version = served.version
        await leasing(served, published)
        folder = published.put(1)
        version.lost = True
        dataset = Dataset.open(folder)
        with pytest.raises(PartitionNotLeased, match="was lost meanwhile"):
            await (await version.go_over(dataset))
        assert not opened_in(folder)
        await version.leases.close(1)
        dataset = Dataset.open(folder)
        with pytest.raises(PartitionNotLeased, match="not served any more"):
            await (await version.go_over(dataset))
        assert not opened_in(folder)
        assert version.dataset.path != folder
        version.lost = False


async def test_leases_that_come_and_go_meanwhile_are_those_of_the_folder_that_is_whole(published: Published) -> None:
    async with serving(Followed(published.path), leased=True) as served:
        leases = served.version.leases
        gone, stays = await leases.grant(range(100)), await leases.grant(range(90, 200))
        going = asyncio.create_task(served.state.versions.go_over(served.version, Dataset.open(published.put(1))))
        await asyncio.sleep(0)
        coming = asyncio.create_task(leases.grant(range(200, 210)))
        await asyncio.sleep(0)
        leases.end(gone)
        await going
        assert (await coming).leased.keys
        assert sorted(served.version.store.blocks.rows) == list(range(90, 210))
        leases.end(stays)
        await eventually(lambda: sorted(served.version.store.blocks.rows) == list(range(200, 210)))

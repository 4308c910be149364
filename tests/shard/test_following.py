"""A shard follows its catalog: forwards, backwards, past what cannot be served, and from before the first version."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ringkv.shard.following
from ringkv.cluster.lease import Offered, offered_in
from ringkv.cluster.ring import build_ring
from ringkv.dataset.catalog import CURRENT
from ringkv.dataset.format import MANIFEST, segment_name
from ringkv.process.address import Address
from ringkv.shard.body import Read
from ringkv.shard.server import Shard
from ringkv.shard.settings import Followed, ShardSettings
from tests.support.http import fetch
from tests.support.metrics import Metrics
from tests.support.processes import SpawnedShard, Spawner, eventually, one_line, wait_for
from tests.support.published import KEYS, Published, value_of
from tests.support.redis_port import told
from tests.support.resp import Client
from tests.support.served import serving
from tests.support.web import web

Connect = Callable[[SpawnedShard], Client]
RING = build_ring(("one",), 1, 256)


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path / "catalog")


def versions(client: Client) -> tuple[Offered, ...]:
    return offered_in(client.info())


def serials(client: Client) -> list[int]:
    return [version.serial for version in versions(client)]


def without_a_segment(dataset: Path) -> None:
    (dataset / segment_name(0)).unlink()


def without_a_manifest(dataset: Path) -> None:
    (dataset / MANIFEST).unlink()


def with_a_table_of_another(dataset: Path) -> None:
    (dataset / "partitions.arrow").write_bytes(b"ARROW1\0\0")


@pytest.mark.parametrize("harm", [without_a_segment, without_a_manifest, with_a_table_of_another])
def test_a_version_that_cannot_be_served_changes_nothing_and_is_told_once(
    spawn: Spawner, published: Published, connect: Connect, harm: Callable[[Path], None]
) -> None:
    published.publish(1)
    shard = spawn.shard(published.path, "--name", "one", "--http", "127.0.0.1:0")
    port = int(shard.spawned.wait_for_line(r"answers HTTP on 127\.0\.0\.1:(\d+)")[1])

    def behind() -> float:
        return Metrics.parse(asyncio.run(fetch("127.0.0.1", port, "/metrics")))["ringkv_shard_behind"]

    client = connect(shard)
    assert behind() == 0
    published.publish(2, harm)
    reason = shard.spawned.wait_for_line("the catalog cannot be followed: (.*)")[1]
    assert str(published.folder(2)) in reason
    assert behind() == 1
    assert client("GET", KEYS[0]) == value_of(1, KEYS[0])
    assert serials(client) == [1]
    # Looked at again and again, and told once.
    assert published.publish(3) == 3
    wait_for(lambda: serials(client) == [3])
    assert client("GET", KEYS[0]) == value_of(3, KEYS[0])
    assert shard.spawned.err.count("the catalog cannot be followed") == 1
    shard.spawned.wait_for_line("the older version 2 cannot be offered")
    wait_for(lambda: behind() == 0)
    assert "the catalog can be followed again" in shard.spawned.err


def test_a_current_json_that_is_damaged_or_gone_changes_nothing(
    spawn: Spawner, published: Published, connect: Connect
) -> None:
    published.publish(1)
    shard = spawn.shard(published.path, "--name", "one")
    client = connect(shard)
    current = published.path / CURRENT
    text = current.read_bytes()
    current.write_bytes(text[:-20])
    shard.spawned.wait_for_line(f"ERROR +ringkv.shard: the catalog cannot be followed: {current}: is not what ")
    current.unlink()
    shard.spawned.wait_for_line(f"the catalog cannot be followed: {published.path}: nothing is published there")
    assert client("GET", KEYS[0]) == value_of(1, KEYS[0])
    assert serials(client) == [1]
    current.write_bytes(text)
    shard.spawned.wait_for_line("the catalog can be followed again")
    assert serials(client) == [1]


def test_a_rollback_is_one_more_version_of_the_dataset_before(
    spawn: Spawner, published: Published, connect: Connect
) -> None:
    published.publish(1)
    shard = spawn.shard(published.path, "--name", "one")
    client = connect(shard)
    published.publish(2)
    wait_for(lambda: serials(client) == [2, 1])
    published.swap(1)
    wait_for(lambda: serials(client) == [3, 2])
    assert [version.dataset_id for version in versions(client)] == [published.datasets[1], published.datasets[2]]
    assert client("GET", KEYS[0]) == value_of(1, KEYS[0])


def test_a_catalog_that_goes_back_is_followed_and_told(spawn: Spawner, published: Published, connect: Connect) -> None:
    published.publish(1)
    published.publish(2)
    before = (published.path / CURRENT).read_bytes()
    published.publish(3)
    shard = spawn.shard(published.path, "--name", "one")
    client = connect(shard)
    assert serials(client) == [3, 2]
    (published.path / CURRENT).write_bytes(before)
    wait_for(lambda: serials(client) == [2, 1])
    assert client("GET", KEYS[0]) == value_of(2, KEYS[0])
    shard.spawned.wait_for_line("goes back from version 3 to version 2: it is followed")


def test_a_restart_offers_the_newest_and_the_one_before(spawn: Spawner, published: Published, connect: Connect) -> None:
    for version in (1, 2, 3):
        published.publish(version)
    published.swap(3)  # the same again is no other version
    for _ in range(2):
        shard = spawn.shard(published.path, "--leased", "--name", "one")
        client = connect(shard)
        assert serials(client) == [4, 2]
        assert client.lease(published.datasets[2], RING).startswith(b"OK 2000 ")
        assert client("GET", KEYS[0]) == value_of(2, KEYS[0])
        os.kill(shard.spawned.pid, signal.SIGKILL)
        shard.spawned.wait()


def test_what_routers_serve_stays_offered_whatever_is_published(
    spawn: Spawner, published: Published, connect: Connect
) -> None:
    for version in (1, 2, 3, 4):
        published.publish(version)
    shard = spawn.shard(published.path, "--leased", "--name", "one")
    client, router, other = connect(shard), connect(shard), connect(shard)
    assert serials(client) == [4, 3]
    router("HEARTBEAT", published.datasets[1])
    wait_for(lambda: serials(client) == [4, 3, 1])
    assert client.info()["served"] == published.datasets[1]
    assert connect(shard).lease(published.datasets[1], RING).startswith(b"OK 2000 ")
    other("HEARTBEAT", published.datasets[2])
    wait_for(lambda: serials(client) == [4, 3, 2, 1])
    router("HEARTBEAT", published.datasets[4])
    wait_for(lambda: serials(client) == [4, 3, 2])
    other.socket.close()
    wait_for(lambda: serials(client) == [4, 3])
    router("HEARTBEAT", published.datasets[2])
    router.socket.close()
    wait_for(lambda: serials(client) == [4, 3, 2])
    assert client.info()["served"] == published.datasets[2], "for the next router, which has nothing to compare with"
    assert shard.spawned.err.count("version 4 is offered") == 1


def test_what_routers_serve_and_cannot_be_opened_is_told_once(
    spawn: Spawner, published: Published, connect: Connect
) -> None:
    published.publish(1, without_a_segment)
    published.publish(2)
    published.publish(3)
    shard = spawn.shard(published.path, "--leased", "--name", "one")
    client = connect(shard)
    client("HEARTBEAT", published.datasets[1])
    shard.spawned.wait_for_line("the older version 1 cannot be offered: ")
    shard.spawned.process.send_signal(signal.SIGHUP)  # it is tried again
    published.publish(4)
    wait_for(lambda: serials(client) == [4, 3])
    assert shard.spawned.err.count("cannot be offered") == 1
    assert told(client("HEARTBEAT", "no id")).startswith("ERR want HEARTBEAT ")


def test_at_the_start_the_version_before_is_served_where_the_newest_cannot_be(
    spawn: Spawner, published: Published, connect: Connect
) -> None:
    published.publish(1)
    published.publish(2, without_a_segment)
    shard = spawn.shard(published.path, "--name", "one")
    client = connect(shard)
    assert serials(client) == [1]
    assert client("GET", KEYS[0]) == value_of(1, KEYS[0])
    assert shard.spawned.err.count("the catalog cannot be followed") == 1


async def test_a_shard_is_ready_when_the_first_version_is_there(spawn: Spawner, published: Published) -> None:
    """The address of a store may be that of nothing yet; a path that leads to nothing is a mistake."""
    socket = f"{spawn.directory()}/s"
    listen = ("--listen", f"unix:{socket}", "--http", "127.0.0.1:0", "--name", "one")
    process = spawn("shard", f"file://{published.path}", *listen)
    port = int(process.wait_for_line(r"answers HTTP on 127\.0\.0\.1:(\d+)")[1])
    process.wait_for_line("nothing is published there; use `ringkv publish`")
    for path in ("/readyz", f"/{KEYS[0].decode()}"):
        response = await fetch("127.0.0.1", port, path)
        assert (response.status, response.body) == (503, b"no version of the data yet\n")
    assert (await fetch("127.0.0.1", port, "/healthz")).status == 200
    assert Metrics.parse(await fetch("127.0.0.1", port, "/metrics"))["ringkv_shard_versions"] == 0
    published.publish(1)
    process.wait_for_line("shard one ready on")
    assert (await fetch("127.0.0.1", port, "/readyz")).status == 200
    assert (await fetch("127.0.0.1", port, f"/{KEYS[0].decode()}")).body == value_of(1, KEYS[0])
    told = Metrics.parse(await fetch("127.0.0.1", port, "/metrics"))
    assert told["ringkv_shard_versions"] == 1
    assert told.labels("ringkv_shard_version_info") == [{"serial": "1", "dataset": published.datasets[1]}]


def test_a_shard_that_waits_for_its_first_version_can_be_stopped(spawn: Spawner, published: Published) -> None:
    process = spawn("shard", f"file://{published.path}", "--listen", f"unix:{spawn.directory()}/s")
    process.wait_for_line("nothing is published there")
    process.process.terminate()
    assert process.wait() == 0
    assert "Traceback" not in process.err


def test_a_folder_in_which_nothing_was_published_is_no_catalog(spawn: Spawner, published: Published) -> None:
    published.put(1)
    line = one_line(spawn("shard", published.path, "--listen", f"unix:{spawn.directory()}/s"))
    assert str(published.path) in line


async def test_what_could_not_be_opened_is_tried_again_at_once_when_that_is_asked_for(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.shard.following, "RETRY_MIN", 1e6)
    published.publish(1)
    async with serving(Followed(published.path)) as served:
        versions = served.state.versions
        kept = published.path / "kept"

        def harm(dataset: Path) -> None:
            (dataset / segment_name(0)).rename(kept)

        published.publish(2, harm)
        served.shard.look_now()
        await eventually(lambda: versions.behind)
        kept.rename(published.folder(2) / segment_name(0))
        served.shard.look_now()
        await eventually(lambda: versions.newest.about.serial == 2)
        assert not versions.behind


async def test_a_shard_starts_with_what_its_catalog_said_last_where_that_cannot_be_reached(
    published: Published, tmp_path: Path
) -> None:
    published.publish(1)
    source = Followed(published.path, tmp_path / "cache")
    async with serving(source):
        pass
    current = published.path / CURRENT
    current.rename(published.path / "elsewhere")
    current.mkdir()  # reads of it fail, as those of a store do that is down
    async with serving(source) as served:
        client = await served.connect()
        assert await client("GET", KEYS[0]) == value_of(1, KEYS[0])
        served.shard.look_now()
        await eventually(lambda: served.state.versions.behind)
        current.rmdir()
        published.publish(2)
        served.shard.look_now()
        await eventually(lambda: served.state.versions.newest.about.serial == 1 and not served.state.versions.behind)


async def test_a_mirror_that_is_cut_off_is_opened_and_filled_again(published: Published, tmp_path: Path) -> None:
    published.publish(1)
    published.publish(2)
    with web(published.path) as remote:
        async with serving(Followed(remote.url, tmp_path / "cache"), leased=True) as served:
            versions, lost = served.state.versions, served.version
            os.truncate(versions.newest.dataset.path / segment_name(0), 4096)
            await eventually(lambda: lost.lost and versions.newest.about.serial == 2)
            assert (versions.newest is lost, versions.behind) == (False, False)
            client = await served.connect()
            assert (await client("LEASE", published.datasets[2], RING.ring_id, 1, "one")).startswith(b"OK 2000 ")
            assert await client("MGET", *KEYS) == [value_of(2, key) for key in KEYS]


async def test_fifty_swaps_leave_no_file_no_thread_and_no_task_behind(published: Published) -> None:
    for version in range(5):
        published.publish(version)
    async with serving(Followed(published.path), leased=True) as served:
        versions = served.state.versions

        async def go_over(version: int) -> None:
            serial = published.swap(version)
            served.shard.look_now()
            await eventually(lambda: versions.newest.about.serial == serial)
            router = await served.connect()
            names = ("one",)
            assert (await router("LEASE", published.datasets[version], RING.ring_id, 1, *names)).startswith(b"OK 2000 ")
            for key in KEYS[:20]:
                assert await router("GET", key) == value_of(version, key)
            # So that some of its threads have begun: each version has its own, as many as its reads have needed.
            blocks, reads = versions.newest.store.blocks, versions.newest.reads
            segment = versions.newest.dataset.segments[0]
            await asyncio.gather(*(reads._body(Read(block, segment, blocks.row(block))) for block in range(40)))  # noqa: SLF001
            served.close()
            await eventually(lambda: (versions.leases, len(versions)) == (0, 2))

        def held() -> tuple[int, int, int, int]:
            maps = Path("/proc/self/maps").read_text().count(str(published.path))
            descriptors = len(list(Path("/proc/self/fd").iterdir()))
            # asyncio's own threads are no measure: as many as were busy at once stay, up to its bound.
            readers = sum(thread.name == "ringkv-reads" for thread in threading.enumerate())
            needed = sum(len(version.reads._disk._threads) for version in versions.offered)  # noqa: SLF001
            return descriptors, maps, readers - needed, len(asyncio.all_tasks())

        for swap in range(10):
            await go_over(swap % 5)
        before = held()
        for swap in range(10, 60):
            await go_over(swap % 5)
        await eventually(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
        assert versions.revision == 61


async def test_a_shard_that_is_told_to_stop_while_it_opens_a_version_leaves(
    published: Published, tmp_path: Path
) -> None:
    published.publish(1)
    shard = Shard(ShardSettings(Followed(published.path), "one", Address(f"{tmp_path}/s", None)))
    stop = asyncio.Event()
    living = asyncio.create_task(shard.live(stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(living, 30)
    await shard.close()

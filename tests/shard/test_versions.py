"""A shard goes from version to version: who has leased one reads that, all others the newest, and nobody a mixture."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hiredis
import pytest

import ringkv.shard.lessee
import tests.support.published
from ringkv.cluster.lease import Offered, offered_in
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.ring import Ring, build_ring
from ringkv.dataset.format import segment_name
from ringkv.shard.blocks import Blocks
from ringkv.shard.connection import ShardConnection
from ringkv.shard.settings import Followed
from tests.support.damage import flip_value_byte
from tests.support.processes import SpawnedShard, Spawner, eventually, wait_for
from tests.support.published import KEYS, Published, pairs_of, value_of
from tests.support.redis_port import told
from tests.support.resp import Client, command
from tests.support.served import Asker, serving

Connect = Callable[[SpawnedShard], Client]
RING = build_ring(("one",), 1, 256)
SWAPS = 8


@pytest.fixture
def shard(spawn: Spawner, published: Published) -> SpawnedShard:
    return spawn.shard(published.path, "--name", "one")


def versions(client: Client) -> tuple[Offered, ...]:
    return offered_in(client.info())


def wait_for_version(client: Client, serial: int) -> tuple[Offered, ...]:
    wait_for(lambda: versions(client)[0].serial == serial)
    return versions(client)


def revision(client: Client) -> int:
    return int(client("HEARTBEAT").split()[2])


@contextmanager
def asking(clients: dict[str, Client], ask: Callable[[str, Client], None]) -> Iterator[None]:
    """Ask with each client, all the time, until the end. Raises what was raised."""
    end, errors = threading.Event(), list[BaseException]()

    def run(name: str, client: Client) -> None:
        try:
            while not end.is_set():
                ask(name, client)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=each) for each in clients.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()
    for error in errors:
        raise error


def test_a_shard_tells_which_versions_it_offers(shard: SpawnedShard, published: Published, connect: Connect) -> None:
    client = connect(shard)
    first = versions(client)
    assert [(version.serial, version.by, version.forced) for version in first] == [(1, "a tester@here", False)]
    assert (first[0].dataset_id, first[0].partitions) == (published.datasets[1], 256)
    before = revision(client)
    published.put(2)
    published.swap(2, forced=True)
    second, *rest = wait_for_version(client, 2)
    assert (tuple(rest), second.dataset_id, second.forced) == (first, published.datasets[2], True)
    assert revision(client) == before + 1
    assert client.info()["dataset_id"] == published.datasets[2]


def test_under_load_each_lease_reads_its_version_through_all_swaps(
    shard: SpawnedShard, published: Published, connect: Connect
) -> None:
    asker = connect(shard)
    leased = {"1": connect(shard)}
    assert leased["1"].lease(published.datasets[1], RING).startswith(b"OK 2000 ")

    def ask(name: str, client: Client) -> None:
        client.send(b"".join(command("GET", key) for key in KEYS[:300]) + command("MGET", *KEYS[:50]))
        wanted = [value_of(int(name), key) for key in KEYS]
        assert [client.read() for _ in range(300)] == wanted[:300]
        assert client.read() == wanted[:50]

    for version in range(2, 6):
        with asking(dict(leased), ask):
            serial = published.publish(version)
            wait_for_version(asker, serial)
            newer = connect(shard)
            assert newer.lease(published.datasets[version], RING).startswith(b"OK 2000 ")
            leased[str(version)] = newer
    refused = connect(shard)
    assert told(refused.lease(published.datasets[2], RING)).startswith("WRONGDATASET one serves dataset ")
    assert refused.lease(published.datasets[4], RING).startswith(b"OK ")
    with asking(dict(leased), ask):
        assert asker.info()["leases"] == "6"
    leased.pop("1").socket.close()
    wait_for(lambda: asker.info()["leases"] == "5")
    with asking(dict(leased), ask):
        assert asker("GET", KEYS[0]) == value_of(5, KEYS[0])


def test_what_is_neither_offered_nor_leased_is_closed(
    shard: SpawnedShard, published: Published, connect: Connect
) -> None:
    asker, old = connect(shard), connect(shard)
    old.lease(published.datasets[1], RING)
    for version in (2, 3):
        wait_for_version(asker, published.publish(version))
    assert is_open(shard, published.folder(1))
    assert old("GET", KEYS[0]) == value_of(1, KEYS[0])
    old.socket.close()
    wait_for(lambda: not is_open(shard, published.folder(1)))
    assert is_open(shard, published.folder(2))
    assert is_open(shard, published.folder(3))


def is_open(shard: SpawnedShard, folder: Path) -> bool:
    """Whether the process has a file of the folder open, or mapped."""
    process = Path(f"/proc/{shard.spawned.pid}")
    found = [process.joinpath("maps").read_text()]
    for descriptor in process.joinpath("fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return any(str(folder) in text for text in found)


def test_a_shard_alone_goes_over_without_a_failed_or_mixed_reply(
    shard: SpawnedShard, published: Published, connect: Connect
) -> None:
    seen: dict[str, set[int]] = {"get": set(), "mget": set(), "multi": set()}
    latest = dict.fromkeys(seen, 1)

    def version_of(values: list[bytes], keys: list[bytes]) -> int:
        version = int(values[0].split()[0])
        assert values == [value_of(version, key) for key in keys]
        return version

    def ask(name: str, client: Client) -> None:
        keys = KEYS[:200]
        if name == "get":
            client.send(b"".join(command("GET", key) for key in keys))
            found = [version_of([client.read()], [key]) for key in keys]
        elif name == "mget":
            found = [version_of(client("MGET", *keys), keys)]
        else:
            client.send(command("MULTI") + b"".join(command("GET", key) for key in keys) + command("EXEC"))
            found = [version_of([client.read() for _ in range(len(keys) + 2)][-1], keys)]
        assert found == sorted(found)
        assert found[0] >= latest[name]
        latest[name] = found[-1]
        seen[name].update(found)

    asker = connect(shard)
    with asking({name: connect(shard) for name in seen}, ask):
        for version in range(2, SWAPS):
            wait_for_version(asker, published.publish(version))
    assert asker.info()["leases"] == "1"
    assert all(max(found) >= SWAPS - 2 for found in seen.values()), seen
    assert asker.info()["leased_keys"] == "2000"


async def test_large_values_that_wait_for_their_client_are_of_the_version_that_it_asked(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KEYS[:12]

    def large(version: int) -> dict[bytes, bytes]:
        return {key: value_of(version, key) * (1 + LARGE_VALUE // 38) for key in keys}

    monkeypatch.setattr(tests.support.published, "pairs_of", lambda version, _keys: large(version))
    published.publish(2)
    async with serving(Followed(published.path)) as served:
        held = served.state.versions

        async def behind_two_versions() -> Asker:
            """A client that has asked for all keys, and reads nothing while two versions come."""
            client = await served.connect()
            assert await client("PING") == b"PONG"
            client.send(*(("GET", key) for key in keys))
            *_, connection = served.state.clients.values()
            assert isinstance(connection, ShardConnection)
            await eventually(lambda: connection.waiting()[0] == "send")
            for version in range(held.newest.about.serial + 1, held.newest.about.serial + 3):
                published.publish(version)
                served.shard.look_now()
                await eventually(lambda version=version: held.newest.about.serial == version)  # type: ignore[misc]
            return client

        client = await behind_two_versions()
        assert len(held) == 3
        assert [await client.read() for _ in keys] == list(large(2).values())
        assert await client("GET", keys[0]) == large(4)[keys[0]]
        await eventually(lambda: len(held) == 2)
        (await behind_two_versions()).close()
        await eventually(lambda: len(held) == 2)
        assert held.newest.about.serial == 6


def test_a_page_by_page_look_at_all_keys_goes_on_in_the_next_version(
    shard: SpawnedShard, published: Published, connect: Connect
) -> None:
    client = connect(shard)
    found, cursor = list[bytes](), b"0"
    for version in range(2, 5):
        for _ in range(5):
            cursor, keys = client("SCAN", cursor, "COUNT", 100)
            found += keys
        wait_for_version(connect(shard), published.publish(version))
    while cursor != b"0":
        cursor, keys = client("SCAN", cursor, "COUNT", 100)
        found += keys
    assert sorted(found) == sorted(KEYS)


def test_clients_that_keep_values_are_told_of_another_version(
    shard: SpawnedShard, published: Published, connect: Connect
) -> None:
    watcher, tracker = connect(shard), connect(shard)
    assert watcher("WATCH", KEYS[0]) == b"OK"
    assert watcher("MULTI") == b"OK"
    assert watcher("GET", KEYS[0]) == b"QUEUED"
    tracker("HELLO", 3)
    assert tracker("CLIENT", "TRACKING", "ON") == b"OK"
    wait_for_version(connect(shard), published.publish(2))
    assert watcher("EXEC") is None
    assert watcher("GET", KEYS[0]) == value_of(2, KEYS[0])
    pushed = tracker.read()
    assert (type(pushed), list(pushed)) == (hiredis.PushNotification, [b"invalidate", None])


def test_a_version_that_is_overwritten_is_left_and_the_other_goes_on(
    shard: SpawnedShard, published: Published, connect: Connect
) -> None:
    asker = connect(shard)
    wait_for_version(asker, published.publish(2))
    old, new = connect(shard), connect(shard)
    old.lease(published.datasets[1], RING)
    new.lease(published.datasets[2], RING)
    wait_for(lambda: (info := new.info())["checked_bytes"] == info["leased_bytes"] != "0")
    flip_value_byte(published.folder(2), 7)
    wait_for(lambda: [version.serial for version in versions(asker)] == [1])
    with pytest.raises(ConnectionError):
        new.read()
    assert [old("GET", key) for key in KEYS] == list(pairs_of(1).values())
    assert asker("GET", KEYS[0]) == value_of(1, KEYS[0])
    line = shard.spawned.wait_for_line("version 2 is served no more: (.*)")[1]
    assert "was overwritten while it was served" in line
    again = shard.spawned.wait_for_line("the catalog cannot be followed: (.*)")[1]
    assert "was overwritten while it was served; publish it again" in again
    wait_for_version(asker, published.publish(3))
    assert connect(shard).lease(published.datasets[3], RING).startswith(b"OK 2000 ")
    assert old("GET", KEYS[1]) == value_of(1, KEYS[1])
    assert shard.spawned.process.poll() is None


async def test_a_version_that_is_replaced_while_a_ring_is_built_is_not_leased(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(*given: Any) -> Ring:
        begun.set()
        assert gate.wait(30)
        return build_ring(*given)

    monkeypatch.setattr(ringkv.shard.lessee, "build_ring", slow)
    async with serving(Followed(published.path), leased=True) as served:
        client, held = await served.connect(), served.state.versions
        client.send(("LEASE", published.datasets[1], RING.ring_id, 1, "one"))
        await eventually(begun.is_set)
        published.publish(2)
        published.publish(3)
        served.shard.look_now()
        await eventually(lambda: served.version not in held.offered)
        gate.set()
        assert told(await client.read()).startswith("WRONGDATASET one serves dataset ")
        await eventually(lambda: (held.leases, len(held)) == (0, 2))


async def test_a_version_that_is_overwritten_while_it_is_leased_is_not_leased(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate, leasing = threading.Event(), threading.Event(), Blocks.leasing

    def slow(blocks: Blocks, partitions: list[int]) -> Any:
        begun.set()
        assert gate.wait(30)
        return leasing(blocks, partitions)

    async with serving(Followed(published.path), leased=True) as served:
        client, held = await served.connect(), served.state.versions
        published.publish(2)
        served.shard.look_now()
        await eventually(lambda: len(held.offered) == 2)
        monkeypatch.setattr(Blocks, "leasing", slow)
        client.send(("LEASE", published.datasets[1], RING.ring_id, 1, "one"))
        await eventually(begun.is_set)
        os.truncate(published.folder(1) / segment_name(0), 4096)
        await eventually(lambda: served.version.lost)
        gate.set()
        assert told(await client.read()).startswith("WRONGDATASET one serves dataset ")
        await eventually(lambda: (held.leases, len(held)) == (0, 1))


def test_what_routers_serve_is_offered_also_where_the_newest_cannot_be(
    spawn: Spawner, published: Published, connect: Connect
) -> None:
    """As when a shard starts anew while their gates keep out the version before, and the newest is damaged."""
    published.publish(2)
    published.publish(3, lambda dataset: (dataset / segment_name(0)).unlink())
    shard = spawn.shard(published.path, "--leased", "--name", "one")
    client = connect(shard)
    assert [version.serial for version in versions(client)] == [2]
    client("HEARTBEAT", published.datasets[1])
    wait_for(lambda: [version.serial for version in versions(client)] == [2, 1])
    assert shard.spawned.err.count("the catalog cannot be followed") == 1
    published.publish(4)
    wait_for(lambda: [version.serial for version in versions(client)] == [4, 1])

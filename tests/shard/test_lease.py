"""Leases: a shard may read what a ring gives it, for as long as the connection that asked, and says so of the rest."""

import asyncio
import re
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import hiredis
import pytest

from ringkv.cluster.errors import CorruptBlock, PartitionNotLeased
from ringkv.cluster.hot import Counts
from ringkv.cluster.place import Places
from ringkv.cluster.position import slot, slot_shift
from ringkv.cluster.ring import Ring, build_ring
from tests.support.data import EXAMPLE, random_keys
from tests.support.memory import resident
from tests.support.packed import pack_pairs
from tests.support.processes import PATIENCE, SpawnedShard, Spawner, eventually, wait_for
from tests.support.resp import Client, command
from tests.support.served import serving

Connect = Callable[[SpawnedShard], Client]
PARTITIONS = 256


@pytest.fixture
def leased(spawn: Spawner) -> SpawnedShard:
    return spawn.shard(EXAMPLE, "--leased", "--name", "b")


def ring_of(*names: str, replicas: int = 1, partitions: int = PARTITIONS) -> Ring:
    return build_ring(names, replicas, partitions)


def owned(ring: Ring, name: str, keys: list[bytes]) -> list[bytes]:
    shift = slot_shift(ring.partitions)
    return [key for key in keys if name in ring.owners[slot(key) >> shift]]


def code(reply: object) -> str:
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply).split(" ", 1)[0]


def test_a_lease_is_of_what_the_ring_gives_to_this_name(
    leased: SpawnedShard, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    ring = ring_of("a", "b", "c")
    client = connect(leased)
    dataset = client.info()["dataset_id"]
    assert client("DBSIZE") == 0
    mine = owned(ring, "b", list(example_pairs))
    reply = client.lease(dataset, ring)
    assert client("DBSIZE") == len(mine)
    assert reply == b"OK %d %b" % (len(mine), client.info()["leased_bytes"].encode())
    least = sum(20 + len(example_pairs[key]) for key in mine)
    assert least < int(reply.split()[2]) <= least + 16 * PARTITIONS
    assert int(client.info()["leased_partitions"]) == len(ring.owned_by("b"))
    for key in mine:
        assert client("GET", key) == example_pairs[key]


def test_keys_of_other_partitions_are_not_leased_and_never_missing(
    leased: SpawnedShard, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    ring = ring_of("a", "b", "c")
    client = connect(leased)
    client.lease(client.info()["dataset_id"], ring)
    for keys, value in ((list(example_pairs), True), (random_keys(3_000, seed=2), False)):
        mine = set(owned(ring, "b", keys))
        for key in keys:
            reply = client("GET", key)
            if key in mine:
                assert reply == (example_pairs[key] if value else None)
            else:
                assert code(reply) == "NOTLEASED"
    foreign = next(key for key in example_pairs if key not in set(owned(ring, "b", list(example_pairs))))
    for name in ("MGET", "EXISTS", "STRLEN"):
        assert code(client(name, foreign)) == "NOTLEASED"
    assert code(client("MGET", mine.pop(), foreign)) == "NOTLEASED"


def test_the_end_of_the_connection_ends_the_lease_and_its_pages(
    spawn: Spawner, connect: Connect, generated: Callable[..., tuple[Path, Path]]
) -> None:
    _, packed = generated(100_000)
    shard = spawn.shard(packed, "--leased", "--name", "b")
    watcher, holder = connect(shard), connect(shard)
    info = watcher.info()
    empty = resident(shard.spawned.pid, packed)
    keys = int(holder.lease(info["dataset_id"], ring_of("b", partitions=int(info["partitions"]))).split()[1])
    assert keys == 100_000
    size = sum(path.stat().st_size for path in packed.glob("segment-*"))
    wait_for(lambda: resident(shard.spawned.pid, packed) > size * 0.5)  # so it is released while the rest is read
    holder.socket.close()
    wait_for(lambda: watcher("DBSIZE") == 0)
    wait_for(lambda: resident(shard.spawned.pid, packed) <= empty + (256 << 10))
    assert watcher.info()["leases"] == "0"
    assert code(watcher("GET", random_keys(1, seed=1)[0])) == "NOTLEASED"


def test_two_leases_side_by_side_are_both_served(
    leased: SpawnedShard, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    first, second = ring_of("a", "b", "c"), ring_of("b", "d", "e")
    keys = list(example_pairs)
    one, two = connect(leased), connect(leased)
    dataset = one.info()["dataset_id"]
    of_first, of_second = set(owned(first, "b", keys)), set(owned(second, "b", keys))
    assert of_second - of_first
    assert of_first - of_second
    one.lease(dataset, first)
    two.lease(dataset, second)
    assert two("DBSIZE") == len(of_first | of_second)
    assert all(two("GET", key) == example_pairs[key] for key in of_first | of_second)
    one.socket.close()
    wait_for(lambda: two("DBSIZE") == len(of_second))
    assert all(two("GET", key) == example_pairs[key] for key in of_second)
    assert code(two("GET", (of_first - of_second).pop())) == "NOTLEASED"


def test_extra_owners_are_a_part_of_the_ring_that_is_leased(
    leased: SpawnedShard, connect: Connect, example_pairs: dict[bytes, bytes]
) -> None:
    names, keys = ("a", "b", "c"), list(example_pairs)
    plain = ring_of(*names)
    hot = next(partition for partition, owners in enumerate(plain.owners) if owners == ("a",))
    ring = build_ring(names, 1, 256, extra=((hot, 2),))
    assert ring.extra_of("b") == [hot]
    client, watcher = connect(leased), connect(leased)
    dataset = client.info()["dataset_id"]
    refused = client("LEASE", dataset, plain.ring_id, 1, *names, f"+7:{hot}=2")
    assert code(refused) == "WRONGRING", "the ring id covers them"
    assert code(client("LEASE", dataset, ring.ring_id, 1, *names, "+7:256=2")) == "WRONGRING"
    assert b" +0:" in watcher("HEARTBEAT", dataset)
    granted = client("LEASE", dataset, ring.ring_id, 1, *names, f"+7:{hot}=2")
    assert int(granted.split()[1]) == len(list(owned(plain, "b", keys))), "an extra copy is not counted"
    for key in owned(ring, "b", keys):
        assert client("GET", key) == example_pairs[key]
    older = connect(leased)
    older.lease(dataset, plain)
    assert watcher("HEARTBEAT", dataset).endswith(f" +7:{hot}=2".encode()), "what was said last is told"


def test_requests_behind_a_lease_are_answered_after_it(leased: SpawnedShard, connect: Connect) -> None:
    client = connect(leased)
    key = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
    dataset, ring = client.info()["dataset_id"], ring_of("b")
    client.send(command("LEASE", dataset, ring.ring_id, 1, "b") + command("GET", key) * 50)
    assert client.read().startswith(b"OK 10000 ")
    assert [client.read() for _ in range(50)] == [b"1234"] * 50


def test_a_shard_alone_serves_everything_until_the_first_lease(spawn: Spawner, connect: Connect) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "b")
    client = connect(shard)
    assert client("DBSIZE") == 10_000
    ring = ring_of("a", "b")
    keys = client.lease(client.info()["dataset_id"], ring)
    assert 0 < int(keys.split()[1]) < 10_000
    wait_for(lambda: int(client.info()["leased_partitions"]) == len(ring.owned_by("b")))


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        (("wrong", "ring", 1, "b"), r"WRONGDATASET b serves dataset "),
        (("DATASET", "ring", 1, "a"), r"WRONGRING b is not one of the ring's shards"),
        (("DATASET", "ring", 1, "a", "b"), r"WRONGRING b computes ring "),
        (("DATASET", "RING", 2, "a", "b"), r"WRONGRING b computes ring "),
        (("DATASET", "RING", 1, "a", "b", "c"), r"WRONGRING b computes ring "),
        (("DATASET", "RING", 0, "a", "b"), r"ERR replicas must be a positive number"),
        (("DATASET", "RING", 65, "a", "b"), r"ERR replicas must be a positive number up to 64"),
        (("DATASET", "RING", 1, "b", "<img>"), r"ERR not a shard's name: '<img>'"),
        (("DATASET", "RING", 1, "b", *range(1024)), r"ERR a ring of 1025 shards: at most 1024 can share a dataset"),
        (("DATASET", "RING"), r"ERR want LEASE"),
    ],
)
def test_a_lease_that_cannot_be_right_is_refused(
    leased: SpawnedShard, connect: Connect, args: tuple[str | int, ...], reply: str
) -> None:
    client = connect(leased)
    known = {"DATASET": client.info()["dataset_id"], "RING": ring_of("a", "b").ring_id}
    refused = client("LEASE", *(known.get(str(arg), arg) for arg in args))
    assert isinstance(refused, hiredis.ReplyError)
    assert str(refused).startswith(reply)
    assert client("DBSIZE") == 0
    assert client.info()["leases"] == "0"
    assert client.lease(known["DATASET"], ring_of("a", "b")).startswith(b"OK ")


def test_a_connection_holds_one_lease(leased: SpawnedShard, connect: Connect) -> None:
    client = connect(leased)
    dataset = client.info()["dataset_id"]
    assert client.lease(dataset, ring_of("b")).startswith(b"OK 10000 ")
    assert "holds a lease already" in str(client.lease(dataset, ring_of("a", "b")))
    assert client("DBSIZE") == 10_000


def test_with_a_secret_a_lease_needs_it(spawn: Spawner, connect: Connect) -> None:
    shard = spawn.shard(EXAMPLE, "--leased", "--name", "b", env={"RINGKV_SECRET": "open sesame"})
    client = connect(shard)
    dataset, ring = client.info()["dataset_id"], ring_of("b")
    assert code(client.lease(dataset, ring)) == "NOAUTH"
    for wrong in ("", "open", "open sesame!", "OPEN SESAME"):
        assert code(client("AUTH", wrong)) == "WRONGPASS"
    assert code(client("HELLO", 3, "AUTH", "anybody", "wrong")) == "WRONGPASS"
    assert code(client.lease(dataset, ring)) == "NOAUTH"
    assert client("DBSIZE") == 0
    assert client("AUTH", "open sesame") == b"OK"
    assert client.lease(dataset, ring).startswith(b"OK 10000 ")
    named = connect(shard)
    assert named("AUTH", "anybody", "open sesame") == b"OK"
    assert named.lease(dataset, ring).startswith(b"OK 10000 ")
    assert "open sesame" not in shard.spawned.err


async def test_rings_are_built_one_at_a_time_and_not_for_those_who_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building, most, built = 0, 0, list[str]()
    gate = threading.Event()

    def slow(names: tuple[str, ...], replicas: int, partitions: int, places: Places, extra: Counts) -> Ring:
        nonlocal building, most
        building += 1
        most = max(most, building)
        assert gate.wait(30)
        built.append(names[-1])
        building -= 1
        return build_ring(names, replicas, partitions, places, extra)

    monkeypatch.setattr("ringkv.shard.lessee.build_ring", slow)
    async with serving(pack_pairs(tmp_path, {}), leased=True) as served:
        dataset = served.store.dataset.manifest.dataset_id
        clients = [await served.connect() for _ in range(4)]
        for other, client in zip("wxyz", clients, strict=True):
            client.send(("LEASE", dataset, ring_of("one", other).ring_id, 1, "one", other))
        await eventually(lambda: building == 1)
        gone = clients.pop()
        gone.close()
        gate.set()
        assert [(await client.read())[:5] for client in clients] == 3 * [b"OK 0 "]
    assert (most, sorted(built)) == (1, ["w", "x", "y"])


async def test_a_lease_that_ends_lets_go_in_pieces_and_of_nothing_that_another_one_needs(tmp_path: Path) -> None:
    pairs = {key: key for key in random_keys(3_000, seed=92)}
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with serving(pack_pairs(tmp_path, pairs, segment_size=20_000), leased=True) as served:
        segments = len(served.store.dataset.segments)
        assert segments > 5
        leases, blocks = served.version.leases, served.store.blocks
        first = await leases.grant(range(PARTITIONS))
        meanwhile = asyncio.create_task(others())
        leases.end(first)
        assert 0 < len(blocks.rows) < PARTITIONS
        second = await leases.grant(range(100, PARTITIONS, 3))
        await eventually(lambda: blocks.rows.keys() == set(second.partitions))
        assert turns >= segments - 1
        meanwhile.cancel()
        client = await served.connect()
        for key in pairs:
            if served.store.block_of(key) in second.partitions:
                assert await client("GET", key) == key
        leases.end(second)
        await served.version.close()  # as when the last lease of an older version ends


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_version_is_closed_when_nobody_reads_its_tables_any_more_but_waits_for_no_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    began, gate = threading.Event(), threading.Event()
    key, other = random_keys(2, seed=93)
    async with serving(pack_pairs(tmp_path, {key: b"v"}), leased=True) as served:
        leases, blocks, close = served.version.leases, served.store.blocks, served.version.close
        leasing = blocks.leasing

        def late(partitions: Collection[int]) -> dict[int, bytes | CorruptBlock]:
            began.set()
            assert gate.wait(PATIENCE)
            return leasing(partitions)

        monkeypatch.setattr(blocks, "leasing", late)
        granting = asyncio.create_task(leases.grant(range(PARTITIONS)))
        await eventually(began.is_set)
        behind = asyncio.create_task(leases.grant([served.store.block_of(other)]))
        if hangs:
            monkeypatch.setattr("ringkv.shard.version.CLOSE_SECONDS", 0.05)
            await close()
        else:
            closing = asyncio.create_task(close())
            await asyncio.wait([closing], timeout=0.05)
            assert not closing.done()
        gate.set()
        assert (await granting).leased.keys == 1
        with pytest.raises(PartitionNotLeased, match="not served any more"):
            await behind
        await (close() if hangs else closing)


@pytest.mark.parametrize(
    ("listen", "secret", "warned"),
    [
        ("0.0.0.0:0", "", True),
        ("0.0.0.0:0", "open sesame", False),
        ("127.0.0.1:0", "", False),
        ("[::1]:0", "", False),
    ],
)
def test_a_shard_that_strangers_can_lease_from_says_so(
    spawn: Spawner, listen: str, secret: str, *, warned: bool
) -> None:
    shard = spawn("shard", EXAMPLE, "--listen", listen, env={"RINGKV_SECRET": secret} if secret else {})
    shard.wait_for_line(r"shard .* ready on")
    line = (
        rf"WARNING ringkv.shard: shard \S+: whoever reaches {re.escape(listen)} can lease from it: set \$RINGKV_SECRET"
    )
    assert len(re.findall(line, shard.err)) == warned

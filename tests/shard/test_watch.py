"""A served segment that somebody writes to is noticed, named and not answered from; what only looks so does no harm."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ringkv.cluster.errors import DatasetOverwritten, PartitionNotLeased
from ringkv.dataset.format import segment_name
from ringkv.dataset.packing.local import pack
from ringkv.shard.body import NotInMemory
from ringkv.shard.store import Store
from ringkv.shard.warmup import Pace, Warmup
from ringkv.shard.watch import watch
from tests.support.damage import flip_value_byte
from tests.support.data import random_keys, read_pairs, write_pairs
from tests.support.inline import Inline
from tests.support.packed import lease, stored
from tests.support.processes import SpawnedShard, Spawner, eventually, wait_for
from tests.support.resp import Client, command

Generated = Callable[..., tuple[Path, Path]]
Change = Callable[[Path, Path], None]
"""What is done to the served segment, with another one at hand."""

PAIRS = 5000


@pytest.fixture
def packed(pairs: dict[bytes, bytes], tmp_path: Path) -> Path:
    pack(write_pairs(tmp_path / "data", pairs), tmp_path / "served", executor=Inline(), segment_size=150_000)
    return tmp_path / "served"


@pytest.fixture
def served(packed: Path) -> Path:
    """The one of several segments that is written to."""
    assert len(list(packed.glob("segment-*"))) > 2
    return packed / segment_name(1)


@pytest.fixture
def other(generated: Generated) -> Path:
    return generated(PAIRS, seed=8)[1] / segment_name(0)


@pytest.fixture
def pairs(generated: Generated) -> dict[bytes, bytes]:
    return dict(read_pairs(generated(PAIRS)[0]))


@pytest.fixture
def shard(spawn: Spawner, packed: Path) -> SpawnedShard:
    return spawn.shard(packed, "--name", "one")


@pytest.fixture(autouse=True)
def warm(request: pytest.FixtureRequest, connect: Callable[[SpawnedShard], Client]) -> None:
    """A shard tells what it has read; of a segment that it had not read it knows nothing that could have changed."""
    if "shard" in request.fixturenames:
        client = connect(request.getfixturevalue("shard"))
        wait_for(lambda: (info := client.info())["checked_bytes"] == info["leased_bytes"])


@pytest.fixture
def client(connect: Callable[[SpawnedShard], Client], shard: SpawnedShard) -> Client:
    return connect(shard)


def copy_over(served: Path, other: Path) -> None:
    shutil.copyfile(other, served)


def overwrite_in_place(served: Path, other: Path) -> None:
    """As many bytes as before, of which most are others."""
    size = served.stat().st_size
    with served.open("r+b") as file:
        file.write((other.read_bytes() + bytes(size))[:size])


def overwrite_and_set_the_time_back(served: Path, other: Path) -> None:
    before = served.stat()
    overwrite_in_place(served, other)
    os.utime(served, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut_off(served: Path, _other: Path) -> None:
    """Behind the last partition, so that no read is killed."""
    os.truncate(served, served.stat().st_size - 10)


def append(served: Path, _other: Path) -> None:
    with served.open("ab") as file:
        file.write(b"more")


OVERWRITE = [copy_over, overwrite_in_place, overwrite_and_set_the_time_back, cut_off, append]


@pytest.mark.parametrize("overwrite", OVERWRITE)
def test_a_shard_whose_segment_is_overwritten_says_why_and_leaves(
    shard: SpawnedShard, served: Path, other: Path, overwrite: Change
) -> None:
    overwrite(served, other)
    assert shard.spawned.wait() == 1
    (line,) = (line for line in shard.spawned.err.splitlines() if " ERROR " in line)
    assert f"ringkv.deploy: shard one ends: {served}: was overwritten while it was served: " in line
    assert "Traceback" not in shard.spawned.err


@pytest.mark.parametrize("overwrite", [overwrite_in_place, overwrite_and_set_the_time_back, append])
def test_no_absence_is_claimed_and_no_wrong_byte_sent_meanwhile(  # noqa: PLR0917 - fixtures
    shard: SpawnedShard, client: Client, served: Path, other: Path, pairs: dict[bytes, bytes], overwrite: Change
) -> None:
    """From the moment on in which the shard knows; before it, what is mapped is read as it is."""
    overwrite(served, other)
    shard.spawned.wait_for_line("was touched: what was checked is checked again|was overwritten while it was served")
    with suppress(ConnectionError):
        for _ in range(100):
            for key, value in pairs.items():
                reply = client("GET", key)
                assert reply == value or str(reply).startswith("NOTLEASED"), reply
    assert shard.spawned.wait() == 1


def rename_over(served: Path, other: Path) -> None:
    shutil.copy(other, served.with_name("next"))
    served.with_name("next").replace(served)


def rename_away(served: Path, _other: Path) -> None:
    served.rename(served.with_name("elsewhere"))


def remove(served: Path, _other: Path) -> None:
    served.unlink()


def link(served: Path, _other: Path) -> None:
    os.link(served, served.with_name("link"))


def touch(served: Path, _other: Path) -> None:
    served.touch()


def restrict(served: Path, _other: Path) -> None:
    served.chmod(0o400)


def rewrite_the_same(served: Path, _other: Path) -> None:
    overwrite_in_place(served, served)


@pytest.mark.parametrize("do", [rename_over, rename_away, remove, link, touch, restrict, rewrite_the_same])
def test_what_leaves_the_bytes_alone_costs_no_answer(  # noqa: PLR0917 - fixtures
    shard: SpawnedShard, client: Client, served: Path, other: Path, pairs: dict[bytes, bytes], do: Change
) -> None:
    do(served, other)

    def all_there_and_the_doubt_over() -> bool:
        over = f"{served} is what it was" in shard.spawned.err
        client.send(b"".join(command("GET", key) for key in pairs))
        assert [client.read() for _ in pairs] == list(pairs.values())
        return over

    wait_for(all_there_and_the_doubt_over)
    shard.spawned.process.terminate()
    assert shard.spawned.wait() == 0
    assert " ERROR " not in shard.spawned.err


@pytest.fixture
def store(packed: Path) -> Iterator[Store]:
    with stored(packed) as store:
        lease(store)
        yield store
        del store


@asynccontextmanager
async def watched(store: Store) -> AsyncIterator[asyncio.Task[None]]:
    watching = asyncio.create_task(watch(store.blocks, Warmup(store.blocks, Pace(0))))
    yield watching
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def in_segment(store: Store, key: bytes) -> int:
    return store.dataset.segment_of(store.block_of(key))  # a block is a partition here


def test_in_doubt_every_pair_is_read_and_none_is_invented(store: Store, pairs: dict[bytes, bytes]) -> None:
    absent = random_keys(500, seed=9)
    expected = {**pairs, **dict.fromkeys(absent)}
    for _ in range(2):
        assert {key: store.get(key) for key in expected} == expected
    checked = store.blocks.checked_bytes
    doubted = store.blocks.distrust(1)
    assert doubted
    assert {store.dataset.segment_of(block) for block in doubted} == {1}
    assert store.blocks.checked_bytes == checked - sum(store.blocks.row(block).size for block in doubted)
    for _ in range(2):
        assert {key: store.get(key) for key in expected} == expected
    assert not any(store.blocks.table.has(block) for block in doubted)
    store.blocks.trust(1)
    assert {key: store.get(key) for key in expected} == expected
    assert store.blocks.checked_bytes == checked


def test_in_doubt_a_block_that_has_changed_is_not_read(store: Store, packed: Path, pairs: dict[bytes, bytes]) -> None:
    assert {key: store.get(key) for key in pairs} == pairs
    damaged = next(block for block in range(256) if store.dataset.segment_of(block) == 1)
    flip_value_byte(packed, damaged)
    store.blocks.distrust(1)
    for key, value in pairs.items():
        if store.block_of(key) == damaged:
            with pytest.raises(PartitionNotLeased, match="was overwritten while it was served: its bytes do not match"):
                store.get(key)
        else:
            assert store.get(key) == value
    assert store.blocks.corrupt == {}


async def test_a_touched_segment_is_doubted_alone_and_trusted_again(
    store: Store, served: Path, pairs: dict[bytes, bytes]
) -> None:
    assert {key: store.get(key) for key in pairs} == pairs
    seen: set[int] = set()
    async with watched(store) as watching:
        await asyncio.sleep(0)
        os.utime(served)

        def over() -> bool:
            assert {key: store.get(key) for key in pairs} == pairs
            seen.update(store.dataset.segment_of(block) for block in range(256) if not store.blocks.table.has(block))
            return seen == {1} and all(store.blocks.table.has(store.block_of(key)) for key in pairs)

        await eventually(over)
        assert not watching.done()


async def test_a_block_that_has_changed_ends_the_watch_and_all_reading(
    store: Store, packed: Path, pairs: dict[bytes, bytes]
) -> None:
    assert {key: store.get(key) for key in pairs} == pairs
    damaged = next(block for block in range(256) if store.dataset.segment_of(block) == 1)
    async with watched(store) as watching:
        await asyncio.sleep(0)
        flip_value_byte(packed, damaged)
        with pytest.raises(
            DatasetOverwritten, match=f"segment-00001.arrow: was .*: block {damaged} is not what it was"
        ):
            await asyncio.wait_for(watching, 30)
        for key in pairs:
            with pytest.raises(PartitionNotLeased, match=f"block {damaged} is not what it was"):
                store.get(key)


async def test_a_block_that_is_found_wrong_while_its_segment_is_checked_again_ends_the_watch(
    store: Store, packed: Path, pairs: dict[bytes, bytes]
) -> None:
    """Nothing of the segment had been checked, so what is wrong is known by whoever asks for it alone."""
    blocks = store.blocks
    damaged = next(block for block in range(256) if store.dataset.segment_of(block) == 1)
    key = next(key for key in pairs if store.block_of(key) == damaged)
    async with watched(store) as watching:
        await asyncio.sleep(0)
        flip_value_byte(packed, damaged)
        await eventually(lambda: blocks._doubted)  # noqa: SLF001 - when it has begun
        with pytest.raises(PartitionNotLeased, match="was overwritten while it was served: its bytes do not match"):
            store.get(key)
        with pytest.raises(DatasetOverwritten, match=f"block {damaged} is not what it was"):
            await asyncio.wait_for(watching, 30)
    assert blocks.corrupt == {}


def test_a_segment_that_is_cut_off_is_read_without_harm_and_then_not_at_all(
    store: Store, served: Path, pairs: dict[bytes, bytes]
) -> None:
    """Through the mapping these reads would be SIGBUS."""
    assert {key: store.get(key) for key in pairs} == pairs
    os.truncate(served, 4096)
    store.blocks.distrust(1)
    with pytest.raises(DatasetOverwritten, match="it has 4,096 bytes, not"):
        store.dataset.segments[1].look()
    refused = 0
    for key, value in pairs.items():
        try:
            assert store.get(key) == value  # of the other segments, and of the first blocks, which are whole
        except PartitionNotLeased:
            assert in_segment(store, key) == 1
            refused += 1
        except NotInMemory:
            assert in_segment(store, key) == 1
            refused += 1
    assert refused > sum(in_segment(store, key) == 1 for key in pairs) * 0.8
    store.blocks.abandon("it is another file")
    for key in pairs:
        with pytest.raises(PartitionNotLeased, match="it is another file"):
            store.get(key)
    assert store.totals(range(256)).keys == 0

"""Large values in pieces: a shard that does not answer holds up nobody who asks others, and is asked once."""

import asyncio

import pytest

import ringkv.router.lookup.large
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.position import slot
from ringkv.resp import codec
from ringkv.router.lookup.large import WINDOW, Large, read
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import LARGE_PIECES, LARGE_READS
from tests.support.batches import lookups_of
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, Start, not_leased, silence, topology_of

KEYS = random_keys(50, seed=91)


def zeros(_shard: FakeShard, stop: bytes) -> bytes:
    """A piece of a value of zeros; of a PIECE only its end is told."""
    return codec.bulk(bytes((int(stop) - 1) % LARGE_VALUE + 1))


def large_of(lookups: Lookups, name: str, size: int = WINDOW) -> Large:
    """A large value that this shard owns."""
    topology = lookups.topology
    assert topology is not None
    link = topology.links[name]
    key = next(key for key in KEYS if topology.routes[slot(key) >> topology.shift][0] is link)
    return Large(key, topology.dataset_id, size)


async def test_large_values_of_a_shard_that_does_not_answer_hold_up_no_others(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.lookup.large, "DEADLINE", 60.0)
    monkeypatch.setattr(ringkv.router.lookup.large, "BATCH_PATIENCE", 0.05)
    stuck, other = await start(a=silence, b=zeros)
    lookups = await lookups_of([stuck, other])
    waiting = [asyncio.create_task(read(lookups, large_of(lookups, "a"))) for _ in range(LARGE_READS)]
    await stuck.arrived(LARGE_READS * LARGE_PIECES)
    async with asyncio.timeout(10):
        assert await read(lookups, large_of(lookups, "b", WINDOW + 5)) == bytes(WINDOW + 5)
    assert not any(task.done() for task in waiting)
    stuck.write(b"".join(LARGE_READS * LARGE_PIECES * [codec.bulk(bytes(LARGE_VALUE))]))
    assert await asyncio.gather(*waiting) == LARGE_READS * [bytes(WINDOW)]


async def test_an_owner_that_is_late_is_not_asked_again_and_its_answer_counts(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.lookup.large, "DEADLINE", 60.0)
    monkeypatch.setattr(ringkv.router.lookup.large, "PIECE_PATIENCE", 0.02)
    late, refusing = await start(a=silence, b=not_leased)
    lookups = Lookups()
    lookups.swap(await topology_of([late, refusing], 2))
    reading = asyncio.create_task(read(lookups, large_of(lookups, "a", LARGE_VALUE)))
    await refusing.arrived(5)  # again and again, as it answers
    assert len(late.asked) == 1
    late.write(codec.bulk(bytes(LARGE_VALUE)))
    assert await reading == bytes(LARGE_VALUE)

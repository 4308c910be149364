"""Many keys at once across swaps: a call is answered of one dataset, of that of its beginning if that can be."""

import asyncio
from dataclasses import replace

import pytest

import ringkv.router.lookup.batch
from ringkv.cluster.errors import ShardUnavailable
from ringkv.resp import codec
from ringkv.router.lookup.batch import fetch
from tests.support.batches import get_many, lookups_of, values_of
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, Start, close, each, garbage, not_leased, silence, topology_of, value

KEYS = random_keys(300, seed=21)


@pytest.mark.usefixtures("no_deadline", "impatient")
async def test_one_call_never_mixes_two_datasets(start: Start) -> None:
    """Half of the keys were answered, by a shard of the dataset that was; the rest waits for what comes."""
    quick, hung, next_ = await start(a=value, b=silence, c=value)
    lookups = await lookups_of([quick, hung])
    asking = asyncio.create_task(fetch(lookups, KEYS))
    await quick.arrived(1)
    await hung.arrived(len(KEYS) - len(quick.asked) + 4)
    lookups.swap(await topology_of([next_], 1, epoch=2))
    hung.abort()
    async with asyncio.timeout(20):
        batch = await asking
    assert batch.dataset_id == "dataset-2"
    assert batch.values == values_of("c", KEYS)


@pytest.mark.usefixtures("no_deadline", "impatient")
async def test_a_dataset_that_came_and_went_meanwhile_is_not_mixed_in(start: Start) -> None:
    first, between, last = await start(a=silence, b=value, c=value)
    lookups = await lookups_of([first])
    asking = asyncio.create_task(get_many(lookups, KEYS))
    await first.arrived(len(KEYS) + 4)
    lookups.swap(await topology_of([between], 1, epoch=2))
    first.abort()
    await between.arrived(1)
    lookups.swap(replace(await topology_of([last], 1), epoch=3))
    async with asyncio.timeout(20):
        assert await asking == values_of("c", KEYS)


async def test_a_dataset_that_is_replaced_again_and_again_is_given_up(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.lookup.batch, "DEADLINE", 0.0)
    (shard,) = await start(a=value)
    lookups = await lookups_of([shard])
    coming = [await topology_of([shard], 1, epoch=epoch) for epoch in range(2, 60)]

    def swap(_shard: FakeShard, _keys: list[bytes]) -> bytes | None:
        lookups.swap(coming.pop(0))
        return codec.error("TOOLARGE", "ask for fewer keys at once")

    shard.answer_batch = swap
    with pytest.raises(ShardUnavailable, match="replaced again and again"):
        await get_many(lookups, KEYS)


async def test_a_batch_that_is_under_way_at_a_swap_is_ended_with_the_dataset_of_its_beginning(start: Start) -> None:
    old, new = await start(a=silence, b=value)
    old.answer_batch = lambda _shard, _keys: None
    lookups = await lookups_of([old])
    keys = random_keys(1300, seed=22)
    asking = asyncio.create_task(fetch(lookups, keys))
    await old.arrived(512)
    lookups.swap(await topology_of([new], 1, epoch=2))
    old.answer = value
    old.answer_batch = each
    old.write(each(old, keys[:512]) or b"")
    async with asyncio.timeout(20):
        batch = await asking
    assert (batch.dataset_id, batch.values) == ("dataset-1", values_of("a", keys))
    assert new.asked == []


@pytest.mark.parametrize("fault", [close, not_leased, garbage])
async def test_what_is_asked_of_a_dataset_that_was_replaced_comes_of_it(start: Start, fault: object) -> None:
    old, other, new = await start(a=value, b=fault, c=value)
    lookups = await lookups_of([old, other], 2)
    lookups.swap(await topology_of([new], 1, epoch=2))
    for dataset_id, name in (("dataset-1", "a"), ("dataset-2", "c"), ("dataset-1", "a")):
        async with asyncio.timeout(20):
            batch = await fetch(lookups, KEYS, dataset_id=dataset_id)
        assert (batch.dataset_id, batch.values) == (dataset_id, values_of(name, KEYS))


async def test_what_is_asked_of_a_dataset_that_is_not_held_is_refused_at_once(start: Start) -> None:
    (shard,) = await start(a=value)
    lookups = await lookups_of([shard])
    with pytest.raises(ShardUnavailable, match="dataset dataset-7 was replaced, and is not held any more"):
        await fetch(lookups, KEYS, dataset_id="dataset-7")
    assert shard.asked == []

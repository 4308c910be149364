"""What was asked for lately is remembered: however it was asked, each key once, and never more than a few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.sample import Sample
from ringkv.router.policy import SAMPLE_EVERY, SAMPLE_KEYS
from tests.support.batches import get_many
from tests.support.data import random_keys
from tests.support.fake_shard import Start, topology_of
from tests.support.processes import eventually

KEYS = random_keys(2000, seed=41)


def test_the_latest_keys_are_remembered_each_once() -> None:
    sample = Sample()
    for key in KEYS[:1000]:
        sample.take(key)
        sample.take(KEYS[0])
    assert set(sample.keys()) == {KEYS[0], *KEYS[1000 - SAMPLE_KEYS + 1 : 1000]}
    assert len(sample.keys()) == SAMPLE_KEYS


@given(st.lists(st.integers(0, 200), max_size=30))
def test_of_keys_that_come_together_one_of_many_is_taken_whatever_the_groups(sizes: list[int]) -> None:
    sample, at = Sample(), 0
    for size in sizes:
        sample.take_some(KEYS[at : at + size])
        at += size
    wanted = [key for number, key in enumerate(KEYS[:at]) if number % SAMPLE_EVERY == 0]
    assert sample.keys() == wanted[-SAMPLE_KEYS:]


@pytest.mark.parametrize("together", [True, False])
async def test_what_is_looked_up_is_sampled(start: Start, *, together: bool) -> None:
    lookups = Lookups()
    lookups.swap(await topology_of(await start(), 1))
    if together:
        await get_many(lookups, KEYS[:500])
    else:
        assert await lookups.get(KEYS[7]) is not None
        await eventually(lookups.sample.keys)
    assert set(lookups.sample.keys()) == (set(KEYS[:500:SAMPLE_EVERY]) if together else {KEYS[7]})

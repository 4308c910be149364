"""What is asked for again and again is answered without a shard: right, of the right dataset, in bounded room."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.resp import codec
from ringkv.router.lookup.counters import Counters
from ringkv.router.lookup.hot import HotValues
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import HOT_ENTRY, HOT_SEEN, HOT_VALUE
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, Start, nothing, silence, topology_of, value
from tests.support.processes import eventually

KEYS = random_keys(2000, seed=47)
KEY, OTHER = KEYS[:2]
ROOM = 1 << 20


def hot_values(room: int = ROOM) -> HotValues:
    hot = HotValues(room, Counters())
    hot.begin("a")
    return hot


def admit(hot: HotValues, key: bytes, kept: bytes, dataset_id: str = "a") -> None:
    """A shard has answered with this twice, and both times it was looked at."""
    hot.look(key, kept, dataset_id)
    hot.look(key, kept, dataset_id)


async def hot_lookups(shards: list[FakeShard], *keys: bytes) -> Lookups:
    """Lookups that have these keys' values at hand."""
    lookups = Lookups(hot_memory=ROOM)
    lookups.swap(await topology_of(shards, 1))
    for key in keys:
        while key not in lookups.hot:
            await lookups.get(key)
    return lookups


def test_a_key_that_was_seen_twice_is_kept_and_one_that_was_seen_once_is_not() -> None:
    hot = hot_values()
    admit(hot, KEY, b"v")
    hot.look(OTHER, b"w", "a")
    assert (hot.find(KEY), hot.find(OTHER), len(hot)) == (b"v", None, 1)
    assert hot.bytes == HOT_ENTRY + 1


def test_keys_that_are_asked_for_evenly_take_no_room() -> None:
    hot = hot_values()
    for number in range(2 * HOT_SEEN):
        hot.look(b"%036d" % number, b"v", "a")
    assert not hot
    assert hot.top.counted()[1] == {}


def test_with_no_room_nothing_is_kept_counted_or_looked_at() -> None:
    hot = hot_values(room=0)
    hot.look_at_some(KEYS, range(len(KEYS)), [b"v"] * len(KEYS), "a")
    hot.look_at_some(KEYS, range(len(KEYS)), [b"v"] * len(KEYS), "a")
    hot.skip -= 1
    assert hot.skip > 0
    assert not hot


def test_large_values_missing_keys_and_answers_of_another_dataset_are_not_kept() -> None:
    hot = hot_values()
    admit(hot, KEYS[0], b"v" * (HOT_VALUE + 1))
    admit(hot, KEYS[1], b"v" * HOT_VALUE)
    admit(hot, KEYS[2], b"v", "b")
    hot.look(KEYS[3], None, "a")
    hot.look(KEYS[3], None, "a")
    assert [key in hot for key in KEYS[:4]] == [False, True, False, False]
    assert KEYS[3] in hot.top.counted()[1]


def test_another_dataset_begins_with_nothing_and_the_same_one_goes_on() -> None:
    hot = hot_values()
    admit(hot, KEY, b"v")
    hot.begin("a")
    assert hot.find(KEY) == b"v"
    hot.begin("b")
    assert (hot.find(KEY), len(hot), hot.bytes) == (None, 0, 0)
    hot.look(KEY, b"w", "b")  # seen before the swap: it is at hand again with the first answer that is looked at
    assert hot.find(KEY) == b"w"


def test_of_answers_that_come_together_some_are_looked_at_and_fewer_while_none_is_seen_again() -> None:
    hot = hot_values()

    def looked_at(keys: list[bytes]) -> int:
        for start in range(0, len(keys), 7):
            some = keys[start : start + 7]
            hot.look_at_some(some, range(len(some)), [b"v"] * len(some), "a")
        return sum(hot._seen[hash(key) & (HOT_SEEN - 1)] == hash(key) for key in keys)  # noqa: SLF001 - counts nothing else

    first, rest = looked_at(KEYS[:50]), looked_at(KEYS[50:])
    assert 5 < first < 45
    assert 60 < rest < 240


@given(
    st.integers(1, 3000),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 900), st.booleans()), max_size=200),
)
def test_room_is_never_exceeded_and_what_is_kept_is_right(room: int, steps: list[tuple[int, int, bool]]) -> None:
    hot = hot_values(room)
    sizes = dict.fromkeys(KEYS[:41], 0)
    for number, size, asked in steps:
        key = KEYS[number]
        if asked:
            found = hot.find(key)
            assert found is None or found == key * sizes[key]
        elif key not in hot:
            sizes[key] = size
            admit(hot, key, key * size)
        assert hot.bytes <= room
        assert hot.bytes == sum(36 * sizes[key] + HOT_ENTRY for key in KEYS[:41] if key in hot)
        assert len(hot) == sum(key in hot for key in KEYS[:41])


def test_what_is_asked_for_outlives_what_is_not() -> None:
    hot = hot_values(10 * (HOT_ENTRY + 1))
    for key in KEYS[:10]:
        admit(hot, key, b"v")
    for key in KEYS[10:200]:
        for _ in range(80):  # one of some hits is a mark
            assert hot.find(KEY) == b"v"
        admit(hot, key, b"v")
    assert len(hot) == 10


async def test_a_hot_key_costs_its_shard_nothing(start: Start) -> None:
    shards = await start()
    lookups = await hot_lookups(shards, KEY)
    asked, before = len(shards[0].asked), lookups.counters.requests
    shards[0].answer = silence
    for _ in range(100):
        assert await lookups.find(KEY) == (b"%b of a" % KEY, "dataset-1")
    assert len(shards[0].asked) == asked
    assert lookups.counters.hits == 100
    assert lookups.counters.requests == before + 100
    assert lookups.durations().count == 100  # those of shards stand elsewhere here


async def test_a_swap_empties_it_and_a_late_answer_of_before_does_not_come_back(start: Start) -> None:
    shards = await start(a=silence)
    lookups = Lookups(hot_memory=ROOM)
    lookups.swap(await topology_of(shards, 1, epoch=1))
    late = [asyncio.create_task(lookups.find(KEY)) for _ in range(60)]
    await shards[0].arrived(60)
    lookups.swap(await topology_of(shards, 1, epoch=2))
    shards[0].write(codec.bulk(b"old") * 60)
    assert await asyncio.gather(*late) == [(b"old", "dataset-1")] * 60
    assert KEY not in lookups.hot
    shards[0].answer = value
    while KEY not in lookups.hot:
        assert await lookups.find(KEY) == (b"%b of a" % KEY, "dataset-2")
    assert await lookups.find(KEY) == (b"%b of a" % KEY, "dataset-2")


async def test_a_dataset_that_was_asked_for_by_name_is_never_answered_of_another_one(start: Start) -> None:
    shards = await start()
    lookups = await hot_lookups(shards)
    shards[0].answer = nothing
    lookups.swap(await topology_of(shards, 1, epoch=2))
    shards[0].answer = value
    while KEY not in lookups.hot:
        await lookups.get(KEY)
    assert await lookups.find(KEY, "dataset-2") == (b"%b of a" % KEY, "dataset-2")
    shards[0].answer = nothing
    assert await lookups.find(KEY, "dataset-2") == (b"%b of a" % KEY, "dataset-2")
    assert await lookups.find(KEY, "dataset-1") == (None, "dataset-1")


@pytest.mark.usefixtures("short_deadline")
async def test_a_hot_key_is_answered_while_its_shard_is_lost(start: Start) -> None:
    shards = await start()
    lookups = await hot_lookups(shards, KEY)
    shards[0].abort()
    topology = lookups.topology
    assert topology is not None
    await eventually(lambda: not topology.links["a"].open)
    assert await lookups.find(KEY) == (b"%b of a" % KEY, "dataset-1")

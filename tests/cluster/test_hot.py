"""Hot partitions: what is told of them reads as it was written, and they alone get owners, alike in every process."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.cluster.hot import MAX_SERIAL, Counts, Extra, Load, counts_of, counts_word
from ringkv.cluster.limits import MAX_EXTRA, MAX_SHARDS
from ringkv.cluster.place import Place
from ringkv.cluster.position import SLOTS
from ringkv.cluster.ring import build_ring, moved_partitions, ring_id

NAMES = [f"shard-{number}" for number in range(1, 7)]


def counts(partitions: int = SLOTS, most: int = MAX_SHARDS, size: int = MAX_EXTRA) -> st.SearchStrategy[Counts]:
    numbers = st.dictionaries(st.integers(0, partitions - 1), st.integers(1, most), max_size=size)
    return numbers.map(lambda found: tuple(sorted(found.items())))


@given(counts(), st.integers(0, MAX_SERIAL), st.integers(0, 100), counts(most=100))
@settings(max_examples=50)
def test_what_is_told_reads_as_it_was_written(extra: Counts, serial: int, busy: int, parts: Counts) -> None:
    assert counts_of(counts_word(extra), MAX_SHARDS) == extra
    assert Extra.parse(Extra(serial, extra).word()) == Extra(serial, extra)
    assert Load.parse(Load(busy, parts).word()) == Load(busy, parts)


@pytest.mark.parametrize(
    "word",
    [
        *("", "6:", "+", "+6", "+:1=1", "+-1:", "+6:1", "+6:1=", "+6:1=0", "+6:1=1,", "+6:,1=1", "+6:1=1,1=2"),
        *(
            "+6:2=1,1=1",
            "+6:16384=1",
            "+6:1=1025",
            "+6:1=1\n",
            "+6: 1=1",
            "+99999999999999999:",
            "+6:1=1 2=1",
            "+²:1=1",
        ),
        "+6:" + ",".join(f"{partition}=1" for partition in range(MAX_EXTRA + 1)),
        "+6:" + "1" * 100_000,
    ],
)
def test_what_is_no_extra_owners_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"^(want|not) "):
        Extra.parse(word)


@pytest.mark.parametrize("word", ["%", "95:", "%101:", "%95:1=101", "%95:1=1:", "+95:1=1"])
def test_what_is_no_load_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"^(want|not) "):
        Load.parse(word)


def test_of_what_several_routers_say_the_later_counts_and_of_two_at_once_the_greater() -> None:
    said = [Extra(2, ((1, 1),)), Extra(3, ()), Extra(3, ((1, 1),)), Extra(3, ((1, 2),)), Extra()]
    assert max(said) == Extra(3, ((1, 2),))


@given(st.integers(1, 6), st.integers(1, 3), counts(partitions=256, most=8, size=12))
@settings(max_examples=40, deadline=None)
def test_hot_partitions_alone_gain_owners_that_did_not_own_them(count: int, replicas: int, extra: Counts) -> None:
    names = NAMES[:count]
    plain, ring = build_ring(names, replicas, 256), build_ring(names[::-1], replicas, 256, extra=extra)
    assert ring.extra == extra
    for partition, owners in enumerate(ring.owners):
        wanted = min(count, plain.copies + dict(extra).get(partition, 0))
        assert owners[: plain.copies] == plain.owners[partition]
        assert len(owners) == len(set(owners)) == wanted
        assert ring.extra_owners.get(partition, ()) == owners[plain.copies :]
    for name in names:
        assert set(ring.owned_by(name)) - set(plain.owned_by(name)) == set(ring.extra_of(name))
    gained = sum(map(len, ring.extra_owners.values()))
    assert moved_partitions(plain, ring) == (gained, gained) or gained == 0


@given(counts(partitions=256, size=4), counts(partitions=256, size=4))
def test_the_ring_id_covers_extra_owners(one: Counts, other: Counts) -> None:
    found = [ring_id(NAMES, 1, 256, extra=extra) for extra in (one, other)]
    assert (found[0] == found[1]) == (one == other)
    assert build_ring(NAMES, 1, 256, extra=one).ring_id == found[0]


def test_the_ring_id_without_extra_owners_is_what_it_was() -> None:
    assert ring_id(NAMES, 1, 256, extra=()) == ring_id(NAMES, 1, 256) == build_ring(NAMES, 1, 256).ring_id


def test_an_owner_of_one_hot_partition_is_not_asked_to_help_another() -> None:
    plain = build_ring(NAMES, 1, 256)
    hot = [plain.owned_by(name)[0] for name in NAMES[:3]]
    ring = build_ring(NAMES, 1, 256, extra=tuple(sorted((partition, 1) for partition in hot)))
    assert sorted(name for names in ring.extra_owners.values() for name in names) == NAMES[3:]


def test_a_shard_of_more_weight_helps_more() -> None:
    places = {"shard-6": Place(weight=3.0)}
    plain = build_ring(NAMES, 1, 256, places)
    hot = [partition for partition in range(256) if plain.owners[partition] == ("shard-1",)][:12]
    ring = build_ring(NAMES, 1, 256, places, tuple((partition, 1) for partition in hot))
    helped = Counter(name for names in ring.extra_owners.values() for name in names)
    assert helped["shard-6"] in {5, 6}  # 12 · 3/7 is between
    assert all(helped[name] in {1, 2} for name in NAMES[1:5])


def test_extra_owners_are_in_zones_that_have_the_fewest() -> None:
    places = {name: Place("ab"[number % 2]) for number, name in enumerate(NAMES)}
    ring = build_ring(NAMES, 1, 256, places, ((17, 3),))
    assert [Counter(places[name].zone for name in ring.owners[17][:size])["a"] for size in (2, 4)] == [1, 2]


def test_a_partition_that_there_is_not_gets_no_owner() -> None:
    with pytest.raises(ValueError, match="partition 256 is none of 256"):
        build_ring(NAMES, 1, 256, extra=((256, 1),))

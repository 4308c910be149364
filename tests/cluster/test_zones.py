"""Zones and weights: copies are in as many zones as can be, and each shard holds its weight as far as that lets it."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from ringkv.cluster.limits import LOAD_BOUND, MAX_WEIGHT, MIN_WEIGHT
from ringkv.cluster.place import Place
from ringkv.cluster.ring import Ring, build_ring, moved_partitions, ring_id
from ringkv.cluster.shares import shares

ZONES = ("a", "b", "c")
WEIGHTS = st.integers(20, 200).map(lambda hundredths: hundredths / 100)


@st.composite
def places(draw: st.DrawFn) -> dict[str, Place]:
    """3 to 100 shards in three zones, of which one may be as small as a single shard."""
    count = draw(st.integers(3, 100))
    cuts = sorted(draw(st.lists(st.integers(1, count - 1), min_size=2, max_size=2, unique=True)))
    weights = draw(st.lists(WEIGHTS, min_size=count, max_size=count) | st.just([1.0] * count))
    return {
        f"shard-{number}": Place(ZONES[sum(number >= cut for cut in cuts)], weights[number]) for number in range(count)
    }


def made(found: dict[str, Place], replicas: int, partitions: int) -> Ring:
    return build_ring(found, replicas, partitions, found)


def loads(ring: Ring) -> Counter[str]:
    return Counter(name for owners in ring.owners for name in owners)


def in_zones(*zones: str, weight: float = 1.0) -> dict[str, Place]:
    return {f"shard-{number}": Place(zone, weight) for number, zone in enumerate(zones, 1)}


def fair(found: dict[str, Place], partitions: int) -> dict[str, float]:
    """What each shard is to hold of two copies in three zones.

    It is by weight, but for a zone with more than half of all weight: that holds one copy of everything and no second.
    """
    weights: Counter[str] = Counter()
    for place in found.values():
        weights[place.zone] += place.weight  # type: ignore[assignment]
    whole = sum(weights.values())
    largest = max(weights, key=lambda zone: weights[zone])
    if 2 * weights[largest] <= whole:
        return {name: 2 * partitions * place.weight / whole for name, place in found.items()}
    rest = {True: weights[largest], False: whole - weights[largest]}
    return {name: partitions * place.weight / rest[place.zone == largest] for name, place in found.items()}


@given(places(), st.sampled_from([256, 1024]))
@settings(max_examples=15, deadline=None)
def test_two_copies_in_three_zones_outlive_each_zone_and_are_as_many_as_weights_say(
    found: dict[str, Place], partitions: int
) -> None:
    ring = made(found, 2, partitions)
    assert all(len({found[name].zone for name in owners}) == 2 for owners in ring.owners)
    held, share = loads(ring), fair(found, partitions)
    assert shares(ring.names, found, 2, partitions) == pytest.approx(share)
    for name in found:
        # From 20 partitions on that is at most 1.10 times the share.
        assert held[name] <= max(math.ceil(LOAD_BOUND * share[name]), 1.10 * share[name])


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), WEIGHTS), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from([64, 256]),
)
@settings(max_examples=40, deadline=None)
def test_copies_are_spread_over_zones_as_evenly_as_these_have_shards(
    given_places: list[tuple[str, float]], replicas: int, partitions: int
) -> None:
    found = {f"shard-{number}": Place(zone, weight) for number, (zone, weight) in enumerate(given_places)}
    shards = Counter(place.zone for place in found.values())
    for owners in made(found, replicas, partitions).owners:
        assert len(set(owners)) == len(owners) == min(replicas, len(found))
        spread = Counter(found[name].zone for name in owners)
        most = max(spread.values())
        assert all(spread[zone] >= min(count, most - 1) for zone, count in shards.items())


@given(st.lists(WEIGHTS, min_size=2, max_size=8), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_shard_of_twice_the_weight_holds_twice_as_much(weights: list[float], replicas: int) -> None:
    found = {f"shard-{number}": Place(weight=weight) for number, weight in enumerate(weights)}
    held = loads(made(found, replicas, 1024))
    copies = min(replicas, len(weights))
    if max(weights) * copies <= sum(weights):  # else one would have to hold several copies of a partition
        for name, place in found.items():
            share = 1024 * copies * place.weight / sum(weights)
            assert held[name] <= max(math.ceil(LOAD_BOUND * share), 1.10 * share)


def test_without_places_shards_own_what_they_always_did() -> None:
    names = [f"shard-{number}" for number in range(1, 6)]
    ring = build_ring(names, 2, 1024)
    assert xxh3_64_hexdigest(repr(ring.owners).encode()) == "68f7bfa065a0457f"
    for zone in ("", "a"):
        assert build_ring(names, 2, 1024, dict.fromkeys(names, Place(zone))).owners == ring.owners


@pytest.mark.parametrize(
    ("zones", "replicas", "owners"),
    [("aabbcc", 2, "6d2c58243f1cee2c"), ("aaabbc", 2, "e0886ebc1f54a9ba"), ("aaabbc", 3, "a80a8dc1476d4aa5")],
)
def test_with_zones_shards_own_what_they_always_did(zones: str, replicas: int, owners: str) -> None:
    assert xxh3_64_hexdigest(repr(made(in_zones(*zones), replicas, 1024).owners).encode()) == owners


@pytest.mark.parametrize(
    ("zones", "replicas", "bound"),
    [
        ("aabbcc", 2, 1.2),
        ("aaabbc", 2, 1.45),
        ("abcdabcd", 2, 1.1),
        ("aaaabbbccc", 2, 1.35),
        ("aabbcc", 3, 1.02),
        ("aaabbc", 3, 1.02),
    ],
)
def test_a_shard_more_or_less_moves_little_more_than_it_must(zones: str, replicas: int, bound: float) -> None:
    """Of fewer copies than zones another weight moves which zones have them, beside what moves within these."""
    found = in_zones(*zones)
    many = made(found, replicas, 4096)
    for gone in found:
        few = made({name: place for name, place in found.items() if name != gone}, replicas, 4096)
        for before, after in ((few, many), (many, few)):
            moved, least = moved_partitions(before, after)
            assert 0 < least <= moved <= bound * least


@pytest.mark.parametrize(("count", "bound"), [(9, 1.1), (12, 1.1), (30, 1.1), (42, 1.15), (99, 1.15)])
def test_a_shard_more_in_zones_of_many_moves_little_more_than_it_must(count: int, bound: float) -> None:
    few, many = (in_zones(*(ZONES[number % 3] for number in range(shards))) for shards in (count, count + 1))
    before, after = made(few, 2, 16_384), made(many, 2, 16_384)
    for ring, later in ((before, after), (after, before)):
        moved, least = moved_partitions(ring, later)
        assert 0 < least <= moved <= bound * least


def test_first_owners_are_in_all_zones() -> None:
    """They are whom clients of a Redis Cluster ask."""
    found = in_zones(*"aabbcc")
    firsts = Counter(found[owners[0]].zone for owners in made(found, 3, 4096).owners)
    assert all(firsts[zone] == pytest.approx(4096 / 3, rel=0.15) for zone in ZONES)


def test_a_ring_of_heavy_shards_has_not_more_points() -> None:
    light, heavy = (
        build_ring(found, 1, 256, found) for found in (in_zones(*"a" * 9), in_zones(*"a" * 9, weight=100.0))
    )
    assert max(loads(heavy).values()) <= max(loads(light).values()) + 2


@pytest.mark.parametrize("other", [Place("b"), Place("a", 2.0), Place()])
def test_the_ring_id_changes_with_zone_and_weight(other: Place) -> None:
    names = ("one", "two")
    assert ring_id(names, 1, 256, {"one": Place("a")}) != ring_id(names, 1, 256, {"one": other})


@pytest.mark.parametrize("weight", [MIN_WEIGHT, MAX_WEIGHT])
def test_the_limits_of_weight_can_be_placed(weight: float) -> None:
    found = {"one": Place("a", weight), "two": Place("b"), "three": Place("c")}
    ring = made(found, 2, 1024)
    assert {len(set(owners)) for owners in ring.owners} == {2}
    assert set(loads(ring)) == set(found)
